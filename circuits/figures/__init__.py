"""Figures of labeled results: each function returns a plotly figure and shows nothing.

    metrics = run.metrics.merge(circuits.analysis.phases(run))
    circuits.figures.accuracy(metrics)
    circuits.figures.curves(["a.h5", "b.h5"], ["accuracy", "loss"])

`curves` and `against` compare several runs. The others take `run.metrics`, or a result of `circuits.analyze` or
`circuits.analysis`. Their only statistics over seeds are mean and standard deviation, with one exception: if a run
changes its weight decay during training, a curve shows the median weight decay of the seeds. For each analysis of a
run, `circuits/registry.py` names a function `figures(run, dataset)`. This function draws all figures of the analysis
for the HTML page of the run. `dataset` is the analysis result plus the seeds' memorization and generalization epochs.
"""

from typing import TYPE_CHECKING

from circuits.lazy import lazy

if TYPE_CHECKING:
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

__getattr__, __dir__, __all__ = lazy(__name__)
