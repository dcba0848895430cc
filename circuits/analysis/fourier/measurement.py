"""The measurement `fourier`: Fourier analysis of modular arithmetic along the trajectory.

Nanda et al. 2023 find that a network that adds mod p embeds x and y as waves of a few *key frequencies* k. The network
multiplies these waves. For each class c, the products give cos ω(x + y - c) with ω = 2πk/p.

At every checkpoint, the key frequencies are those of the last checkpoint. Differences, products and quotients are sums
on a cyclic group. Products and quotients exclude operands 0 and class 0, but every loss counts the logit of class 0.

All modules of `fourier` quote Nanda et al. 2023 from memory, so definitions and numbers may differ from the paper's.
"""

from typing import Any

import numpy as np
import xarray as xr
from jaxtyping import Bool

from circuits.analysis.fourier.all_tuples import SETS, AllTuples
from circuits.analysis.fourier.basis import frequency_norms, gini, n_frequencies, strongest_frequencies
from circuits.analysis.fourier.cyclic import is_cyclic
from circuits.analysis.fourier.labels import labeled
from circuits.analysis.fourier.logit_frequencies import key_frequencies, least_key_share, logit_frequencies
from circuits.analysis.fourier.neuron_frequencies import (
    neuron_frequencies,
    output_phases,
    phase_agreement,
    phase_residuals,
)
from circuits.analysis.fourier.options import FourierOptions
from circuits.analysis.fourier.restricted_loss import excluded_losses, mean_losses, restricted_losses
from circuits.analysis.fourier.snapshots import shown
from circuits.analysis.fourier.tables import fourier_tables
from circuits.analysis.measurement import Measurement
from circuits.analysis.networks.applies import has_layer
from circuits.analysis.networks.labels import chosen_checkpoints, without_collapsed
from circuits.analysis.networks.layers import Layer, layer_of
from circuits.analysis.networks.phases import phase_checkpoints
from circuits.analysis.networks.walk import Network, walk
from circuits.analysis.networks.weights import parameter_norm
from circuits.checkpoints.run import Run
from circuits.config import Config

SHARES = ("logit_share", "wave_share", "bias_share")  # of the logits
CLUSTERED = 0.5  # share of a neuron's variance: no second frequency can explain as much


class Views:
    """Computes Fourier measures of networks of one config. The config's task is a sum on a cyclic group.

    `layer` is the layer whose neurons are measured; None measures no neurons. The methods return arrays by name.
    """

    def __init__(self, config: Config, layer: Layer | None) -> None:
        self.config, self.layer = config, layer
        self.tuples = AllTuples(config, None if layer is None else layer.hook)
        self.group = self.tuples.group

    def waves(self, net: Network) -> dict[str, np.ndarray]:
        """Fourier measures of weights, neurons and logits by name; "by_sum" has the logits, grouped by operand sum."""
        neurons, logits = self.tuples.values(net)
        by_sum = logits[self.group.by_sum]
        wave = logit_frequencies(by_sum, self.group.classes)
        values = {
            "by_sum": by_sum, "logit_cos": wave.cosine, "logit_sin": wave.sine,
            "logit_share": wave.share, "wave_share": wave.wave_share, "bias_share": np.array(wave.bias_share),
        }  # fmt: skip
        values |= self._weights(net)
        return values if neurons is None else values | self._neurons(net, neurons)

    def losses(
        self,
        by_sum: np.ndarray,
        key: Bool[np.ndarray, " frequency"],
        members: Bool[np.ndarray, "set element tuple_of_sum"],
    ) -> dict[str, np.ndarray]:
        """Mean cross-entropies over the train set, the test set and all tuples of operands: arrays by name.

        Entry (s, j) of `by_sum` holds the logits of tuple j among the tuples with the sum s in the cyclic group. Entry
        (set, s, j) of `members` says whether this tuple is in the set. "loss" uses the logits. "restricted_loss" keeps
        only each class's mean logit and the waves of s at the frequencies in `key`. "excluded_loss" removes only these
        waves. These three arrays are (set,). "restricted_loss_of" and "excluded_loss_of" are (set, frequency): the
        losses if only this one frequency is kept or removed.
        """
        each = np.eye(len(key), dtype=bool)
        kept, removed = np.vstack([each, key]), np.vstack([each, key, np.zeros_like(key)])
        alone = restricted_losses(by_sum, self.group.classes, kept)[:, None]
        restricted = mean_losses(np.broadcast_to(alone, (*by_sum.shape[:2], len(kept))), members)
        excluded = mean_losses(excluded_losses(by_sum, self.group.classes, removed), members)
        return {
            "loss": excluded[:, -1],
            "restricted_loss": restricted[:, -1],
            "excluded_loss": excluded[:, -2],
            "restricted_loss_of": restricted[:, :-1],
            "excluded_loss_of": excluded[:, :-2],
        }

    def _weights(self, net: Network) -> dict[str, np.ndarray]:
        values = {"sum_of_squared_weights": np.array(parameter_norm(self.config, net, {}) ** 2)}
        if tables := self.tuples.embedding_tables(net):
            values["embedding_norm"] = np.stack([frequency_norms(table) for table in tables])
            values["embedding_gini"] = np.array([gini(norms) for norms in values["embedding_norm"]])
        if len(tables) > 1:
            first, *others = (strongest_frequencies(table) for table in tables)
            values["same_frequency"] = np.all([first == other for other in others], axis=0).mean()
        readout = None if self.layer is None else self.layer.readout(net)
        for name, weights in (("unembedding", self.config.model.unembedding_table(net)), ("neuron_logit", readout)):
            if (table := self.tuples.of_classes(weights)) is not None:
                values[f"{name}_norm"] = frequency_norms(table)
                values[f"{name}_gini"] = np.array(gini(values[f"{name}_norm"]))
        return values

    def _neurons(self, net: Network, activations: np.ndarray) -> dict[str, np.ndarray]:
        neurons = neuron_frequencies(activations)
        share = neurons.linear_share + neurons.product_share
        counted = neurons.frequency[(neurons.frequency > 0) & (share > CLUSTERED)]
        values = {
            "neuron_frequency": neurons.frequency.astype(np.int16),
            "neuron_share": share,
            "neuron_linear_share": neurons.linear_share,
            "neuron_product_share": neurons.product_share,
            "neuron_phase": neurons.phase,
            "cluster_size": np.bincount(counted, minlength=n_frequencies(self.group.order) + 1)[1:],
        }
        readout = None if self.layer is None else self.tuples.of_classes(self.layer.readout(net))
        if readout is not None:
            out = output_phases(readout.T, neurons.frequency)
            residual = phase_residuals(neurons.phase, out)
            values |= {"neuron_output_phase": out, "phase_residual": residual}
        narrow = {name for name in values if values[name].dtype == np.float64}
        return {name: value.astype(np.float32) if name in narrow else value for name, value in values.items()}


def measure(run: Run, options: FourierOptions, *, progress: bool = False) -> xr.Dataset:
    """Fourier analysis of a modular run on its cyclic group Z_m: shares, phases and losses for each frequency k.

    A network's input is a tuple of operands, such as (x, y), and the result of the operation is a class c. Operands and
    classes are elements of Z_m; ω is 2πk/m. The *centered logits* of a tuple are its logits minus their mean over
    classes. The *bias* of a class is its mean centered logit over all tuples. The axis `set` has three sets of tuples:
    the train set, the test set and all tuples.

    Returns
    -------
    key
        (seed, frequency) bool: the key frequencies, by the rule in the attribute `key_rule`.
    embedding_norm, unembedding_norm, neuron_logit_norm
        Norm of each frequency, for three kinds of weights. `embedding_norm` (step, seed, embedding, frequency): weights
        in each embedding table. `unembedding_norm` (step, seed, frequency): the unembedding. `neuron_logit_norm` (step,
        seed, frequency): the map from hidden neurons to logits. `embedding_gini`, `unembedding_gini` and
        `neuron_logit_gini` are the Gini coefficients of these norms over frequencies.
    same_frequency
        (step, seed) This result exists only if the network has a separate embedding table for each operand. It is the
        share of the tables' columns (features) whose strongest frequency is the same in the tables of all operands.
    neuron_frequency, neuron_share
        (step, seed, neuron) `neuron_frequency`: the frequency that explains most of the neuron's variance over all
        tuples, 0 for none. `neuron_share`: the share of the variance that this frequency explains.
    neuron_linear_share, neuron_product_share
        (step, seed, neuron) the two parts of `neuron_share`: `neuron_linear_share` for waves of one operand, such as
        cos ωx, and `neuron_product_share` for products of waves of several operands, such as cos ωx cos ωy.
    neuron_phase
        (step, seed, operand, neuron) phase φ of the neuron's wave cos(ωx + φ) in the operand x, at `neuron_frequency`.
    neuron_output_phase
        (step, seed, neuron) phase φ of the wave cos(ωc + φ) in the neuron's weights to the logits of the classes c.
    phase_residual
        (step, seed, neuron) sum of `neuron_phase` over all operands, minus `neuron_output_phase`; in -π..π.
    phase_agreement
        (step, seed) mean cosine of `phase_residual` over neurons of key frequencies, weighted by `neuron_share`; -1..1.
    cluster_size
        (step, seed, frequency) number of neurons with more than half of their variance at this frequency.
    logit_cos, logit_sin
        (step, seed, frequency) amplitudes of cos and sin of ω(x + y - c) in the centered logits of class c.
    logit_share
        (step, seed, frequency) share of the centered logits' sum of squares that cos ω(x + y - c) explains. The sum of
        squares is over all tuples and classes, and includes the biases.
    wave_share
        (step, seed, frequency) share of the centered logits' variance over tuples that cos and sin of ω(x + y) explain.
        Each class has its own weights of cos and sin.
    key_logit_share, key_wave_share
        (step, seed) sum of `logit_share`, and sum of `wave_share`, over the key frequencies.
    bias_share
        (step, seed) share of the centered logits' sum of squares that the biases explain.
    loss, restricted_loss, excluded_loss
        (step, seed, set) mean cross-entropy. The *key waves* are cos ω(x + y) and sin ω(x + y) at the key frequencies.
        Each class's logit has its own weights of the key waves. `loss` uses the network's logits. `restricted_loss`
        uses only the biases and the key waves. `excluded_loss` uses the logits without the key waves.
    restricted_loss_of, excluded_loss_of
        (step, seed, set, frequency) restricted and excluded loss with a single frequency in place of the key ones.
    sum_of_squared_weights
        (step, seed) sum of squares of all parameters.
    shown_…
        Data for pictures of up to five checkpoints; only for two operands x and y. `shown_activation`: values of a few
        neurons on all pairs (x, y). `shown_neuron_index`, `shown_neuron_frequency`: index and frequency of each shown
        neuron. `shown_logits`: how large each product of a wave of x and a wave of y is in the centered logits. Each
        class has a coefficient of the product; the value is the root of the sum of the squared coefficients.
    """
    layer = layer_of(run, options, has_layer) if run.config.prunable_layers else None
    views = Views(run.config, layer)
    members = views.tuples.members(run)
    at_end = _walked(run, np.array([run.n_checkpoints - 1]), views, lambda seed, values: values, what="key frequencies")
    at_end = {name: values[0] for name, values in at_end.items()}
    least = least_key_share(views.group.order) if options.key_share is None else options.key_share
    key = key_frequencies(at_end["logit_share"], least) & ~run.collapsed.values[-1][:, None]

    def with_losses(seed: int, values: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
        values |= views.losses(values["by_sum"], key[seed], members[seed])
        for name in SHARES[:2]:
            values[f"key_{name}"] = values[name][key[seed]].sum()
        if "phase_residual" in values:
            of_key = np.isin(values["neuron_frequency"], 1 + np.flatnonzero(key[seed]))
            agreement = phase_agreement(values["phase_residual"][of_key], values["neuron_share"][of_key])
            values["phase_agreement"] = np.array(agreement)
        return values

    checkpoints = chosen_checkpoints(run, options)
    values = _walked(run, checkpoints, views, with_losses, what="fourier", progress=progress)
    result = labeled(run, views.tuples, checkpoints, values, key)
    result = result.merge(shown(run, views.tuples, options, at_end, key))
    result.attrs = _attrs(run, views, options, least, key)
    return without_collapsed(run, result, lambda name: name.endswith(SHARES))


def _walked(
    run: Run, checkpoints: np.ndarray, views: Views, further: Any, *, what: str, progress: bool = False
) -> dict[str, np.ndarray]:
    """Fourier measures of every network at `checkpoints`: a dictionary of arrays, each (step, seed, ...).

    For each network, `views.waves` computes a dictionary of arrays. One of them, "by_sum", has all logits. The function
    `further(index of the seed, dictionary)` may add arrays and returns the dictionary. The result never has "by_sum".
    """

    def one(seed: int, net: Network) -> dict[str, np.ndarray]:
        values = further(seed, views.waves(net))
        return {name: value for name, value in values.items() if name != "by_sum"}

    return walk(run, checkpoints, one, what=what, progress=progress)


def _attrs(
    run: Run, views: Views, options: FourierOptions, least: float, key: Bool[np.ndarray, "seed frequency"]
) -> dict[str, Any]:
    task = run.config.task.model_dump()
    collapsed = run.collapsed.values[-1]
    dead = [f"seed {seed} collapsed, so there is no key frequency." for seed in np.array(run.seeds)[collapsed]]
    without = [
        f"seed {seed} has no key frequency: no cosine has {least:.3g} of its logits' sum of squares at the last "
        f"checkpoint. Its restricted loss is that of the mean logits, its excluded loss the loss itself."
        for seed in np.array(run.seeds)[~key.any(axis=1) & ~collapsed]
    ]
    _, generalized = phase_checkpoints(run, options)
    early = [
        f"seed {seed} has key frequencies but has not generalized: a lookup table of a share f of all tuples has "
        f"2f/(m - 1) of the sum of squares at every frequency below m/2."
        for seed in np.array(run.seeds)[key.any(axis=1) & np.isnan(generalized)]
    ]
    products = "operands and results 0 are left out; the logit of class 0 counts in the losses"
    return {
        "operation": task["operation"],
        "group": f"Z_{views.group.order}",
        "sum": views.group.sum,
        "layer": "none" if views.layer is None else views.layer.hook,
        "sets": ", ".join(SETS) + (f"; {products}" if views.group.order < task["p"] else ""),
        "loss": "cross-entropy",
        "key_share": least,
        "key_rule": (
            f"cos of the frequency in {views.group.sum} - c has at least {least:.3g} of the sum of squares of the "
            f"logits, class biases included, at the last checkpoint, step {int(run.steps[-1])}"
        ),
        "cluster_share": CLUSTERED,
        "warnings": [*dead, *without, *early],
    }


FOURIER = Measurement(measure, is_cyclic, fourier_tables)
