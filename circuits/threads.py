"""Limits on threads: networks already run in parallel on all cores, so BLAS must not split products over threads.

Also, a product on two BLAS threads differs in its last bits from the product on one thread. Inside `one_blas_thread`
every product runs on its caller's thread, on any machine.
"""

import os
from collections.abc import Iterator
from contextlib import contextmanager

import scipy.linalg  # noqa: F401  SciPy brings a BLAS of its own, which can be limited only once it is loaded
from threadpoolctl import threadpool_limits


def usable_cores() -> int:
    """Number of cores this process may run on, >= 1."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def one_blas_thread() -> threadpool_limits:
    """Limit BLAS to one thread, until the `with` block ends or the result's `restore_original_limits` is called."""
    return threadpool_limits(limits=1, user_api="blas")


@contextmanager
def one_torch_thread() -> Iterator[None]:
    """Run each torch operation in the `with` block on one core. Other threads that used torch before are unaffected."""
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)
