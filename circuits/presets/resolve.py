"""The config of a preset or a file, with some fields changed, as `circuits train` runs it."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from circuits.config import PARTS, Config, assign, default_part, parse, read_config
from circuits.errors import InputError, nearest
from circuits.presets import preset as preset_named
from circuits.registry import MODELS, TASKS


def resolve_config(
    preset: str | None = None, *, file: str | Path | None = None, overrides: Mapping[str, Any] = {}
) -> Config:
    """The config of a preset, of a file or of the defaults, with some fields changed.

    Parameters
    ----------
    preset
        Name of a preset, such as "merrill-2023"; PRESET/NAME if the preset has several configs.
    file
        A JSON file instead of a preset; `circuits presets NAME` prints such a file.
    overrides
        Dotted name of a field -> its new value, applied in order. A new `kind` of task, model or optimizer also
        sets all other fields of the task, model or optimizer to the defaults of the new kind.

    Raises
    ------
    InputError
        Preset and file are both given; the preset, file, kind or field does not exist; an override undoes an earlier
        override; or the resulting config is invalid.

    Examples
    --------
    >>> config = resolve_config("merrill-2023", overrides={"epochs": 9, "model.kind": "mlp", "model.widths": [16]})
    >>> config.epochs, config.model.kind, config.model.widths
    (9, 'mlp', (16,))
    >>> resolve_config(overrides={"epochs.x": 3})
    Traceback (most recent call last):
    circuits.errors.InputError: there is no 'epochs.x' in the config. 'epochs' has no fields.
    """
    if preset is not None and file is not None:
        raise InputError(f"Preset '{preset}' and the config file {file} both give a config. Pass only one.")
    if file is not None:
        start = read_config(file)
    elif preset is not None:
        start = preset_named(preset)
    else:
        start = as_config({})
    return overridden(start, overrides)


def as_config(value: Config | Mapping[str, Any] | str) -> Config:
    """A config from a config, from the name of a preset, or from a dictionary of fields.

    In a dictionary, a missing `task` or `model` is that of `resolve_config()`, the default.

    Examples
    --------
    >>> as_config("merrill-2023").name, as_config({"task": {"kind": "parity", "k": 2}}).task.k
    ('merrill-2023', 2)
    """
    if isinstance(value, str):
        return preset_named(value)
    if isinstance(value, Mapping):
        return parse({"task": {"kind": next(iter(TASKS))}, "model": {"kind": next(iter(MODELS))}} | dict(value))
    return value


def overridden(config: Config, overrides: Mapping[str, Any]) -> Config:
    """A config with overrides applied in order. A new model.kind resets model.width, so model.kind must come first.

    Examples
    --------
    >>> import circuits
    >>> overridden(circuits.preset("merrill-2023"), {"model.width": 3, "model.kind": "linear"})
    Traceback (most recent call last):
    circuits.errors.InputError: model.kind undoes model.width. Put model.width after model.kind. If an \
error then says that there is no 'model.width', leave out one of the two.
    """
    data = config.model_dump(mode="json")
    applied: dict[str, Any] = {}
    for key, value in overrides.items():
        _refuse_unknown(data, key)
        part, _, name = key.partition(".")
        if key in PARTS and isinstance(value, str):  # a kind alone
            value = _default_part(part, value)
        if name == "kind" and data[part]["kind"] != value:
            data[part] = _default_part(part, value)
        assign(data, key, value)
        for earlier, wanted in applied.items():
            if _value_at(data, earlier) != wanted and not key.startswith(f"{earlier}."):
                raise InputError(
                    f"{key} undoes {earlier}. Put {earlier} after {key}. "
                    f"If an error then says that there is no '{earlier}', leave out one of the two."
                )
        applied[key] = value
    return parse(data, where="") if overrides else config


def _default_part(part: str, kind: Any) -> dict[str, Any]:
    if str(kind) not in PARTS[part]:
        raise InputError(f"{part}: there is no {part} '{kind}'. {nearest(str(kind), PARTS[part])}")
    return default_part(part, kind)


def _value_at(data: dict[str, Any], key: str) -> Any:
    place: Any = data
    for name in key.split("."):
        place = place.get(name, ...) if isinstance(place, dict) else ...
    return place


def _refuse_unknown(data: dict[str, Any], key: str) -> None:
    place: Any = data
    for name in key.split("."):
        if not isinstance(place, dict) or name not in place:
            hint = nearest(name, place) if isinstance(place, dict) else f"'{key.rpartition('.')[0]}' has no fields."
            raise InputError(f"there is no '{key}' in the config. {hint}")
        place = place[name]
