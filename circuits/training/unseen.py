"""The metric `test_accuracy_unseen`: accuracy on the test inputs that are not in a network's training set.

A run has this metric if at least one seed has test inputs that are also training inputs (`circuits.seen`). The value is
NaN for seeds whose test inputs are all training inputs. An answer is right under the same rule as for test accuracy.
"""

import numpy as np
import xarray as xr
from jaxtyping import Bool

from circuits.checkpoints.layout import UNSEEN_ACCURACY
from circuits.seen import SEEN


def unseen_of(data: xr.Dataset) -> list[Bool[np.ndarray, " test_example"]] | None:
    """Mask, for each seed, of the test inputs outside its training set; None if every mask is all True.

    Parameters
    ----------
    data
        A run's data of all seeds, as in `run.all_data`.
    """
    return list(~data[SEEN].values.astype(bool)) if SEEN in data and data[SEEN].values.any() else None


def unseen_accuracy(n_right: int, n_unseen: int) -> dict[str, float]:
    """The metric's name and value: the share of right answers on `n_unseen` unseen test inputs; NaN if `n_unseen` is 0.

    Examples
    --------
    >>> unseen_accuracy(3, 4), unseen_accuracy(0, 0)
    ({'test_accuracy_unseen': 0.75}, {'test_accuracy_unseen': nan})
    """
    return {UNSEEN_ACCURACY: n_right / n_unseen if n_unseen else float("nan")}
