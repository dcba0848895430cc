"""Figures of labeled results: each function returns a plotly figure and shows nothing.

    metrics = run.metrics.merge(circuits.analysis.phases(run))
    circuits.figures.accuracy(metrics)

    circuits.figures.curves(["a.h5", "b.h5"], ["accuracy", "loss"])

`curves` and `against` compare several runs. The others take `run.metrics`, or a result of `circuits.analyze` or
`circuits.analysis`. Over seeds they compute only the mean and standard deviation, or the median of a weight decay. For
the HTML page of a run, `circuits/registry.py` names a function `figures(run, dataset)` for each measurement, which
draws all figures of the measurement. The dataset is the measurement's result plus the seeds' memorization and
generalization epochs, which `drawing.phases.with_phases` adds.
"""

from typing import TYPE_CHECKING

from circuits.lazy import lazy

if TYPE_CHECKING:
    from circuits.figures.comparison.across import against as against
    from circuits.figures.comparison.overlay import curves as curves
    from circuits.figures.fourier import fourier_losses as fourier_losses
    from circuits.figures.fourier import fourier_measures as fourier_measures
    from circuits.figures.fourier import frequency_norms as frequency_norms
    from circuits.figures.fourier import key_frequency_losses as key_frequency_losses
    from circuits.figures.fourier import logit_spectrum as logit_spectrum
    from circuits.figures.fourier import neuron_activations as neuron_activations
    from circuits.figures.generic import trajectory as trajectory
    from circuits.figures.learning import accuracy as accuracy
    from circuits.figures.learning import loss as loss
    from circuits.figures.learning import marked_accuracy as marked_accuracy
    from circuits.figures.parity.certify import certified_margin as certified_margin
    from circuits.figures.parity.certify import certified_patterns as certified_patterns
    from circuits.figures.parity.constructions import cost_over_least as cost_over_least
    from circuits.figures.parity.constructions import firing_patterns as firing_patterns
    from circuits.figures.parity.constructions import merged_sparsity as merged_sparsity
    from circuits.figures.parity.constructions import pattern_margins as pattern_margins
    from circuits.figures.parity.diagram import circuit_diagram as circuit_diagram
    from circuits.figures.progress.measures import by_label as by_label
    from circuits.figures.progress.measures import loss_spectrum as loss_spectrum
    from circuits.figures.progress.measures import measures as measures
    from circuits.figures.progress.measures import sensitivity as sensitivity
    from circuits.figures.progress.measures import transition_shares as transition_shares
    from circuits.figures.progress.transitions import transitions as transitions
    from circuits.figures.representation import activation_panels as activation_panels
    from circuits.figures.representation import cluster_silhouette as cluster_silhouette
    from circuits.figures.representation import weight_densities as weight_densities
    from circuits.figures.subnetworks.faithfulness import agreement as agreement
    from circuits.figures.subnetworks.faithfulness import group_accuracy as group_accuracy
    from circuits.figures.subnetworks.neurons import all_neurons as all_neurons
    from circuits.figures.subnetworks.neurons import dominant_neurons as dominant_neurons
    from circuits.figures.subnetworks.norms import group_norms as group_norms
    from circuits.figures.subnetworks.subnetwork import effective_sparsity as effective_sparsity
    from circuits.figures.walsh.bars import walsh_bars as walsh_bars
    from circuits.figures.walsh.curves import degree_weights as degree_weights
    from circuits.figures.walsh.curves import group_parities as group_parities
    from circuits.figures.walsh.curves import layer_gaps as layer_gaps
    from circuits.figures.walsh.curves import neuron_gaps as neuron_gaps
    from circuits.figures.walsh.curves import neuron_parities as neuron_parities
    from circuits.figures.walsh.curves import weight_movement as weight_movement
    from circuits.figures.walsh.curves import weight_shares as weight_shares

__getattr__, __dir__, __all__ = lazy(__name__)
