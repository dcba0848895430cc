"""Counter-based randomness: every draw is a function of what it is for.

`generator("order", seed, epoch)` is the same stream on every call, in any order, in any process, so no generator state
is ever saved: a run that was killed, or a stretch that is replayed, draws exactly what the original drew. The counter
is hashed by `numpy.random.SeedSequence` into the key of a Philox generator (Salmon et al. 2011, "Parallel random
numbers: as easy as 1, 2, 3").
"""

from zlib import crc32

import numpy as np


def generator(purpose: str, *counters: int) -> np.random.Generator:
    """The generator of one purpose at one place.

    Parameters
    ----------
    purpose
        What is drawn: "train", "test", "init", "order", ...; distinct purposes are independent.
    counters
        Integers >= 0 that say which one: a seed, an epoch.

    Examples
    --------
    >>> bool((generator("order", 3, 7).permutation(9) == generator("order", 3, 7).permutation(9)).all())
    True
    """
    entropy = [crc32(purpose.encode()), *counters]
    return np.random.Generator(np.random.Philox(np.random.SeedSequence(entropy)))
