"""Short texts for the values and the training of a config, for figure labels, `circuits show` and the HTML page."""

import json
from collections.abc import Mapping
from typing import Any

from circuits.config import Config

NOTHING = "none"


def training_text(config: Config) -> list[str]:
    """Short texts about the training of a config: loss, batch, epochs, dtype, and the optional settings in use.

    Examples
    --------
    >>> import circuits
    >>> training_text(circuits.preset("merrill-2023"))
    ['hinge loss', 'batch 32', '300 epochs', 'float32']
    >>> training_text(circuits.preset("ahmed-2024-decay-removed/epoch-60"))[-2:]
    ['weight decay 0 from epoch 60', 'measuring parameter_norm']
    """
    data = config.model_dump(mode="json")
    parts = {
        "loss_dtype": "loss in {}",
        "input_noise": "input noise {}",
        "steps": "at most {} updates",
        "weight_decay_changes": "weight decay {}",
        "stop": "until {}",
        "metrics": "measuring {}",
    }
    if config.model.is_recorded:
        del parts["steps"]
        loss = "the loop's own loss" if config.loss == "other" else f"{config.loss} loss"
        batch = [f"batch {config.batch_size}"] if config.batch_size else []
        words = ["in a loop of its own", loss, *batch, f"{config.total_steps} updates", config.dtype]
    else:
        words = [f"{config.loss} loss", f"batch {config.batch_size or 'all'}", f"{config.epochs} epochs", config.dtype]
    return words + [text.format(readable(data[name])) for name, text in parts.items() if data[name]]


def readable(value: Any) -> str:
    """Short text for a value of a config.

    Examples
    --------
    >>> readable(0.01), readable(None), readable([512, 128]), readable("gelu"), readable(True)
    ('0.01', 'none', '512, 128', 'gelu', 'true')
    >>> readable([{"value": 0.0, "epoch": 60}, {"value": 0.1, "test_accuracy": 0.9, "delay_epochs": 5}])
    '0 from epoch 60, then 0.1 5 epochs after test_accuracy ≥ 0.9'
    """
    if isinstance(value, str):
        return value
    if value is None or value == []:
        return NOTHING
    if isinstance(value, float):
        return f"{value:g}"
    if isinstance(value, Mapping):
        return ", ".join(f"{name} {readable(inner)}" for name, inner in value.items())
    if isinstance(value, list):
        changes = all(isinstance(item, Mapping) and "value" in item for item in value)
        return ", then ".join(map(_change, value)) if changes else ", ".join(map(readable, value))
    return json.dumps(value)


def _change(change: Mapping[str, Any]) -> str:
    value = readable(float(change["value"]))
    for unit in ("epoch", "step"):
        if change.get(unit) is not None:
            return f"{value} from {unit} {change[unit]}"
    awaited = next(name for name in ("train_accuracy", "test_accuracy") if change.get(name) is not None)
    delay = change.get("delay_epochs", 0)
    return f"{value} {f'{delay} epochs after' if delay else 'once'} {awaited} ≥ {change[awaited]:g}"
