"""The measurement `certify`: whether a run's network, and its active subnetwork, are right on all 2^n inputs.

`circuits.constructions` computes the results; this module labels them.
"""

import numpy as np
import xarray as xr
from jaxtyping import Bool

from circuits.analysis.measurement import Measurement
from circuits.analysis.networks.applies import all_of, is_one_relu_layer, is_parity, require
from circuits.analysis.networks.labels import requested_checkpoints, trajectory_coords
from circuits.analysis.networks.walk import Network, one_by_one
from circuits.analysis.parity.tables import certificate_tables
from circuits.analysis.subnetworks.active import active_mask, examples_of
from circuits.analysis.subnetworks.options import SearchOptions
from circuits.checkpoints.run import Run
from circuits.constructions.certifying.certificate import Certificate, what_would_decide
from circuits.constructions.certifying.certify import certify
from circuits.constructions.certifying.failures import failure_rate
from circuits.constructions.certifying.flips import fewest_flips
from circuits.constructions.certifying.interval import interval_bounds
from circuits.constructions.patterns import patterns
from circuits.constructions.reading.recovered_bits import relevant_bits

N_RANDOM = 10**6  # random inputs on which failures are counted

LONG_NAMES = {
    "certified_margin": "margin proved (certified), or of a counterexample (refuted)",
    "verdict": "whether the sign is the parity on all inputs",
    "margin_lower": "no input has a smaller margin",
    "margin_upper": "margin of the worst input found",
    "seconds_left": "upper guess of how much longer the search would take (0: decided; NaN: too early to tell)",
    "margin_scale": "unit of the tolerances: the largest conceivable output, to a factor of 2",
    "failure_rate": f"share of {N_RANDOM:,} random inputs that fail",
    "failure_low": "lower end of the 95 % interval of the failure rate",
    "failure_high": "upper end of the 95 % interval of the failure rate",
    "fewest_flips_min": "fewest flips of irrelevant bits until a test input fails, least",
    "fewest_flips_median": "fewest flips of irrelevant bits until a test input fails, median",
    "n_kept": "neurons",
    "bits_recovered": "whether the weights alone single out the relevant bits",
    "pattern_lower": "no input with the pattern has a smaller margin",
    "pattern_upper": "margin of the worst input found with the pattern",
    "subnetwork_minus_rest": "margin of the subnetwork minus an interval bound of all other neurons",
    "worst_input": "worst input found",
}


def measure(run: Run, options: SearchOptions, *, progress: bool = False) -> xr.Dataset:
    """Certificates (proved margins) of a run's networks at the last checkpoint, or at all that `--checkpoints` selects.

    Returns
    -------
    certified_margin
        (step, seed) of the active subnetwork: the proved margin if `verdict` is "certified"; the margin of the
        counterexample, <= 0, if "refuted"; NaN for every other verdict.
    verdict
        (step, seed) "certified", "refuted", "undecided", "collapsed" (all outputs ≈ 0; then all margins are NaN), or
        "none" if there is no subnetwork.
    margin_lower, margin_upper
        (step, seed) lower bound and upper bound of the worst-case margin.
    margin_scale
        (step, seed) upper bound of |output|. Outputs are divided by this bound for solvers with absolute tolerances.
    seconds_left
        (step, seed) upper estimate of the seconds that the search for a proof or a counterexample still needs: 0 if
        decided; NaN if the time limit was too short for an estimate, or if the verdict is "collapsed" or "none".
    worst_input
        (step, seed, input) input with the margin `margin_upper`.
    pattern_lower, pattern_upper
        (pattern, step, seed) bounds of the worst-case margin for each setting (pattern) of the relevant bits.
    failure_rate, failure_low, failure_high
        (step, seed) failure rate on a million random inputs, with the 95 % Clopper-Pearson interval.
    fewest_flips_min, fewest_flips_median
        (step, seed) For each test input, the fewest irrelevant bits to flip until the subnetwork fails: its output is 0
        or has the wrong sign. This number is inf if no flips make it fail. The two results are the minimum and the
        median of the numbers of all test inputs. A result is NaN if the search does not settle its value.
    n_kept
        (step, seed) neurons in the active subnetwork.
    bits_recovered
        (step, seed) whether the weights of the subnetwork alone identify the task's relevant bits.
    subnetwork_minus_rest
        (step, seed) lower bound of the whole network's margin: the subnetwork's margin minus an interval bound of the
        other neurons' output.
    whole_…
        The same for the whole network: verdict, margins, worst input, patterns, failures.
    """
    require(run, is_parity)
    bits = run.config.task.parity_bits or ()
    checkpoints = requested_checkpoints(run, options)
    tests = [examples_of(run, index, "test")[0] for index in range(len(run.seeds))]
    n_patterns, n_inputs = 2 ** len(bits), run.config.task.signature.n_inputs
    shape = (len(checkpoints), len(run.seeds))
    of_subnetwork, of_whole = (_empty(shape, n_patterns, n_inputs) for _ in range(2))
    for place, net in one_by_one(run, checkpoints, what="certificates", progress=progress):
        checkpoint = int(checkpoints[place[0]])
        if run.collapsed.values[checkpoint, place[1]]:
            of_subnetwork["verdict"][place] = of_whole["verdict"][place] = "collapsed"
            of_subnetwork["n_kept"][place] = 0
            continue
        kept = active_mask(run, place[1], checkpoint, options)
        if kept is None:
            continue  # diverged
        _fill(of_whole, place, certify(net["W"], net["b"], net["u"], bits, time_limit=options.time_limit), net, bits)
        if not kept.any():
            continue  # the whole network outputs 0 on the whole agreement set
        alone = _part(net, kept)
        proof = certify(alone["W"], alone["b"], alone["u"], bits, time_limit=options.time_limit)
        _fill(of_subnetwork, place, proof, alone, bits)
        rest = interval_bounds(**_part(net, ~kept), relevant_bits=bits) if not kept.all() else np.zeros(n_patterns)
        of_subnetwork["subnetwork_minus_rest"][place] = (proof.pattern_lower + rest).min()
        of_subnetwork["n_kept"][place] = kept.sum()
        recovered = relevant_bits(alone["W"], alone["u"], len(bits)).bits
        of_subnetwork["bits_recovered"][place] = set(recovered) == set(bits)
        is_certified, limit = proof.verdict == "certified", options.time_limit
        fewest = fewest_flips(
            **alone, relevant_bits=bits, inputs=tests[place[1]], time_limit=limit, certified=is_certified
        )
        of_subnetwork["fewest_flips_min"][place] = fewest.least
        of_subnetwork["fewest_flips_median"][place] = fewest.median
    whole = {f"whole_{name}": values for name, values in of_whole.items() if name in WHOLE}
    variables = {name: _labeled(name, values) for name, values in (of_subnetwork | whole).items()}
    names = ["".join("+" if bit > 0 else "-" for bit in pattern) for pattern in patterns(len(bits))]
    result = xr.Dataset(variables, {**trajectory_coords(run, checkpoints), "pattern": names})
    result.attrs["relevant_bits"] = list(bits)
    result.attrs["warnings"] = _warnings(run.seeds, result, options.time_limit)
    return result


SHARED = ("margin_lower", "margin_upper", "margin_scale", "seconds_left", "failure_rate", "failure_low", "failure_high")
WHOLE = ("certified_margin", "verdict", *SHARED, "worst_input", "pattern_lower", "pattern_upper")
OWN = ("certified_margin", *SHARED, "fewest_flips_min", "fewest_flips_median", "n_kept", "subnetwork_minus_rest")


def _empty(shape: tuple[int, int], n_patterns: int, n_inputs: int) -> dict[str, np.ndarray]:
    arrays: dict[str, np.ndarray] = {name: np.full(shape, np.nan) for name in OWN}
    arrays["verdict"] = np.full(shape, "none", "<U9")
    arrays["bits_recovered"] = np.zeros(shape, bool)
    arrays["worst_input"] = np.zeros((*shape, n_inputs), np.int8)
    arrays |= {name: np.full((*shape, n_patterns), np.nan) for name in ("pattern_lower", "pattern_upper")}
    return arrays


def _fill(
    arrays: dict[str, np.ndarray], place: tuple[int, int], proof: Certificate, net: Network, bits: tuple[int, ...]
) -> None:
    failures = failure_rate(net["W"], net["b"], net["u"], bits, n_inputs=N_RANDOM)
    margins = {"certified": proof.lower, "refuted": proof.margin, "undecided": np.nan}
    arrays["certified_margin"][place] = margins[proof.verdict]
    arrays["verdict"][place] = proof.verdict
    arrays["margin_lower"][place], arrays["margin_upper"][place] = proof.lower, proof.margin
    arrays["margin_scale"][place], arrays["seconds_left"][place] = proof.scale, proof.seconds_left
    arrays["worst_input"][place] = proof.input
    arrays["pattern_lower"][place], arrays["pattern_upper"][place] = proof.pattern_lower, proof.pattern_margin
    for name in ("rate", "low", "high"):
        arrays[f"failure_{name}"][place] = getattr(failures, name)


def _part(net: Network, kept: Bool[np.ndarray, " neuron"]) -> dict[str, np.ndarray]:
    return {name: values[kept] for name, values in net.items()}


def _labeled(name: str, values: np.ndarray) -> xr.Variable:
    short = name.removeprefix("whole_")
    begins = "" if short in (name, "worst_input") else "whole network: "
    attrs = {"long_name": begins + LONG_NAMES[short]}
    if values.ndim == 2:
        return xr.Variable(("step", "seed"), values, attrs)
    if short == "worst_input":
        return xr.Variable(("step", "seed", "input"), values, attrs)
    return xr.Variable(("pattern", "step", "seed"), values.transpose(2, 0, 1), attrs)


def _warnings(seeds: tuple[int, ...], result: xr.Dataset, time_limit: float) -> list[str]:
    lines = []
    for seed in seeds:
        has_verdict = ~result["verdict"].sel(seed=seed).isin(["none", "collapsed"])
        if n_other := int((has_verdict & ~result["bits_recovered"].sel(seed=seed)).sum()):
            lines.append(
                f"seed {seed}: at {n_other} of {result.sizes['step']} checkpoints the weights of the active subnetwork "
                f"single out other bits than the task's, whose parity is judged here."
            )
        for name, what in (("verdict", "active subnetwork"), ("whole_verdict", "whole network")):
            undecided = (result[name].sel(seed=seed) == "undecided").values
            if undecided.any():
                left = result[name.replace("verdict", "seconds_left")].sel(seed=seed).values[undecided]
                remedy = what_would_decide(float(np.fmin.reduce(left)), time_limit)
                first = "" if len(left) == 1 else "Of the one that needs least: "
                lines.append(
                    f"seed {seed}: the {what} is undecided at {len(left)} of {result.sizes['step']} checkpoints; "
                    f"margin_lower and margin_upper say how far. {first}{remedy}"
                )
    return lines


CERTIFY = Measurement(measure, all_of(is_one_relu_layer, is_parity), certificate_tables, on_request=lambda config: True)
