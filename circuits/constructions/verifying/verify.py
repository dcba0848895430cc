"""The exact verification of any network uᵀ relu(W x + b), given as a construction or as arrays."""

from collections.abc import Mapping, Sequence
from fractions import Fraction

import numpy as np

from circuits.constructions.building.construction import Construction
from circuits.constructions.verifying.rational import exact_values
from circuits.constructions.verifying.verification import Verification
from circuits.errors import InputError
from circuits.lazy import renamed_keyword


@renamed_keyword("support", "relevant_bits")
def verify(
    network: Construction | Mapping[str, np.ndarray],
    relevant_bits: Sequence[int] | None = None,
    *,
    name: str = "network",
    neurons: Sequence[str] | None = None,
    train_largest_output: float | None = None,
) -> Verification:
    """Exact evaluation of a network f(x) = uᵀ relu(W x + b) on all settings of its relevant bits; other inputs are 0.

    Parameters
    ----------
    network
        A construction, or a mapping with arrays "W" (neuron, input), "b" (neuron,) and "u" (neuron,). Floats are exact.
    relevant_bits
        For arrays: indices of the relevant bits, in any order; by default all inputs. A construction takes none.
    name, neurons
        For arrays: name of the network, and names of its neurons, by default h0, h1, …
    train_largest_output
        For arrays: largest |f(x)| over the inputs x of the training set. A network with a value below 1e-3 counts as
        collapsed. By default, the largest |f(x)| over the settings of the relevant bits decides.

    Returns
    -------
    The verification. `computes_parity` is the verdict; `str()` explains it. `n_left_out` counts the other inputs that
    affect the output. Bits and neurons are numbered from 0: the x1 and h1 of Merrill et al. 2023 are x0 and h0 here.

    Raises
    ------
    InputError
        `relevant_bits` does not name inputs of the network, the shapes do not fit, a weight is NaN or infinite, or
        the activations on all settings of the relevant bits need too much memory.

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
        if relevant_bits is not None:
            raise InputError(
                f"All {network.k} bits of {network.name} are relevant. Leave relevant_bits out for a construction."
            )
        values = exact_values(network.W, network.b, network.u, network.k)
        names = tuple(f"h{index}" for index in range(network.n_neurons))
        readout, bits = tuple(Fraction(weight) for weight in network.u), tuple(range(network.k))
        return Verification(network.name, bits, network.k, 0, names, readout, values, network.printed)
    W, b, u = (np.asarray(network[letter]) for letter in "Wbu")
    if W.ndim != 2 or b.shape != (len(W),) or u.shape != (len(W),):
        raise InputError(
            f"The shapes are W {W.shape}, b {b.shape}, u {u.shape}. Pass W (neuron, input), b (neuron,), u (neuron,)."
        )
    n = W.shape[1]
    bits = tuple(range(n)) if relevant_bits is None else tuple(sorted(relevant_bits))
    if len(set(bits)) != len(bits) or not bits or not all(0 <= bit < n for bit in bits):
        raise InputError(f"relevant_bits {list(bits)} must name different bits of 0..{n - 1}.")
    values = exact_values(W[:, bits].tolist(), b.tolist(), u.tolist(), len(bits))
    others = np.delete(W, bits, axis=1)
    if not np.isfinite(others).all():
        raise InputError("the network has diverged: a weight is NaN or infinite. Pass an earlier checkpoint.")
    left_out = int((others[u != 0] != 0).any(axis=0).sum())
    names = tuple(f"h{index}" for index in range(len(W))) if neurons is None else tuple(neurons)
    readout = tuple(Fraction(weight) for weight in u.tolist())
    return Verification(name, bits, n, left_out, names, readout, values, train_largest_output=train_largest_output)
