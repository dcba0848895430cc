"""The papers' experiments as configs, one file per paper.

A preset has one config, or several, such as one per weight decay or width. If a preset has several configs, each is
called PRESET/NAME, and its run file is PRESET/NAME.h5.
"""

from collections.abc import Mapping

from circuits.config import Config
from circuits.errors import InputError, nearest
from circuits.registry import PRESETS, lookup


def preset(name: str) -> Config:
    """The config called `name`, PRESET or PRESET/NAME; the command `circuits presets` lists the presets.

    Raises
    ------
    InputError
        There is no such preset, or it has several configs.

    Examples
    --------
    >>> preset("merrill-2023").epochs
    300
    """
    group, _, one = name.partition("/")
    parts = preset_configs(group)
    if name in parts:
        return parts[name]
    if one:
        raise InputError(f"Preset '{group}' has no config '{one}'. {nearest(name, parts)}")
    raise InputError(f"Preset '{name}' has {len(parts)} configs: {', '.join(parts)}. Name one, or use preset_configs.")


def preset_configs(name: str) -> dict[str, Config]:
    """All configs of a preset by name; if there are several, each name is PRESET/NAME.

    Examples
    --------
    >>> list(preset_configs("merrill-2023"))
    ['merrill-2023']
    """
    value = lookup(PRESETS, name, "preset").load()()
    if isinstance(value, Config):
        configs = {name: value}
    elif isinstance(value, Mapping):
        configs = {f"{name}/{part}": config for part, config in value.items()}
    else:
        configs = {config.name: config for config in value}
    return {key: one if one.name == key else one.replace(name=key) for key, one in configs.items()}


def preset_seconds(name: str) -> int:
    """Approximate training time of one config of a preset on 2 cores, in seconds.

    Examples
    --------
    >>> preset_seconds("merrill-2023")
    5
    """
    return lookup(PRESETS, name.partition("/")[0], "preset").seconds
