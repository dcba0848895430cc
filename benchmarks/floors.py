"""What the hardware allows: the least work that a figure stands for, over rates measured in the same run.

Multiply-adds over the rate of a large product, bytes over the rate of a copy within the caches, bytes of a file over
the rate of a plain write. Nothing does the work in less, so a figure below its floor did not do it.
"""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from timing import seconds

from circuits.threads import one_blas_thread, usable_cores

CACHED, UNCACHED = 1 << 13, 1 << 26  # float32 numbers per copy: 32 kB and 256 MB


@dataclass(frozen=True)
class Rates:
    """What one core does per second: multiply-adds of a large sgemm, bytes copied (read or written), bytes stored."""

    multiply_adds: float
    moved: float
    moved_uncached: float
    stored: float

    def better(self, other: "Rates") -> "Rates":
        """The higher of each: a slow moment of the machine must not raise a floor."""
        return Rates(*map(max, zip(vars(self).values(), vars(other).values(), strict=True)))


@dataclass(frozen=True)
class Work:
    """The least work behind one figure, whatever the way it is done.

    `multiply_adds` only for ways that multiply matrices: the compiled step adds up sums of patterns instead.
    """

    multiply_adds: float = 0
    moved: float = 0
    """Bytes read or written in memory."""
    stored: float = 0
    """Bytes written to a file."""
    cores: int = 1

    def floor(self, rates: Rates) -> float:
        """Seconds at these rates; multiply-adds, copies and writes may overlap, so the longest of them."""
        on_cores = max(self.multiply_adds / rates.multiply_adds, self.moved / rates.moved)
        return max(on_cores / self.cores, self.stored / rates.stored)

    def times(self, count: float, cores: int = 1) -> "Work":
        """So many of it, spread over cores."""
        return Work(self.multiply_adds * count, self.moved * count, self.stored * count, cores)


ALL_CORES = usable_cores()


def rates(folder: Path) -> Rates:
    """Measured now, on one core, the best of several."""
    a, b, c = (np.ones((1024, 1024), np.float32) for _ in range(3))
    with one_blas_thread():
        product = min(seconds(lambda: np.matmul(a, b, out=c)) for _ in range(10))

    def copies(size: int, times: int) -> float:
        source, copy = np.ones(size, np.float32), np.empty(size, np.float32)
        return 2 * source.nbytes / min(seconds(lambda: np.copyto(copy, source)) for _ in range(times))

    content, path = np.ones(1 << 24, np.float32).tobytes(), folder / "pure-write"
    written = len(content) / min(seconds(lambda: path.write_bytes(content)) for _ in range(5))
    path.unlink()
    cached, uncached = copies(CACHED, 1000), copies(UNCACHED, 5)
    return Rates(1024**3 / product, max(cached, uncached), uncached, written)


N, WIDTH, EXAMPLES, TEST, BATCH = 40, 1000, 1000, 100, 32  # of the flagship
PARAMETERS = 4 * WIDTH * (N + 2)  # bytes of one network
PRODUCT = EXAMPLES * N * WIDTH  # multiply-adds of W X


def rows(of: Rates) -> list[tuple[str, ...]]:
    """Floors per unit of work of the flagship: n = 40, width 1000, 1000 + 100 examples, batches of 32, float32."""
    work = {  # multiply-adds, bytes
        "one step, no example active": (BATCH * N * WIDTH, 2 * PARAMETERS + 2 * 4 * BATCH * WIDTH),
        "one step, every example active": (2 * BATCH * N * WIDTH, 2 * PARAMETERS + 4 * 4 * BATCH * WIDTH),
        "metrics of one network": ((EXAMPLES + TEST) * N * WIDTH, PARAMETERS + 2 * 4 * (EXAMPLES + TEST) * WIDTH),
        "effective sparsity of one network": (PRODUCT, PARAMETERS + 3 * 4 * EXAMPLES * WIDTH),
        "one checkpoint of one network, written": (0, 2 * PARAMETERS),
    }
    return [
        (name, f"{1e-6 * ops:.2f} M", f"{1e6 * ops / of.multiply_adds:.0f} µs", f"{1e-3 * size:.0f} kB",
         f"{1e6 * size / of.moved_uncached:.0f} µs")
        for name, (ops, size) in work.items()
    ]  # fmt: skip
