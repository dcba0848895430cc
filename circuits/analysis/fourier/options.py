"""Options of the measurement `fourier`."""

from circuits.analysis.networks.options import PruningOptions
from circuits.config_base import Share


class FourierOptions(PruningOptions):
    """Which frequencies are key."""

    key_share: Share | None = None
    """A frequency is key if its cosine has at least this share of the last logits' sum of squares (fourier); by default
    1/m for Z_m, half of what each would have if all were alike."""
