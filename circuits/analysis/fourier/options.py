"""Options of the measurement `fourier`."""

from circuits.analysis.networks.options import PruningOptions
from circuits.config_base import Share


class FourierOptions(PruningOptions):
    """The rule for key frequencies."""

    key_share: Share | None = None
    """A frequency is key if its cosine has at least this share of the sum of squares of the last checkpoint's logits
    (fourier). By default 1/m for Z_m: half the share that each frequency has if all shares are equal."""
