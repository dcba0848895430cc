"""The compiled CPU step for f(x) = uᵀ relu(W x + b) under hinge loss and SGD with weight decay.

Per batch, with H = relu(X Wᵀ + b) and the active examples A = {i : f(x_i) y_i < 1},

    u ← (1 - ηλ) u + η/m Σ_A y_i H_i
    W ← (1 - ηλ) W + η/m Σ_A y_i (u ⊙ [H_i > 0]) x_iᵀ            b likewise with x_i = 1

where the u on the right is the old one. Only H = X Wᵀ goes to BLAS; the backward pass touches active examples alone,
few after memorisation, and everything else is one sweep over the parameters, kept transposed so that the inner loop
runs over neurons with unit stride. An L1 penalty is a proximal step after the update, so that zeros are exact. A
network's result depends on its own data only: seeds may share threads in any way.

NaN is not less than 1 and not <= 0: comparisons are written so that it stays active and spreads, as in torch.
"""

from __future__ import annotations

from typing import no_type_check

import numba
import numpy as np

_RELAXED = {"reassoc", "contract", "nsz", "arcp"}  # sums may be vectorised; NaN and infinity keep their meaning
EVALUATION_ROWS = 128


@no_type_check
@numba.njit(nogil=True, cache=True, fastmath=_RELAXED, error_model="numpy")
def train_batches(weights_t, biases, readout, inputs, targets, order, start, stop, batch_size, lr, weight_decay, l1):
    """Take updates `start` to `stop` of one epoch of one network, in place.

    Parameters
    ----------
    weights_t, biases, readout
        Wᵀ (input, neuron), b (neuron,), u (neuron,); one floating dtype, contiguous.
    inputs, targets
        (example, input), (example,) in ±1; the same dtype.
    order
        (example,) the epoch's permutation of the examples.
    start, stop
        Batches within the epoch, 0 <= start <= stop <= ceil(example / batch_size).
    batch_size, lr, weight_decay, l1
        B, η, λ, and the coefficient of Σ|θ|, applied as the proximal step θ ← sign θ · max(0, |θ| - η l1).
    """
    n_inputs, width = weights_t.shape
    n_examples = order.shape[0]
    dtype = weights_t.dtype.type
    zero, one = dtype(0), dtype(1)
    rate = dtype(lr)
    keep = dtype(1 - lr * weight_decay)
    threshold = dtype(lr * l1)
    batch = np.empty((batch_size, n_inputs), weights_t.dtype)
    hidden = np.empty((batch_size, width), weights_t.dtype)
    active_inputs = np.empty((batch_size, n_inputs), weights_t.dtype)
    backward = np.empty((batch_size, width), weights_t.dtype)  # η/m · y_i u ⊙ [H_i > 0] of the active examples
    readout_step = np.empty(width, weights_t.dtype)
    bias_step = np.empty(width, weights_t.dtype)

    for index in range(start, stop):
        first = index * batch_size
        size = min(batch_size, n_examples - first)
        for i in range(size):
            batch[i] = inputs[order[first + i]]
        np.dot(batch[:size], weights_t, hidden[:size])

        n_active = 0
        readout_step[:] = zero
        bias_step[:] = zero
        for i in range(size):
            row = hidden[i]
            output = zero
            for c in range(width):
                value = row[c] + biases[c]
                value = zero if value <= zero else value
                row[c] = value
                output += value * readout[c]
            target = targets[order[first + i]]
            if not output * target >= one:
                gain = rate * target / dtype(size)
                flow = backward[n_active]
                for c in range(width):
                    value = row[c]
                    readout_step[c] += gain * value
                    step = zero if value <= zero else gain * readout[c]
                    flow[c] = step
                    bias_step[c] += step
                active_inputs[n_active] = batch[i]
                n_active += 1

        for j in range(n_inputs):
            weights = weights_t[j]
            for c in range(width):
                weights[c] *= keep
            for a in range(n_active):
                x = active_inputs[a, j]
                flow = backward[a]
                for c in range(width):
                    weights[c] += x * flow[c]
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
def _shrink(values, threshold):
    """Soft thresholding, in place; NaN stays."""
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
def evaluate(weights_t, biases, readout, inputs, targets):
    """Loss and right answers of one network on a set.

    Returns
    -------
    The mean hinge loss; how many examples have sign f(x) = y; how many have f(x) = 0 exactly.
    """
    width = weights_t.shape[1]
    n_examples = inputs.shape[0]
    zero, one = weights_t.dtype.type(0), weights_t.dtype.type(1)
    hidden = np.empty((EVALUATION_ROWS, width), weights_t.dtype)
    loss, n_right, n_zero = 0.0, 0, 0
    for first in range(0, n_examples, EVALUATION_ROWS):
        size = min(EVALUATION_ROWS, n_examples - first)
        np.dot(inputs[first : first + size], weights_t, hidden[:size])
        for i in range(size):
            row = hidden[i]
            output = zero
            for c in range(width):
                value = row[c] + biases[c]
                value = zero if value <= zero else value
                output += value * readout[c]
            margin = output * targets[first + i]
            loss += zero if margin >= one else one - margin
            n_right += margin > zero
            n_zero += output == zero
    return loss / n_examples, n_right, n_zero
