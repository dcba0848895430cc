"""The exact distribution of a sum of weights with random signs, as two lists of half sums, and the mean of a relu.

Y = Σ ±w_i over independent uniform signs takes 2^n values. Wanted is the mean of relu(x + Y) for a given number x.
Split the weights into two halves: Y = A + B. Each half takes 2^(n/2) values: A the values α with probabilities P(α), B
the values β with P(β). With both lists sorted, one pass over A with a pointer into B gives

    E relu(x + A + B) = Σ_α P(α) Σ_{β > -x-α} P(β) (x + α + β)

from running sums over the tail of B: 2^(n/2) steps, not 2^n ("meet in the middle", Horowitz and Sahni 1974). Equal
values in a list become one value with the sum of their probabilities. So n equal weights need n + 1 values, and weights
on a lattice need few values. Everything is exact up to float rounding (see `EQUAL`).
"""

from typing import no_type_check

import numba
import numpy as np

MOST_VALUES = 4096  # of each half: enough for any 24 weights
EQUAL = 2.0**-48  # of the largest sum: rounding errors of equal sums
PROBED_VALUES = 512  # limit of a half if the weights may not fit


@no_type_check
@numba.njit(nogil=True, cache=True)
def _add_sign(values, shares, count, step, tolerance, into, shares_into, most):
    """Add ±step, with a random sign, to a random number X; returns how many values the sum has, or -1 if over `most`.

    X has the ascending values `values[:count]` with probabilities `shares[:count]`. The values of the sum go to `into`,
    their probabilities to `shares_into`. Values within `tolerance` are merged.
    """
    low, high, sums = 0, 0, 0
    while low < count or high < count:
        if low < count and (high >= count or values[low] - step <= values[high] + step):
            value, share = values[low] - step, 0.5 * shares[low]
            low += 1
        else:
            value, share = values[high] + step, 0.5 * shares[high]
            high += 1
        if sums and value - into[sums - 1] <= tolerance:
            shares_into[sums - 1] += share
        elif sums == most:
            return -1
        else:
            into[sums], shares_into[sums] = value, share
            sums += 1
    return sums


@no_type_check
@numba.njit(nogil=True, cache=True)
def half_laws(weights, start, stop, values, shares, most):
    """Split weights[start:stop] into two halves; list the values of Σ ±w over each half, for random signs.

    The weights must be >= 0, largest first. A weight that equals the previous one goes to the same half. Any other
    weight goes to the half whose sum has fewer values so far. If the chosen half's sum would then have more than `most`
    values, the weight goes to the other half. Returns `count` and `buffer` (half,). The list for half h is
    values[h, buffer[h], :count[h]], with probabilities shares[h, buffer[h], :count[h]]. If neither half has room for a
    weight, count[0] is -1. `values` and `shares` (half, buffer, value) have two buffers per half.
    """
    count, buffer = np.ones(2, np.int64), np.zeros(2, np.int64)
    values[:, 0, 0], shares[:, 0, 0] = 0.0, 1.0
    reach = 0.0
    for i in range(start, stop):
        reach += weights[i]
    chosen = 0
    for i in range(start, stop):
        if i == start or weights[i] != weights[i - 1]:
            chosen = 0 if count[0] <= count[1] else 1
        for _ in range(2):
            now = buffer[chosen]
            sums = _add_sign(
                values[chosen, now], shares[chosen, now], count[chosen], weights[i], EQUAL * reach,
                values[chosen, 1 - now], shares[chosen, 1 - now], most,
            )  # fmt: skip
            if sums > 0:
                break
            chosen = 1 - chosen
        if sums < 0:
            count[0] = -1
            break
        count[chosen], buffer[chosen] = sums, 1 - now
    return count, buffer


@no_type_check
@numba.njit(nogil=True, cache=True)
def values_allowed(weights, start, stop):
    """How many different sums Σ ±w `half_laws` may list for each half of weights[start:stop]: 4096 or 512.

    All of weights[start:stop] have at most N different sums. A weight that occurs m times multiplies N by m + 1.
    For instance, the weights 3, 3 and 1 give N = 3 · 2 = 6. The limit is 4096 if N <= 2^24. For a larger N, the limit
    is 512, usually enough if the weights are small multiples of one number. Equal weights must be neighbors.
    """
    bits, same = 0.0, 1
    for i in range(start, stop):
        if i + 1 < stop and weights[i + 1] == weights[i]:
            same += 1
        else:
            bits += np.log2(same + 1.0)
            same = 1
    return MOST_VALUES if bits <= 24.0 else PROBED_VALUES


@no_type_check
@numba.njit(nogil=True, cache=True)
def mean_relu(x, values, shares, more_values, more_shares):
    """E relu(x + A + B) for independent A and B. Their possible values are `values` and `more_values`, ascending.

    `shares` are the probabilities of `values`; `more_shares` are those of `more_values`.
    """
    total, tail, moment = 0.0, 0.0, 0.0
    place = len(more_values)
    for i in range(len(values)):
        level = x + values[i]
        while place > 0 and more_values[place - 1] > -level:
            place -= 1
            tail += more_shares[place]
            moment += more_shares[place] * more_values[place]
        total += shares[i] * (level * tail + moment)
    return total
