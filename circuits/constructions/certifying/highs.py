"""Mixed-integer linear programs, by SciPy's HiGHS (Huangfu and Hall 2018).

HiGHS writes a line to the process's stdout when a program is numerically hard, and no option prevents this. Only
results belong on stdout, so stdout is redirected to stderr while HiGHS runs.
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

SOLVED, OUT_OF_TIME, INFEASIBLE = 0, 1, 2  # values of `status` in the answer


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

    In SciPy's answer, `status` is SOLVED, OUT_OF_TIME, INFEASIBLE or, if HiGHS fails, another number; `x` may be None.

    Examples
    --------
    How many of three 0/1 variables must be 1 so that their sum is at least 1.5?

    >>> ones = np.ones(3)
    >>> answer = highs(ones, ones, ones, ones[None], np.array([1.5]), np.array([np.inf]), 10.0)
    >>> answer.status == SOLVED, round(answer.fun, 6)
    (True, 2.0)
    """
    options: dict[str, Any] = {"mip_rel_gap": 0.0, "time_limit": max(time_limit, 0.01)}
    constraints = LinearConstraint(rows, low, high) if rows.shape[0] else None
    bounds = Bounds(np.zeros(len(top)), top)
    with _stdout_to_stderr():
        return milp(objective, integrality=whole, bounds=bounds, constraints=constraints, options=options)


def dual_bound(answer: OptimizeResult) -> float:
    """Lower bound of the objective in HiGHS's answer: inf if the program is infeasible, -inf if there is no bound.

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
    stdout = os.dup(1)
    try:
        os.dup2(2, 1)
        yield
    finally:
        libc.fflush(None)  # C's buffer goes to stderr too
        os.dup2(stdout, 1)
        os.close(stdout)
