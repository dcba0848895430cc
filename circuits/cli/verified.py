"""The exact check of a network for parity (a `Verification`) as lines and tables for a terminal, and as JSON.

The first table has a row for each pattern (setting of the relevant bits), with the activation of every neuron. For more
than 64 patterns, row m describes all patterns with m bits at -1, without activations. The second table says when each
neuron fires. For more than 32 neurons, both tables leave out all but the 32 that contribute most. JSON has everything.
"""

import json
from fractions import Fraction
from typing import Any

import numpy as np
from rich.table import Table

from circuits.analysis.store import strict
from circuits.constructions.verifying.rational import as_float, number
from circuits.constructions.verifying.verification import Verification
from circuits.tabular import new_table

MOST_PATTERNS, MOST_NEURONS = 64, 32


def lines_and_tables(verification: Verification, *, scope: bool = True) -> list[str | Table]:
    """The verdict, the output on each pattern (setting) of the relevant bits, and when each neuron fires.

    If the network has collapsed, the list has only the verdict, because the outputs are rounding errors. If `scope` is
    True, the verdict also says for which inputs the verdict holds.
    """
    items: list[str | Table] = [*verification.verdict(scope=scope)]
    if verification.collapsed:
        return items
    shown = _largest_contributions(verification)
    n_neurons = len(verification.neurons)
    some = [f"of the {len(shown)} that contribute most; --json has all {n_neurons}"] if len(shown) < n_neurons else []
    if len(verification.patterns) <= MOST_PATTERNS:
        items += ["", f"Every pattern: {'activations' if shown else 'no neurons'}, output, parity", *some]
        items.append(_pattern_table(verification, shown))
    else:
        items += ["", f"The {len(verification.patterns)} patterns, by how many bits are -1", _count_table(verification)]
    if shown:
        items += ["", "When each neuron fires", *some, _neuron_table(verification, shown)]
    return items


def as_json(verification: Verification, **further: Any) -> str:
    """The verification and the `further` entries as one JSON object; real numbers are floats, or null if too large.

    The entry "exact" repeats the entries "margin" and "thresholds" and every "output" as text, such as "1/3".
    """
    patterns, parities = verification.patterns.tolist(), verification.parities.tolist()
    collapsed = verification.collapsed
    thresholds = None if collapsed else verification.thresholds
    margin = None if collapsed else verification.margin
    outputs = [] if collapsed else verification.outputs
    over = verification.values.hidden_over  # row by row: as many exact rationals as activations may not fit in memory
    rows = () if collapsed else zip(patterns, parities, verification.values.hidden, outputs, strict=True)
    data = {
        "name": verification.name,
        "computes_parity": verification.computes_parity,
        "collapsed": collapsed,
        "train_largest_output": strict(verification.train_largest_output),
        "margin": None if margin is None else as_float(margin),
        "thresholds": None if thresholds is None else [as_float(value) for value in thresholds],
        "verdict": verification.verdict(),
        "k": verification.k,
        "bits": dict(zip(verification.bits, verification.inputs, strict=True)),
        "n_inputs": verification.n_inputs,
        "n_left_out": verification.n_left_out,
        "neurons": [
            {"neuron": name, "readout": as_float(readout), "fires_when": None if collapsed else condition}
            for name, readout, condition in zip(
                verification.neurons, verification.readout, verification.conditions, strict=True
            )
        ],
        "disagreements": [vars(one) for one in verification.disagreements],
        "patterns": [
            {
                "bits": bits,
                "parity": parity,
                "activations": [as_float(Fraction(value, over)) for value in hidden.tolist()],
                "output": as_float(output),
            }
            for bits, parity, hidden, output in rows
        ],
        "exact": {
            "margin": None if margin is None else str(margin),
            "thresholds": None if thresholds is None else [str(value) for value in thresholds],
            "outputs": [str(value) for value in outputs],
        },
        **further,
    }
    return json.dumps(data, ensure_ascii=False)


def _largest_contributions(verification: Verification) -> list[int]:
    """Ascending indices of the at most 32 neurons with the highest |readout weight| × (maximum of the activation)."""
    largest = verification.values.hidden.max(axis=0).tolist()
    sizes = [abs(u) * most for u, most in zip(verification.readout, largest, strict=True)]
    order = sorted(range(len(sizes)), key=lambda neuron: (-sizes[neuron], neuron))
    return sorted(order[:MOST_NEURONS])


def _pattern_table(verification: Verification, shown: list[int]) -> Table:
    names = [verification.neurons[neuron] for neuron in shown]
    table = new_table(*verification.bits, *names, "output", "parity", "")
    table.columns[0].justify = "right"
    rows = zip(verification.patterns.tolist(), verification.activations, verification.outputs, strict=True)
    verdicts = zip(verification.parities.tolist(), verification.wrong.tolist(), strict=True)
    for (pattern, activations, output), (parity, wrong) in zip(rows, verdicts, strict=True):
        cells = [number(activations[neuron]) for neuron in shown]
        table.add_row(*map(str, pattern), *cells, number(output), str(parity), "wrong" if wrong else "")
    return table


def _count_table(verification: Verification) -> Table:
    """Table whose row m describes all settings with m bits at -1: parity, count, range of outputs, wrong outputs."""
    table = new_table("bits at -1", "parity", "patterns", "least output", "greatest output", "wrong")
    over, output = verification.values.output_over, verification.values.output
    minus = (verification.patterns == -1).sum(axis=1)
    for n_minus in range(verification.k + 1):
        counted = minus == n_minus
        ends = (number(Fraction(int(end), over)) for end in (output[counted].min(), output[counted].max()))
        wrong = int(verification.wrong[counted].sum())
        table.add_row(str(n_minus), str((-1) ** n_minus), str(counted.sum()), *ends, str(wrong))
    return table


def _neuron_table(verification: Verification, shown: list[int]) -> Table:
    table = new_table("neuron", "readout", "fires on", "fires when")
    table.columns[-1].justify = "left"
    n_patterns = len(verification.patterns)
    fires = np.count_nonzero(verification.values.hidden, axis=0)
    for neuron in shown:
        on = f"{fires[neuron]} of {n_patterns}"
        condition = verification.conditions[neuron]
        table.add_row(verification.neurons[neuron], number(verification.readout[neuron]), on, condition)
    return table
