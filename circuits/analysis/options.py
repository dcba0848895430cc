"""Every option of every measurement in one object, for calls that make several; each measurement reads its own."""

from circuits.analysis.fourier.options import FourierOptions
from circuits.analysis.subnetworks.options import MergeOptions, SearchOptions
from circuits.analysis.walsh.options import WalshOptions


class Options(MergeOptions, FourierOptions, WalshOptions, SearchOptions):
    """How to measure.

    Examples
    --------
    >>> Options(checkpoints="-50:").slice
    slice(-50, None, None)
    """
