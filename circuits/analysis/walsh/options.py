"""Options of the measurement `walsh`."""

from typing import Annotated

from pydantic import Field

from circuits.analysis.networks.options import PruningOptions


class WalshOptions(PruningOptions):
    """The inputs over which outputs are averaged."""

    walsh_samples: Annotated[int, Field(ge=16, le=1 << 20)] = 1024
    """Number of random inputs (walsh); estimates of single coefficients use 16 times as many."""
    walsh_exact_bits: Annotated[int, Field(ge=0, le=20)] = 12
    """Enumerate all 2^n inputs if n is at most this; otherwise sample (walsh). Along a run, coefficients of
    subsets with an irrelevant bit are always sampled if n > 14. With n = 20 one network takes about a second."""
