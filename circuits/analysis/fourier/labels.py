"""The variables of `fourier`, with their dimensions and long names."""

from collections.abc import Mapping

import numpy as np
import xarray as xr

from circuits.analysis.fourier.all_tuples import SETS, AllTuples
from circuits.analysis.fourier.basis import n_frequencies
from circuits.analysis.networks.labels import trajectory_coords
from circuits.checkpoints.run import Run

VARIABLES: dict[str, tuple[tuple[str, ...], str]] = {  # name -> dimensions after (step, seed), long name
    "logit_share": (("frequency",), "share of the logits' sum of squares on cos ω(x + y - c)"),
    "key_logit_share": ((), "share of the logits' sum of squares on cos ω(x + y - c) of the key frequencies"),
    "wave_share": (("frequency",), "share of the logits' variance over tuples on waves of x + y, any class direction"),
    "key_wave_share": ((), "share of the logits' variance over tuples on waves of x + y of the key frequencies"),
    "bias_share": ((), "share of the logits' sum of squares in constant class biases"),
    "logit_cos": (("frequency",), "amplitude of cos ω(x + y - c) in the logits"),
    "logit_sin": (("frequency",), "amplitude of sin ω(x + y - c) in the logits"),
    "loss": (("set",), "cross-entropy"),
    "restricted_loss": (("set",), "restricted loss: class biases and key frequencies of x + y only"),
    "excluded_loss": (("set",), "excluded loss: without the key frequencies of x + y"),
    "restricted_loss_of": (("set", "frequency"), "restricted loss of one frequency"),
    "excluded_loss_of": (("set", "frequency"), "excluded loss of one frequency"),
    "sum_of_squared_weights": ((), "sum of squared weights"),
    "embedding_norm": (("embedding", "frequency"), "norm of each frequency in the embedding"),
    "embedding_gini": (("embedding",), "Gini coefficient of the embedding"),
    "same_frequency": ((), "share of the features of one frequency in all embeddings"),
    "unembedding_norm": (("frequency",), "norm of each frequency in the unembedding"),
    "unembedding_gini": ((), "Gini coefficient of the unembedding"),
    "neuron_logit_norm": (("frequency",), "norm of each frequency in the neuron-to-logit map"),
    "neuron_logit_gini": ((), "Gini coefficient of the neuron-to-logit map"),
    "neuron_frequency": (("neuron",), "frequency of each neuron, 0 if it is constant"),
    "neuron_share": (("neuron",), "share of the neuron's variance at its frequency"),
    "neuron_linear_share": (("neuron",), "share of the neuron's variance on linear terms"),
    "neuron_product_share": (("neuron",), "share of the neuron's variance on products"),
    "neuron_phase": (("operand", "neuron"), "phase of the neuron with respect to each operand"),
    "neuron_output_phase": (("neuron",), "phase of the neuron's weights to the logits"),
    "phase_residual": (("neuron",), "sum of the input phases less the output phase"),
    "phase_agreement": ((), "mean cosine of the phase residuals"),
    "cluster_size": (("frequency",), "neurons mostly of this frequency"),
}


def labeled(
    run: Run, tuples: AllTuples, checkpoints: np.ndarray, values: Mapping[str, np.ndarray], key: np.ndarray
) -> xr.Dataset:
    """Dataset of the arrays `values` (step, seed, ...) and the mask `key` of the key frequencies, with long names.

    The table `VARIABLES` has each array's dimensions and long name. Arrays outside this table are left out.
    """
    coords = {
        **trajectory_coords(run, checkpoints),
        "frequency": ("frequency", 1 + np.arange(n_frequencies(tuples.group.order)), {"long_name": "frequency"}),
        "set": list(SETS),
    }
    if "embedding_norm" in values:
        coords["embedding"] = tuples.table_names
    if "neuron_phase" in values:
        coords["operand"] = list(getattr(run.config.task, "operands"))  # noqa: B009  tasks that add have operands
    variables = {
        name: (("step", "seed", *dims), values[name], {"long_name": long_name.replace("x + y", tuples.group.sum)})
        for name, (dims, long_name) in VARIABLES.items()
        if name in values
    }
    return xr.Dataset({"key": (("seed", "frequency"), key, {"long_name": "key frequency"}), **variables}, coords)
