"""The registry: tables with one entry per task, model, optimizer, metric, measurement, construction and preset.

An entry holds a help text and the import path of an object, which is imported on use. `--help`, the config's parser,
the report and the docs read these tables; a new entry needs no change elsewhere. `register.py` adds entries from a
notebook, and from installed packages: plugins with an entry point in the group `circuits.plugins`.
"""

import sys
from collections.abc import Callable, Iterator, Mapping, MutableMapping
from dataclasses import dataclass
from importlib import import_module
from importlib.metadata import entry_points
from typing import Any, Generic, TypeVar

from circuits.errors import InputError, nearest

PLUGINS = "circuits.plugins"  # group of entry points

Line = TypeVar("Line", bound="Entry")


@dataclass(frozen=True)
class Entry:
    """Help text and import path (`module:attribute`) of one registered name; or the object itself instead of a path."""

    help: str
    path: Any

    def load(self) -> Any:
        """The registered object, imported from `path` (`module:attribute`)."""
        return load(self.path)


@dataclass(frozen=True)
class MetricEntry(Entry):
    """A metric of training, for all models or only for those with a prunable layer, whose neurons can be removed."""

    needs_prunable_layer: bool = False


@dataclass(frozen=True)
class MeasurementEntry(Entry):
    """A `circuits.analysis.measurement.Measurement`, with the import paths of its options class and figure function.

    The figure function takes the run and a dataset: the result of the measurement, with each seed's memorization and
    generalization epoch added. The entry holds the function's path because analysis must not import figures.
    """

    options: Any = "circuits.analysis.networks.options:PruningOptions"
    figures: Any = "circuits.figures.generic:figures"


@dataclass(frozen=True)
class ConstructionEntry(Entry):
    """A hand-built network for one task."""

    task: str = "parity"


@dataclass(frozen=True)
class PresetEntry(Entry):
    """A preset: its paper, the figures it reproduces, and the approximate training seconds of one config on 2 cores."""

    paper: str
    shows: str
    seconds: int


class Registered(MutableMapping[str, Line], Generic[Line]):
    """The entries of one kind by name; the first look loads all plugins, which may add entries."""

    _plugins_are_loaded = False

    def __init__(self, entries: Mapping[str, Line]) -> None:
        self.own = dict(entries)
        self.added: dict[str, Line] = {}
        self._names = frozenset(entries)
        self._watchers: list[Callable[[], None]] = []

    def __getitem__(self, name: str) -> Line:
        if name not in self.own:
            _load_plugins()
        return (self.own if name in self.own else self.added)[name]

    def __contains__(self, name: object) -> bool:
        if name not in self.own:
            _load_plugins()
        return name in self.own or name in self.added

    def __setitem__(self, name: str, entry: Line) -> None:
        (self.own if name in self._names else self.added)[name] = entry
        self._tell()

    def __delitem__(self, name: str) -> None:
        del (self.own if name in self.own else self.added)[name]
        self._tell()

    def watch(self, watcher: Callable[[], None]) -> None:
        """Call `watcher` now, and after every change of the entries."""
        self._watchers.append(watcher)
        watcher()

    def _tell(self) -> None:
        for watcher in self._watchers:
            watcher()

    def __iter__(self) -> Iterator[str]:
        _load_plugins()
        return iter([*self.own, *self.added])

    def __len__(self) -> int:
        return sum(1 for _ in self)


def _load_plugins() -> None:
    """Import every plugin once; a plugin that fails is named on stderr, and the others load."""
    if Registered._plugins_are_loaded:
        return
    Registered._plugins_are_loaded = True
    for plugin in entry_points(group=PLUGINS):
        try:
            made = plugin.load()
            if callable(made):
                made()
        except Exception as error:  # whatever another package raises
            sys.stderr.write(f"warning: the plugin {plugin.name} ({plugin.value}) cannot be loaded: {error}\n")


TASKS = Registered(
    {
        "parity": Entry("Sparse parity: the product of k hidden bits out of n.", "circuits.tasks.parity:Parity"),
        "modular": Entry(
            "Modular arithmetic: x ∘ y mod p, or a sum of numbers mod p.", "circuits.tasks.modular:Modular"
        ),
        "arrays": Entry(
            "Given inputs and targets: from a NPZ or HDF5 file, or from Python.", "circuits.tasks.arrays:Arrays"
        ),
    }
)

MODELS = Registered(
    {
        "relu": Entry("One hidden layer: f(x) = u·relu(W x + b).", "circuits.models.relu:Relu"),
        "mlp": Entry(
            "MLP of any number of hidden layers, on signs (±1) or one-hot vectors.", "circuits.models.mlp:MLP"
        ),
        "embedded_mlp": Entry(
            "MLP of any number of hidden layers, on embedded tokens.", "circuits.models.mlp:EmbeddedMLP"
        ),
        "rnn": Entry("A recurrent network with tanh, on tokens.", "circuits.models.recurrent:RNN"),
        "lstm": Entry("A long short-term memory, on tokens.", "circuits.models.recurrent:LSTM"),
        "transformer": Entry(
            "A decoder-only transformer, read at its last position.", "circuits.models.transformer:Transformer"
        ),
        "linear": Entry(
            "No hidden layer: f(x) = w·x + c. A control that cannot compute parity.", "circuits.models.linear:Linear"
        ),
        "recorded": Entry(
            "A module of your own, trained by your own loop (circuits.record).", "circuits.models.recorded:Recorded"
        ),
    }
)

OPTIMIZERS = Registered(
    {
        "sgd": Entry("Stochastic gradient descent, momentum, L2 weight decay.", "circuits.optimizers:SGD"),
        "adam": Entry("Adam with L2 weight decay.", "circuits.optimizers:Adam"),
        "adamw": Entry("Adam with decoupled weight decay.", "circuits.optimizers:AdamW"),
        "rmsprop": Entry("Gradients divided by the root of their running mean square.", "circuits.optimizers:RMSProp"),
        "recorded": Entry(
            "Any optimizer, in your own training loop (circuits.record).", "circuits.optimizers:RecordedOptimizer"
        ),
    }
)

WEIGHTS = "circuits.analysis.networks.weights"
METRICS = Registered(
    {  # measured at every checkpoint while training, if the config lists them
        "effective_sparsity": MetricEntry(
            "Number of last-layer neurons in the active subnetwork, which is determined on the training set.",
            "circuits.analysis.subnetworks.active:network_sparsity",
            needs_prunable_layer=True,
        ),
        "parameter_norm": MetricEntry("L2 norm of all parameters together.", f"{WEIGHTS}:parameter_norm"),
        "zero_weights": MetricEntry("Share of the parameters that are exactly 0.", f"{WEIGHTS}:zero_weights"),
        "small_weights": MetricEntry(
            "Share of the parameters below 0.001 in absolute value.", f"{WEIGHTS}:small_weights"
        ),
    }
)

MEASUREMENTS = Registered(
    {
        "phases": MeasurementEntry(
            "When each seed memorized and generalized; always measured.",
            "circuits.analysis.networks.measurement:PHASES",
            "circuits.analysis.networks.options:WalkOptions",
            "circuits.figures.learning:figures",
        ),
        "subnetwork": MeasurementEntry(
            "Active subnetwork: the k neurons of largest norm, for the smallest k at which they predict like the "
            "network. Effective sparsity: this k.",
            "circuits.analysis.subnetworks.subnetwork:SUBNETWORK",
            figures="circuits.figures.subnetworks.subnetwork:figures",
        ),
        "norms": MeasurementEntry(
            "Norm of every neuron, and its mean over groups: active subnetwork at the end, all other neurons, active "
            "subnetwork at memorization, random neurons.",
            "circuits.analysis.subnetworks.norms:NORMS",
            figures="circuits.figures.subnetworks.norms:figures",
        ),
        "faithfulness": MeasurementEntry(
            "How often a group of neurons alone predicts like the network on the test set. Groups: active subnetwork "
            "at the end, all other neurons, active subnetwork at memorization, random neurons.",
            "circuits.analysis.subnetworks.faithfulness:FAITHFULNESS",
            figures="circuits.figures.subnetworks.faithfulness:figures",
        ),
        "progress": MeasurementEntry(
            "Norms, sparsity, margins, sensitivity and arity (inputs in use per neuron) along training, and their "
            "onsets.",
            "circuits.analysis.progress.measurement:PROGRESS",
            figures="circuits.figures.progress.measures:figures",
        ),
        "constructions": MeasurementEntry(
            "Logic gate most like each neuron, number of neurons that the predictions need (near-parallel neurons "
            "count as one), match with hand-built networks, path cost Σ|readout|·‖(weights, bias)‖, margin.",
            "circuits.analysis.parity.constructions:CONSTRUCTIONS",
            "circuits.analysis.subnetworks.options:MergeOptions",
            "circuits.figures.parity.constructions:figures",
        ),
        "walsh": MeasurementEntry(
            "Walsh spectrum of the network and its neurons, Fourier gap, weight movement.",
            "circuits.analysis.walsh.measurement:WALSH",
            "circuits.analysis.walsh.options:WalshOptions",
            "circuits.figures.walsh.curves:figures",
        ),
        "certify": MeasurementEntry(
            "Proof or refutation of parity on all inputs, at the last checkpoint or at --checkpoints. On request only.",
            "circuits.analysis.parity.certificates:CERTIFY",
            "circuits.analysis.subnetworks.options:SearchOptions",
            "circuits.figures.parity.certify:figures",
        ),
        "representation": MeasurementEntry(
            "Clusters of the hidden activations, t-SNE, PCA, weight densities. On request only.",
            "circuits.analysis.representation.measurement:REPRESENTATION",
            figures="circuits.figures.representation:figures",
        ),
        "exact": MeasurementEntry(
            "Fewest neurons that predict like the network, at the last checkpoint or at --checkpoints. On request "
            "only.",
            "circuits.analysis.subnetworks.smallest:EXACT",
            "circuits.analysis.subnetworks.options:SearchOptions",
        ),
        "ablation": MeasurementEntry(
            "Accuracy and loss without each neuron, group of neurons or attention head. On request only.",
            "circuits.analysis.interventions.ablation:ABLATION",
            "circuits.analysis.interventions.options:AblationOptions",
        ),
        "fourier": MeasurementEntry(
            "Fourier analysis of modular arithmetic: weights, neurons, logits; restricted and excluded loss.",
            "circuits.analysis.fourier.measurement:FOURIER",
            "circuits.analysis.fourier.options:FourierOptions",
            "circuits.figures.fourier:figures",
        ),
    }
)


_PAPERS = {  # (paper, module of circuits.presets) -> preset -> its help, where in the paper, seconds of one config
    ("Merrill et al. 2023", "merrill_2023"): {
        "merrill-2023": ("(40,3) parity", "Figs. 2, 3, 5", 5),
        "merrill-2023-weak-decay": ("weight decay 0.001", "Figs. 6, 7", 20),
        "merrill-2023-k4": ("(40,4) parity", "Figs. 8, 9", 5),
        "merrill-2023-addition": ("x + y mod 97, transformer", "Fig. 4 left", 10800),
        "merrill-2023-division": ("x / y mod 97, transformer", "Fig. 4 right", 10800),
    },
    ("Fuangkawinsombut 2024, blog 2023", "fuangkawinsombut_2024"): {
        "fuangkawinsombut-2024": ("(50,2) parity", "Figs. 2.1-2.4; blog 1-4", 3),
        "fuangkawinsombut-2024-k3": ("(50,3) parity", "Figs. A.1-A.4", 8),
        "fuangkawinsombut-2024-raised-decay": ("decay raised once memorized", "Figs. 3.1, 3.2", 3),
        "fuangkawinsombut-2024-outliers": ("flipped training targets", "Figs. 3.3-3.5, Table 3.1", 3),
        "fuangkawinsombut-2024-widths": ("2 to 32 neurons, 50 seeds", "sections 4.2, 4.3", 15),
    },
    ("Ahmed 2024", "ahmed_2024"): {
        "ahmed-2024-lstm": ("LSTM, three fractions", "Fig. 5.2", 3600),
        "ahmed-2024-rnn": ("RNN, three fractions", "Fig. 5.3", 3600),
        "ahmed-2024-transformer": ("transformer", "Table 7.1", 5400),
        "ahmed-2024-adam": ("Adam, no regularization", "Figs. 7.1a, 7.3a", 3600),
        "ahmed-2024-dropout": ("dropout, Adam and AdamW", "Figs. 7.1b, 7.2, 7.3b, 7.4", 3600),
        "ahmed-2024-init-scale": ("initialization times 1 and 5", "Fig. 7.8", 3600),
        "ahmed-2024-no-decay": ("no weight decay", "Fig. 5.4", 7200),
        "ahmed-2024-decay-removed": ("weight decay removed", "Figs. 5.5, 5.6, 7.5, 7.6", 3600),
        "ahmed-2024-decay-introduced": ("weight decay introduced", "Figs. 5.7, 7.7", 3600),
    },
    ("Liu, Chi and Wu", "liu_chi_wu"): {
        "liu-chi-wu-transformer": ("transformer, three fractions", "Figs. 1, 6", 600),
        "liu-chi-wu-mlp": ("MLP, three fractions", "Fig. 2", 300),
        "liu-chi-wu-lstm": ("LSTM, three fractions", "Fig. 3", 600),
        "liu-chi-wu-three-summands": ("x + y + z mod 31", "Fig. 5", 600),
        "liu-chi-wu-four-summands": ("x + y + z + w mod 51", "Fig. 5", 1200),
        "liu-chi-wu-sparsity": ("two-layer MLP", "Fig. 7", 180),
        "liu-chi-wu-perturbation": ("noise on the inputs", "Fig. 8", 180),
    },
    ("Liu, Chi and Wu", "liu_chi_wu_optimizers"): {
        "liu-chi-wu-full-batch": ("AdamW, full batch", "Fig. 4", 10800),
        "liu-chi-wu-minibatch": ("AdamW, minibatches", "Fig. 4", 1200),
        "liu-chi-wu-adam": ("Adam, weight decay", "Fig. 4", 1200),
        "liu-chi-wu-weight-decay": ("AdamW, weight decay", "Fig. 4", 1200),
        "liu-chi-wu-dropout": ("AdamW, dropout", "Fig. 4", 1200),
        "liu-chi-wu-large-lr": ("AdamW, ten times the rate", "Fig. 4", 1200),
        "liu-chi-wu-small-lr": ("AdamW, a tenth of the rate", "Fig. 4", 1200),
        "liu-chi-wu-rmsprop": ("RMSProp", "Fig. 4", 1200),
    },
    ("Power et al. 2022", "power_2022"): {"power-2022": ("ten operations mod 97", "Fig. 2", 3600)},
    ("Nanda et al. 2023", "nanda_2023"): {"nanda-2023": ("x + y mod 113", "section 4", 600)},
    ("the laboratory (not from a paper)", "laboratory"): {
        "modular-31": ("x + y mod 31", "", 8),
        "modular-31-decay": ("decay removed, introduced", "", 8),
        "modular-31-fraction": ("35 to 80 % for training", "", 8),
        "modular-31-noise": ("noise on the inputs", "", 8),
        "modular-31-init-scale": ("initialization times 0.5 to 4", "", 8),
    },
}
PRESETS = Registered(  # each is made by the function of its name
    {
        name: PresetEntry(what, f"circuits.presets.{module}:{name.replace('-', '_')}", paper, where, seconds)
        for (paper, module), presets in _PAPERS.items()
        for name, (what, where, seconds) in presets.items()
    }
)

BUILDING = "circuits.constructions.building"
PUBLISHED = f"{BUILDING}.published"
CONSTRUCTIONS = Registered(
    {
        "dnf": ConstructionEntry(
            "k-bit parity, 2^k AND gates: Merrill et al. 2023, Prop. 1.", f"{BUILDING}.and_gates:dnf"
        ),
        "thesis_dnf": ConstructionEntry(
            "k-bit parity by 2^k AND gates; half of the gates never fire: Fuangkawinsombut 2024, Prop. 4.1.",
            f"{BUILDING}.and_gates:thesis_dnf",
        ),
        "six_neuron": ConstructionEntry("3-bit parity: Merrill et al. 2023, Prop. 2.", f"{PUBLISHED}:six_neuron"),
        "four_neuron": ConstructionEntry("3-bit parity: Merrill et al. 2023, Prop. 3.", f"{PUBLISHED}:four_neuron"),
        "two_neuron": ConstructionEntry("2-bit parity: Fuangkawinsombut 2024, section 4.2.", f"{PUBLISHED}:two_neuron"),
        "threshold": ConstructionEntry(
            "k-bit parity by k + 1 neurons: Merrill et al., Prop. 3, for any k.",
            f"{BUILDING}.threshold_gates:threshold",
        ),
        "min_norm": ConstructionEntry(
            "k-bit parity, k up to 6, by 2^k neurons. No network of equal margin has a lower "
            "Σ|readout|·‖(weights, bias)‖.",
            f"{BUILDING}.least_norm:min_norm",
        ),
        "modular_addition": ConstructionEntry(
            "x + y mod p by cosines of chosen frequencies: Nanda et al. 2023, section 4.",
            f"{BUILDING}.trigonometric:modular_addition",
            task="modular",
        ),
    }
)


def about(table: Mapping[str, ConstructionEntry], task: str) -> dict[str, ConstructionEntry]:
    """The constructions for one task.

    Examples
    --------
    >>> list(about(CONSTRUCTIONS, "modular"))
    ['modular_addition']
    """
    return {name: entry for name, entry in table.items() if entry.task == task}


def load(path: Any) -> Any:
    """The object at an import path `module:attribute`; anything but a text is the object itself.

    Examples
    --------
    >>> load("circuits.registry:TASKS") is TASKS
    True
    """
    if not isinstance(path, str):
        return path
    module, attribute = path.split(":")
    return getattr(import_module(module), attribute)


def lookup(table: Mapping[str, Line], name: str, what: str) -> Line:
    """The entry called `name`; an unknown name raises an `InputError` that lists the valid ones.

    Examples
    --------
    >>> lookup({name: TASKS[name] for name in ("parity", "modular")}, "party", "task")
    Traceback (most recent call last):
    circuits.errors.InputError: There is no task 'party'. Did you mean 'parity'? There are: modular, parity.
    """
    if name not in table:
        raise InputError(f"There is no {what} '{name}'. {nearest(name, table)}")
    return table[name]
