"""Metrics of a network's parameters: their norm, the share of zeros and the share of small values.

Fuangkawinsombut 2024, section 4.3, asks whether the weights that a circuit does not need reach zero.
"""

import math
from collections.abc import Mapping, Sequence

import numpy as np

from circuits.config import Config

SMALL = 1e-3


def parameter_norm(config: Config, parameters: Mapping[str, np.ndarray], train: Mapping[str, np.ndarray]) -> float:
    """L2 norm of all parameters of one network together, >= 0; the metric `parameter_norm`."""
    return math.sqrt(math.fsum(float((values.astype(np.float64) ** 2).sum()) for values in parameters.values()))


def zero_weights(config: Config, parameters: Mapping[str, np.ndarray], train: Mapping[str, np.ndarray]) -> float:
    """Share of one network's parameters that are exactly 0, in 0..1; the metric `zero_weights`."""
    return _share([values == 0 for values in parameters.values()])


def small_weights(config: Config, parameters: Mapping[str, np.ndarray], train: Mapping[str, np.ndarray]) -> float:
    """Share of one network's parameters below 0.001 in absolute value, in 0..1; the metric `small_weights`."""
    return _share([np.abs(values) < SMALL for values in parameters.values()])


def _share(masks: Sequence[np.ndarray]) -> float:
    return sum(int(mask.sum()) for mask in masks) / sum(mask.size for mask in masks)
