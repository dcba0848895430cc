"""Options of the measurement `walsh`."""

from typing import Annotated

from pydantic import Field

from circuits.analysis.networks.options import PruningOptions


class WalshOptions(PruningOptions):
    """Options of the walsh analysis: how many inputs it samples, and up to how many input bits it uses all inputs."""

    walsh_samples: Annotated[int, Field(ge=16, le=1 << 20)] = 1024
    """Number of random inputs for the walsh analysis; estimates of single coefficients use 16 times as many."""
    walsh_exact_bits: Annotated[int, Field(ge=0, le=20)] = 12
    """For the walsh analysis of n bits: enumerate all 2^n inputs if n is at most this; otherwise sample. At n = 20, a
    network takes about 1 s. If n > 14, the measurement "walsh" always samples for one group of coefficients: those of
    subsets with a bit outside the parity."""
