"""Pictures of labelled results: one function per figure, each giving a plotly figure and showing nothing.

    metrics = run.metrics.merge(circuits.analysis.phases(run))
    circuits.figures.accuracy(metrics)

    circuits.figures.curves(["a.h5", "b.h5"], ["accuracy", "loss"])

`curves` overlays several runs. Each of the others takes what `circuits.analyze` or `run.metrics` gave and computes no
statistics beyond the mean over seeds and its band. Every module also has `figures(run, dataset)`, all its figures of
one run, which the registry names for the page.
"""

from circuits.figures.comparison.across import against
from circuits.figures.comparison.overlay import curves
from circuits.figures.fourier import (
    fourier_losses,
    fourier_measures,
    frequency_norms,
    key_frequency_losses,
    logit_spectrum,
    neuron_activations,
)
from circuits.figures.generic import trajectory
from circuits.figures.learning import accuracy, loss, marked_accuracy
from circuits.figures.parity.certify import certified_margin, certified_patterns
from circuits.figures.parity.constructions import cost_over_least, firing_patterns, merged_sparsity, pattern_margins
from circuits.figures.parity.diagram import circuit_diagram
from circuits.figures.progress.measures import by_label, loss_spectrum, measures, sensitivity, transition_shares
from circuits.figures.progress.transitions import transitions
from circuits.figures.representation import activation_panels, cluster_silhouette, weight_densities
from circuits.figures.subnetworks.faithfulness import agreement, group_accuracy
from circuits.figures.subnetworks.neurons import all_neurons, dominant_neurons
from circuits.figures.subnetworks.norms import group_norms
from circuits.figures.subnetworks.subnetwork import effective_sparsity
from circuits.figures.walsh.bars import walsh_bars
from circuits.figures.walsh.curves import (
    degree_weights,
    group_parities,
    layer_gaps,
    neuron_gaps,
    neuron_parities,
    weight_movement,
    weight_shares,
)

__all__ = [
    "accuracy",
    "activation_panels",
    "against",
    "agreement",
    "all_neurons",
    "by_label",
    "certified_margin",
    "certified_patterns",
    "circuit_diagram",
    "cluster_silhouette",
    "cost_over_least",
    "curves",
    "degree_weights",
    "dominant_neurons",
    "effective_sparsity",
    "firing_patterns",
    "fourier_losses",
    "fourier_measures",
    "frequency_norms",
    "group_accuracy",
    "group_norms",
    "group_parities",
    "key_frequency_losses",
    "layer_gaps",
    "logit_spectrum",
    "loss",
    "loss_spectrum",
    "marked_accuracy",
    "measures",
    "merged_sparsity",
    "neuron_activations",
    "neuron_gaps",
    "neuron_parities",
    "pattern_margins",
    "sensitivity",
    "trajectory",
    "transition_shares",
    "transitions",
    "walsh_bars",
    "weight_densities",
    "weight_movement",
    "weight_shares",
]
