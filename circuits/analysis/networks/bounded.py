"""Epochs as text: 107,791, or ≤ 107,791 if the number is only a bound."""

import math

import xarray as xr

NONE, UNKNOWN = "–", "unknown"


def bounded(value: float, censored: bool = False, *, sign: str = "≤", none: str = NONE) -> str:
    """A number of epochs as text; a censored number has the sign of a bound in front.

    `value` is an epoch, a step, or a number of epochs or steps; NaN gives the text `none`. `censored` says whether
    `value` is only a bound on the true value, and `sign` is the sign of this bound, "≤" or "≥".

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


def epoch_text(at: xr.Dataset, phase: str) -> str:
    """Epoch of one seed's memorization or generalization as text; `at` is the result of `phases` for this seed.

    A trained seed that never reached the phase has "never", an untrained seed "–".
    """
    if at[f"{phase}_epoch"].attrs.get("untrained"):
        return NONE
    censored = f"{phase}_censored" in at and bool(at[f"{phase}_censored"])
    return bounded(float(at[f"{phase}_epoch"]), censored, none="never")


def delay_text(at: xr.Dataset) -> str:
    """Text of one seed's grokking delay, or of a bound on it if one phase's epoch is only an upper bound (censored).

    A seed that memorized at or before epoch M and generalized at g has a delay of at least g - M. A seed that memorized
    at m and generalized at or before G has a delay of at most G - m. If both are censored, the delay is unknown.
    """
    memorized, generalized = (bool(at.get(f"{phase}_censored", False)) for phase in ("memorization", "generalization"))
    bound = float(at["generalization_epoch"]) - float(at["memorization_epoch"])
    if memorized and generalized:
        return UNKNOWN
    if memorized or generalized:
        return bounded(bound, True, sign="≥" if memorized else "≤")
    return bounded(float(at["grokking_delay"]))
