"""Measurements of a run's checkpoints, one folder per family of measurements.

`analyze(run)` computes every default measurement that applies to the run. The functions below are the single
measurements. Some take arrays; others take a run, read its checkpoints in blocks, and return labeled xarray objects.
"""

from typing import TYPE_CHECKING

from circuits.lazy import lazy

if TYPE_CHECKING:
    from circuits.analysis.comparison.differing import differing_fields as differing_fields
    from circuits.analysis.comparison.differing import differing_values as differing_values
    from circuits.analysis.comparison.outcomes import outcomes as outcomes
    from circuits.analysis.fourier.basis import cyclic_basis as cyclic_basis
    from circuits.analysis.fourier.basis import cyclic_coefficients as cyclic_coefficients
    from circuits.analysis.fourier.basis import frequency_norms as frequency_norms
    from circuits.analysis.fourier.basis import gini as gini
    from circuits.analysis.fourier.commuted import commuted_share as commuted_share
    from circuits.analysis.fourier.cyclic import CyclicGroup as CyclicGroup
    from circuits.analysis.fourier.cyclic import cyclic_group as cyclic_group
    from circuits.analysis.fourier.logit_frequencies import key_frequencies as key_frequencies
    from circuits.analysis.fourier.logit_frequencies import logit_frequencies as logit_frequencies
    from circuits.analysis.fourier.neuron_frequencies import neuron_frequencies as neuron_frequencies
    from circuits.analysis.fourier.restricted_loss import excluded_losses as excluded_losses
    from circuits.analysis.fourier.restricted_loss import restricted_losses as restricted_losses
    from circuits.analysis.measurements import analyze as analyze
    from circuits.analysis.networks.outputs import group_outputs as group_outputs
    from circuits.analysis.networks.phases import phases as phases
    from circuits.analysis.networks.unseen import seen_share as seen_share
    from circuits.analysis.options import Options as Options
    from circuits.analysis.parity.circuit import circuit_of as circuit_of
    from circuits.analysis.parity.circuit import gate_history as gate_history
    from circuits.analysis.parity.efficiency import efficiency as efficiency
    from circuits.analysis.progress.arity import arities as arities
    from circuits.analysis.progress.change_points import change_points as change_points
    from circuits.analysis.progress.margin import margins as margins
    from circuits.analysis.progress.measurement import progress_measures as progress_measures
    from circuits.analysis.progress.ramp import fitted_ramp as fitted_ramp
    from circuits.analysis.progress.sensitivity import relu_sensitivities as relu_sensitivities
    from circuits.analysis.progress.spectral import spectral_norm as spectral_norm
    from circuits.analysis.progress.transitions import transitions as transitions
    from circuits.analysis.representation.clusters import silhouette as silhouette
    from circuits.analysis.representation.density import weight_density as weight_density
    from circuits.analysis.results import results_of as results_of
    from circuits.analysis.subnetworks.active import active_at as active_at
    from circuits.analysis.subnetworks.active import active_subnetwork as active_subnetwork
    from circuits.analysis.subnetworks.active import effective_sparsity as effective_sparsity
    from circuits.analysis.subnetworks.faithfulness import agreement_and_accuracy as agreement_and_accuracy
    from circuits.analysis.subnetworks.faithfulness import faithfulness as faithfulness
    from circuits.analysis.subnetworks.groups import GROUPS as GROUPS
    from circuits.analysis.subnetworks.groups import expected_jaccard as expected_jaccard
    from circuits.analysis.subnetworks.groups import jaccard as jaccard
    from circuits.analysis.subnetworks.groups import neuron_groups as neuron_groups
    from circuits.analysis.subnetworks.merged import elements_needed as elements_needed
    from circuits.analysis.subnetworks.merged import merged_sparsity as merged_sparsity
    from circuits.analysis.subnetworks.norms import group_means as group_means
    from circuits.analysis.subnetworks.norms import group_norms as group_norms
    from circuits.analysis.subnetworks.norms import neuron_norms as neuron_norms
    from circuits.analysis.subnetworks.pruning import incoming_norms as incoming_norms
    from circuits.analysis.subnetworks.pruning import kept_neurons as kept_neurons
    from circuits.analysis.subnetworks.pruning import pruning_order as pruning_order
    from circuits.analysis.subnetworks.scan import smallest_agreeing as smallest_agreeing
    from circuits.analysis.subnetworks.smallest import agrees as agrees
    from circuits.analysis.subnetworks.smallest import smallest_subnetwork as smallest_subnetwork
    from circuits.analysis.walsh.hidden_progress import layer_gap as layer_gap
    from circuits.analysis.walsh.hidden_progress import movement as movement
    from circuits.analysis.walsh.low_degree import low_degree_coefficients as low_degree_coefficients
    from circuits.analysis.walsh.low_degree import weight_by_degree as weight_by_degree
    from circuits.analysis.walsh.population_gradient import fourier_gaps as fourier_gaps
    from circuits.analysis.walsh.population_gradient import halfspace_gradient as halfspace_gradient
    from circuits.analysis.walsh.relevant_coefficients import relevant_coefficients as relevant_coefficients
    from circuits.analysis.walsh.spectrum import walsh_spectrum as walsh_spectrum
    from circuits.analysis.walsh.transform import walsh_coefficients as walsh_coefficients
    from circuits.analysis.walsh.transform import walsh_values as walsh_values
    from circuits.analysis.walsh.weights import cube_weights as cube_weights
    from circuits.analysis.walsh.weights import draws_by_pattern as draws_by_pattern


RENAMED = {
    "logit_waves": "logit_frequencies",
    "moves": "change_points",
    "neuron_waves": "neuron_frequencies",
    "support_coefficients": "relevant_coefficients",
}
"""Former name of a function of `circuits.analysis` -> new name. Former names are accepted for one version."""

__getattr__, __dir__, __all__ = lazy(__name__, RENAMED)
