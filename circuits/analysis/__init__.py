"""Measurements of a run's checkpoints, one folder per family of measurements.

`analyze(run)` computes every default measurement that applies to the run. The functions below are the single
measurements. Some take arrays; others take a run, read its checkpoints in blocks, and return labeled xarray objects.
"""

from typing import TYPE_CHECKING

from circuits.lazy import lazy

if TYPE_CHECKING:
    from circuits.analysis.comparison.differing import differing_fields, differing_values
    from circuits.analysis.comparison.outcomes import outcomes
    from circuits.analysis.fourier.basis import cyclic_basis, cyclic_coefficients, frequency_norms, gini
    from circuits.analysis.fourier.commuted import commuted_share
    from circuits.analysis.fourier.cyclic import CyclicGroup, cyclic_group
    from circuits.analysis.fourier.logit_frequencies import key_frequencies, logit_frequencies
    from circuits.analysis.fourier.neuron_frequencies import neuron_frequencies
    from circuits.analysis.fourier.restricted_loss import excluded_losses, restricted_losses
    from circuits.analysis.interventions.ablation import ablate
    from circuits.analysis.interventions.patching import patch
    from circuits.analysis.measurements import analyze
    from circuits.analysis.networks.outputs import group_outputs
    from circuits.analysis.networks.phases import phases
    from circuits.analysis.networks.unseen import seen_share
    from circuits.analysis.options import Options
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
    from circuits.analysis.results import results_of
    from circuits.analysis.subnetworks.active import active_at, active_subnetwork, effective_sparsity
    from circuits.analysis.subnetworks.faithfulness import agreement_and_accuracy, faithfulness
    from circuits.analysis.subnetworks.groups import GROUPS, expected_jaccard, jaccard, neuron_groups
    from circuits.analysis.subnetworks.merged import elements_needed, merged_sparsity
    from circuits.analysis.subnetworks.norms import group_means, group_norms, neuron_norms
    from circuits.analysis.subnetworks.pruning import incoming_norms, kept_neurons, pruning_order
    from circuits.analysis.subnetworks.scan import smallest_agreeing
    from circuits.analysis.subnetworks.smallest import agrees, smallest_subnetwork
    from circuits.analysis.walsh.hidden_progress import layer_gap, movement
    from circuits.analysis.walsh.low_degree import low_degree_coefficients, weight_by_degree
    from circuits.analysis.walsh.population_gradient import fourier_gaps, halfspace_gradient
    from circuits.analysis.walsh.relevant_coefficients import relevant_coefficients
    from circuits.analysis.walsh.spectrum import walsh_spectrum
    from circuits.analysis.walsh.transform import walsh_coefficients, walsh_values
    from circuits.analysis.walsh.weights import cube_weights, draws_by_pattern


RENAMED = {
    "logit_waves": "logit_frequencies",
    "moves": "change_points",
    "neuron_waves": "neuron_frequencies",
    "support_coefficients": "relevant_coefficients",
}
"""Former name of a function of `circuits.analysis` -> new name. Former names are accepted for one version."""

__getattr__, __dir__, __all__ = lazy(__name__, RENAMED)
