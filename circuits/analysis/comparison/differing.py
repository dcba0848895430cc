"""In which fields several configs differ, as short labels: "optimizer.weight_decay 0.1".

Another kind of task, model or optimizer is one difference, not one for each field that comes with it. What a run is
called, how long it takes and what is kept of it are named only where nothing else differs. More than two fields are no
label any more: then a config goes by its own name.
"""

import json
from collections.abc import Mapping, Sequence
from typing import Any

from circuits.analysis.describe import readable
from circuits.config import Config

MOST_FIELDS = 2
UNTOLD = ("name", "source")
LATER = ("epochs", "steps", "stop", "seeds", "checkpoints", "metrics")  # named where nothing else differs
WHOLE = ("stop",)  # a part that may be missing is one value


def differing_values(configs: Sequence[Config]) -> dict[str, list[str]]:
    """The fields that are not the same in all configs, by their dotted names, and the value that each config has.

    A field that only some kinds have is left out where just the kind decides about it; a config whose part lacks a
    field that others of their kind differ in has "" there.

    Examples
    --------
    >>> import circuits
    >>> one = circuits.preset("merrill-2023")
    >>> differing_values([one, one.replace(task__k=4, name="mine", epochs=9)])
    {'task.k': ['3', '4']}
    """
    flat = [_flat(config.model_dump(mode="json")) for config in configs]
    names = list(dict.fromkeys(name for one in flat for name in one))
    values = {name: _told(name, flat) for name in names if name not in UNTOLD and _differs(name, flat)}
    first = {name: texts for name, texts in values.items() if name.partition(".")[0] not in LATER}
    return first or values


def differing_fields(configs: Sequence[Config]) -> list[str]:
    """A label for each config: the fields in which they differ, with its values; its own name if they are too many.

    Examples
    --------
    >>> import circuits
    >>> one = circuits.preset("merrill-2023")
    >>> differing_fields([one, one.replace(weight_decay_changes=[{"train_accuracy": 0.98, "value": 0.1}])])
    ['weight_decay_changes none', 'weight_decay_changes 0.1 once train_accuracy ≥ 0.98']
    >>> differing_fields([one, one])
    ['merrill-2023', 'merrill-2023']
    """
    fields = differing_values(configs)
    if not 0 < len(fields) <= MOST_FIELDS:
        return [config.name for config in configs]
    rows = list(zip(*fields.values(), strict=True))
    labels = [", ".join(f"{name} {value}" for name, value in zip(fields, row, strict=True) if value) for row in rows]
    return [label or config.name for label, config in zip(labels, configs, strict=True)]


def _flat(part: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Dotted names and values, of nested parts too."""
    flat: dict[str, Any] = {}
    for name, value in part.items():
        nested = isinstance(value, Mapping) and name not in WHOLE
        flat |= _flat(value, f"{prefix}{name}.") if nested else {f"{prefix}{name}": value}
    return flat


def _differs(name: str, flat: Sequence[Mapping[str, Any]]) -> bool:
    """Whether configs of the same kind differ in a field, or whether it is the kind."""
    part, _, field = name.partition(".")
    by_kind: dict[Any, set[str]] = {}
    for one in flat:
        kind = None if field == "kind" else one.get(f"{part}.kind")
        by_kind.setdefault(kind, set()).add(json.dumps(one.get(name)))
    return any(len(values) > 1 for values in by_kind.values())


def _told(name: str, flat: Sequence[Mapping[str, Any]]) -> list[str]:
    return [readable(one[name]) if name in one else "" for one in flat]
