"""The table of contents: one line per task, model, measurement, construction and preset.

An entry holds a help text and the import path of the thing, loaded when it is used. `--help`, the config's parser, the
report and the docs read these tables; nothing else needs to change when an entry is added.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from importlib import import_module
from typing import Any

from circuits.errors import InputError, nearest


@dataclass(frozen=True)
class Entry:
    """A name's help text and where it lives, as `module:attribute`."""

    help: str
    path: str
    figures: str | None = None  # measurements only: `module:function` giving its figures; None draws every curve
    needs: str | None = None  # measurements and metrics: attribute of the model that must not be None
    task: str | None = None  # measurements only: the one task that it is about; None for any
    most_bits: int | None = None  # measurements only: the most relevant bits it can be made of, unless it is named
    on_request: bool = False  # measurements only: takes so long that it is made only when it is named

    def load(self) -> Any:
        """Import the module and return the attribute."""
        return load(self.path)


TASKS = {
    "parity": Entry("Sparse parity: the product of k hidden bits out of n.", "circuits.tasks.parity:Parity"),
    "modular": Entry(
        "Modular arithmetic: the result of x ∘ y mod p, or of K summands.", "circuits.tasks.modular:Modular"
    ),
}

MODELS = {
    "relu": Entry("One hidden layer: f(x) = u·relu(W x + b).", "circuits.models.relu:Relu"),
    "mlp": Entry("Any hidden layers, on signs or one-hot slots.", "circuits.models.mlp:MLP"),
    "embedded_mlp": Entry("Any hidden layers, on embedded tokens.", "circuits.models.mlp:EmbeddedMLP"),
    "rnn": Entry("A recurrent network with tanh, on tokens.", "circuits.models.recurrent:RNN"),
    "lstm": Entry("A long short-term memory, on tokens.", "circuits.models.recurrent:LSTM"),
    "transformer": Entry(
        "A decoder-only transformer, read at its last position.", "circuits.models.transformer:Transformer"
    ),
    "linear": Entry(
        "No hidden layer: f(x) = w·x + c. Cannot compute parity: a control.", "circuits.models.linear:Linear"
    ),
}

OPTIMIZERS = {
    "sgd": Entry("Stochastic gradient descent, momentum, L2 weight decay.", "circuits.optimizers:SGD"),
    "adam": Entry("Adam with L2 weight decay.", "circuits.optimizers:Adam"),
    "adamw": Entry("Adam with decoupled weight decay.", "circuits.optimizers:AdamW"),
    "rmsprop": Entry("Gradients over the root of their running mean square.", "circuits.optimizers:RMSProp"),
}

METRICS = {  # measured at every checkpoint while training, when a config asks for them
    "effective_sparsity": Entry(
        "Neurons in the active subnetwork on the training set.",
        "circuits.analysis.active:network_sparsity",
        needs="hidden_layer",
    ),
    "parameter_norm": Entry("L2 norm of all parameters together.", "circuits.analysis.weights:parameter_norm"),
    "zero_weights": Entry("Share of the parameters that are exactly 0.", "circuits.analysis.weights:zero_weights"),
    "small_weights": Entry(
        "Share of the parameters below 0.001 in absolute value.", "circuits.analysis.weights:small_weights"
    ),
}

MEASUREMENTS = {
    "subnetwork": Entry(
        "Active subnetwork and effective sparsity at every checkpoint.",
        "circuits.analysis.subnetwork:measure",
        figures="circuits.figures.subnetwork:figures",
        needs="hidden_layer",
    ),
    "norms": Entry(
        "Norm of every neuron, and its mean over each group of neurons.",
        "circuits.analysis.norms:measure",
        figures="circuits.figures.norms:figures",
        needs="hidden_layer",
    ),
    "faithfulness": Entry(
        "Agreement of each group of neurons, alone, with the full network on the test set.",
        "circuits.analysis.faithfulness:measure",
        figures="circuits.figures.faithfulness:figures",
        needs="hidden_layer",
    ),
    "constructions": Entry(
        "Gate of each neuron, merged size, match to hand-built circuits, efficiency.",
        "circuits.analysis.constructions:measure",
        figures="circuits.figures.constructions:figures",
        needs="hidden_layer",
        task="parity",
        most_bits=10,
    ),
    "certify": Entry(
        "Prove or refute the network on all inputs: last checkpoint, or --checkpoints. On request only.",
        "circuits.analysis.certificates:measure",
        figures="circuits.figures.certify:figures",
        needs="hidden_layer",
        task="parity",
        on_request=True,
    ),
    "exact": Entry(
        "Smallest subnetwork of any neurons: last checkpoint, or --checkpoints. On request only.",
        "circuits.analysis.exact:measure",
        needs="hidden_layer",
        on_request=True,
    ),
}

PRESETS = {
    "merrill-2023": Entry(
        "(40,3) parity, width 1000, 5 seeds, 300 epochs: Merrill et al. 2023, section 2.",
        "circuits.presets.merrill_2023:merrill_2023",
    ),
    "fuangkawinsombut-2024-widths": Entry(
        "(50,2) with 2 to 6 neurons, (50,3) with 4 to 32, with and without L1, 50 seeds: thesis, chapter 4.",
        "circuits.presets.fuangkawinsombut_2024:fuangkawinsombut_2024_widths",
    ),
}

CONSTRUCTIONS = {
    "dnf": Entry("2^k AND gates, any k: Merrill et al. 2023, Prop. 1.", "circuits.constructions.and_gates:dnf"),
    "thesis_dnf": Entry(
        "2^k AND gates of which half never fire, any k: thesis, Prop. 4.1.",
        "circuits.constructions.and_gates:thesis_dnf",
    ),
    "six_neuron": Entry("k = 3: Merrill et al. 2023, Prop. 2.", "circuits.constructions.printed:six_neuron"),
    "four_neuron": Entry("k = 3: Merrill et al. 2023, Prop. 3.", "circuits.constructions.printed:four_neuron"),
    "two_neuron": Entry("k = 2: thesis, section 4.2.", "circuits.constructions.printed:two_neuron"),
    "threshold": Entry(
        "k + 1 neurons of the sum of the bits, any k: Prop. 3 generalised.",
        "circuits.constructions.of_the_sum:threshold",
    ),
    "min_norm": Entry(
        "The least path cost there is, 2^k neurons, k up to 6.", "circuits.constructions.least_norm:min_norm"
    ),
}


def load(path: str) -> Any:
    """Import `module:attribute`.

    Examples
    --------
    >>> load("circuits.registry:TASKS") is TASKS
    True
    """
    module, attribute = path.split(":")
    return getattr(import_module(module), attribute)


def lookup(table: Mapping[str, Entry], name: str, what: str) -> Entry:
    """The entry called `name`, or an `InputError` that lists the names there are.

    Examples
    --------
    >>> lookup(MODELS, "rellu", "model")
    Traceback (most recent call last):
    circuits.errors.InputError: There is no model 'rellu'. Did you mean 'relu'? There are: linear, relu.
    """
    if name not in table:
        raise InputError(f"There is no {what} '{name}'. {nearest(name, table)}")
    return table[name]
