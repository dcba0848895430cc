"""Whether a network computes parity, from its exact values on all 2^k patterns (settings of its relevant bits).

A network with all outputs nearly 0 has collapsed and does not compute parity. Any other network computes parity iff its
output is positive where the parity is 1 and negative where it is -1 (Merrill et al. 2023, appendix D). Equivalently,
its margin, the least parity · f, is positive. If every output at parity 1 is above every output at parity -1, the
network lacks only an output bias. A threshold between the two groups or a constant neuron supplies this bias.
"""

from dataclasses import dataclass
from fractions import Fraction
from functools import cached_property

import numpy as np
from jaxtyping import Bool, Int8

from circuits.collapse import COLLAPSED_SHARE, is_collapsed
from circuits.constructions.patterns import parities, patterns
from circuits.constructions.verifying.conditions import fires_as_printed, firing_condition
from circuits.constructions.verifying.rational import ExactValues, number

FEW = 2  # outputs to list one by one


@dataclass(frozen=True)
class Disagreement:
    """A neuron whose firing condition in the network's publication (`printed`) is not its exact condition (`found`)."""

    neuron: str
    printed: str
    found: str


@dataclass(frozen=True, eq=False)
class Verification:
    """Exact evaluation of a network on its k relevant bits.

    Attributes
    ----------
    inputs, n_inputs
        Indices of the relevant bits, ascending, and the number of inputs of the network.
    n_left_out
        Number of irrelevant inputs, held at 0, that affect the output. If none do, results hold on all 2^n inputs.
    name, neurons
        Name of the network, and names of its neurons.
    readout
        (neuron,) readout weights u.
    values
        Activations and outputs, as integers over their denominators.
    printed
        Firing condition of each neuron in the network's publication; empty if the publication prints none.
    train_largest_output
        Largest |output| on the training set; None if there is no training set. The network counts as collapsed if this
        value is below 1e-3. If it is None, the largest |output| over the settings of the relevant bits decides.
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
        """Number of relevant bits."""
        return len(self.inputs)

    @property
    def bits(self) -> tuple[str, ...]:
        """Name of each relevant bit, such as x3 for the input bit with index 3; ascending."""
        return tuple(f"x{index}" for index in self.inputs)

    @cached_property
    def patterns(self) -> Int8[np.ndarray, "pattern k"]:
        """Every pattern (setting) of the relevant bits."""
        return patterns(self.k)

    @cached_property
    def parities(self) -> Int8[np.ndarray, " pattern"]:
        """The parity of every setting of the relevant bits."""
        return parities(self.k)

    @cached_property
    def activations(self) -> tuple[tuple[Fraction, ...], ...]:
        """Exact activation (pattern, neuron) on each setting of the relevant bits."""
        over = self.values.hidden_over
        return tuple(tuple(Fraction(value, over) for value in row) for row in self.values.hidden.tolist())

    @cached_property
    def outputs(self) -> tuple[Fraction, ...]:
        """Exact output on each setting of the relevant bits."""
        return tuple(Fraction(value, self.values.output_over) for value in self.values.output.tolist())

    @cached_property
    def margin(self) -> Fraction:
        """Minimum of parity × output over the settings of the relevant bits."""
        return self._least(self.values.output * self.parities)

    @property
    def computes_parity(self) -> bool:
        """Whether the output is > 0 where the parity is 1 and < 0 where it is -1; False if all outputs are nearly 0."""
        return self.margin > 0 and not self.collapsed

    @property
    def wrong(self) -> Bool[np.ndarray, " pattern"]:
        """Mask of the bit settings on which the sign of the output is not the parity; an output of 0 is wrong."""
        return self.values.output * self.parities <= 0

    @cached_property
    def thresholds(self) -> tuple[Fraction, Fraction] | None:
        """The open interval of output thresholds that separate the two parities; None if no threshold does so."""
        above = -self._least(-self.values.output[self.parities == -1])
        below = self._least(self.values.output[self.parities == 1])
        return (above, below) if above < below else None

    @property
    def collapsed(self) -> bool:
        """Whether |output| < 1e-3 everywhere: on the training set or, without one, on all settings of relevant bits."""
        if self.train_largest_output is not None:
            return bool(is_collapsed(self.train_largest_output))
        return self.largest_output < Fraction(str(COLLAPSED_SHARE))

    @cached_property
    def largest_output(self) -> Fraction:
        """Largest |output| over the settings of the relevant bits."""
        return Fraction(int(np.abs(self.values.output).max()), self.values.output_over)

    @cached_property
    def conditions(self) -> tuple[str, ...]:
        """The firing condition of each neuron."""
        fires = self.values.hidden > 0
        return tuple(firing_condition(fires[:, neuron].astype(bool), self.bits) for neuron in range(len(self.neurons)))

    @cached_property
    def disagreements(self) -> tuple[Disagreement, ...]:
        """Neurons whose exact firing condition differs from `printed`, the condition in the network's publication."""
        fires = self.values.hidden > 0
        return tuple(
            Disagreement(name, printed, self.conditions[neuron])
            for neuron, (name, printed) in enumerate(zip(self.neurons, self.printed, strict=False))
            if (fires_as_printed(printed, self.bits) != fires[:, neuron]).any()
        )

    def verdict(self, *, scope: bool = True) -> list[str]:
        """One sentence per finding, answer first; `scope` adds a sentence on the inputs for which the findings hold.

        Examples
        --------
        >>> from circuits.constructions import two_neuron, verify
        >>> answer, remedy, _ = verify(two_neuron()).verdict()
        >>> print(answer)
        two_neuron: does not compute parity. Its output is 1 where the parity is 1, 0 where it is -1, never negative.
        >>> remedy.partition(":")[0]
        'It does with a threshold in (0, 1), or with a further neuron that is constant'
        """
        lines = [self._answer()]
        if not (self.computes_parity or self.collapsed) and self.thresholds is not None:
            low, high = self.thresholds
            lines.append(
                f"It does with a threshold in ({number(low)}, {number(high)}), or with a further neuron that is "
                f"constant: bias 1, readout weight in ({number(-high)}, {number(-low)})."
            )
        lines += [
            f"{one.neuron} fires when {one.found}; printed in the source: {one.printed}." for one in self.disagreements
        ]
        if self.printed and not self.disagreements:
            lines.append("Every neuron fires exactly when its source says.")
        if scope and self.n_inputs > self.k:
            lines.append(self._scope())
        return lines

    def __str__(self) -> str:
        return "\n".join(self.verdict())

    def _least(self, outputs: np.ndarray) -> Fraction:
        return Fraction(int(outputs.min()), self.values.output_over)

    def _answer(self) -> str:
        name, n_patterns = self.name, len(self.parities)
        if self.collapsed:
            whose, where, size = "Its", f"the {n_patterns} patterns", self.largest_output
            if self.train_largest_output is not None:
                whose, where, size = "The network's", "its training set", Fraction(self.train_largest_output)
            return (
                f"{name}: has collapsed. {whose} largest output on {where} is {number(size)}, where the loss asks "
                f"for 1: it computes nothing."
            )
        if self.computes_parity:
            return (
                f"{name}: computes parity. Its output is positive on every pattern of parity 1, negative on every "
                f"one of parity -1. Margin {number(self.margin)}."
            )
        where_one, where_minus_one = (self._described(parity) for parity in (1, -1))
        outputs = f"Its output is {where_one} where the parity is 1, {where_minus_one} where it is -1"
        output = self.values.output
        never = "negative" if (output >= 0).all() else "positive" if (output <= 0).all() else None
        how = f"never {never}" if never else f"of the wrong sign on {int(self.wrong.sum())} of {n_patterns} patterns"
        return f"{name}: does not compute parity. {outputs}, {how}."

    def _described(self, parity: int) -> str:
        """The outputs on the bit settings of this parity: their values if they are few, else their range."""
        over = self.values.output_over
        outputs = np.unique(self.values.output[self.parities == parity]).tolist()
        texts = [number(Fraction(value, over)) for value in outputs]
        return " or ".join(texts) if len(texts) <= FEW else f"{texts[0]} to {texts[-1]}"

    def _scope(self) -> str:
        k, n = self.k, self.n_inputs
        where = f"Relevant {'bit' if k == 1 else 'bits'}: {' '.join(map(str, self.inputs))}"
        if not self.n_left_out:
            return f"{where}. No neuron has a weight on any other input, so this holds for all 2^{n} inputs."
        return (
            f"{where}. The other {n - k} inputs are held at 0, their mean: this is about the network restricted to its "
            f"{k} relevant bits, and proves nothing for the 2^{n} inputs of the network."
        )
