"""Options of the measurement `fourier`."""

from circuits.analysis.networks.options import PruningOptions
from circuits.config_base import Share


class FourierOptions(PruningOptions):
    """The rule for key frequencies."""

    key_share: Share | None = None
    """For the fourier analysis: a frequency is key if its cosine has at least this share of the logits' sum of squares
    at the last checkpoint. The default for Z_m is 1/m, half of each frequency's share if all m/2 shares are equal."""
