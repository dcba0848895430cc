"""Which measure changes first, if the data say so.

A measure is surely before another if its interval of the onset ends before the other's begins; a censored onset,
which may lie before the window, has the interval (−∞, high]. `rank` counts the measures surely before, and
`rank_high` all but those surely after, so that a rank is an interval too. A measure is *earliest* only if it is
surely before all others: then both its ranks are 1. Otherwise the measures of rank 1 are tied.

Where the window begins, and whether a measure is taken as its logarithm, are choices; a claim comes with the share of
them in which the same measure is earliest, and with the share of seeds.
"""

from collections.abc import Sequence

import numpy as np
import xarray as xr
from jaxtyping import Float, Int

LEAST_EXPLAINED = 0.9  # of what may be named; of random walks of 150 points one in six comes so far, of AR(0.9) none
MOST_TIED = 4  # names in a sentence


def ranks(
    low: Float[np.ndarray, "measure seed"], high: Float[np.ndarray, "measure seed"]
) -> tuple[Int[np.ndarray, "measure seed"], Int[np.ndarray, "measure seed"]]:
    """Least and greatest rank of each measure by its interval, from 1 on; 0 where it is NaN.

    Parameters
    ----------
    low, high
        (measure, seed) ends of the intervals; low −∞ if censored.

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
    """The measure of each seed that is surely before all others that change; "" if there is none.

    Parameters
    ----------
    names
        Of the measures.
    low, high
        (measure, seed) intervals of the onsets.
    explained
        (measure, seed) share of the variance that the ramp explains; below 0.9 a measure is not named, though others
        must still be separated from it.

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
    """Shares of the choices, and of the seeds, in which each seed's earliest measure is earliest; NaN if it has none.

    Parameters
    ----------
    earliest
        Of each seed.
    choices
        The same for other analysis choices; the share is NaN if there is none.

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
    """The measures of a seed that may be the earliest, those that no other is surely before, by `onset_high`.

    Parameters
    ----------
    result
        `rank`, `onset_high` (measure, seed) of `circuits.analysis.change_points`.
    """
    at = result.sel(seed=seed)
    names = at["measure"].values[at["rank"].values == 1]
    return [str(names[place]) for place in np.argsort(at["onset_high"].sel(measure=names).values, kind="stable")]


def earliest_summary(result: xr.Dataset) -> str:
    """One sentence on which measures are earliest, in how many seeds and analysis choices, or that none is.

    Parameters
    ----------
    result
        `earliest`, `earliest_choices` (seed) and `rank` of `circuits.analysis.change_points`.
    """
    names, choices = result["earliest"].values.tolist(), result["earliest_choices"].values
    n_choices = int(result["earliest_choices"].attrs.get("n_choices", 0))
    parts = []
    for name in dict.fromkeys(name for name in names if name):
        seeds = [index for index, other in enumerate(names) if other == name]
        part = f"{name} in {len(seeds)} of {len(names)} seeds"
        if n_choices:
            counts = sorted({round(float(choices[index]) * n_choices) for index in seeds})
            counted = f"{counts[0]}" if len(counts) == 1 else f"{counts[0]} to {counts[-1]}"
            part += f" ({counted} of {n_choices} analysis choices agree)"
        parts.append(part)
    without = names.count("")
    if not parts:
        return "No measure is surely the earliest in any seed."
    none = f"; none in {without}" if without else ""
    return f"Earliest by its interval: {', '.join(parts)}{none}."
