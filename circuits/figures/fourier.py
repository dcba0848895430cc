"""Figures of the circuit of modular addition in the Fourier basis: losses, frequencies, neuron activations, logits.

The figures resemble those in sections 4 and 5 of Nanda et al. 2023.
"""

import numpy as np
import plotly.graph_objects as go
import xarray as xr

from circuits.checkpoints.run import Run
from circuits.figures.drawing.axes import frame
from circuits.figures.drawing.bands import add_band
from circuits.figures.drawing.curves import curves_over_epochs
from circuits.figures.drawing.heat import heat_over_epochs
from circuits.figures.drawing.palette import STYLES, TEST, TRAIN, Style, style_of
from circuits.figures.drawing.seed_menu import add_seed_menu
from circuits.figures.drawing.tiles import tile_axis, tile_slider, tiles
from circuits.figures.progress.measures import measures

SQUARE, SLIDERS = 430, 130  # pixels
MOST_LINES = 6
RESTRICTED, EXCLUDED = STYLES["generalizing"], STYLES["memorizing"]


def figures(run: Run, result: xr.Dataset) -> list[go.Figure]:
    """Every figure of the measurement `fourier` of a run, except those whose variables are missing."""
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
        The dataset of `circuits.analyze(run, "fourier")`. If the dataset has the variables
        `memorization_epoch` and `generalization_epoch`, the figure marks these epochs of each seed.
    """
    caption = (
        "Cross-entropy of the network, and the progress measures of Nanda et al. 2023. Restricted, on all tuples: only "
        f"constant class biases and the waves of {_sum(result)} at the key frequencies, in any direction of the "
        "classes. Excluded, on the training set: all but these waves. Key frequencies are those of the last checkpoint."
    )
    lines = [
        (result["loss"].sel(set="train"), "train", TRAIN),
        (result["loss"].sel(set="test"), "test", TEST),
        (result["restricted_loss"].sel(set="all"), "restricted, all tuples", RESTRICTED),
        (result["excluded_loss"].sel(set="train"), "excluded, train", EXCLUDED),
    ]
    return curves_over_epochs(
        result, result["loss"].isel(set=0), "Restricted and excluded loss", caption, lines,
        y_title="cross-entropy", y_axis={"type": "log"},
    )  # fmt: skip


def fourier_measures(result: xr.Dataset) -> go.Figure:
    """Measures over epochs that show whether the network computes with waves of a few key frequencies.

    Three measures are shares of the logits. Two of them belong to waves of key frequencies; the third is the part that
    is the same for all inputs. One measure says whether the phases of each neuron's input and output waves fit each
    other. The Gini coefficients say how unequal the frequencies' norms in the weights are.

    Parameters
    ----------
    result
        The dataset of `circuits.analyze(run, "fourier")`. The figure marks each seed's memorization and
        generalization epoch if the dataset has them.
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
        "biases: share of this sum that is the same for all tuples. Key waves: share of the logits' variance over "
        f"tuples on the key frequencies of {_sum(result)}, in any direction of the classes; with the biases, these "
        "give the restricted loss. Phase relation: mean cosine of the neurons' phase residuals, 1 if input and output "
        "phases fit. Gini: Gini coefficients of the frequencies' norms in the weights, 0 if all norms are equal."
    )
    title = "Measures of the circuit"
    return measures(result.assign(shown), list(shown), title=title, caption=caption, y_title="share, or coefficient")


def key_frequency_losses(result: xr.Dataset) -> go.Figure:
    """Excluded loss of each of the 6 strongest key frequencies: training loss without this frequency in the logits.

    Parameters
    ----------
    result
        The dataset of `circuits.analyze(run, "fourier")`, with a key frequency in at least one seed. A menu chooses the
        seed. The figure marks each seed's memorization and generalization epoch if the dataset has them.
    """
    caption = (
        f"Cross-entropy on the training set without one key frequency of {_sum(result)} in the logits, in any "
        "direction of the classes, for each of the six strongest. A loss rises as the network comes to rely on its "
        "frequency."
    )
    values = result["excluded_loss_of"].sel(set="train")
    title, y_title = "Excluded loss, by frequency", "excluded loss, train"
    figure = frame(values, title, caption, y_title=y_title, y_axis={"type": "log"})
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
    """Strength of each frequency in the logits and in the weights, over epochs.

    Parameters
    ----------
    result
        The dataset of `circuits.analyze(run, "fourier")`. A menu chooses the seed. The figure marks each seed's
        memorization and generalization epoch if the dataset has them.
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
    if _has_other_logit_weights(result):
        panels["neurons to logits"] = result["neuron_logit_norm"]
    marked = {seed: _key(result, seed) for seed in result["seed"].values.tolist()}
    return heat_over_epochs(result, panels, "frequency", "Frequencies over epochs", caption, marked=marked)


def neuron_activations(result: xr.Dataset) -> go.Figure:
    """Activation of single neurons over all pairs (x, y), with sliders for neuron and checkpoint.

    Parameters
    ----------
    result
        The dataset of `circuits.analyze(run, "fourier")`, with the activations to draw: `shown_activation` has the
        dimensions (shown, seed, shown_neuron, x, y), and `shown` counts the drawn checkpoints. A menu chooses the seed.
    """
    values = result["shown_activation"].transpose("seed", "shown_neuron", "shown", "x", "y")
    caption = (
        "Activation over all pairs, from the least (dark) to the largest value (light) of each picture, of the neurons "
        f"that the key frequencies k explain best at the last checkpoint{_order(result)}."
    )
    epochs = [f"{epoch:g}" for epoch in result["shown_epoch"].values]
    n_neurons, n_shown, size = values.sizes["shown_neuron"], len(epochs), values.sizes["x"]
    figure = _square(values, "Neurons over all pairs", caption)
    labels = {operand: [str(residue) for residue in result[operand].values] for operand in "xy"}
    figure.layout.xaxis = tile_axis(n_shown, size, n_shown - 1, labels["y"]) | {"title": "y"}
    figure.layout.yaxis = tile_axis(n_neurons, size, 0, labels["x"]) | {"title": "x", "scaleanchor": "x"}
    seeds = result["seed"].values.tolist()
    neurons = {}
    for seed in seeds:
        indices, frequencies = (result[f"shown_neuron_{name}"].sel(seed=seed).values for name in ("index", "frequency"))
        neurons[seed] = [f"{index} (k = {k})" for index, k in zip(indices, frequencies, strict=True)]
    figure.layout.sliders = [
        tile_slider("xaxis", "epoch", epochs, size, n_shown - 1, -0.16),
        tile_slider("yaxis", "neuron", neurons[seeds[0]], size, 0, -0.36),
    ]
    traces = {seed: [tiles(values.sel(seed=seed).values, hoverinfo="skip")] for seed in seeds}
    names = {
        seed: {f"sliders[1].steps[{place}].label": name for place, name in enumerate(neurons[seed])} for seed in seeds
    }
    add_seed_menu(figure, traces, result["shown_activation"], further=names)
    return figure


def logit_spectrum(result: xr.Dataset) -> go.Figure:
    """The logits in the 2-D Fourier basis, with a slider for the checkpoint: after Nanda et al. 2023, section 4.

    Parameters
    ----------
    result
        The dataset of `circuits.analyze(run, "fourier")`, with the coefficients to draw: `shown_logits` has the
        dimensions (shown, seed, x_wave, y_wave), and `shown` counts the drawn checkpoints. A menu chooses the seed.
    """
    values = result["shown_logits"].transpose("seed", "shown", "x_wave", "y_wave")
    caption = (
        "Norm over the classes of the logits' coefficient on each product of a wave in x and a wave in y, from the "
        f"least (dark) to the largest (light){_order(result)}. A network that computes waves of {_sum(result)} has "
        "only products of equal frequency: cos cos, sin sin, cos sin and sin cos."
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
    """A square figure without traces, with a title and a caption, and with room for sliders below."""
    figure = frame(values.isel(dict.fromkeys(values.dims[1:], 0)).expand_dims(step=[0]), title, caption)
    figure.update_layout(height=SQUARE + SLIDERS + 110, margin_b=SLIDERS + 40, hovermode="closest", showlegend=False)
    return figure


def _key(result: xr.Dataset, seed: int) -> list[int]:
    return [int(frequency) for frequency in result["frequency"].values[result["key"].sel(seed=seed).values]]


def _strongest(result: xr.Dataset, seed: int) -> list[int]:
    """At most 6 key frequencies, those with the largest shares of the final logits, in ascending order of frequency."""
    key = _key(result, seed)
    share = result["logit_share"].sel(seed=seed, frequency=key).isel(step=-1).values
    return sorted(np.array(key)[np.argsort(-share, kind="stable")[:MOST_LINES]].tolist())


def _sum(result: xr.Dataset) -> str:
    """The sum or difference of operands that the Fourier analysis uses, as text, such as "x + y" or "log x − log y"."""
    return str(result.attrs.get("sum", "x + y")).replace("-", "−")


def _weights(result: xr.Dataset) -> str:
    """Part of the caption of `frequency_norms` about the weights; "" if the result has no weights."""
    tables = {
        "the embeddings": "embedding" in result.coords,
        "the unembedding": "unembedding_norm" in result,
        "the weights from the neurons to the logits": _has_other_logit_weights(result),
    }
    names = " and ".join(name for name, shown in tables.items() if shown)
    return f"; norm of each frequency in {names}" if names else ""


def _has_other_logit_weights(result: xr.Dataset) -> bool:
    """Whether `neuron_logit_norm` is in the result and does not merely repeat the values of `unembedding_norm`."""
    if "neuron_logit_norm" not in result or "unembedding_norm" not in result:
        return "neuron_logit_norm" in result
    return not np.array_equal(result["unembedding_norm"].values, result["neuron_logit_norm"].values)


def _order(result: xr.Dataset) -> str:
    """Caption text about the order of an operand's values along its axis; "" if both axes show 0, 1, 2, … in order."""
    summed = _sum(result)
    if "log" in summed:
        backwards = ", y backwards" if "−" in summed else ""
        return f"; the operands are in the order of their discrete logarithms{backwards}"
    return "; y is in backward order, so that the difference is a sum" if "−" in summed else ""
