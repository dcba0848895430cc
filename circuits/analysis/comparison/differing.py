"""Fields in which several configs differ, as short labels: "optimizer.weight_decay 0.1"."""

import json
from collections.abc import Mapping, Sequence
from typing import Any

from circuits.analysis.describe import readable
from circuits.config import Config

MOST_FIELDS = 2
HIDDEN = ("name", "source")
LATER = ("epochs", "steps", "stop", "seeds", "checkpoints", "metrics")  # listed only if nothing else differs
WHOLE = ("stop",)  # optional parts that count as one value


def differing_values(configs: Sequence[Config]) -> dict[str, list[str]]:
    """Values of each field in which the configs differ, one value per config, by the field's name, such as task.k.

    A config without a listed field has the value "" for this field. A config's name and source are never listed. Fields
    of a task are compared only between configs with the same kind of task; likewise for model and optimizer. The length
    of a run, its seeds and its recorded data are listed only if no other field differs. For instance, two configs that
    differ in task.k and in epochs give only task.k.

    Examples
    --------
    >>> import circuits
    >>> one = circuits.preset("merrill-2023")
    >>> differing_values([one, one.replace(task__k=4, name="mine", epochs=9)])
    {'task.k': ['3', '4']}
    """
    flat = [_flat(config.model_dump(mode="json")) for config in configs]
    values = {
        name: [readable(one[name]) if name in one else "" for one in flat]
        for name in dict.fromkeys(name for one in flat for name in one)
        if name not in HIDDEN and _differs(name, flat)
    }
    first = {name: texts for name, texts in values.items() if name.partition(".")[0] not in LATER}
    return first or values


def differing_fields(configs: Sequence[Config]) -> list[str]:
    """Label of each config: name and value of each field in which the configs differ.

    If the configs differ in no field, or in more than two, each label is the config's name. The name is also the label
    of a config that has none of the fields.

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
    """Values of a nested mapping by dotted name."""
    flat: dict[str, Any] = {}
    for name, value in part.items():
        nested = isinstance(value, Mapping) and name not in WHOLE
        flat |= _flat(value, f"{prefix}{name}.") if nested else {f"{prefix}{name}": value}
    return flat


def _differs(name: str, flat: Sequence[Mapping[str, Any]]) -> bool:
    """Whether configs differ in field `name`. In fields like task.p, only configs with equal task.kind are compared."""
    part, _, field = name.partition(".")
    by_kind: dict[Any, set[str]] = {}
    for one in flat:
        kind = None if field == "kind" else one.get(f"{part}.kind")
        by_kind.setdefault(kind, set()).add(json.dumps(one.get(name)))
    return any(len(values) > 1 for values in by_kind.values())
