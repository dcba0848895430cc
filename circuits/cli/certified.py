"""Report of `circuits verify --certify`: verdict on all 2^n inputs, failure rate, fewest bit flips to a failure."""

from collections.abc import Mapping, Sequence
from math import floor, log10
from typing import Any

import numpy as np

from circuits.analysis.store import strict
from circuits.cli.python_words import in_flags
from circuits.constructions.certifying.certificate import what_would_decide
from circuits.constructions.certifying.certify import certify, float64_output
from circuits.constructions.certifying.failures import FailureRate, failure_rate
from circuits.constructions.certifying.flips import fewest_flips

VERDICTS = {
    "certified": "certified: its sign is the parity of its relevant bits on all 2^{n} inputs.",
    "refuted": "refuted: on at least one of the 2^{n} inputs its sign is not the parity.",
    "undecided": "undecided: neither a proof for all 2^{n} inputs nor a counterexample was found in {limit:g} s.",
}


def certificate(
    network: Mapping[str, np.ndarray], bits: Sequence[int], test_inputs: np.ndarray | None, time_limit: float
) -> tuple[str, list[str], dict[str, Any]]:
    """Verdict (whether the sign of uᵀ relu(W x + b) is the parity of `bits`), lines for a terminal, data for JSON."""
    W, b, u = (network[name] for name in "Wbu")
    proof = certify(W, b, u, bits, time_limit=time_limit)
    n = W.shape[1]
    least = f"{proof.margin:.6g}" if proof.exact else f"between {proof.lower:.6g} and {proof.margin:.6g}"
    lines = [
        "",
        VERDICTS[proof.verdict].format(n=n, limit=time_limit),
        *([in_flags(what_would_decide(proof.seconds_left, time_limit))] if proof.verdict == "undecided" else []),
        f"The least parity·output over all inputs is {least}; {_signs(proof.input)} has {proof.margin:.6g}.",
    ]
    parity = int(proof.input[list(proof.relevant_bits)].prod())
    if proof.verdict == "refuted" and parity * float64_output(**network, x=proof.input) > 0:
        lines.append("That is in exact arithmetic. In float64 the network's output rounds to the right sign.")
    data: dict[str, Any] = {
        "verdict": proof.verdict,
        "margin_lower": strict(proof.lower),
        "margin_upper": strict(proof.margin),
        "exact": proof.exact,
        "seconds_left": strict(proof.seconds_left),
        "input": proof.input.tolist(),
        "patterns": [
            {"lower": strict(lower), "upper": strict(upper), "method": method}
            for lower, upper, method in zip(
                proof.pattern_lower.tolist(), proof.pattern_margin.tolist(), proof.method, strict=True
            )
        ],
    }
    if n > len(bits):
        failures = failure_rate(W, b, u, bits)
        lines.append(_in_proportion(failures))
        data["failures"] = vars(failures) | {"rate": failures.rate}
    if n > len(bits) and test_inputs is not None:
        certified = proof.verdict == "certified"
        flips = fewest_flips(W, b, u, bits, inputs=test_inputs, time_limit=time_limit, certified=certified)
        low, middle = flips.least, flips.median
        lines.append(
            f"Fewest flips of irrelevant bits until a test input fails: {_count(low)} (least), "
            f"{_count(middle)} (median)."
        )
        data["fewest_flips"] = {"min": strict(low), "median": strict(middle)}
    return proof.verdict, lines, data


def _in_proportion(failures: FailureRate) -> str:
    width = failures.high - failures.low
    rate, low, high = (_to_width(share, width) for share in (failures.rate, failures.low, failures.high))
    return (
        f"Of {failures.n_inputs:,} random inputs {failures.n_failures:,} fail: a share of {rate}, "
        f"{low} to {high} with 95 % confidence."
    )


def _to_width(share: float, width: float) -> str:
    """`share` as text, rounded to the place of the second significant digit of `width`, the width of its interval.

    For example, the width 0.0045 has this digit, 5, in the fourth decimal place. So the share 0.012345 becomes
    "0.0123", with four decimal places. At least two significant digits of the share stay.
    """
    places = floor(log10(share)) - floor(log10(width)) + 2 if share > 0 and width > 0 else 2
    return f"{share:.{max(places, 2)}g}"


def _signs(bits: np.ndarray) -> str:
    return "".join("+" if bit > 0 else "-" for bit in bits.tolist())


def _count(flips: float) -> str:
    return "not known" if np.isnan(flips) else "none suffice" if np.isinf(flips) else f"{flips:g}"
