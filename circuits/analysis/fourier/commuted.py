"""Share of a test set that a network solves if it only memorized the training set and the rule x + y = y + x.

Such a network solves a test point if the operands, in another order, are a training point with the same answer (Merrill
et al. 2023, Figure 4, appendix A). A test accuracy at this share does not show generalization.
"""

import xarray as xr

from circuits.checkpoints.run import Run
from circuits.errors import InputError

MARK = "test_commuted"


def commuted_share(run: Run) -> xr.DataArray:
    """Share of each seed's test examples that equal a training example with commuted operands, (seed,) in 0..1.

    Raises
    ------
    InputError
        The run's task has no operands to commute.
    """
    if MARK not in run.all_data:
        raise InputError(
            f"{run.path}: task '{run.config.task.kind}' has no operands to commute. Pass a run of modular arithmetic."
        )
    marks = run.all_data[MARK]
    share = marks.mean([dim for dim in marks.dims if dim != "seed"]).broadcast_like(run.all_data["seed"])
    share.attrs = {"long_name": "share of the test set that commuting a training example solves"}
    return share.rename("commuted_share")
