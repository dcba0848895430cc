"""Does a network compute parity? Decided in exact arithmetic on all 2^k patterns of its relevant bits.

A network computes parity iff its output is positive where the parity is 1 and negative where it is -1 (Merrill et al.
2023, appendix D). Zero is neither. The margin is the least parity · f; it is positive iff the network computes parity.
Where every output of parity 1 is above every output of parity -1, a threshold between them would do, or a further
neuron that is constant: what is missing then is an output bias.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from functools import cached_property

import numpy as np
from jaxtyping import Bool, Int8

from circuits.collapse import COLLAPSED_SHARE, is_collapsed
from circuits.constructions.building.construction import Construction
from circuits.constructions.patterns import parities, patterns
from circuits.constructions.verifying.conditions import fires_as_printed, firing_condition
from circuits.constructions.verifying.rational import ExactValues, exact_values
from circuits.errors import InputError


@dataclass(frozen=True)
class Disagreement:
    """A neuron that does not fire where its source says."""

    neuron: str
    printed: str
    found: str


@dataclass(frozen=True, eq=False)
class Verification:
    """What exact evaluation says of a network on its k relevant bits.

    Attributes
    ----------
    name
        What was evaluated.
    inputs, n_inputs
        Index of every relevant bit among the inputs of the network, ascending, and how many inputs that has.
    n_left_out
        Other inputs on which a neuron has a weight; they were held at 0, their mean. When there are none, what holds
        here holds for all 2^n inputs.
    neurons
        Names of the neurons.
    readout
        (neuron,) weight u with which each activation counts in the output.
    values
        Activations and outputs, as integers over their denominators.
    printed
        The condition under which the source says that each neuron fires; empty if it does not.
    train_largest_output
        Largest |f| of the run's network on its training set, which decides whether it has collapsed; None where there
        is no training set: then the patterns decide.
    """

    name: str
    inputs: tuple[int, ...]
    n_inputs: int
    n_left_out: int
    neurons: tuple[str, ...]
    readout: tuple[Fraction, ...]
    values: ExactValues
    printed: tuple[str, ...] = ()
    train_largest_output: float | None = None

    @property
    def k(self) -> int:
        """Relevant bits."""
        return len(self.inputs)

    @property
    def bits(self) -> tuple[str, ...]:
        """Names of the relevant bits by their index in the input, such as x0, in the order of `inputs`."""
        return tuple(f"x{index}" for index in self.inputs)

    @cached_property
    def patterns(self) -> Int8[np.ndarray, "pattern k"]:
        """Every pattern of the relevant bits."""
        return patterns(self.k)

    @cached_property
    def parities(self) -> Int8[np.ndarray, " pattern"]:
        """The parity of every pattern."""
        return parities(self.k)

    @cached_property
    def activations(self) -> tuple[tuple[Fraction, ...], ...]:
        """(pattern, neuron) exact activations."""
        over = self.values.hidden_over
        return tuple(tuple(Fraction(value, over) for value in row) for row in self.values.hidden.tolist())

    @cached_property
    def outputs(self) -> tuple[Fraction, ...]:
        """(pattern,) exact outputs."""
        return tuple(Fraction(value, self.values.output_over) for value in self.values.output.tolist())

    @cached_property
    def margin(self) -> Fraction:
        """Least parity · f over the patterns."""
        return self._least(self.values.output * self.parities)

    @property
    def computes_parity(self) -> bool:
        """Output > 0 where the parity is 1, < 0 where it is -1; never of a collapsed network."""
        return self.margin > 0 and not self.collapsed

    @property
    def wrong(self) -> Bool[np.ndarray, " pattern"]:
        """The patterns on which the sign of the output is not the parity; zero is wrong on either side."""
        return self.values.output * self.parities <= 0

    @cached_property
    def thresholds(self) -> tuple[Fraction, Fraction] | None:
        """The open interval of thresholds that separate the two parities, or None if there is none."""
        above = -self._least(-self.values.output[self.parities == -1])
        below = self._least(self.values.output[self.parities == 1])
        return (above, below) if above < below else None

    @property
    def collapsed(self) -> bool:
        """Whether the outputs are 0, or as good as 0: see `circuits.collapse`."""
        if self.train_largest_output is not None:
            return bool(is_collapsed(self.train_largest_output))
        return self.largest_output < Fraction(str(COLLAPSED_SHARE))

    @cached_property
    def largest_output(self) -> Fraction:
        """Largest |f| over the patterns."""
        return Fraction(int(np.abs(self.values.output).max()), self.values.output_over)

    @cached_property
    def conditions(self) -> tuple[str, ...]:
        """The logical condition under which each neuron fires."""
        fires = self.values.hidden > 0
        return tuple(firing_condition(fires[:, neuron].astype(bool), self.bits) for neuron in range(len(self.neurons)))

    @cached_property
    def disagreements(self) -> tuple[Disagreement, ...]:
        """Neurons for which the condition printed in the source is not the one found."""
        fires = self.values.hidden > 0
        return tuple(
            Disagreement(name, printed, self.conditions[neuron])
            for neuron, (name, printed) in enumerate(zip(self.neurons, self.printed, strict=False))
            if (fires_as_printed(printed, self.bits) != fires[:, neuron]).any()
        )

    def __str__(self) -> str:
        from circuits.constructions.verifying.verdict import verdict

        return "\n".join(verdict(self))

    def _least(self, outputs: np.ndarray) -> Fraction:
        return Fraction(int(outputs.min()), self.values.output_over)


def verify(
    network: Construction | Mapping[str, np.ndarray],
    support: Sequence[int] | None = None,
    *,
    name: str = "network",
    neurons: Sequence[str] | None = None,
    train_largest_output: float | None = None,
) -> Verification:
    """Evaluate a network exactly on every pattern of its relevant bits, the other inputs held at 0.

    Parameters
    ----------
    network
        A construction, or W (neuron, input), b (neuron,), u (neuron,) by name; floats are taken for the rationals that
        they are.
    support
        For arrays: indices of the relevant bits, in any order; by default every input is one. A construction has only
        relevant bits, and takes none.
    name
        For arrays: what they are.
    neurons
        For arrays: names of the neurons; by default h0, h1, …
    train_largest_output
        For arrays: largest |f| on the network's training set, >= 0, if it has one: it decides whether the network has
        collapsed. By default the patterns do.

    Returns
    -------
    The verification; `computes_parity` is the verdict, `str()` of it says why. Bits and neurons are numbered from 0, as
    arrays index them, and in ascending order: the papers' x1 and h1 are x0 and h0 here.

    Raises
    ------
    InputError
        The support is not one of the network's, the shapes do not fit, a weight is NaN or infinite, or there are too
        many patterns.

    References
    ----------
    Merrill et al. 2023, appendix D.

    Examples
    --------
    >>> from circuits.constructions import six_neuron, two_neuron
    >>> verify(six_neuron()).margin, verify(six_neuron()).conditions[0]
    (Fraction(1, 1), '(x0 = -1 ∨ x1 = -1) ∧ x2 = 1')
    >>> verify(two_neuron()).computes_parity, verify(two_neuron()).thresholds
    (False, (Fraction(0, 1), Fraction(1, 1)))
    >>> verify({"W": np.array([[1.0, 0.5], [-1.0, 0.0]]), "b": np.zeros(2), "u": np.array([1.0, -1.0])}, [0]).n_left_out
    1
    """
    if isinstance(network, Construction):
        if support is not None:
            raise InputError(f"{network.name} has no input but its {network.k} relevant bits, so it takes no support.")
        values = exact_values(network.W, network.b, network.u, network.k)
        names = tuple(f"h{index}" for index in range(network.n_neurons))
        where = tuple(range(network.k))
        readout = tuple(Fraction(one) for one in network.u)
        return Verification(network.name, where, network.k, 0, names, readout, values, network.printed)
    W, b, u = (np.asarray(network[which]) for which in "Wbu")
    if W.ndim != 2 or b.shape != (len(W),) or u.shape != (len(W),):
        raise InputError(f"W {W.shape}, b {b.shape}, u {u.shape} must be (neuron, input), (neuron,), (neuron,).")
    n = W.shape[1]
    where = tuple(range(n)) if support is None else tuple(sorted(support))
    if len(set(where)) != len(where) or not where or not all(0 <= bit < n for bit in where):
        raise InputError(f"support {list(where)} must name different bits of 0..{n - 1}.")
    values = exact_values(W[:, where].tolist(), b.tolist(), u.tolist(), len(where))
    others = np.delete(W, where, axis=1)
    if not np.isfinite(others).all():
        raise InputError("the network has diverged: a weight is NaN or infinite, so it has no exact value.")
    left_out = int((others[u != 0] != 0).any(axis=0).sum())
    names = tuple(f"h{index}" for index in range(len(W))) if neurons is None else tuple(neurons)
    readout = tuple(Fraction(one) for one in u.tolist())
    return Verification(name, where, n, left_out, names, readout, values, train_largest_output=train_largest_output)
