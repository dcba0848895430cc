"""Compiled branch and bound over irrelevant bits: least margin for fixed relevant bits, or whether it exceeds a goal.

The margin is parity · output, a sum of one term v_i relu(w_i·x + b_i) per neuron, with v_i = parity × readout weight.
Each node of the search tree fixes some bits of the input x. A neuron is *unstable* if its preactivation w_i·x + b_i can
still have both signs. Its term then has a linear lower bound (Zhang et al. 2018). The other neurons are off or linear.
So the margin is at least constant + slope·z, with z the free bits. The node's lower bound is the minimum, constant -
‖slope‖₁. If the bound is too low, two children fix one more bit. At 12 free bits, `halves.py` evaluates all inputs.

If a term undergoes at most R roundings, the rounding error of a margin is at most 2^-53·R·Σ|v_i|·(‖w_i‖₁ + |b_i|) over
the neurons that are not off. An input whose computed margin is within this bound of 0 becomes a candidate for exact
arithmetic. The walk goes depth first, so memory does not grow with the number of nodes. It can pause after any node.
"""

from typing import NamedTuple, no_type_check

import numba
import numpy as np

from circuits.constructions.certifying.halves import all_margins

LEAF = 12  # bits of a leaf, whose inputs are all evaluated
CANDIDATES = 2 * 2**LEAF  # room for candidates between two calls of `walk`
NODE = 12.0  # cost of one weight in a node, in evaluations of a neuron at an input
TINY = 2.0**-900  # bound of what unit scale can lose below the smallest float64
UNIT = 2.0**-53  # relative rounding error of a float64 operation

# Return values of `walk`.
FINISHED, PAUSED, FULL, FAILED = 0, 1, 2, 3
# Indices in `counts` and in `values`.
DEPTH, N_CANDIDATES, FAILS, N_LEAVES, N_PRUNED = 0, 1, 2, 3, 4
BEST, FLOOR, CLEAR, CLOSED, WORK = 0, 1, 2, 3, 4


class Tree(NamedTuple):
    """State of a depth-first search for the least margin (parity · output) of a relu network over many inputs.

    A node of the search tree holds all inputs that have the same values in some bits, the fixed bits. The other bits
    are the node's free bits z. An *unstable* neuron can be on or off in the node. It adds v relu(c + rows·z) to the
    margin. A *linear* neuron is always on; all linear neurons together add constant + slope·z. A node is closed once
    its inputs are evaluated or a lower bound makes this needless. The arrays hold the current node and its ancestors.

    Attributes
    ----------
    rows, c, v, size, reach
        For the unstable neurons. `rows` (depth, neuron, bit) has the weights on the free bits. The other arrays are
        (depth, neuron). `size` is Σ|weight| + |bias| over all input bits, `reach` is Σ|weight| over the free bits.
    slope, bits
        (depth, bit) each, for the free bits. `slope` belongs to the linear neurons; `bits` holds the bits' indices.
    n_terms, constant, mass, place, sign, tried, lower, error
        (depth,) each. `n_terms` is the number of unstable neurons; `mass` sums |v|·size over the linear neurons. Both
        children of a node fix the bit `bits[place]`. The first child gives the bit the value `sign`, the second child
        -`sign`. `tried` is the number of children begun so far, 0..2. `lower` is a lower bound of the node's margins;
        `error` bounds the rounding error of a margin.
    x, best, candidates
        `x` (bit,) holds the values of the fixed bits. `best` (bit,) is the input of least margin found. `candidates`
        (candidate, bit) are inputs of margin 0 up to rounding errors: float64 cannot tell the margin's sign.
    counts, values
        Counters and results; the indices are constants. `values[BEST]` is the least margin computed. `values[FLOOR]` is
        a lower bound of all margins in closed nodes. `values[CLEAR]` is the same without candidates (the inputs whose
        computed margin is <= `error`, so that float64 cannot prove it > 0). `values[CLOSED]` is the share of inputs in
        closed nodes. `values[WORK]` is the work done, in evaluations of one neuron at one input.
    """

    rows: np.ndarray
    c: np.ndarray
    v: np.ndarray
    size: np.ndarray
    reach: np.ndarray
    n_terms: np.ndarray
    constant: np.ndarray
    slope: np.ndarray
    mass: np.ndarray
    bits: np.ndarray
    place: np.ndarray
    sign: np.ndarray
    tried: np.ndarray
    lower: np.ndarray
    error: np.ndarray
    x: np.ndarray
    best: np.ndarray
    candidates: np.ndarray
    counts: np.ndarray
    values: np.ndarray


def planted(A: np.ndarray, c: np.ndarray, v: np.ndarray, size: np.ndarray) -> Tree:
    """A search tree, with only its root filled, for the least margin Σ_i v_i relu(c_i + A_i·x) over all x in ±1.

    A network's relevant bits are fixed; x holds the rest. `A` (neuron, bit) has the weights on x. `c` (neuron,) is the
    bias plus weighted sum of the relevant bits. `v` (neuron,) is the readout weight times the relevant bits' parity.
    `size` (neuron,), for bounds of rounding errors, is |bias| + Σ|weight| over all input bits, so >= |c_i + A_i·x|.
    """
    n_terms, n_bits = A.shape
    depths = max(n_bits - LEAF, 0) + 1

    def reals(*more: int) -> np.ndarray:
        return np.zeros((depths, *more))

    def wholes(*more: int) -> np.ndarray:
        return np.zeros((depths, *more), np.int64)

    rows = np.empty((depths, max(n_terms, 1), n_bits))  # memory that is never written costs nothing
    c_, v_, size_, reach = (np.empty(rows.shape[:2]) for _ in range(4))
    x, best = np.ones(n_bits, np.int8), np.ones(n_bits, np.int8)
    candidates = np.empty((CANDIDATES, n_bits), np.int8)
    tree = Tree(
        rows, c_, v_, size_, reach, wholes(), reals(), reals(n_bits), reals(), wholes(n_bits), wholes(), wholes(),
        wholes(), reals(), reals(), x, best, candidates, np.zeros(5, np.int64), np.array([*[np.inf] * 3, 0.0, 0.0]),
    )  # fmt: skip
    tree.bits[0] = np.arange(n_bits)
    _sort(A, c, v, size, np.abs(A).sum(axis=1), n_terms, n_bits, n_bits, 0, tree, 0)
    return tree


@no_type_check
@numba.njit(nogil=True, cache=True, error_model="numpy")
def _fix(tree, depth, sign):
    """Write a child of the node at `depth`. The child fixes the bit `tree.bits[depth, tree.place[depth]]` to `sign`."""
    place, child = tree.place[depth], depth + 1
    last = tree.x.shape[0] - child
    tree.x[tree.bits[depth, place]] = sign
    tree.constant[child] = tree.constant[depth] + sign * tree.slope[depth, place]
    tree.mass[child], tree.tried[child] = tree.mass[depth], 0
    for i in range(last):
        tree.slope[child, i], tree.bits[child, i] = tree.slope[depth, i], tree.bits[depth, i]
    if place < last:  # the last free bit moves to the place of the fixed bit
        tree.slope[child, place], tree.bits[child, place] = tree.slope[depth, last], tree.bits[depth, last]
    _sort(
        tree.rows[depth], tree.c[depth], tree.v[depth], tree.size[depth], tree.reach[depth], tree.n_terms[depth],
        last, place, sign, tree, child,
    )  # fmt: skip


@no_type_check
@numba.njit(nogil=True, cache=True, error_model="numpy", fastmath={"contract"})
def _sort(rows, c, v, size, reach, n_terms, n_bits, place, sign, tree, depth):
    """Fix one of the bits z in a sum Σ v relu(c + rows·z) over neurons; write the new sum to `tree` at `depth`.

    The old sum has `n_terms` neurons with weights `rows` (neuron, bit) on z = ±1. The other arrays are (neuron,):
    `size` is Σ|weight| + |bias| over all input bits, `reach` is Σ|weight| over z. The bit z[place] gets the value
    `sign`. Then the last bit takes over the index `place`, and `n_bits` bits stay free. With `sign` 0, no bit is fixed.
    If a neuron is now on for all z, its linear term is added to `tree.constant` and `tree.slope`. A neuron that is off
    for all z is left out. Any other neuron keeps its term.
    """
    to_rows, to_c, to_v, to_size, to_reach = (
        tree.rows[depth], tree.c[depth], tree.v[depth], tree.size[depth], tree.reach[depth],
    )  # fmt: skip
    slope, constant, mass, term = tree.slope[depth], tree.constant[depth], tree.mass[depth], 0
    slack = 4.0 * (tree.x.shape[0] + 16) * UNIT
    for i in range(n_terms):
        h, extent, last = c[i], reach[i], 0.0
        if sign != 0:
            h, extent, last = h + sign * rows[i, place], extent - abs(rows[i, place]), rows[i, n_bits]
        if v[i] == 0.0 or h + extent < -slack * size[i]:
            continue  # off, whatever the rounding errors
        if h - extent >= 0.0:
            constant += v[i] * h
            mass += abs(v[i]) * size[i]
            before = slope[place] if place < n_bits else 0.0
            for bit in range(n_bits):
                slope[bit] += v[i] * rows[i, bit]
            if place < n_bits:
                slope[place] = before + v[i] * last
            continue
        for bit in range(n_bits):
            to_rows[term, bit] = rows[i, bit]
        if place < n_bits:
            to_rows[term, place] = last
        to_c[term], to_v[term], to_size[term], to_reach[term] = h, v[i], size[i], extent
        term += 1
    tree.constant[depth], tree.mass[depth], tree.n_terms[depth] = constant, mass, term


@no_type_check
@numba.njit(nogil=True, cache=True, error_model="numpy", fastmath={"contract"})
def _bound(tree, depth, roundings, slope, score):
    """Write to `tree.lower` a lower bound of all margins (parity · output) in the node at `depth` of the search tree.

    A node fixes some input bits; the other bits are free. A neuron with the preactivation h adds v·relu(h) to the
    margin. If h can have both signs, a linear function of h that is never above v·relu(h) replaces v·relu(h). The sum
    over neurons is then linear in the free bits. `slope` gets its coefficients, `tree.lower` its minimum. `tree.error`
    gets a bound of a margin's rounding error, if each neuron's term undergoes `roundings` roundings. `score` tells how
    much each free bit loosens the bound: the largest difference between v·relu(h) and the linear function is split over
    the free bits in proportion to |weight|, and `score` sums each bit's parts over all neurons.
    """
    n_bits = tree.x.shape[0] - depth
    constant, mass = tree.constant[depth], tree.mass[depth]
    for bit in range(n_bits):
        slope[bit], score[bit] = tree.slope[depth, bit], 0.0
    for i in range(tree.n_terms[depth]):
        row, c, v, reach = tree.rows[depth, i], tree.c[depth, i], tree.v[depth, i], tree.reach[depth, i]
        low, high = min(c - reach, 0.0), max(c + reach, 0.0)
        mass += abs(v) * tree.size[depth, i]
        if v > 0.0:  # the line 0 or the neuron itself, whichever is nearer
            steep, lift, gap = (1.0, 0.0, -low) if high > -low else (0.0, 0.0, high)
        else:  # the chord
            steep = high / (high - low) if high > low else 0.0
            lift, gap = -steep * low, -steep * low
        constant += v * (steep * c + lift)
        weight, gap = v * steep, abs(v) * gap / (reach if reach > 0.0 else 1.0)
        for bit in range(n_bits):
            slope[bit] += weight * row[bit]
            score[bit] += gap * abs(row[bit])
    for bit in range(n_bits):
        constant -= abs(slope[bit])
    tree.lower[depth], tree.error[depth] = constant, roundings * UNIT * mass + TINY


@no_type_check
@numba.njit(nogil=True, cache=True, error_model="numpy", fastmath={"contract", "reassoc"})
def _try_least(tree, depth, slope):
    """Evaluate the input that minimizes `slope`·z over a node's free bits z; keep the input of least margin so far."""
    n_bits = tree.x.shape[0] - depth
    x = np.empty(n_bits)
    rows, c, v, linear = tree.rows[depth], tree.c[depth], tree.v[depth], tree.slope[depth]
    value = tree.constant[depth]
    for bit in range(n_bits):
        x[bit] = -1.0 if slope[bit] > 0.0 else 1.0
        value += linear[bit] * x[bit]
    for i in range(tree.n_terms[depth]):
        h = c[i]
        for bit in range(n_bits):
            h += rows[i, bit] * x[bit]
        value += v[i] * max(h, 0.0)
    if value < tree.values[BEST]:
        tree.values[BEST] = value
        for i in range(tree.x.shape[0]):
            tree.best[i] = tree.x[i]
        for bit in range(n_bits):
            tree.best[tree.bits[depth, bit]] = np.int8(x[bit])
    if value < -tree.error[depth]:
        tree.counts[FAILS] = 1


@no_type_check
@numba.njit(nogil=True, cache=True, error_model="numpy")
def _leaf(tree, depth, out):
    """Write to `out` the margins (parity · output) of all inputs that share the bits fixed by the search at `depth`.

    `tree.candidates` gets the inputs whose margin is so near 0 that rounding hides its sign. It gets none if a margin
    is already known to be <= 0.
    """
    n_bits, error = tree.x.shape[0] - depth, tree.error[depth]
    all_margins(
        tree.constant[depth], tree.slope[depth], tree.rows[depth], tree.c[depth], tree.v[depth], n_bits,
        tree.n_terms[depth], out,
    )  # fmt: skip
    tree.counts[N_LEAVES] += 1
    least, clear = 0, np.inf
    for entry in range(1 << n_bits):
        value = out[entry]
        if value < out[least]:
            least = entry
        if value > error:
            clear = min(clear, value)
        elif value < -error:
            tree.counts[FAILS] = 1
    tree.values[FLOOR] = min(tree.values[FLOOR], out[least] - error)
    tree.values[CLEAR] = min(tree.values[CLEAR], clear - error)
    if out[least] < tree.values[BEST]:
        tree.values[BEST] = out[least]
        _input(tree, depth, least, tree.best)
    if tree.counts[FAILS] == 0 and out[least] <= error:
        for entry in range(1 << n_bits):
            if out[entry] <= error:
                _input(tree, depth, entry, tree.candidates[tree.counts[N_CANDIDATES]])
                tree.counts[N_CANDIDATES] += 1


@no_type_check
@numba.njit(nogil=True, cache=True)
def _input(tree, depth, entry, bits):
    """Set `bits` to one input of the search node at `depth`: its free bits are `entry` in binary, with -1 for 0."""
    for i in range(tree.x.shape[0]):
        bits[i] = tree.x[i]
    for bit in range(tree.x.shape[0] - depth):
        bits[tree.bits[depth, bit]] = 1 if entry >> bit & 1 else -1


@no_type_check
@numba.njit(nogil=True, cache=True, error_model="numpy")
def walk(tree, goal, prune, roundings, until):
    """Search a tree, depth first: prove that all margins (parity · output) exceed a goal, or find the least margin.

    A node holds the inputs that share the values of some bits. A closed node needs no more visits. The result
    FINISHED means that all nodes are closed. PAUSED means that the work has reached `until`. FULL means that too many
    inputs wait in `tree.candidates` for exact arithmetic. FAILED means that a margin disproves a finite goal.

    Parameters
    ----------
    goal
        Finite: prove that all margins exceed `goal`. A node closes if its lower bound is above `goal` despite rounding
        errors. The search stops at the first margin that it finds to be <= 0 or, if `goal` > 0, <= `goal`. Inf: find
        the least margin. A node closes if its lower bound is >= the least margin found so far and above the rounding
        error. If some margin is known to be <= 0, the rounding error does not matter.
    tree, prune
        The search changes `tree` in place. If `prune` is False, lower bounds close no node: every input is evaluated.
    roundings, until
        Each term of an output undergoes `roundings` roundings. `until` is the total work after which to pause.
    """
    n_all = tree.x.shape[0]
    slope, score, out = np.empty(n_all), np.empty(n_all), np.empty(1 << min(LEAF, n_all))
    while tree.counts[DEPTH] >= 0:
        if goal < np.inf and (tree.counts[FAILS] == 1 or (goal > 0.0 and tree.values[BEST] <= goal)):
            return FAILED
        if tree.counts[N_CANDIDATES] > CANDIDATES - (1 << LEAF):
            return FULL
        if tree.values[WORK] >= until:
            return PAUSED
        depth = tree.counts[DEPTH]
        n_bits = n_all - depth
        if tree.tried[depth] == 0:
            _bound(tree, depth, roundings, slope, score)
            tree.values[WORK] += NODE * (tree.n_terms[depth] + 1) * (n_bits + 1)
        lower, error = tree.lower[depth], tree.error[depth]
        if goal < np.inf:
            enough = lower - error > goal
        else:
            enough = lower >= tree.values[BEST] and (lower > error or tree.counts[FAILS] == 1)
        if tree.tried[depth] == 2:
            tree.counts[DEPTH] -= 1
        elif prune and enough:
            tree.values[FLOOR] = min(tree.values[FLOOR], lower - error)
            tree.values[CLEAR] = min(tree.values[CLEAR], lower - error)
            tree.values[CLOSED] += (1.0 - 0.5 * tree.tried[depth]) * 0.5**depth
            tree.counts[N_PRUNED] += 1
            tree.counts[DEPTH] -= 1
        elif n_bits <= LEAF:
            _leaf(tree, depth, out)
            tree.values[WORK] += (tree.n_terms[depth] + 1.0) * (1 << n_bits)
            tree.values[CLOSED] += 0.5**depth
            tree.counts[DEPTH] -= 1
        else:
            if tree.tried[depth] == 0:
                _try_least(tree, depth, slope)
                tree.place[depth] = score[:n_bits].argmax()
                tree.sign[depth] = -1 if slope[tree.place[depth]] > 0.0 else 1
                _fix(tree, depth, tree.sign[depth])
            else:
                _fix(tree, depth, -tree.sign[depth])
            tree.tried[depth] += 1
            tree.counts[DEPTH] += 1
    return FINISHED


@no_type_check
@numba.njit(nogil=True, cache=True, error_model="numpy")
def regrow(tree):
    """Recompute the nodes from the root to the current node, from the bit and sign chosen at each node."""
    for depth in range(tree.counts[DEPTH]):
        tried = tree.tried[depth + 1]
        _fix(tree, depth, tree.sign[depth] if tree.tried[depth] == 1 else -tree.sign[depth])
        tree.tried[depth + 1] = tried
