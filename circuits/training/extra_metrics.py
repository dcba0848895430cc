"""Further metrics that a config requests besides losses and accuracies, computed during training from the parameters.

Each metric is an entry of `registry.METRICS`: a function of (config, one network's parameters, its training set). For a
collapsed network (all outputs nearly 0), the metric `effective_sparsity` is set to 0.
"""

from collections.abc import Callable

import xarray as xr

from circuits.collapse import LARGEST_OUTPUT, is_collapsed
from circuits.config import Config
from circuits.registry import METRICS
from circuits.training.start import Arrays

SPARSITY = "effective_sparsity"
Metrics = dict[str, float]


def further_metrics(config: Config, data: xr.Dataset) -> Callable[[int, Arrays, Metrics], Metrics]:
    """Function of (network index in `data`, parameters, other metrics) that returns the metrics in `config.metrics`."""
    measures = {name: METRICS[name].load() for name in config.metrics}
    train = {"inputs": data["train_inputs"].values, "targets": data["train_targets"].values}

    def measured(network: int, parameters: Arrays, metrics: Metrics) -> Metrics:
        own = {name: values[network] for name, values in train.items()}
        values = {name: float(measure(config, parameters, own)) for name, measure in measures.items()}
        if SPARSITY in values and is_collapsed(metrics[LARGEST_OUTPUT]):
            values[SPARSITY] = 0.0
        return values

    return measured
