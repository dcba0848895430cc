"""Options of the measurement `walsh`."""

from typing import Annotated

from pydantic import Field

from circuits.analysis.networks.options import PruningOptions


class WalshOptions(PruningOptions):
    """On which inputs outputs are averaged."""

    walsh_samples: Annotated[int, Field(ge=16, le=1 << 20)] = 1024
    """Inputs drawn for each network (walsh); sixteen times as many where single coefficients are estimated."""
    walsh_exact_bits: Annotated[int, Field(ge=0, le=20)] = 12
    """Up to so many input bits all 2^n inputs are taken instead (walsh), up to 14 where single
    coefficients of many networks are estimated; at 20 a network takes about a second."""
