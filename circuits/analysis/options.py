"""The options of all measurements in one object; each measurement reads its own part."""

from circuits.analysis.fourier.options import FourierOptions
from circuits.analysis.subnetworks.options import MergeOptions, SearchOptions
from circuits.analysis.walsh.options import WalshOptions


class Options(MergeOptions, FourierOptions, WalshOptions, SearchOptions):
    """Options of all measurements.

    Examples
    --------
    >>> Options(checkpoints="-50:").slice
    slice(-50, None, None)
    """
