"""The circuit of modular addition in the Fourier basis: losses, frequencies over time, neurons over all pairs, logits.

After the figures of Nanda et al. 2023, sections 4 and 5.
"""

from collections.abc import Sequence

import numpy as np
import plotly.graph_objects as go
import xarray as xr

from circuits.checkpoints.run import Run
from circuits.figures.drawing.axes import frame
from circuits.figures.drawing.bands import add_band, add_seed_legend, seeds_shown
from circuits.figures.drawing.heat import heat_over_epochs
from circuits.figures.drawing.palette import STYLES, TEST, TRAIN, Style, style_of
from circuits.figures.drawing.phases import mark_phases
from circuits.figures.drawing.seed_menu import add_seed_menu
from circuits.figures.drawing.tiles import tile_axis, tile_slider, tiles
from circuits.figures.progress.measures import measures

SQUARE, SLIDERS = 430, 130  # pixels
MOST_LINES = 6
RESTRICTED, EXCLUDED = STYLES["generalizing"], STYLES["memorizing"]


def figures(run: Run, result: xr.Dataset) -> list[go.Figure]:
    """What the measurement `fourier` found."""
    drawn = [fourier_losses(result), fourier_measures(result), frequency_norms(result)]
    drawn += [key_frequency_losses(result)] if bool(result["key"].any()) else []
    drawn += [neuron_activations(result)] if "shown_activation" in result else []
    drawn += [logit_spectrum(result)] if "shown_logits" in result else []
    return drawn


def fourier_losses(result: xr.Dataset) -> go.Figure:
    """Loss on the train and the test set, restricted loss, excluded loss: after Nanda et al. 2023, section 5.

    Parameters
    ----------
    result
        The dataset of `circuits.analyze(run, "fourier")`; with `memorization_epoch` and `generalization_epoch` (seed)
        the phases are marked.
    """
    caption = (
        f"Cross-entropy of the network; of constant class biases and the waves of {_sum(result)} at the key "
        "frequencies, in any direction of the classes (restricted, on all tuples); and without those waves (excluded, "
        "on the training set): the progress measures of Nanda et al. 2023. Key frequencies are those of the last "
        "checkpoint."
    )
    values = result["loss"].isel(set=0)
    figure = frame(
        values, "Restricted and excluded loss", caption, subtitle=seeds_shown(values),
        y_title="cross-entropy", y_axis={"type": "log"},
    )  # fmt: skip
    add_band(figure, result["loss"].sel(set="train"), "train", TRAIN)
    add_band(figure, result["loss"].sel(set="test"), "test", TEST)
    add_band(figure, result["restricted_loss"].sel(set="all"), "restricted, all tuples", RESTRICTED)
    add_band(figure, result["excluded_loss"].sel(set="train"), "excluded, train", EXCLUDED)
    add_seed_legend(figure, result["seed"])
    mark_phases(figure, result)
    return figure


def fourier_measures(result: xr.Dataset) -> go.Figure:
    """How far the circuit has formed: shares of the logits, phase relation, Gini coefficients.

    Parameters
    ----------
    result
        As in `fourier_losses`.
    """
    names = {"key_logit_share": "key cosines", "key_wave_share": "key waves", "bias_share": "class biases"}
    shown = {name: result[name].assign_attrs(long_name=long_name) for name, long_name in names.items()}
    if "phase_agreement" in result:
        shown["phase_agreement"] = result["phase_agreement"].assign_attrs(long_name="phase relation")
    for name in result["embedding"].values.tolist() if "embedding" in result.coords else []:
        gini = result["embedding_gini"].sel(embedding=name, drop=True)
        shown[f"gini_{name}"] = gini.assign_attrs(long_name=f"Gini, embedding {name}")
    if "neuron_logit_gini" in result:
        shown["neuron_logit_gini"] = result["neuron_logit_gini"].assign_attrs(long_name="Gini, neurons to logits")
    caption = (
        f"Key cosines: share of the logits' sum of squares on cos ω({_sum(result)} − c) of the key frequencies. Class "
        "biases: share of it that is the same for all tuples. Key waves: share of the logits' variance over tuples on "
        f"the key frequencies of {_sum(result)}, in any direction of the classes: what the restricted loss keeps "
        "beside the biases. Mean cosine of the neurons' phase residuals, 1 where input and output phases fit. Gini "
        "coefficients of the frequencies' norms in the weights, 0 if all are alike."
    )
    title = "Measures of the circuit"
    return measures(result.assign(shown), list(shown), title=title, caption=caption, y_title="share, or coefficient")


def key_frequency_losses(result: xr.Dataset) -> go.Figure:
    """Excluded loss of each key frequency alone, on the training set.

    Parameters
    ----------
    result
        As in `fourier_losses`, with a key frequency in one seed at least.
    """
    caption = (
        f"Cross-entropy on the training set when one key frequency of {_sum(result)}, of the six strongest, is taken "
        "out of the logits, in any direction of the classes: it rises as the network comes to rely on it."
    )
    values = result["excluded_loss_of"].sel(set="train")
    figure = frame(
        values, "Excluded loss, by frequency", caption, y_title="excluded loss, train", y_axis={"type": "log"}
    )
    traces = {}
    for seed in result["seed"].values.tolist():
        alone = go.Figure(figure)
        add_band(alone, result["loss"].sel(set="train", seed=[seed]), "nothing taken out", Style("#7A7A7A", "dot"))
        for index, frequency in enumerate(_strongest(result, seed)):
            add_band(alone, values.sel(frequency=frequency, seed=[seed]), f"frequency {frequency}", style_of("", index))
        traces[seed] = list(alone.data)
    add_seed_menu(figure, traces, result)
    return figure


def frequency_norms(result: xr.Dataset) -> go.Figure:
    """Which frequencies are in the logits and in the weights, over epochs.

    Parameters
    ----------
    result
        As in `fourier_losses`. A menu chooses the seed.
    """
    caption = (
        f"Share of the logits' sum of squares on cos ω({_sum(result)} − c); share of their variance over tuples on "
        f"waves of {_sum(result)}, in any direction of the classes{_weights(result)}. Dark is 0, light the largest "
        "value of each panel; triangles mark the key frequencies, chosen by their cosines."
    )
    panels = {"logits, cosines": result["logit_share"], "logits, waves": result["wave_share"]}
    for name in result["embedding"].values.tolist() if "embedding" in result.coords else []:
        panels[f"embedding, {name}"] = result["embedding_norm"].sel(embedding=name)
    if "unembedding_norm" in result:
        panels["unembedding"] = result["unembedding_norm"]
    if "neuron_logit_norm" in result and not _same(result, "unembedding_norm", "neuron_logit_norm"):
        panels["neurons to logits"] = result["neuron_logit_norm"]
    marked = {seed: _key(result, seed) for seed in result["seed"].values.tolist()}
    return heat_over_epochs(result, panels, "frequency", "Frequencies over epochs", caption, marked=marked)


def neuron_activations(result: xr.Dataset) -> go.Figure:
    """Activation of single neurons over all pairs (x, y), with sliders for neuron and checkpoint.

    Parameters
    ----------
    result
        As in `fourier_losses`, with `shown_activation`.
    """
    values = result["shown_activation"].transpose("seed", "shown_neuron", "shown", "x", "y")
    caption = (
        "Activation over all pairs, each picture from its least (dark) to its largest value (light). The neurons are "
        f"those that the key frequencies k explain best at the last checkpoint{_order(result)}."
    )
    epochs = [f"{epoch:g}" for epoch in result["shown_epoch"].values]
    n_neurons, n_shown, size = values.sizes["shown_neuron"], len(epochs), values.sizes["x"]
    figure = _square(values, "Neurons over all pairs", caption)
    figure.layout.xaxis = tile_axis(n_shown, size, n_shown - 1, _labels(result, "y")) | {"title": "y"}
    figure.layout.yaxis = tile_axis(n_neurons, size, 0, _labels(result, "x")) | {"title": "x", "scaleanchor": "x"}
    figure.layout.sliders = [
        tile_slider("xaxis", "epoch", epochs, size, n_shown - 1, -0.16),
        tile_slider("yaxis", "neuron", [str(i + 1) for i in range(n_neurons)], size, 0, -0.36),
    ]
    names = result["shown_neuron_index"], result["shown_neuron_frequency"]
    traces: dict[int, list[go.Heatmap]] = {}
    names_of: dict[int, dict[str, str]] = {}
    for seed in result["seed"].values.tolist():
        index, frequency = (part.sel(seed=seed).values for part in names)
        labels = [f"{i} (k = {k})" for i, k in zip(index, frequency, strict=True)]
        names_of[seed] = {f"sliders[1].steps[{place}].label": label for place, label in enumerate(labels)}
        traces[seed] = [tiles(values.sel(seed=seed).values, hoverinfo="skip")]
    for step, label in zip(figure.layout.sliders[1].steps, next(iter(names_of.values())).values(), strict=True):
        step.label = label
    add_seed_menu(figure, traces, result["shown_activation"], further=names_of)
    return figure


def logit_spectrum(result: xr.Dataset) -> go.Figure:
    """The logits in the 2-D Fourier basis, with a slider for the checkpoint: after Nanda et al. 2023, section 4.

    Parameters
    ----------
    result
        As in `fourier_losses`, with `shown_logits`.
    """
    values = result["shown_logits"].transpose("seed", "shown", "x_wave", "y_wave")
    caption = (
        "Norm over the classes of the logits' coefficient on each product of a wave in x and a wave in y, from the "
        f"least (dark) to the largest (light){_order(result)}. A network that computes waves of {_sum(result)} has the "
        "products of equal frequency, cos cos and sin sin, cos sin and sin cos, and nothing else."
    )
    epochs = [f"{epoch:g}" for epoch in result["shown_epoch"].values]
    n_shown, size = len(epochs), values.sizes["x_wave"]
    labels = [str(name) for name in values["x_wave"].values]
    figure = _square(values, "Logits in the 2-D basis", caption)
    figure.layout.xaxis = tile_axis(n_shown, size, n_shown - 1, labels) | {"title": "wave in y"}
    figure.layout.yaxis = tile_axis(1, size, 0, labels) | {"title": "wave in x", "scaleanchor": "x"}
    figure.layout.sliders = [tile_slider("xaxis", "epoch", epochs, size, n_shown - 1, -0.2)]
    traces = {
        seed: [tiles(values.sel(seed=seed).values[None], hoverinfo="skip")] for seed in result["seed"].values.tolist()
    }
    add_seed_menu(figure, traces, result["shown_logits"])
    return figure


def _square(values: xr.DataArray, title: str, caption: str) -> go.Figure:
    """The frame of a square picture, sliders below."""
    figure = frame(values.isel(dict.fromkeys(values.dims[1:], 0)).expand_dims(step=[0]), title, caption)
    figure.update_layout(height=SQUARE + SLIDERS + 110, margin_b=SLIDERS + 40, hovermode="closest", showlegend=False)
    return figure


def _key(result: xr.Dataset, seed: int) -> list[int]:
    key = result["key"].sel(seed=seed)
    found: list[int] = result["frequency"].values[key.values].tolist()
    return found


def _strongest(result: xr.Dataset, seed: int) -> list[int]:
    """The key frequencies with the largest shares of the logits, at most 6 of them, ascending."""
    key = _key(result, seed)
    share = result["logit_share"].sel(seed=seed, frequency=key).isel(step=-1).values
    return sorted(np.array(key)[np.argsort(-share, kind="stable")[:MOST_LINES]].tolist())


def _sum(result: xr.Dataset) -> str:
    """What the frequencies are of, such as "x + y"."""
    return str(result.attrs.get("sum", "x + y")).replace("-", "−")


def _weights(result: xr.Dataset) -> str:
    """What the caption of `frequency_norms` says of the weights, if there are any."""
    tables = [
        "the embeddings" if "embedding" in result.coords else "",
        "the unembedding" if "unembedding_norm" in result else "",
        "the weights from the neurons to the logits"
        if "neuron_logit_norm" in result and not _same(result, "unembedding_norm", "neuron_logit_norm")
        else "",
    ]
    named = " and ".join(table for table in tables if table)
    return f"; norm of each frequency in {named}" if named else ""


def _order(result: xr.Dataset) -> str:
    """In which order the operands are numbered, where that is not their own."""
    summed = _sum(result)
    if "log" in summed:
        return "; the operands are in the order of their discrete logarithms" + (
            ", y backwards" if "−" in summed else ""
        )
    return "; y is in backward order, so that the difference is a sum" if "−" in summed else ""


def _same(result: xr.Dataset, first: str, second: str) -> bool:
    return first in result and bool(np.array_equal(result[first].values, result[second].values))


def _labels(result: xr.Dataset, operand: str) -> Sequence[str]:
    return [str(residue) for residue in result[operand].values]
