"""The options of all measurements in one object; each measurement reads its own part."""

from collections.abc import Mapping
from typing import Any

from pydantic import ValidationError

from circuits.analysis.fourier.options import FourierOptions
from circuits.analysis.interventions.options import AblationOptions
from circuits.analysis.subnetworks.options import MergeOptions, SearchOptions
from circuits.analysis.walsh.options import WalshOptions
from circuits.config import one_line
from circuits.errors import InputError, nearest


class Options(MergeOptions, FourierOptions, WalshOptions, SearchOptions, AblationOptions):
    """Options of all measurements.

    Examples
    --------
    >>> Options(checkpoints="-50:").slice
    slice(-50, None, None)
    """


def as_options(options: Options | Mapping[str, Any]) -> Options:
    """Options from an `Options` object, or from a dictionary of its fields.

    Raises
    ------
    InputError
        There is no such option, or it may not have this value.

    Examples
    --------
    >>> as_options({"norm": "path"}).norm
    'path'
    >>> as_options({"norms": "path"})  # doctest: +ELLIPSIS
    Traceback (most recent call last):
    circuits.errors.InputError: There is no option 'norms'. Did you mean 'norm'? There are: ...
    """
    if isinstance(options, Options):
        return options
    for name in options:
        if name not in Options.model_fields:
            raise InputError(f"There is no option '{name}'. {nearest(name, Options.model_fields)}")
    try:
        return Options.model_validate(dict(options))
    except ValidationError as error:
        raise InputError(f"options: {one_line(error)}") from None
