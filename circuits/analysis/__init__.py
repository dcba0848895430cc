"""What a trajectory shows: one measurement per file, pure functions on arrays below, labelled results of a run above.

`analyze(run)` computes every measurement that applies. The single ones are here by name: those that take arrays know
nothing of runs; those that take a run stream it in blocks of checkpoints and return labelled xarray.
"""

from circuits.analysis.active import active_at, active_subnetwork, effective_sparsity, smallest_agreeing
from circuits.analysis.arity import arities
from circuits.analysis.circuit import circuit_of, gate_history
from circuits.analysis.clusters import silhouette
from circuits.analysis.commuted import commuted_share
from circuits.analysis.cube import walsh_coefficients, walsh_values
from circuits.analysis.cube_weights import cube_weights, draws_by_pattern
from circuits.analysis.cyclic import CyclicGroup, cyclic_group
from circuits.analysis.cyclic_basis import cyclic_basis, cyclic_coefficients, frequency_norms, gini
from circuits.analysis.density import weight_density
from circuits.analysis.differing import differing_fields, differing_values
from circuits.analysis.efficiency import efficiency
from circuits.analysis.exact import agrees, smallest_subnetwork
from circuits.analysis.faithfulness import agreement_and_accuracy, faithfulness, group_outputs
from circuits.analysis.groups import GROUPS, expected_jaccard, jaccard, neuron_groups
from circuits.analysis.hidden_progress import layer_gap, movement
from circuits.analysis.logit_waves import key_frequencies, logit_waves
from circuits.analysis.low_degree import low_degree_coefficients, weight_by_degree
from circuits.analysis.margin import margins
from circuits.analysis.measurements import analyze
from circuits.analysis.merged import elements_needed, merged_sparsity
from circuits.analysis.moves import moves
from circuits.analysis.neuron_waves import neuron_waves
from circuits.analysis.norms import group_means, group_norms, neuron_norms
from circuits.analysis.outcomes import outcomes
from circuits.analysis.phases import phases
from circuits.analysis.population_gradient import fourier_gaps, halfspace_gradient
from circuits.analysis.progress import progress_measures
from circuits.analysis.pruning import incoming_norms, kept_neurons, pruning_order
from circuits.analysis.ramp import fitted_ramp
from circuits.analysis.sensitivity import relu_sensitivities
from circuits.analysis.spectral import spectral_norm
from circuits.analysis.spectrum import walsh_spectrum
from circuits.analysis.sum_waves import excluded_losses, restricted_losses
from circuits.analysis.support_coefficients import support_coefficients
from circuits.analysis.transitions import transitions
from circuits.analysis.unseen import seen_share
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
    "logit_waves",
    "low_degree_coefficients",
    "margins",
    "merged_sparsity",
    "movement",
    "moves",
    "neuron_groups",
    "neuron_norms",
    "neuron_waves",
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
    "support_coefficients",
    "transitions",
    "walsh_coefficients",
    "walsh_spectrum",
    "walsh_values",
    "weight_by_degree",
    "weight_density",
]
