"""Options of the measurement `fourier`."""

from circuits.analysis.networks.options import PruningOptions
from circuits.config_base import Share


class FourierOptions(PruningOptions):
    """The rule for key frequencies."""

    key_share: Share | None = None
    """For the fourier analysis: a frequency is key if its cosine has at least this share of the last checkpoint's sum
    of squared logits. By default 1/m for Z_m: half the share of each frequency if all shares are equal."""
