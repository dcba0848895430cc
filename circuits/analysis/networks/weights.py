"""How large the parameters of a network are, and how many are zero or nearly: what weight decay or L1 does to it.

Fuangkawinsombut 2024, section 4.3, asks whether the weights that a circuit does not need reach zero.
"""

import math
from collections.abc import Mapping

import numpy as np

from circuits.config import Config

SMALL = 1e-3


def parameter_norm(config: Config, parameters: Mapping[str, np.ndarray], train: Mapping[str, np.ndarray]) -> float:
    """L2 norm of all parameters of one network together, >= 0: the metric `parameter_norm`."""
    return math.sqrt(math.fsum(float((values.astype(np.float64) ** 2).sum()) for values in parameters.values()))


def zero_weights(config: Config, parameters: Mapping[str, np.ndarray], train: Mapping[str, np.ndarray]) -> float:
    """Share of one network's parameters that are exactly 0, in 0..1: the metric `zero_weights` of a config."""
    return _share({name: values == 0 for name, values in parameters.items()})


def small_weights(config: Config, parameters: Mapping[str, np.ndarray], train: Mapping[str, np.ndarray]) -> float:
    """Share of one network's parameters below 0.001 in absolute value, in 0..1: the metric `small_weights`."""
    return _share({name: np.abs(values) < SMALL for name, values in parameters.items()})


def _share(found: Mapping[str, np.ndarray]) -> float:
    return sum(int(one.sum()) for one in found.values()) / sum(one.size for one in found.values())
