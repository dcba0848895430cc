"""Units of a layer, chosen by indices or by a mask."""

from collections.abc import Sequence

import numpy as np
from jaxtyping import Bool

from circuits.errors import InputError


def mask_of(name: str, units: Sequence[int] | np.ndarray, width: int) -> Bool[np.ndarray, " unit"]:
    """Mask of the units of the component `name`, given as indices or as a mask.

    Raises
    ------
    InputError
        An index is not from -width to width - 1, or the mask has another length.

    Examples
    --------
    >>> mask_of("first two", [0, 1], 3)
    array([ True,  True, False])
    """
    chosen = np.asarray(units)
    if chosen.dtype == bool and chosen.shape == (width,):
        return chosen
    good = chosen.ndim == 1 and chosen.dtype.kind in "iu" and ((-width <= chosen) & (chosen < width)).all()
    if not (good or not chosen.size):
        raise InputError(f"The component '{name}' must be indices from 0 to {width - 1}, or a mask of {width} units.")
    mask = np.zeros(width, bool)
    mask[chosen.astype(np.int64)] = True
    return mask
