"""The earliest measure of each seed, if the intervals of the onsets single out one measure.

A measure is surely before another if its onset interval ends before the other onset interval begins. A censored onset
may lie before the fitted epochs; its interval is (−∞, high]. A measure's `rank` is 1 plus the number of measures surely
before it; its `rank_high` is the number of measures not surely after it, itself included. The true rank lies between
these two numbers. A measure is *earliest* only if it is surely before all other measures; then both numbers are 1. If
no measure is earliest, the measures with `rank` 1 are tied.

An analysis choice is one combination of first fitted epoch and scale (linear or log). The earliest measure of a seed is
reported with the share of analysis choices and the share of seeds in which the same measure is earliest.
"""

from collections.abc import Sequence

import numpy as np
import xarray as xr
from jaxtyping import Float, Int

# Share of the variance that an earliest measure's ramp explains at least; one in six random walks of 150 points reaches
# it, and no AR(0.9) noise.
LEAST_EXPLAINED = 0.9


def ranks(
    low: Float[np.ndarray, "measure seed"], high: Float[np.ndarray, "measure seed"]
) -> tuple[Int[np.ndarray, "measure seed"], Int[np.ndarray, "measure seed"]]:
    """Least and greatest possible rank of each measure (1 changes first), by the onset intervals; 0 for a NaN interval.

    Parameters
    ----------
    low, high
        (measure, seed) ends of the onset intervals; low is −∞ if the onset may lie before the first fitted epoch.

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
    """For each seed, the measure whose onset interval ends before all others begin; "" if there is no such measure.

    Parameters
    ----------
    names
        Names of the measures.
    low, high
        (measure, seed) ends of the onset intervals.
    explained
        (measure, seed) share of the variance that the ramp explains. The earliest measure needs at least 0.9. A measure
        with a smaller share is never the earliest, but its interval can prevent another from being the earliest.

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
    """For each seed: share of analysis choices, and of seeds, with the same earliest measure; NaN if the seed has none.

    Parameters
    ----------
    earliest
        Earliest measure of each seed, or "".
    choices
        For each analysis choice (first epoch, scale), the earliest measure of each seed; [] makes the first share NaN.

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

    Parameters
    ----------
    result
        `rank`, `onset_high` (measure, seed) of `circuits.analysis.change_points`.
    """
    at = result.sel(seed=seed)
    names = at["measure"].values[at["rank"].values == 1]
    return [str(names[place]) for place in np.argsort(at["onset_high"].sel(measure=names).values, kind="stable")]


def earliest_summary(result: xr.Dataset) -> str:
    """Sentence that names each earliest measure and counts its seeds and analysis choices, or says that there is none.

    Parameters
    ----------
    result
        `earliest`, `earliest_choices` (seed) of `change_points`. A choice is the
        memorization threshold, where the fit begins, and the scale of the measures (linear or logarithmic).
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
