"""The measurement `phases`: epochs of memorization and generalization, and share of test inputs seen in training."""

import xarray as xr

from circuits.analysis.measurement import Measurement
from circuits.analysis.networks.options import WalkOptions
from circuits.analysis.networks.phase_tables import phase_tables
from circuits.analysis.networks.phases import phases
from circuits.analysis.networks.unseen import memory_share
from circuits.checkpoints.run import Run


def measure(run: Run, options: WalkOptions = WalkOptions(), *, progress: bool = False) -> xr.Dataset:
    """Epochs of memorization and generalization of each seed (see the function `phases`), plus `test_seen_share`.

    `test_seen_share` (seed,) is the share of test inputs seen in training; 0 for an untrained run.
    """
    return phases(run, options).assign(test_seen_share=memory_share(run))


PHASES = Measurement(measure, tables=phase_tables)
