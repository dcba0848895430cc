"""Metrics that a config asks for besides losses and accuracies, measured while training, from the parameters alone.

Each is a line of the registry's table `METRICS`: a function of (config, one network's parameters, its training set).
"""

from collections.abc import Callable

import xarray as xr

from circuits.config import Config
from circuits.registry import METRICS
from circuits.training.steppers import Arrays


def further_metrics(config: Config, data: xr.Dataset) -> Callable[[int, Arrays], dict[str, float]]:
    """A function of (network, its parameters) that gives `config.metrics` by name; `data` is that of all seeds."""
    measures = {name: METRICS[name].load() for name in config.metrics}
    train = {"inputs": data["train_inputs"].values, "targets": data["train_targets"].values}

    def measured(network: int, parameters: Arrays) -> dict[str, float]:
        own = {name: values[network] for name, values in train.items()}
        return {name: float(measure(config, parameters, own)) for name, measure in measures.items()}

    return measured
