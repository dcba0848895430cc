"""What a trajectory shows: a folder for each family of measurements, labelled results of a run.

`analyze(run)` computes every measurement that applies. The single ones are here by name: those that take arrays know
nothing of runs; those that take a run stream it in blocks of checkpoints and return labelled xarray.
"""

import warnings
from typing import Any

from circuits.analysis.comparison.differing import differing_fields, differing_values
from circuits.analysis.comparison.outcomes import outcomes
from circuits.analysis.fourier.basis import cyclic_basis, cyclic_coefficients, frequency_norms, gini
from circuits.analysis.fourier.commuted import commuted_share
from circuits.analysis.fourier.cyclic import CyclicGroup, cyclic_group
from circuits.analysis.fourier.logit_frequencies import key_frequencies, logit_frequencies
from circuits.analysis.fourier.neuron_frequencies import neuron_frequencies
from circuits.analysis.fourier.restricted_loss import excluded_losses, restricted_losses
from circuits.analysis.measurements import analyze
from circuits.analysis.networks.phases import phases
from circuits.analysis.networks.unseen import seen_share
from circuits.analysis.parity.circuit import circuit_of, gate_history
from circuits.analysis.parity.efficiency import efficiency
from circuits.analysis.progress.arity import arities
from circuits.analysis.progress.change_points import change_points
from circuits.analysis.progress.margin import margins
from circuits.analysis.progress.measurement import progress_measures
from circuits.analysis.progress.ramp import fitted_ramp
from circuits.analysis.progress.sensitivity import relu_sensitivities
from circuits.analysis.progress.spectral import spectral_norm
from circuits.analysis.progress.transitions import transitions
from circuits.analysis.representation.clusters import silhouette
from circuits.analysis.representation.density import weight_density
from circuits.analysis.subnetworks.active import active_at, active_subnetwork, effective_sparsity, smallest_agreeing
from circuits.analysis.subnetworks.faithfulness import agreement_and_accuracy, faithfulness, group_outputs
from circuits.analysis.subnetworks.groups import GROUPS, expected_jaccard, jaccard, neuron_groups
from circuits.analysis.subnetworks.merged import elements_needed, merged_sparsity
from circuits.analysis.subnetworks.norms import group_means, group_norms, neuron_norms
from circuits.analysis.subnetworks.pruning import incoming_norms, kept_neurons, pruning_order
from circuits.analysis.subnetworks.smallest import agrees, smallest_subnetwork
from circuits.analysis.walsh.hidden_progress import layer_gap, movement
from circuits.analysis.walsh.low_degree import low_degree_coefficients, weight_by_degree
from circuits.analysis.walsh.population_gradient import fourier_gaps, halfspace_gradient
from circuits.analysis.walsh.relevant_coefficients import relevant_coefficients
from circuits.analysis.walsh.spectrum import walsh_spectrum
from circuits.analysis.walsh.transform import walsh_coefficients, walsh_values
from circuits.analysis.walsh.weights import cube_weights, draws_by_pattern
from circuits.options import Options

__all__ = [
    "GROUPS",
    "CyclicGroup",
    "Options",
    "active_at",
    "active_subnetwork",
    "agreement_and_accuracy",
    "agrees",
    "analyze",
    "arities",
    "circuit_of",
    "commuted_share",
    "cube_weights",
    "cyclic_basis",
    "cyclic_coefficients",
    "cyclic_group",
    "differing_fields",
    "differing_values",
    "draws_by_pattern",
    "effective_sparsity",
    "efficiency",
    "elements_needed",
    "excluded_losses",
    "expected_jaccard",
    "faithfulness",
    "fitted_ramp",
    "fourier_gaps",
    "frequency_norms",
    "gate_history",
    "gini",
    "group_means",
    "group_norms",
    "group_outputs",
    "halfspace_gradient",
    "incoming_norms",
    "jaccard",
    "kept_neurons",
    "key_frequencies",
    "layer_gap",
    "logit_frequencies",
    "low_degree_coefficients",
    "margins",
    "merged_sparsity",
    "movement",
    "change_points",
    "neuron_groups",
    "neuron_norms",
    "neuron_frequencies",
    "outcomes",
    "phases",
    "progress_measures",
    "pruning_order",
    "relu_sensitivities",
    "restricted_losses",
    "seen_share",
    "silhouette",
    "smallest_agreeing",
    "smallest_subnetwork",
    "spectral_norm",
    "relevant_coefficients",
    "transitions",
    "walsh_coefficients",
    "walsh_spectrum",
    "walsh_values",
    "weight_by_degree",
    "weight_density",
]

RENAMED = {
    "logit_waves": "logit_frequencies",
    "moves": "change_points",
    "neuron_waves": "neuron_frequencies",
    "support_coefficients": "relevant_coefficients",
}
"""Former name -> name now. The former ones are accepted for one version."""


def __getattr__(name: str) -> Any:
    if name not in RENAMED:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    now = RENAMED[name]
    warnings.warn(
        f"circuits.analysis.{name} is now circuits.analysis.{now}, and goes in the next version", FutureWarning, 2
    )
    return globals()[now]
