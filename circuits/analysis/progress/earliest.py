"""The measure that surely begins to change first in each seed, if there is one.

A measure's onset is the epoch at which its change begins. A fitted ramp (constant, straight line, constant) gives a
95 % interval [low, high] of the onset. If the change may have begun before the first epoch of the fit, low is −∞.
Measure A changes surely before measure B if high of A is below low of B. A measure is *earliest* only if it changes
surely before all other measures. If no measure is earliest, measures that no other measure surely precedes are tied.
"""

from collections.abc import Sequence

import numpy as np
import xarray as xr
from jaxtyping import Float, Int

LEAST_EXPLAINED = 0.9  # least share of the variance that the earliest measure's ramp explains; `ramp` has error rates


def ranks(
    low: Float[np.ndarray, "measure seed"], high: Float[np.ndarray, "measure seed"]
) -> tuple[Int[np.ndarray, "measure seed"], Int[np.ndarray, "measure seed"]]:
    """Least and greatest possible rank of each measure, from 1 for the measure that begins to change first.

    The interval [low, high] holds the onset, the time at which the measure begins to change. If only an upper bound is
    known, low is −∞. If the measure does not change, low and high are NaN, and both ranks are 0. Measure A changes
    surely before measure B if high of A is below low of B. The least rank is 1 plus the number of measures surely
    before this one. The greatest rank is the number of measures that change, minus those surely after this one.

    Examples
    --------
    >>> low, high = np.array([[2.0, -np.inf, 6.0, np.nan]]).T, np.array([[5.0, 3.0, 9.0, np.nan]]).T
    >>> least, greatest = ranks(low, high)
    >>> least.ravel().tolist(), greatest.ravel().tolist()
    ([1, 1, 3, 0], [2, 2, 3, 0])
    """
    defined = ~np.isnan(high)
    before = high[:, None] < low[None, :]  # (measure, other, seed); False where NaN
    least = np.where(defined, 1 + before.sum(axis=0), 0)
    greatest = np.where(defined, defined.sum(axis=0) - before.sum(axis=1), 0)
    return least, greatest


def earliest_measures(
    names: Sequence[str],
    low: Float[np.ndarray, "measure seed"],
    high: Float[np.ndarray, "measure seed"],
    explained: Float[np.ndarray, "measure seed"],
) -> list[str]:
    """Name of the measure that surely begins to change first in each seed; "" if a seed has no such measure.

    The interval [low, high] holds the onset, the time at which a measure begins to change; low and high are NaN if the
    measure does not change. A measure surely changes first if its high is below low of every other measure that
    changes. Also, a ramp (constant, straight line, constant), fitted to the measure, must explain at least 0.9 of the
    measure's variance; `explained` is this share. A measure with a smaller share is never named, but its interval can
    prevent another measure from being named.

    Examples
    --------
    >>> low, high = np.array([[2.0, 2.0], [6.0, 4.0]]), np.array([[5.0, 5.0], [9.0, 9.0]])
    >>> earliest_measures(["a", "b"], low, high, np.ones((2, 2)))
    ['a', '']
    """
    _, greatest = ranks(low, high)
    named = (greatest == 1) & (explained >= LEAST_EXPLAINED)
    return [names[int(column.argmax())] if column.any() else "" for column in named.T]


def agreement(earliest: Sequence[str], choices: Sequence[Sequence[str]]) -> tuple[np.ndarray, np.ndarray]:
    """How robust each seed's earliest measure is: two arrays of shares in 0..1, each (seed,).

    `earliest` has one name per seed: the measure that surely begins to change first; "" if a seed has no such measure.
    Other settings of the analysis (first epoch of the fit, linear or log scale) give the lists of names in `choices`.
    The first array has, for each seed, the share of the lists in `choices` that give this seed the same name; NaN if
    `choices` is []. The second array has the share of all seeds, this seed included, with the same name in `earliest`.
    Both shares are NaN for a seed with the name "".

    Examples
    --------
    >>> agreement(["a", "a", ""], [["a", "b", ""], ["a", "a", "a"]])
    (array([1. , 0.5, nan]), array([0.66666667, 0.66666667,        nan]))
    """
    named = np.array([bool(name) for name in earliest])
    same = np.array([[name == other for name, other in zip(earliest, choice, strict=True)] for choice in choices])
    of_choices = same.mean(axis=0) if len(choices) else np.full(len(named), np.nan)
    of_seeds = np.array([np.mean([name == other for other in earliest]) for name in earliest])
    return np.where(named, of_choices, np.nan), np.where(named, of_seeds, np.nan)


def tied(result: xr.Dataset, seed: int) -> list[str]:
    """Names of the measures that may be the first to change in one seed (`rank` is 1), sorted by `onset_high`.

    `result` is the result of `circuits.analysis.change_points`.
    """
    at = result.sel(seed=seed)
    names = at["measure"].values[at["rank"].values == 1]
    return [str(names[place]) for place in np.argsort(at["onset_high"].sel(measure=names).values, kind="stable")]


def earliest_summary(result: xr.Dataset) -> str:
    """Sentence that says which measures surely begin to change before all others, and in how many seeds.

    An instance is "Earliest by its interval: margin in 2 of 3 seeds (7 to 8 of 8 analysis choices agree); none in 1."
    Here `margin` is the earliest measure in two seeds, and the third seed has none. In one of the two seeds, 7 of 8
    analysis choices also give `margin`; in the other, all 8 do. An analysis choice is a memorization threshold and a
    scale (linear or log). The interval is the 95 % interval of the epoch at which the measure begins to change.
    `result` is the result of `circuits.analysis.change_points`.
    """
    names, choices = result["earliest"].values.tolist(), result["earliest_choices"].values
    n_choices = int(result["earliest_choices"].attrs.get("n_choices", 0))
    parts = []
    for name in dict.fromkeys(name for name in names if name):
        seeds = [index for index, other in enumerate(names) if other == name]
        parts.append(f"{name} in {len(seeds)} of {len(names)} seeds")
        if n_choices:
            counts = sorted({round(float(choices[index]) * n_choices) for index in seeds})
            counted = f"{counts[0]}" if len(counts) == 1 else f"{counts[0]} to {counts[-1]}"
            parts[-1] += f" ({counted} of {n_choices} analysis choices agree)"
    if not parts:
        return "No measure is surely the earliest in any seed."
    without = names.count("")
    none = f"; none in {without}" if without else ""
    return f"Earliest by its interval: {', '.join(parts)}{none}."
