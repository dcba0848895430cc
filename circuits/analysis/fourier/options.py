"""Options of the measurement `fourier`."""

from circuits.analysis.networks.options import PruningOptions
from circuits.config_base import Share


class FourierOptions(PruningOptions):
    """The options of pruning, and a threshold: how much of the logits a key frequency must explain."""

    key_share: Share | None = None
    """For the fourier analysis: a frequency is key if its cosine has at least this share of the logits' sum of squares
    at the last checkpoint. The default is 1/m, where m is the number of elements of the task's cyclic group: half of
    the share 2/m that each of the m/2 frequencies would have if they explained everything in equal parts."""
