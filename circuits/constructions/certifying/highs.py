"""Mixed-integer linear programs, by the HiGHS that SciPy brings (Huangfu and Hall 2018).

HiGHS writes a line of its own to the process's stdout when a program is numerically hard, whatever it is told. Results
alone belong there, so while it runs that stream leads to stderr.
"""

import ctypes
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
from jaxtyping import Float
from scipy.optimize import Bounds, LinearConstraint, OptimizeResult, milp
from scipy.sparse import csr_array

SOLVED, OUT_OF_TIME, INFEASIBLE = 0, 1, 2  # of the answer's `status`


def highs(
    objective: Float[np.ndarray, " variable"],
    whole: Float[np.ndarray, " variable"],
    top: Float[np.ndarray, " variable"],
    rows: Float[np.ndarray, "row variable"] | csr_array,
    low: Float[np.ndarray, " row"],
    high: Float[np.ndarray, " row"],
    time_limit: float,
) -> OptimizeResult:
    """The least objective·x over 0 <= x <= top, low <= rows·x <= high, with x_j an integer where `whole` is 1.

    Returns
    -------
    SciPy's answer: `status` is one of the names above, or another for trouble; `x` is None where nothing was found.

    Examples
    --------
    The fewest of three that hold 1.5 together, each 1 at most.

    >>> ones = np.ones(3)
    >>> answer = highs(ones, ones, ones, ones[None], np.array([1.5]), np.array([np.inf]), 10.0)
    >>> answer.status == SOLVED, round(answer.fun, 6)
    (True, 2.0)
    """
    options: dict[str, Any] = {"mip_rel_gap": 0.0, "time_limit": max(time_limit, 0.01)}
    constraints = LinearConstraint(rows, low, high) if rows.shape[0] else None
    with _stdout_to_stderr():
        return milp(
            objective,
            integrality=whole,
            bounds=Bounds(np.zeros(len(top)), top),
            constraints=constraints,
            options=options,
        )


def dual_bound(answer: OptimizeResult) -> float:
    """What the answer says no objective lies below: inf if there is no x, -inf if it does not say.

    Examples
    --------
    >>> dual_bound(OptimizeResult(status=INFEASIBLE, mip_dual_bound=None))
    inf
    """
    if answer.status == INFEASIBLE:
        return float("inf")
    has_bound = answer.status in (SOLVED, OUT_OF_TIME) and answer.mip_dual_bound is not None
    return float(answer.mip_dual_bound) if has_bound else float("-inf")


@contextmanager
def _stdout_to_stderr() -> Iterator[None]:
    libc = ctypes.CDLL(None)
    sys.stdout.flush()
    kept = os.dup(1)
    try:
        os.dup2(2, 1)
        yield
    finally:
        libc.fflush(None)  # what C still holds goes where it was written to
        os.dup2(kept, 1)
        os.close(kept)
