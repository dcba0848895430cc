"""The active subnetwork of a layer without a linear readout, by masking.

Here the outputs are not a sum over the layer's neurons. So the network runs with only the k neurons of largest norm.
The scan finds the smallest k that agrees with the whole network. Agreement need not be monotone in k, so the scan skips
no k. It takes 64 values of k at a time. It first checks all 64 on the 32 inputs that have ruled out the most values so
far, since a few hard inputs rule out nearly every k. It then checks each remaining k, smallest first, on all inputs.
"""

from collections.abc import Callable

import numpy as np
from jaxtyping import Bool, Float, Int, Shaped

from circuits.analysis.networks.masking import Masked
from circuits.analysis.networks.options import Criterion
from circuits.analysis.networks.predictions import is_right, predictions

PREFIXES_AT_ONCE, HARDEST = 64, 32
FIRST_CHUNK, CHUNK = 256, 4096

Fits = Callable[[Int[np.ndarray, " k"], Int[np.ndarray, " some"]], Bool[np.ndarray, "k some"]]


def smallest_agreeing_masked(
    network: Masked,
    order: Int[np.ndarray, " neuron"],
    inputs: Shaped[np.ndarray, "example input"],
    targets: Int[np.ndarray, " example"] | None = None,
    criterion: Criterion = "prediction",
) -> int | None:
    """Smallest k such that the first k neurons in `order` agree with the network; None if the network has a NaN output.

    k is at most the number of neurons. The outputs are computed in the dtype of the network's weights.

    Parameters
    ----------
    order
        (neuron,) indices of the neurons; the last is pruned first.
    inputs
        (example, input) the agreement set: the inputs on which predictions are compared.
    targets
        (example,) classes, or ±1 with one output. The criterion "accuracy" needs them; "prediction" ignores them.
    criterion
        "prediction": every prediction must stay the same. "accuracy": only the number of right ones must stay the same.
    """
    if criterion == "accuracy" and targets is None:
        raise ValueError("criterion 'accuracy' compares the numbers of right answers: pass targets")
    classes = network.layer.has_classes
    whole = network.outputs(inputs)
    if np.isnan(whole).any():
        return None
    place = np.empty(len(order), np.int64)
    place[order] = np.arange(len(order))
    wanted = predictions(whole, classes)
    compared = targets if targets is not None and criterion == "accuracy" else wanted
    n_errors = 0 if criterion == "prediction" else int((~is_right(whole, compared, classes)).sum())

    def fits(prefixes: Int[np.ndarray, " k"], some: Int[np.ndarray, " some"]) -> Bool[np.ndarray, "k some"]:
        kept = np.repeat(place[None] < prefixes[:, None], len(some), axis=0)
        outputs = network.outputs(np.tile(inputs[some], (len(prefixes), 1)), kept)
        outputs = outputs.reshape(len(prefixes), len(some), *outputs.shape[1:])
        return (
            predictions(outputs, classes) == wanted[some]
            if criterion == "prediction"
            else is_right(outputs, compared[some], classes)
        )

    return first_fitting(fits, len(order), margins(whole, classes), n_errors)


def margins(outputs: Float[np.ndarray, "example ..."], has_classes: bool) -> Float[np.ndarray, " example"]:
    """Margin of each example's prediction: |f(x)|, or, with classes, the largest output minus the second largest.

    Examples
    --------
    >>> margins(np.array([[1.0, 4.0, 3.0]]), True)
    array([1.])
    """
    if not has_classes or outputs.shape[-1] < 2:
        return np.abs(outputs).reshape(len(outputs))
    top = np.partition(outputs, -2, axis=-1)
    return top[:, -1] - top[:, -2]


def first_fitting(fits: Fits, width: int, ease: Float[np.ndarray, " example"], n_errors: int = 0) -> int:
    """Smallest k < `width` at which the subnetwork of k neurons makes exactly `n_errors` errors; `width` if none does.

    Parameters
    ----------
    fits
        Function (sizes, example indices) -> (size, example) mask: False where the subnetwork of this size errs.
    width
        Number of all neurons.
    ease
        (example,) guess of how easy each example is; larger is easier. The guess affects only the running time.
    n_errors
        Number of examples on which the subnetwork must make an error, from 0 to the number of examples.

    Examples
    --------
    The subnetwork of k neurons errs on example i if k - i is a multiple of 4. So k = 3 is the first without an error.

    >>> first_fitting(lambda k, some: (k[:, None] - some) % 4 != 0, 9, np.zeros(3))
    3
    """
    n_examples = len(ease)
    n_refuted = np.zeros(n_examples, np.int64)  # number of k that did not fit the example
    for start in range(0, width, PREFIXES_AT_ONCE):
        prefixes = np.arange(start, min(start + PREFIXES_AT_ONCE, width))
        hardest = np.lexsort((ease, -n_refuted))
        first = hardest[:HARDEST]
        fitted = fits(prefixes, first)
        n_refuted[first] += (~fitted).sum(axis=0)
        left = _possible((~fitted).sum(axis=1), len(first), n_errors, n_examples)
        for k in prefixes[left]:
            if _fits_all(fits, k, np.lexsort((ease, -n_refuted)), n_errors, n_refuted):
                return int(k)
    return width


def _fits_all(
    fits: Fits,
    k: np.integer,
    examples: Int[np.ndarray, " example"],
    n_errors: int,
    n_refuted: Int[np.ndarray, " example"],
) -> bool:
    seen, so_far = 0, 0
    while seen < len(examples):
        some = examples[seen : seen + (FIRST_CHUNK if seen == 0 else CHUNK)]
        wrong = ~fits(np.array([k]), some)[0]
        n_refuted[some] += wrong
        seen, so_far = seen + len(some), so_far + int(wrong.sum())
        if not _possible(np.array([so_far]), seen, n_errors, len(examples))[0]:
            return False
    return True


def _possible(so_far: Int[np.ndarray, " k"], seen: int, n_errors: int, n_examples: int) -> Bool[np.ndarray, " k"]:
    """Whether a subnetwork with `so_far` errors on `seen` examples can have exactly `n_errors` on all `n_examples`."""
    return (so_far <= n_errors) & (seen - so_far <= n_examples - n_errors)
