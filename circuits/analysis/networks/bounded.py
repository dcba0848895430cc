"""Epochs in words: 107,791, and ≤ 107,791 where that is only a bound."""

import math

import xarray as xr

NONE, UNKNOWN = "–", "unknown"


def bounded(value: float, censored: bool = False, *, sign: str = "≤", none: str = NONE) -> str:
    """A number of epochs, with the sign of a bound in front of a censored one.

    Parameters
    ----------
    value
        An epoch, a step or a number of either; NaN is `none`.
    censored
        Whether the true value is only known to lie at or beyond `value`.
    sign
        On which side: "≤" or "≥".
    none
        The words for NaN.

    Examples
    --------
    >>> bounded(107791.0, True), bounded(29.0), bounded(1234567.0), bounded(float("nan"), none="never")
    ('≤ 107,791', '29', '1,234,567', 'never')
    >>> bounded(0.15625, True, sign="≥"), bounded(-54.0), bounded(-54.0, True)
    ('≥ 0.15625', '-54', '≤ -54')
    """
    value = float(value)
    if math.isnan(value):
        return none
    text = f"{value:,.0f}" if value.is_integer() else f"{value:,.6g}"
    return f"{sign} {text}" if censored else text


def epoch_in_words(at: xr.Dataset, phase: str, none: str = "never") -> str:
    """When one seed memorized or generalized: `at` is its part of `phases`, `phase` names one of the two.

    `none` is the words for a seed that was trained and never did; one that was not trained has "–".
    """
    if at[f"{phase}_epoch"].attrs.get("untrained"):
        return NONE
    censored = f"{phase}_censored" in at and bool(at[f"{phase}_censored"])
    return bounded(float(at[f"{phase}_epoch"]), censored, none=none)


def delay_in_words(at: xr.Dataset) -> str:
    """The grokking delay of one seed; where a phase is censored, the bound that the epochs give, if they give one.

    A seed that memorized at or before epoch M and generalized at g has a delay of at least g - M; one that memorized at
    m and generalized at or before G of at most G - m. If both are censored, the delay is unknown.
    """
    memorized, generalized = (bool(at.get(f"{phase}_censored", False)) for phase in ("memorization", "generalization"))
    bound = float(at["generalization_epoch"]) - float(at["memorization_epoch"])
    if memorized and generalized:
        return UNKNOWN
    if memorized or generalized:
        return bounded(bound, True, sign="≥" if memorized else "≤")
    return bounded(float(at["grokking_delay"]))
