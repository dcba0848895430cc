"""The papers' experiments as configs, one file per paper."""

from circuits.config import Config
from circuits.registry import PRESETS, lookup


def preset(name: str) -> Config:
    """The config called `name`; `circuits presets` lists them.

    Examples
    --------
    >>> preset("merrill-2023").epochs
    300
    """
    return lookup(PRESETS, name, "preset").load()()
