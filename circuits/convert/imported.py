"""Networks that were trained elsewhere, written as an ordinary run file.

Losses and accuracies are computed from the weights, by the code that training uses; the data come from the task. The
file says that device and arithmetic of the original training are unknown. So further training from this file needs
--allow-different-numerics. The file is written under a temporary name and renamed when it is complete.
"""

from collections.abc import Callable, Mapping, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

import numpy as np

from circuits.atomic_write import make_folder, written_whole
from circuits.bars import progress_bar
from circuits.checkpoints import layout
from circuits.checkpoints.lock import RunLock, lock_path
from circuits.checkpoints.run import Run, open_run
from circuits.checkpoints.undo import set_aside
from circuits.checkpoints.writer import Writer
from circuits.config import Config
from circuits.errors import InputError, RunError, refusal, remedy
from circuits.printable import printable
from circuits.training.loop import refuse_to_replace, say, versions
from circuits.training.paths.choice import choose_path
from circuits.training.start import Arrays, Start
from circuits.training.trajectory import stacked


def imported_from(origin: object) -> str:
    r"""The origin of a run, in one line without control characters.

    Examples
    --------
    >>> imported_from("a\nb/model_*.pt")
    'imported from a\\nb/model_*.pt'
    """
    return printable(f"imported from {origin}")


def checkpoint_plan(steps: Sequence[int], steps_per_epoch: int) -> dict[str, Any]:
    """The config fields `epochs` and `checkpoints` that give exactly these steps, which must ascend.

    Examples
    --------
    >>> checkpoint_plan([0, 64, 128], steps_per_epoch=32)
    {'epochs': 4, 'checkpoints': {'every_epochs': 2}}
    >>> checkpoint_plan([1, 5, 8], steps_per_epoch=4)
    {'epochs': 2, 'checkpoints': {'every_epochs': None, 'at_steps': [1, 5, 8], 'from_step': 1}}
    """
    first, last = steps[0], steps[-1]
    epochs, beyond = -(-last // steps_per_epoch), last % steps_per_epoch
    end = {"from_step": first} if first else {}
    if beyond:
        end["to_step"] = last
    stride = steps[1] - first if len(steps) > 1 else steps_per_epoch
    if not (beyond or stride % steps_per_epoch or first % stride) and list(steps) == [*range(first, last + 1, stride)]:
        return {"epochs": epochs, "checkpoints": {"every_epochs": stride // steps_per_epoch, **end}}
    return {"epochs": epochs, "checkpoints": {"every_epochs": None, "at_steps": list(steps), **end}}


def write_run(
    out: Path,
    config: Config,
    networks: Callable[[int], Sequence[Arrays]],
    origin: str,
    *,
    data: Mapping[str, np.ndarray] | None = None,
    check: Callable[[Mapping[str, np.ndarray]], None] = lambda row: None,
    overwrite: bool = False,
    progress: bool = True,
) -> Run:
    """Write a run file from checkpoints that were computed elsewhere; returns the run, opened for reading.

    Parameters
    ----------
    out
        The run file; its folder is created if it does not exist.
    config
        The config of the run; its `checkpoint_steps()` are the steps of the checkpoints.
    networks
        Function that returns the parameters of every seed at a step. It may read them from files.
    origin
        Description of the networks' origin.
    data
        Arrays of the run's /data by name; by default drawn by the config's task.
    check
        Function of the last checkpoint, its arrays by name, that raises an error if it must not be written.
    overwrite
        Replace an existing file, unless a process is writing it.
    progress
        Show a progress bar on stderr, if stderr is a terminal.

    Raises
    ------
    InputError
        `out` exists and `overwrite` is False, a process is writing `out`, or `networks` cannot read a file.
    RunError
        A write failed. If the file `out` exists after this error, it is complete.
    """
    if out.exists() and not (out.is_dir() or overwrite):
        raise _exists(out)
    refuse_to_replace(out, overwrite)
    make_folder(out)
    with RunLock(out):
        try:
            with written_whole(out, replace=overwrite) as temporary:
                try:
                    layout.create(temporary, config, versions(), _numerics(origin), {}, data=data, replace=True)
                    check(_append_all(temporary, config, networks, progress))
                finally:
                    lock_path(temporary).unlink(missing_ok=True)
            set_aside(out, say)  # it belongs to an earlier file of this name
        except FileExistsError:
            raise _exists(out) from None
        except (RunError, OSError) as error:
            cause = error.__cause__ or error
            left = "the file there is complete" if out.exists() else "no file is left"
            problem = f"{out} could not be written ({refusal(cause)}), and {left}"
            raise RunError(f"{problem}. {remedy(cause)}, then run the command again.") from error
    return open_run(out)


def _append_all(
    path: Path, config: Config, networks: Callable[[int], Sequence[Arrays]], progress: bool
) -> dict[str, np.ndarray]:
    """Write every checkpoint; returns the last, its arrays by name. Without training examples, metrics are NaN."""
    choice, row = choose_path(config, "cpu"), dict[str, np.ndarray]()
    steps = config.checkpoint_steps()
    with Writer(path) as writer:
        data = Run(path, writer.file).all_data
        for step in progress_bar(steps, desc="converting", unit="checkpoint", shown=progress):
            arrays = networks(step)
            parameters = {name: np.stack([one[name] for one in arrays]).astype(config.dtype) for name in config.shapes}
            if config.task.train_size:
                with closing(choice.path(config, data, Start(step, parameters, {}, {}), choice.device)) as stepper:
                    row = stacked([arrays for lane in range(stepper.n_lanes) for arrays in stepper.snapshots(lane)])
            else:
                nothing = np.full(len(config.seeds), np.nan)
                row = {name: nothing for name in writer.names if name.startswith("metrics/")}
                row |= {f"parameters/{name}": values for name, values in parameters.items()}
            writer.append(step, step / config.steps_per_epoch, row)
    return row


def _numerics(origin: str) -> dict[str, Any]:
    unknown = f"unknown: {imported_from(origin)}"
    return {"path": "imported", "device": unknown, "arithmetic": unknown}


def _exists(out: Path) -> InputError:
    return InputError(f"{out} exists. Pass overwrite=True to replace it, or another path.")
