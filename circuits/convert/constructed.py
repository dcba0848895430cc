"""A hand-built network as a run file with one checkpoint, so that every analysis works on it.

The weights are not trained, so the step is 0 and there are no epochs; the data are those that `circuits train` would
draw for this task and seed 0.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from circuits.checkpoints.run import Run
from circuits.config import parse
from circuits.convert.imported import write_run

if TYPE_CHECKING:
    from circuits.constructions.construction import Construction

N_INPUTS, N_TRAIN, N_TEST = 40, 1000, 100  # as in Merrill et al. 2023, section 2


def from_construction(
    construction: Construction,
    out: str | Path | None = None,
    *,
    n: int = N_INPUTS,
    support: Sequence[int] | None = None,
    n_train: int = N_TRAIN,
    n_test: int = N_TEST,
    overwrite: bool = False,
) -> Run:
    """Write a construction into a run file.

    Parameters
    ----------
    construction
        The network on its k relevant bits.
    out
        The run file to write; by default checkpoints/NAME-K-N.h5.
    n
        Inputs.
    support
        Indices of the relevant bits, x1 first; by default the first k.
    n_train, n_test
        Examples of the data sets that go with it.
    overwrite
        Replace an existing run.

    Returns
    -------
    The run, opened for reading: one seed, 0; one checkpoint; float64, in which a rational such as 1/3 is rounded.

    Raises
    ------
    InputError
        The bits do not fit in n inputs, or the file exists.

    Examples
    --------
    >>> import circuits, tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     run = from_construction(circuits.constructions.dnf(3), f"{folder}/dnf.h5", n=10, support=[7, 0, 4])
    ...     run.arrays()["W"][1], float(run.metrics["test_accuracy"][-1, 0])
    (array([-1.,  0.,  0.,  0.,  1.,  0.,  0., -1.,  0.,  0.]), 1.0)
    """
    k = construction.k
    config = parse(
        {
            "name": construction.name,
            "source": f"{construction.source}; hand-built, not trained",
            "task": {
                "kind": "parity", "n": n, "k": k, "support": None if support is None else list(support),
                "n_train": n_train, "n_test": n_test,
            },
            "model": {"kind": "relu", "width": construction.n_neurons},
            "epochs": 0,
            "seeds": [0],
            "dtype": "float64",
        }
    )  # fmt: skip
    arrays = construction.arrays(n, support)
    path = Path("checkpoints", f"{construction.name}-{k}-{n}.h5") if out is None else Path(out)
    return write_run(path, config, lambda _: [arrays], construction.name, overwrite=overwrite, progress=False)
