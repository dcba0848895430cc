"""Choice of the checkpoints whose hidden representation is pictured.

As in a thesis (Fuangkawinsombut 2024, Figures 2.2 and 2.3), these are the last checkpoint and five checkpoints from
memorization to generalization. If fewer than five lie there, this module takes five consecutive ones from memorization
on. The code of the thesis differs: if memorization and generalization are close, it spreads five checkpoints over 20
epochs after memorization.
"""

import numpy as np
from jaxtyping import Int

from circuits.analysis.networks.labels import chosen_checkpoints
from circuits.analysis.networks.options import PruningOptions
from circuits.analysis.networks.phases import phase_checkpoints
from circuits.checkpoints.run import Run

BETWEEN = 5  # checkpoints from memorization to generalization
N_PANELS = BETWEEN + 1
ALONG = 40  # checkpoints of a curve over the whole run, besides the pictured ones


def panel_checkpoints(memorized: float, generalized: float, last: int) -> Int[np.ndarray, " panel"]:
    """Indices of six checkpoints to picture: five from `memorized` to `generalized`, and the last checkpoint `last`.

    `memorized` and `generalized` are the indices of the checkpoints at which a seed memorized and generalized. NaN
    means never: `memorized` then counts as 0, and `generalized` as `last`. The five are evenly spaced; if the two
    checkpoints are fewer than four apart, the five are consecutive. The result is ascending; -1 fills unused places.

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


def panels_of_seeds(run: Run, options: PruningOptions) -> Int[np.ndarray, "seed panel"]:
    """Indices of at most six checkpoints to picture for each seed, padded with -1.

    If `options` has a slice of checkpoints, the six are evenly spaced in the slice. Otherwise, they are the last
    checkpoint and five from memorization to generalization of the seed.
    """
    if options.slice != slice(None):
        chosen = chosen_checkpoints(run, options)
        some = chosen[np.unique(np.rint(np.linspace(0, len(chosen) - 1, N_PANELS)).astype(int))]
        return np.tile(_padded(some), (len(run.seeds), 1))
    phases = zip(*phase_checkpoints(run, options), strict=True)
    return np.array([panel_checkpoints(float(m), float(g), run.n_checkpoints - 1) for m, g in phases])


def pictured_seed(run: Run, options: PruningOptions) -> int:
    """The seed with the longest grokking delay, as in Fuangkawinsombut 2024; the first seed if none has a delay."""
    memorized, generalized = phase_checkpoints(run, options)
    delay = np.nan_to_num(generalized - memorized, nan=-np.inf)
    return run.seeds[int(delay.argmax())]


def along_the_run(run: Run, options: PruningOptions, also: Int[np.ndarray, "seed panel"]) -> Int[np.ndarray, " step"]:
    """Ascending indices of the checkpoints at which a measure is computed, to draw it as a curve over training.

    If `options` selects checkpoints by a slice, such as "50:100", the result has exactly the selected ones. Otherwise,
    it has about 40 checkpoints of the whole run, denser early on, and also all indices in `also` except -1.
    """
    if options.slice != slice(None):
        return chosen_checkpoints(run, options)
    n_later = run.n_checkpoints - 1
    spaced = np.rint(np.geomspace(1, n_later, ALONG)).astype(int) if n_later else np.zeros(0, int)
    return np.unique(np.concatenate([[0], spaced, also[also >= 0]]))


def _padded(checkpoints: Int[np.ndarray, " some"]) -> Int[np.ndarray, " panel"]:
    return np.pad(checkpoints, (0, N_PANELS - len(checkpoints)), constant_values=-1)
