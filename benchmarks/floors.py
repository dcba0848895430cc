"""What the hardware allows: operations over the measured rate of a product, bytes over the measured rate of a copy."""

import numpy as np
from timing import seconds

from circuits.threads import one_blas_thread


def rates() -> tuple[float, float]:
    """Multiply-adds per second of a large sgemm, and bytes copied per second beyond the caches, of one core."""
    a, b, c = (np.ones((1024, 1024), np.float32) for _ in range(3))
    source, copy = np.ones(1 << 26, np.float32), np.empty(1 << 26, np.float32)
    with one_blas_thread():
        product = min(seconds(lambda: np.matmul(a, b, out=c)) for _ in range(10))
    moved = min(seconds(lambda: np.copyto(copy, source)) for _ in range(5))
    return 1024**3 / product, 2 * source.nbytes / moved


def rows() -> list[tuple[str, ...]]:
    """Floors per unit of work of the flagship: n = 40, width 1000, 1000 + 100 examples, batches of 32, float32."""
    n, width, examples, test, batch = 40, 1000, 1000, 100, 32
    multiply_adds, bytes_per_second = rates()
    parameters = 4 * width * (n + 2)
    work = {  # multiply-adds, bytes
        "one step, no example active": (batch * n * width, 2 * parameters + 2 * 4 * batch * width),
        "one step, every example active": (2 * batch * n * width, 2 * parameters + 4 * 4 * batch * width),
        "metrics of one network": ((examples + test) * n * width, parameters + 2 * 4 * (examples + test) * width),
        "effective sparsity of one network": (examples * n * width, parameters + 3 * 4 * examples * width),
        "one checkpoint of one network, written": (0, 2 * parameters),
    }
    return [
        (name, f"{1e-6 * ops:.2f} M", f"{1e6 * ops / multiply_adds:.0f} µs", f"{1e-3 * size:.0f} kB",
         f"{1e6 * size / bytes_per_second:.0f} µs")
        for name, (ops, size) in work.items()
    ]  # fmt: skip
