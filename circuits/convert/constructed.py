"""A hand-built network as a run file with one checkpoint, which every analysis can read.

The network is not trained: its only checkpoint is step 0 of 0 epochs. The run's task is parity or modular addition. The
run has the same data as a run of `circuits train` with the same task and seed 0.
"""

from pathlib import Path
from typing import Any

from circuits.checkpoints.run import Run
from circuits.config import parse
from circuits.constructions.building.construction import Construction
from circuits.constructions.building.trigonometric import ModularAddition
from circuits.convert.imported import write_run

SIZES = {"n": 40, "n_train": 1000, "n_test": 100}  # of parity, as in Merrill et al. 2023, section 2


def from_construction(
    construction: Construction | ModularAddition,
    out: str | Path | None = None,
    *,
    overwrite: bool = False,
    **task: Any,
) -> Run:
    """Write a construction into a run file.

    Parameters
    ----------
    construction
        A network for parity on its k relevant bits, or for modular addition.
    out
        The run file to write; by default checkpoints/NAME-K-N.h5 or, for modular addition, checkpoints/NAME-P.h5.
    overwrite
        Replace an existing run.
    task
        Fields of the run's task, with defaults in parentheses. For parity: `n`, the number of inputs (40); `support`,
        the index of the input for each bit of the construction (0..k-1); `n_train` (1000) and `n_test` (100), the
        numbers of training and test examples. For modular addition: `train_fraction` (0.5).

    Returns
    -------
    The run, opened for reading. It has one seed (0) and one checkpoint in float64, which rounds numbers such as 1/3.

    Raises
    ------
    InputError
        The bits do not fit in n inputs, the task has no such field, or the file exists.

    Examples
    --------
    >>> import circuits, tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     run = from_construction(circuits.constructions.dnf(3), f"{folder}/dnf.h5", n=10, support=[7, 0, 4])
    ...     run.arrays()["W"][1], float(run.metrics["test_accuracy"][-1, 0])
    (array([-1.,  0.,  0.,  0.,  1.,  0.,  0., -1.,  0.,  0.]), 1.0)
    """
    arguments: tuple[Any, ...] = ()
    if isinstance(construction, ModularAddition):
        sizes = str(construction.p)
        parts = {
            "task": {"kind": "modular", **task, "p": construction.p, "operation": "x+y", "encoding": "one-hot"},
            "model": {"kind": "mlp", "widths": [construction.n_neurons], "activation": "square", "biases": False},
            "loss": "cross_entropy",
            "batch_size": None,
        }
    else:
        task = SIZES | task
        support = None if task.get("support") is None else list(task["support"])
        sizes, arguments = f"{construction.k}-{task['n']}", (task["n"], support)
        parts = {
            "task": {"kind": "parity", **task, "k": construction.k, "support": support},
            "model": {"kind": "relu", "width": construction.n_neurons},
        }
    name, source = construction.name, f"{construction.source}; hand-built, not trained"
    config = parse({"name": name, "source": source, **parts, "epochs": 0, "seeds": [0], "dtype": "float64"})
    path = Path("checkpoints", f"{name}-{sizes}.h5") if out is None else Path(out)
    arrays = construction.arrays(*arguments)
    return write_run(path, config, lambda _: [arrays], name, overwrite=overwrite, progress=False)
