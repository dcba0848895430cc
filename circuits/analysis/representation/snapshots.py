"""Which checkpoints are pictured: from memorization to generalization, and the last.

As Fuangkawinsombut 2024, Figures 2.2 and 2.3: five checkpoints evenly spaced from the memorization checkpoint to the
generalization checkpoint of a seed, and its last. Where these two are close the code of the thesis looks 20 epochs on;
here the five are at least one checkpoint apart. A seed that never memorized starts at its first checkpoint, one that
never generalized goes on to its last.
"""

import numpy as np
from jaxtyping import Int

from circuits.analysis.networks.labels import chosen_checkpoints
from circuits.analysis.networks.options import PruningOptions
from circuits.analysis.networks.phases import phase_checkpoints
from circuits.checkpoints.run import Run

BETWEEN = 5  # from memorization to generalization
N_PANELS = BETWEEN + 1
ALONG = 40  # checkpoints of a curve over the whole run, but for these


def panel_checkpoints(memorized: float, generalized: float, last: int) -> Int[np.ndarray, " panel"]:
    """Indices of the checkpoints to picture, ascending; -1 for those that a short run has not.

    Parameters
    ----------
    memorized, generalized
        Indices of the phases, NaN where there is none.
    last
        Index of the last checkpoint.

    Examples
    --------
    >>> panel_checkpoints(10.0, 50.0, 300).tolist()
    [10, 20, 30, 40, 50, 300]
    >>> panel_checkpoints(10.0, 11.0, 300).tolist(), panel_checkpoints(float("nan"), float("nan"), 2).tolist()
    ([10, 11, 12, 13, 14, 300], [0, 1, 2, -1, -1, -1])
    """
    first = 0 if np.isnan(memorized) else int(memorized)
    end = last if np.isnan(generalized) else int(generalized)
    first, end = sorted((first, end))
    end = min(max(end, first + BETWEEN - 1), last)
    return _padded(np.unique([*np.rint(np.linspace(first, end, BETWEEN)).astype(int), last]))


def pictured(run: Run, options: PruningOptions) -> Int[np.ndarray, "seed panel"]:
    """The checkpoints to picture of every seed: as `panel_checkpoints`, or six of those that `options` selects."""
    if options.slice != slice(None):
        chosen = chosen_checkpoints(run, options)
        some = chosen[np.unique(np.rint(np.linspace(0, len(chosen) - 1, N_PANELS)).astype(int))]
        return np.tile(_padded(some), (len(run.seeds), 1))
    phases = zip(*phase_checkpoints(run, options), strict=True)
    return np.array([panel_checkpoints(float(m), float(g), run.n_checkpoints - 1) for m, g in phases])


def pictured_seed(run: Run, options: PruningOptions) -> int:
    """The seed to picture: that with the longest grokking delay, as in the thesis; the first if there is none."""
    memorized, generalized = phase_checkpoints(run, options)
    delay = np.nan_to_num(generalized - memorized, nan=-np.inf)
    return run.seeds[int(delay.argmax())]


def along_the_run(run: Run, options: PruningOptions, also: Int[np.ndarray, "seed panel"]) -> Int[np.ndarray, " step"]:
    """Those that `options` selects; of all, about 40, denser early on, with the first, the last and those in `also`."""
    if options.slice != slice(None):
        return chosen_checkpoints(run, options)
    n_later = run.n_checkpoints - 1
    spaced = np.rint(np.geomspace(1, n_later, ALONG)).astype(int) if n_later else np.zeros(0, int)
    return np.unique(np.concatenate([[0], spaced, also[also >= 0]]))


def _padded(found: Int[np.ndarray, " some"]) -> Int[np.ndarray, " panel"]:
    return np.pad(found, (0, N_PANELS - len(found)), constant_values=-1)
