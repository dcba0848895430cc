"""The smallest subnetwork: the fewest neurons that alone give the whole network's sign on every input of a set.

The set is the agreement set, by default the training set. The network's output f(x) at input x is a sum with one term
per neuron: u_i relu(w_i·x + b_i). A subset of neurons "agrees" if the sum of its terms has the sign of f(x) at every
input x of the set (Merrill et al. 2023, section 2.1). The paper's effective sparsity considers only the neurons of
largest norm, so it is an upper bound on the size of the smallest subset. An integer program finds the smallest subset.
The program minimizes the sum of k_i, where k_i is 1 if neuron i is kept, otherwise 0. Three kinds of constraints exist:

- Row of an input x: the sum of the kept terms is at least 0 if f(x) > 0, at most 0 if f(x) < 0, and equal to 0 if
  f(x) = 0. All three hold up to rounding errors (`Subsets`).
- Cover of an input x with f(x) ≠ 0: at least one kept neuron whose u_i has the sign of f(x) fires at x, up to rounding
  errors. Without covers, the empty subset (every k_i is 0) would satisfy the program, and no bound could be proved.
- Forbidden subset: the solution must differ from one given subset.

At first, the program has all covers but few rows. The solver HiGHS looks for a solution of at most one neuron. If there
is none, the limit rises to two neurons, and so on. A forward pass in float64 checks the signs of each solution on every
input. If all signs are right, the solution is a smallest subset. If not, HiGHS solves the program again with rows of
more inputs. If all inputs with a wrong sign have rows already (HiGHS and rows allow small errors), the program forbids
the solution. The search also ends when the limit reaches the size of the smallest known subset that agrees. Subsets
that agree meet every constraint, so lower bounds stay valid.
"""

from dataclasses import dataclass
from time import monotonic

import numpy as np
import xarray as xr
from jaxtyping import Bool, Float, Real
from scipy.optimize import OptimizeResult
from scipy.sparse import csr_array

from circuits.analysis.measurement import Measurement
from circuits.analysis.networks.applies import is_one_relu_layer, require
from circuits.analysis.networks.labels import requested_checkpoints, trajectory_coords
from circuits.analysis.networks.layers import last_layer
from circuits.analysis.networks.outputs import preactivations
from circuits.analysis.networks.rounding import reach_of, rounded, rounding_terms
from circuits.analysis.networks.walk import one_by_one
from circuits.analysis.subnetworks.active import active_mask, examples_of
from circuits.analysis.subnetworks.options import SearchOptions
from circuits.analysis.subnetworks.pruning import incoming_norms, pruning_order
from circuits.analysis.subnetworks.tables import smallest_tables
from circuits.checkpoints.run import Run
from circuits.constructions.certifying.highs import INFEASIBLE, dual_bound, highs
from circuits.randomness import generator

HARD_ROWS = 20  # rows added for the hardest inputs; further rows are random, so that all patterns occur
RANDOM_ROWS_FIRST, RANDOM_ROWS_LATER = 180, 60
NEGLIGIBLE = 1e-9  # HiGHS drops smaller coefficients; rows have a largest one of 1


@dataclass(frozen=True)
class Smallest:
    """Smallest known subset of neurons that agrees with the whole network, and lower bound on the size of such subsets.

    A subset agrees if a float64 forward pass with only its neurons has the whole network's sign on every input. `kept`
    is the mask of the smallest subset known. `bound` is proved: no subset with fewer neurons than this agrees.
    """

    kept: Bool[np.ndarray, " neuron"]
    bound: int

    @property
    def size(self) -> int:
        """Number of neurons in the subset."""
        return int(self.kept.sum())

    @property
    def proved(self) -> bool:
        """Whether the search proved that no smaller subset of neurons has the whole network's sign on every input."""
        return self.bound >= self.size


def agrees(
    W: Float[np.ndarray, "neuron input"],
    b: Float[np.ndarray, " neuron"],
    u: Float[np.ndarray, " neuron"],
    inputs: Real[np.ndarray, "example input"],
    kept: Bool[np.ndarray, " neuron"],
) -> bool:
    """Whether the kept neurons alone have the whole network's sign on every input, in float64.

    Examples
    --------
    >>> W, b, u = np.array([[1.0], [-1.0]]), np.zeros(2), np.array([1.0, -1.0])
    >>> agrees(W, b, u, np.array([[1]]), np.array([True, False]))
    True
    """
    all_neurons = np.ones(len(u), bool)
    return bool((_signs(W, b, u, inputs, kept) == _signs(W, b, u, inputs, all_neurons)).all())


def _signs(W: np.ndarray, b: np.ndarray, u: np.ndarray, inputs: np.ndarray, kept: np.ndarray) -> np.ndarray:
    hidden = inputs.astype(np.float64) @ W[kept].T.astype(np.float64) + b[kept].astype(np.float64)
    bound = rounding_terms(W, b, u, reach_of(inputs))[kept].sum()
    return np.sign(rounded(np.maximum(hidden, 0.0) @ u[kept].astype(np.float64), bound))


def smallest_subnetwork(
    W: Float[np.ndarray, "neuron input"],
    b: Float[np.ndarray, " neuron"],
    u: Float[np.ndarray, " neuron"],
    inputs: Real[np.ndarray, "example input"],
    *,
    start: Bool[np.ndarray, " neuron"] | None = None,
    time_limit: float = 60.0,
) -> Smallest | None:
    """The smallest subset of neurons whose output has the sign of f(x) on every input; proved smallest if time allows.

    The result has the smallest subset known and a lower bound on the size. It is None for a diverged network.

    Parameters
    ----------
    W, b, u
        (neuron, input), (neuron,), (neuron,) of f(x) = uᵀ relu(W x + b).
    inputs
        (example, input) the agreement set: the inputs on which signs are compared.
    start
        (neuron,) a subset known to agree, such as the active subnetwork.
    time_limit
        Time limit of the search, in seconds.

    Examples
    --------
    The first neuron alone agrees on both inputs, and so do the other two together. The first is the smallest subset.

    >>> W, b, u = np.array([[1.0], [1.0], [-1.0]]), np.array([3.0, 0.0, 0.0]), np.array([1.0, 1.0, 1.0])
    >>> smallest = smallest_subnetwork(W, b, u, np.array([[1], [-1]]))
    >>> smallest.kept, smallest.bound
    (array([ True, False, False]), 1)
    """
    deadline = monotonic() + time_limit
    before_relu = preactivations(W.astype(np.float64), b.astype(np.float64), inputs)  # (neuron, example)
    contributions = np.ascontiguousarray((u.astype(np.float64)[:, None] * np.maximum(before_relu, 0.0)).T)
    if not np.isfinite(contributions).all():
        return None
    no_neurons, all_neurons = np.zeros(len(u), bool), np.ones(len(u), bool)
    if agrees(W, b, u, inputs, no_neurons):
        return Smallest(no_neurons, 0)
    best = all_neurons if start is None or not agrees(W, b, u, inputs, start) else start
    terms = rounding_terms(W, b, u, reach_of(inputs))
    with np.errstate(over="ignore", invalid="ignore"):  # products far below 0 may overflow
        may_fire = (np.abs(u).astype(np.float64)[:, None] * before_relu > -terms[:, None]).T  # (example, neuron)
    program = Subsets(contributions, may_fire * np.sign(u), terms, _signs(W, b, u, inputs, all_neurons))
    order = pruning_order(incoming_norms(W, b, u))
    for n_kept in (int(best.sum()) * 2**power for power in range(len(u).bit_length())):
        prefix = best.copy()
        prefix[order[:n_kept]] = True
        thinned = program.thinned(prefix)
        if thinned.sum() < best.sum() and agrees(W, b, u, inputs, thinned):
            best = thinned
        if prefix.all():
            break
    bound = 1
    while bound < best.sum() and (left := deadline - monotonic()) > 0:
        answer = program.solved(bound, left)
        bound = int(max(bound, min(bound + 1, np.ceil(dual_bound(answer) - 1e-6))))
        if answer.x is None:
            if answer.status != INFEASIBLE:
                break
            continue
        candidate = answer.x > 0.5
        if agrees(W, b, u, inputs, candidate):
            best = candidate
        else:
            program.learn(candidate)
    return Smallest(best, min(bound, int(best.sum())))


class Subsets:
    """The integer program that finds the fewest neurons that alone give the whole network's sign on every input.

    - `contributions` (example, neuron) has c_j = u_j relu(w_j·x + b_j): neuron j adds c_j to the output at input x.
    - `effects` (example, neuron) has the sign of u_j if |u_j| (w_j·x + b_j) > -t_j (neuron j may fire at x), else 0.
    - `terms` (neuron,) has t_j, the bound of the rounding error of c_j, for all inputs (`rounding_terms`).
    - `signs` (example,) has σ, the sign of the whole network's output at input x: 1, -1 or 0.

    Let K be the subset of kept neurons. The output s of K is the sum of c_j over all neurons j in K. The rounding bound
    T of K is the sum of t_j over the same neurons. An input x with σ = 1 or σ = -1 gives the program one linear
    inequality ("row"): σ s + 3T ≥ 0. An input with σ = 0 gives two rows: s + 3T ≥ 0 and -s + 3T ≥ 0.

    A forward pass with only the neurons of K computes the output once more, as a number r. K has sign 0 if |r| ≤ T,
    otherwise the sign of r. Both numbers sum rounded c_j, so each has a rounding error of at most T, and |r - s| ≤ 2T.
    So every K with sign σ satisfies the rows. If σ = 0, then |r| ≤ T, so |s| ≤ 3T. Else σ r > T, so σ s > -T ≥ -3T.
    If σ ≠ 0, the exact output has the sign σ too, so a neuron of K whose u_j has this sign fires at x: K covers x.
    """

    def __init__(
        self,
        contributions: Float[np.ndarray, "example neuron"],
        effects: Float[np.ndarray, "example neuron"],
        terms: Float[np.ndarray, " neuron"],
        signs: Float[np.ndarray, " example"],
    ) -> None:
        largest = np.abs(contributions).max(axis=1)
        counted = largest > 0  # an input on which no neuron fires gives no row
        self.terms, self.signs, self.scale = terms, signs[counted], largest[counted]
        self.contributions = contributions[counted]
        self.wanted = self.signs != 0
        self.covers = (self.signs[:, None] * effects[counted] > 0)[self.wanted].astype(np.float64)
        self.weight = (np.abs(self.contributions) / self.scale[:, None]).max(axis=0, initial=0.0)  # (neuron,)
        closest = np.argsort(np.abs(self.contributions.sum(axis=1)) / self.scale, kind="stable")
        self.random = generator("exact")
        self.known: list[int] = _chosen(closest, RANDOM_ROWS_FIRST, self.random)
        self.forbidden: list[np.ndarray] = []

    def _rows(self, which: np.ndarray, sign: float) -> Float[np.ndarray, "row neuron"]:
        """Coefficients r_j, a row for each input in `which`. The sum of r_j over the kept neurons j must be at least 0.

        r_j is σ · (what neuron j adds to the output) + 3 · (bound of the rounding error of neuron j). σ is the sign of
        the whole network's output, 1 or -1. If this output is 0, σ is the argument `sign`.
        """
        signs = np.where(self.wanted[which], self.signs[which], sign)
        return signs[:, None] * self.contributions[which] + 3 * self.terms

    def solved(self, n_kept: int, time_limit: float) -> OptimizeResult:
        """Search for the fewest neurons, at most `n_kept`, that satisfy all constraints added so far.

        x[j] of the answer is 1 if neuron j is kept, else 0. x is None if no solution exists, or none in `time_limit` s.
        """
        examples = np.array(self.known, np.int64)
        zero = examples[~self.wanted[examples]]
        rows = np.concatenate([self._rows(examples, 1.0), self._rows(zero, -1.0)])
        rows = rows[(rows < 0).any(axis=1)]  # other rows hold for every subset
        rows = rows / np.abs(rows).max(axis=1, initial=0.0, keepdims=True)
        lost = np.where((rows > 0) & (rows < NEGLIGIBLE), rows, 0.0).sum(axis=1)
        rows = np.where(np.abs(rows) < NEGLIGIBLE, 0.0, rows)
        ones = np.ones(rows.shape[1])
        forbidden = np.array([np.where(kept, -1.0, 1.0) for kept in self.forbidden]).reshape(-1, len(ones))
        at_least_one_off = 1.0 - np.array([kept.sum() for kept in self.forbidden], np.float64)
        everything = csr_array(np.concatenate([rows, self.covers, forbidden, ones[None]]))
        low = np.concatenate([-lost, np.ones(len(self.covers)), at_least_one_off, [0.0]])
        high = np.append(np.full(len(low) - 1, np.inf), n_kept)
        return highs(ones, ones, ones, everything, low, high, time_limit)

    def learn(self, failing: Bool[np.ndarray, " neuron"]) -> None:
        """Add constraints for later searches, because the neurons in the mask `failing` are not a solution.

        At some inputs, the output of these neurons alone does not have the whole network's sign. Some of these inputs
        get an inequality that asks for the right sign. If all of these inputs have one already, `failing` is forbidden.
        """
        shortfall = self._shortfall(self.contributions[:, failing].sum(axis=1), self.terms[failing].sum())
        new = np.setdiff1d(np.flatnonzero(shortfall >= 0), self.known)
        if not new.size:  # every input with a wrong sign has a row
            self.forbidden.append(failing)
            return
        self.known += _chosen(new[np.argsort(-shortfall[new], kind="stable")], RANDOM_ROWS_LATER, self.random)

    def _shortfall(self, outputs: Float[np.ndarray, " example"], bound: float) -> Float[np.ndarray, " example"]:
        """How wrong the sign of a subset's output is at each input: negative for a right sign, otherwise at least 0.

        The right sign is that of the whole network. `outputs` are the subset's outputs; an output has the sign 0 if its
        absolute value is at most `bound`. The result for a wrong sign is the least change of the output that makes the
        sign right, divided by the largest absolute value that one neuron adds to the output at this input.
        """
        lacking = np.where(self.wanted, bound - self.signs * outputs, np.abs(outputs) - bound) / self.scale
        return np.where(self.wanted | (lacking > 0), lacking, -1.0)  # an output equal to its bound is 0

    def thinned(self, kept: Bool[np.ndarray, " neuron"]) -> Bool[np.ndarray, " neuron"]:
        """The subset `kept` without the neurons that can be dropped: the output's sign stays right on every input.

        The right sign is that of the whole network. The neurons are tried one by one, those of small output first.
        """
        thin = kept.copy()
        sums, bound = self.contributions[:, kept].sum(axis=1), float(self.terms[kept].sum())
        order = np.argsort(self.weight, kind="stable")
        for neuron in order[kept[order]]:
            without, less = sums - self.contributions[:, neuron], bound - self.terms[neuron]
            if (self._shortfall(without, less) < 0).all():
                thin[neuron], sums, bound = False, without, less
        return thin


def _chosen(hardest_first: np.ndarray, n_random: int, random: np.random.Generator) -> list[int]:
    first, others = hardest_first[:HARD_ROWS], hardest_first[HARD_ROWS:]
    return [*first.tolist(), *random.permutation(others)[:n_random].tolist()]


def measure(run: Run, options: SearchOptions, *, progress: bool = False) -> xr.Dataset:
    """Smallest subnetworks of a run: at the last checkpoint, or at the checkpoints that `--checkpoints` selects.

    Returns
    -------
    smallest_size, smallest_bound, smallest_gap
        (step, seed) `smallest_size`: neurons in the smallest known subset that agrees. `smallest_bound`: no subset with
        fewer neurons than this agrees. `smallest_gap`: `smallest_size` minus `smallest_bound`. A subset agrees if its
        output has the network's sign on every input of the agreement set, by default the training set. All three are 0
        if all outputs are near 0, and NaN if the network has diverged.
    smallest_proved
        (step, seed) whether no smaller subset agrees (size = bound). False if time ran out or the network diverged.
    prefix_size
        (step, seed) size of the active subnetwork: the smallest n such that the n neurons of largest norm agree.
    smallest_kept
        (step, seed, neuron) mask of the smallest subset known.
    """
    checkpoints = requested_checkpoints(run, options)
    agreement_sets = [examples_of(run, index, options.agreement_set)[0] for index in range(len(run.seeds))]
    require(run, is_one_relu_layer)
    shape = len(checkpoints), len(run.seeds)
    size, bound, prefix = (np.full(shape, np.nan) for _ in range(3))
    proved, kept = np.zeros(shape, bool), np.zeros((*shape, last_layer(run.config).width), bool)
    for place, net in one_by_one(run, checkpoints, what="smallest subnetworks", progress=progress):
        active = active_mask(run, place[1], int(checkpoints[place[0]]), options)
        prefix[place] = np.nan if active is None else active.sum()
        if run.collapsed.values[checkpoints[place[0]], place[1]]:
            size[place], bound[place], proved[place] = 0, 0, True
            continue
        best = smallest_subnetwork(**net, inputs=agreement_sets[place[1]], start=active, time_limit=options.time_limit)
        if best is not None:
            size[place], bound[place], proved[place], kept[place] = best.size, best.bound, best.proved, best.kept
    dims = ("step", "seed")
    n_open = (~proved & ~np.isnan(size)).sum(axis=0)  # (seed,)
    result = xr.Dataset(
        {
            "smallest_size": (dims, size, {"long_name": "neurons in the smallest subset known", "units": "neurons"}),
            "smallest_bound": (dims, bound, {"long_name": "no subset of fewer neurons agrees", "units": "neurons"}),
            "smallest_gap": (dims, size - bound, {"long_name": "size minus bound; 0 is proved", "units": "neurons"}),
            "smallest_proved": (dims, proved, {"long_name": "whether no smaller subset agrees"}),
            "prefix_size": (dims, prefix, {"long_name": "neurons in the active subnetwork", "units": "neurons"}),
            "smallest_kept": (("step", "seed", "neuron"), kept, {"long_name": "smallest subset known"}),
        },
        trajectory_coords(run, checkpoints),
    )
    result.attrs["warnings"] = [
        f"seed {seed}: {count} of {len(checkpoints)} smallest subnetworks are not proved smallest in "
        f"{options.time_limit:g} s each; read each size with its bound."
        for seed, count in zip(run.seeds, n_open.tolist(), strict=True)
        if count
    ]
    return result


EXACT = Measurement(measure, is_one_relu_layer, smallest_tables, on_request=lambda config: True)
