"""`circuits.record`: keep the trajectory of a training loop of your own."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch

from circuits.errors import InputError
from circuits.interfaces import Task
from circuits.recording.described import described, named_loss
from circuits.recording.evaluate import LossFunction
from circuits.recording.recorder import Recorder
from circuits.training.loop import say


def record(
    path: str | Path,
    model: torch.nn.Module | Sequence[torch.nn.Module],
    *,
    optimizer: Any = None,
    data: Mapping[str, Any] | str | None = None,
    loss: str | LossFunction | None = None,
    task: Task | Mapping[str, Any] | None = None,
    every_steps: int | None = None,
    at_steps: Iterable[int] = (),
    evaluate_every: int | None = None,
    metrics: Iterable[str] = (),
    batch_size: int | None = None,
    layers: Mapping[str, Any] | Iterable[str] | None = None,
    buffers: bool | Iterable[str] = False,
    stateful: Mapping[str, Any] | Sequence[Mapping[str, Any]] | None = None,
    seed: int = 0,
    seeds: Sequence[int] | None = None,
    config: Mapping[str, Any] | None = None,
    build: str | None = None,
    arguments: Mapping[str, Any] | None = None,
    keep_state: bool = True,
    buffer: int = 32,
    resume: bool | str = False,
    overwrite: bool = False,
) -> Recorder:
    """Record the trajectory of any PyTorch training loop into the run file `path`.

    Use it in a `with` block and call `rec.step()` after each update. The file can be read while the loop runs. After a
    kill, the same call with `resume=True` gives modules, optimizers and random numbers back their state at the newest
    committed checkpoint, and `rec.step_done` says where to go on. At most `buffer` checkpoints, or those of the last
    half second, are not yet committed. The resumed loop gives equal bits if its batches are a function of the step.

    Parameters
    ----------
    path
        The run file; its folder is created if it is missing.
    model
        The module that the loop trains, or one module per seed of `seeds`.
    optimizer
        Its optimizer, or a list or dictionary of several; per seed if there are several seeds.
    data
        {"train": (inputs, targets), "test": (inputs, targets)}, stored in the file; "test" may be missing. Inputs are
        (example, …), targets (example,) classes, ±1 or numbers, or (example, output) numbers. Losses and accuracies on
        them are computed at the checkpoints. By default none. Data too large for a file are given by the import path
        of a function without arguments that returns them, "my_data:load". The file then has their digests, and a
        reader needs the function.
    loss
        The loss to compute on `data`, by name, or a function of (outputs, targets) that returns the mean; by default
        the squared error for numbers and the cross-entropy for classes and signs.
    task
        A task whose examples the data are, such as {"kind": "modular", "p": 113, …}, so that its measurements apply.
    every_steps, at_steps
        Steps between checkpoints, and further steps with a checkpoint, such as `circuits.log_spaced(10_000)`. By
        default every epoch if `batch_size` is given, otherwise every 100 steps. Step 0 and the last step always have
        one.
    evaluate_every
        Steps between computations of losses and accuracies, by default `every_steps`; 0 computes none.
    metrics
        Names of metrics that `rec.step` does not get at its first call but later, such as that of a slow evaluation.
    batch_size
        Examples per update, which tells the steps of an epoch; by default an epoch is one step.
    layers
        Submodules whose outputs can be pruned, by name. The weights into and out of the units are found where they are
        `Linear` or convolutions; {"act": {"incoming": "fc1", "readout": "fc2"}} names them. By default every `Linear`
        and convolution whose outputs another one reads unit by unit; `()` for none.
    buffers
        Buffers to keep beside the parameters, by name, or True for all of floating-point numbers.
    stateful
        Further objects to restore on resume, by name: schedulers, samplers, scalers, generators of torch.
    seed, seeds
        Number of the run's only network, or of each of several, which the loop updates in step.
    config
        Your own settings, as plain data; `run.config.model.settings` has them.
    build, arguments
        Import path of the module's class, "my_nets:MLP", and its keyword arguments, so that a reader can build it.
    keep_state
        Keep what a resumed loop needs. False saves time and space, and the run cannot be resumed.
    buffer
        Checkpoints that may wait in memory to be written together.
    resume
        Continue the recorded run; "auto" begins if `path` does not exist.
    overwrite
        Replace an existing run file, unless a process is writing to it.

    Raises
    ------
    InputError
        The file exists, is being written, or was recorded with other arguments; or an argument does not fit.

    Examples
    --------
    >>> import tempfile
    >>> model = torch.nn.Sequential(torch.nn.Linear(2, 4), torch.nn.ReLU(), torch.nn.Linear(4, 2))
    >>> optimizer, x, y = torch.optim.Adam(model.parameters()), torch.randn(8, 2), torch.arange(8) % 2
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     with record(f"{folder}/a.h5", model, optimizer=optimizer, data={"train": (x, y)}, every_steps=2) as rec:
    ...         for step in range(4):
    ...             loss = torch.nn.functional.cross_entropy(model(x), y)
    ...             optimizer.zero_grad()
    ...             loss.backward()
    ...             optimizer.step()
    ...             rec.step({"batch_loss": loss})
    ...     import circuits
    ...
    ...     with circuits.open(f"{folder}/a.h5") as run:
    ...         run.steps.tolist(), list(run.config.prunable_layers)
    ([0, 2, 4], ['0'])
    """
    if resume not in (True, False, "auto"):
        raise InputError(f"resume is {resume!r}. Pass True, False or 'auto'.")
    if resume is True and overwrite:
        raise InputError("Pass resume or overwrite, not both.")
    if isinstance(metrics, str):
        raise InputError(f"metrics is the text {metrics!r}. Pass a list of names: metrics=[{metrics!r}].")
    if buffer < 1:
        raise InputError(f"buffer is {buffer}. Pass at least 1 checkpoint.")
    loss = named_loss(loss)
    networks, plan = described(
        Path(path).stem, model, optimizer, data, loss, task, every_steps, tuple(at_steps), batch_size, layers, buffers,
        stateful, (seed,) if seeds is None else tuple(seeds), config or {}, build, arguments or {}, keep_state,
    )  # fmt: skip
    if statistics := running_statistics(networks.modules[0], plan.model.buffers):
        say(
            f"warning: outputs depend on the running statistics {', '.join(statistics[:2])}, …, which are not "
            f"recorded. Pass buffers=True; otherwise readers use those of the module that they are given."
        )
    return Recorder(
        Path(path), networks, plan, loss=None if loss is None or isinstance(loss, str) else loss,
        evaluate_every=evaluate_every, metrics=tuple(metrics), resume=resume, overwrite=overwrite, buffer=buffer,
    )  # fmt: skip


def running_statistics(module: torch.nn.Module, kept: Sequence[str]) -> list[str]:
    """Names of the running means and variances of the module's normalizations that are not in `kept`.

    Examples
    --------
    >>> running_statistics(torch.nn.Sequential(torch.nn.BatchNorm1d(3)), ["0.running_var"])
    ['0.running_mean']
    """
    names = [name for name, _ in module.named_buffers() if name.rpartition(".")[2] in ("running_mean", "running_var")]
    return [name for name in names if name not in kept]


def log_spaced(last: int, n: int = 100) -> tuple[int, ...]:
    """At most `n` different steps from 1 to `last`, evenly spaced on a logarithmic axis, in ascending order.

    Examples
    --------
    >>> log_spaced(1000, 7)
    (1, 3, 10, 32, 100, 316, 1000)
    """
    if last < 1 or n < 2:
        raise InputError(f"log_spaced({last}, {n}): pass a last step of at least 1, and at least 2 steps.")
    return tuple(sorted({round(last ** (i / (n - 1))) for i in range(n)}))
