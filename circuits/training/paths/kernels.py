"""The compiled CPU step for f(x) = uᵀ relu(W x + b) on inputs in {-1, 1}, under hinge loss and SGD with weight decay.

Per batch of m examples, with learning rate η, weight decay λ, H = relu(X Wᵀ + b) and the active examples
A = {i : f(x_i) y_i < 1},

    u ← (1 - ηλ) u + η/m Σ_A y_i H_i
    W ← (1 - ηλ) W + η/m Σ_A y_i (u ⊙ [H_i > 0]) x_iᵀ            b likewise with x_i = 1

where u on the right is the value before the update. An L1 penalty is a proximal step afterwards; its zeros are exact.

Five inputs ±1 have only 32 values, 16 up to sign, so X Wᵀ needs no products. Once per batch, the kernel computes the 16
sums ±w ±w ±w ±w + w for each group of five inputs. Each example then adds or subtracts one of these sums per group (the
method of the four Russians). For the networks of Merrill et al. 2023, this takes about half the time of a BLAS product.
The backward pass visits active examples only. Arrays are transposed, so that inner loops over neurons have unit
stride. The test for an active example, `not output * target >= 1`, is also true for NaN. So NaN spreads as in torch.
"""

from typing import no_type_check

import numba
import numpy as np

_RELAXED = {"reassoc", "contract", "nsz", "arcp"}  # sums may be vectorized; NaN and infinity keep their meaning
BITS = 5  # inputs in a group
LINE = 64  # bytes of a cache line
NEURONS = 16  # a multiple of this number of neurons fills whole lines
AT_ONCE = 4  # groups added in one pass over the neurons; the number of groups is padded to a multiple


def patterns_of(inputs: np.ndarray) -> np.ndarray:
    """Signs of five inputs at a time as one number in 0..31: (example, group) uint8 for inputs (example, input) ±1.

    Group g holds the inputs 5g to 5g + 4. Input 5g + i adds 2^i to the group's number if this input is 1. Extra
    groups without inputs, with the number 0, make the number of groups a multiple of 4. They are not shown below.

    Examples
    --------
    >>> patterns_of(np.array([[-1, -1, -1, -1, 1, 1], [1, -1, 1, -1, -1, -1]]))[:, :2]
    array([[16,  1],
           [ 5,  0]], dtype=uint8)
    """
    n_examples, n_inputs = inputs.shape
    patterns = np.zeros((n_examples, n_groups(n_inputs)), np.uint8)
    for j in range(n_inputs):
        patterns[:, j // BITS] |= (inputs[:, j] > 0).astype(np.uint8) << np.uint8(j % BITS)
    return patterns


def n_groups(n_inputs: int) -> int:
    """Number of groups of five inputs, rounded up to a multiple of 4: the compiled loops handle 4 groups at a time."""
    return AT_ONCE * -(-n_inputs // (AT_ONCE * BITS))


def scratch(n_inputs: int, width: int, batch_size: int, dtype: np.dtype) -> tuple[np.ndarray, ...]:
    """Work memory of `train_batches` and `evaluate`. Allocation is as slow as an update: allocate once per thread."""
    return (
        aligned_zeros((n_groups(n_inputs), 2 ** (BITS - 1), width), dtype),  # sums of each group's weights, by pattern
        aligned_zeros((7, width), dtype),  # parts of these sums; the last row stays 0
        aligned_zeros((batch_size, width), dtype),  # hidden layer
        aligned_zeros((batch_size + 4, width), dtype),  # η/m · y_i u ⊙ [H_i > 0] of the active examples
        aligned_zeros((batch_size + 4, n_inputs), dtype),  # active inputs
        aligned_zeros((2, width), dtype),  # steps of u and b
    )


def aligned_zeros(shape: tuple[int, ...], dtype: np.dtype) -> np.ndarray:
    """Zeros that begin at a cache line; a vector that crosses two lines takes twice as long to load.

    Examples
    --------
    >>> aligned_zeros((3, 2), np.dtype("float32")).ctypes.data % 64
    0
    """
    size = int(np.prod(shape)) * dtype.itemsize
    memory = np.zeros(size + LINE, np.uint8)
    start = -memory.ctypes.data % LINE
    return memory[start : start + size].view(dtype).reshape(shape)


def padded(values: np.ndarray) -> np.ndarray:
    """A copy whose last axis, the neurons, is padded to whole cache lines with neurons of zero weight.

    These neurons never fire and get no gradient, so they stay zero and change nothing.

    Examples
    --------
    >>> padded(np.ones((2, 5), np.float32)).shape
    (2, 16)
    """
    width = values.shape[-1]
    wider = aligned_zeros((*values.shape[:-1], width + -width % NEURONS), values.dtype)
    wider[..., :width] = values
    return wider


@no_type_check
@numba.njit(nogil=True, cache=True, fastmath=_RELAXED, error_model="numpy")
def train_batches(
    weights_t, biases, readout, inputs, patterns, targets, order, start, stop, batch_size, lr, weight_decay, l1, room
):
    """Take updates `start` to `stop` - 1 of one epoch of one network, in place.

    Parameters
    ----------
    weights_t, biases, readout
        Wᵀ (input, neuron), b (neuron,), u (neuron,); one floating dtype, contiguous.
    inputs, patterns, targets
        Inputs (example, input) and targets (example,) are ±1 in the weights' dtype. Patterns, (example, group) uint8,
        hold the signs of five inputs at a time as one number in 0..31; `patterns_of` computes them.
    order
        (example,) the epoch's permutation of the examples.
    start, stop, batch_size
        0 <= start <= stop <= number of updates in the epoch. Update i takes the examples in the slice
        order[i · batch_size : (i + 1) · batch_size]; the slice of the epoch's last update may be shorter.
    lr, weight_decay, l1
        Learning rate η, weight decay λ, coefficient l1 of Σ|θ| (θ ← sign θ · max(0, |θ| - η l1)).
    room
        Work memory: arrays that `scratch` made for these sizes. Nothing else may write to them: some rows must stay 0.
    """
    n_inputs, width = weights_t.shape
    n_examples = order.shape[0]
    dtype = weights_t.dtype.type
    zero, one = dtype(0), dtype(1)
    rate = dtype(lr)
    keep = dtype(1 - lr * weight_decay)
    threshold = dtype(lr * l1)
    tables, parts, hidden, backward, active_inputs, steps = room
    readout_step, bias_step = steps[0], steps[1]

    for index in range(start, stop):
        first = index * batch_size
        size = min(batch_size, n_examples - first)
        _sum_patterns(weights_t, tables, parts)
        n_active = 0
        readout_step[:] = zero
        bias_step[:] = zero
        for i in range(size):
            example = order[first + i]
            row = hidden[i]
            output = _fire(tables, patterns[example], biases, readout, row)
            target = targets[example]
            if not output * target >= one:
                gain = rate * target / dtype(size)
                flow = backward[n_active]
                for c in range(width):
                    readout_step[c] += gain * row[c]
                for c in range(width):
                    step = zero if row[c] <= zero else gain * readout[c]
                    flow[c] = step
                    bias_step[c] += step
                for j in range(n_inputs):
                    active_inputs[n_active, j] = inputs[example, j]
                n_active += 1

        for a in range(n_active, n_active + 4):  # padding examples without effect, so that there are whole fours
            active_inputs[a] = zero
            backward[a] = zero
        for j in range(n_inputs):
            weights = weights_t[j]
            factor = keep
            for a in range(0, max(n_active, 1), 4):
                x0, x1 = active_inputs[a, j], active_inputs[a + 1, j]
                x2, x3 = active_inputs[a + 2, j], active_inputs[a + 3, j]
                f0, f1, f2, f3 = backward[a], backward[a + 1], backward[a + 2], backward[a + 3]
                for c in range(width):
                    weights[c] = weights[c] * factor + ((x0 * f0[c] + x1 * f1[c]) + (x2 * f2[c] + x3 * f3[c]))
                factor = one
        for c in range(width):
            biases[c] = biases[c] * keep + bias_step[c]
            readout[c] = readout[c] * keep + readout_step[c]
        if threshold > zero:
            for j in range(n_inputs):
                _shrink(weights_t[j], threshold)
            _shrink(biases, threshold)
            _shrink(readout, threshold)


@no_type_check
@numba.njit(nogil=True, cache=True, fastmath=_RELAXED, error_model="numpy")
def _sum_patterns(weights_t, tables, parts):
    """Fill `tables` (group, 16, neuron): for each group of five inputs, each neuron's 16 sums of the five weights.

    Group g holds the inputs 5g to 5g + 4. Let w0 … w4 be the weights of these inputs at one neuron; the weight of
    an input that does not exist is 0. For p = 0..15, tables[g, p] becomes ±w0 ±w1 ±w2 ±w3 + w4. Here wi, i = 0..3, has
    a plus if bit i of p is 1, else a minus; w4 always has a plus. So tables[g, 5] becomes w0 - w1 + w2 - w3 + w4.
    Groups without inputs keep entries 0. `parts` (7, neuron) is memory for partial sums; its last row must be 0.
    """
    n_inputs, width = weights_t.shape
    both, difference, nothing = parts[0], parts[1], parts[6]
    low, only_2, only_3, high = parts[2], parts[3], parts[4], parts[5]
    for g in range((n_inputs + 4) // 5):
        w0 = weights_t[5 * g]
        w1 = weights_t[5 * g + 1] if 5 * g + 1 < n_inputs else nothing
        w2 = weights_t[5 * g + 2] if 5 * g + 2 < n_inputs else nothing
        w3 = weights_t[5 * g + 3] if 5 * g + 3 < n_inputs else nothing
        w4 = weights_t[5 * g + 4] if 5 * g + 4 < n_inputs else nothing
        _combine(w0, w1, both, difference)
        _combine(w2, w3, high, only_2)
        for c in range(width):
            low[c] = w4[c] - high[c]
            high[c] = w4[c] + high[c]
        for c in range(width):
            only_3[c] = w4[c] - only_2[c]
            only_2[c] = w4[c] + only_2[c]
        for place in range(4):
            part = parts[2 + place]
            _combine(part, both, tables[g, 4 * place + 3], tables[g, 4 * place])
            _combine(part, difference, tables[g, 4 * place + 1], tables[g, 4 * place + 2])


@no_type_check
@numba.njit(nogil=True, cache=True, fastmath=_RELAXED, error_model="numpy")
def _combine(first, second, total, difference):
    for c in range(first.shape[0]):  # vectorized because the loop is a function of its own
        total[c] = first[c] + second[c]
        difference[c] = first[c] - second[c]


@no_type_check
@numba.njit(nogil=True, cache=True, fastmath=_RELAXED, error_model="numpy", inline="always")
def _place(code):
    """Index, in a table of `_sum_patterns`, of the sum ±w0 ±w1 ±w2 ±w3 ±w4 or of its negative.

    Bit i of `code` (0..31) is 1 if wi has a plus sign in the sum. The table only holds the 16 sums with + w4, at the
    index code - 16. Code 3 stands for w0 + w1 - w2 - w3 - w4; its negative has code 28, so its index is 12.
    """
    return (code & 15) if code >= 16 else 15 - code


@no_type_check
@numba.njit(nogil=True, cache=True, fastmath=_RELAXED, error_model="numpy")
def _fire(tables, pattern, biases, readout, row):
    """Fill `row` (neuron,) with the hidden layer relu(W x + b) of one input vector x of ±1; return the output u·row.

    The entries of x form groups of five. Let wi (neuron,), i = 0..4, be the weights of entry i of group g. Group g adds
    ±w0 ±w1 ±w2 ±w3 ±w4 to W x, where wi has the sign of entry i; bit i of pattern[g] (0..31) is 1 for a plus.
    tables[g] (16, neuron) stores only the 16 sums with + w4. A sum with - w4 is the negative of a stored sum, so the
    function subtracts the stored sum. The index of the stored sum is `_place(pattern[g])`.
    """
    zero, one = row.dtype.type(0), row.dtype.type(1)
    for g in range(0, tables.shape[0], 4):
        p0, p1, p2, p3 = pattern[g], pattern[g + 1], pattern[g + 2], pattern[g + 3]
        t0, t1 = tables[g, _place(p0)], tables[g + 1, _place(p1)]
        t2, t3 = tables[g + 2, _place(p2)], tables[g + 3, _place(p3)]
        s0, s1 = one if p0 >= 16 else -one, one if p1 >= 16 else -one
        s2, s3 = one if p2 >= 16 else -one, one if p3 >= 16 else -one
        if g == 0:
            for c in range(row.shape[0]):
                row[c] = (s0 * t0[c] + s1 * t1[c]) + (s2 * t2[c] + s3 * t3[c])
        else:
            for c in range(row.shape[0]):
                row[c] += (s0 * t0[c] + s1 * t1[c]) + (s2 * t2[c] + s3 * t3[c])
    output = zero
    for c in range(row.shape[0]):
        value = row[c] + biases[c]
        value = zero if value <= zero else value
        row[c] = value
        output += value * readout[c]
    return output


@no_type_check
@numba.njit(nogil=True, cache=True, fastmath=_RELAXED, error_model="numpy")
def _shrink(values, threshold):
    """Soft thresholding, in place; NaN stays NaN."""
    zero = values.dtype.type(0)
    for c in range(values.shape[0]):
        value = values[c]
        if value > threshold:
            values[c] = value - threshold
        elif value < -threshold:
            values[c] = value + threshold
        elif value == value:
            values[c] = zero


@no_type_check
@numba.njit(nogil=True, cache=True, fastmath=_RELAXED, error_model="numpy")
def evaluate(weights_t, biases, readout, patterns, targets, room):
    """Loss and number of right answers of one network f(x) = u·relu(W x + b) on a set of examples.

    `patterns` (example, group) stores the inputs ±1: each number in 0..31 has the signs of five inputs (`patterns_of`).
    `targets` has the labels y = ±1. `room` is work memory from `scratch`. Returns the mean hinge loss; the number of
    examples with sign f(x) = y; the number with f(x) = 0 exactly; and the largest |f(x)|, NaN if any output is NaN.
    """
    zero, one = weights_t.dtype.type(0), weights_t.dtype.type(1)
    tables, parts, hidden, _, _, _ = room
    row = hidden[0]
    _sum_patterns(weights_t, tables, parts)
    n_examples = targets.shape[0]
    loss, n_right, n_zero, largest = 0.0, 0, 0, 0.0
    for example in range(n_examples):
        output = _fire(tables, patterns[example], biases, readout, row)
        margin = output * targets[example]
        loss += zero if margin >= one else one - margin
        n_right += margin > zero
        n_zero += output == zero
        size = np.float64(abs(output))
        if size > largest or size != size:  # once NaN, it stays
            largest = size
    return loss / n_examples, n_right, n_zero, largest
