"""Options that most measurements share; further options are in the folder of each family of measurements."""

from __future__ import annotations

import re
import warnings
from numbers import Integral
from typing import Annotated, Any, Literal, TypeVar

from pydantic import Field, field_validator, model_validator

from circuits.config_base import Part, Share

Criterion = Literal["prediction", "accuracy"]
Norm = Literal["incoming", "incoming+bias", "path"]
Kind = TypeVar("Kind", bound="WalkOptions")


class WalkOptions(Part):
    """The checkpoints to measure, and the thresholds of memorization and generalization."""

    checkpoints: str = ":"
    """Checkpoints to measure, as a Python slice START:STOP:STEP of their indices, or one index."""
    most_checkpoints: Annotated[int, Field(ge=2)] | None = None
    """Measure at most this many of the checkpoints, evenly spaced in log epoch, plus the checkpoints of memorization
    and generalization. By default, there is no limit; only `report` limits slow measurements, to 1,000."""
    memorization_threshold: Share = 0.98
    """Train accuracy that a seed must exceed to have memorized."""
    generalization_threshold: Share = 0.98
    """Test accuracy that a seed must exceed to have generalized."""

    @field_validator("checkpoints", mode="before")
    @classmethod
    def _one_index(cls, value: Any) -> Any:
        if isinstance(value, str) and re.fullmatch(r"\s*-?\d+\s*", value):
            value = int(value)
        if isinstance(value, bool) or not isinstance(value, Integral):
            return value
        return "-1:" if value == -1 else f"{int(value)}:{int(value) + 1}"

    @field_validator("checkpoints")
    @classmethod
    def _is_a_slice(cls, text: str) -> str:
        if not re.fullmatch(r"\s*-?\d*\s*:\s*-?\d*\s*(:\s*-?\d*\s*)?", text):
            raise ValueError(f"{text!r} is not a Python slice START:STOP:STEP, such as '::10' or '-50:'")
        return text

    @model_validator(mode="after")
    def _step_goes_forward(self) -> WalkOptions:
        if self.slice.step is not None and self.slice.step < 1:
            raise ValueError(f"checkpoints {self.checkpoints!r}: STEP of START:STOP:STEP must be at least 1")
        return self

    def of(self, kind: type[Kind]) -> Kind:
        """The options of the class `kind`, with the values of this object.

        Examples
        --------
        >>> PruningOptions(norm="path", checkpoints="-50:").of(WalkOptions) == WalkOptions(checkpoints="-50:")
        True
        """
        return kind(**{name: getattr(self, name) for name in kind.model_fields})

    @property
    def slice(self) -> slice:
        """`checkpoints` as a slice object."""
        return slice(*(int(part) if part.strip() else None for part in self.checkpoints.split(":")))


class PruningOptions(WalkOptions):
    """The layer and order of pruning, and the condition on the kept neurons."""

    layer: str | None = None
    """Hook point of the layer to prune, such as hidden.0.hook_post; by default the last prunable layer."""
    agreement_set: Literal["train", "test", "train+test"] = "train"
    """Inputs on which the pruned network must agree with the full network."""
    criterion: Criterion = "prediction"
    """How the pruned network must agree with the full network. prediction: same sign or class on every input (Merrill
    et al. 2023); accuracy: same accuracy (their code)."""
    norm: Norm = "incoming"
    """Norm that orders the neurons, from incoming weights w, bias b and readout u: incoming ‖w‖ (Merrill et al. 2023),
    incoming+bias ‖(w, b)‖, path |u|·‖(w, b)‖."""
    final: Literal["last", "median"] = "last"
    """Checkpoint at which pruning selects the generalizing neurons. last: the last checkpoint; median: of the last 50
    checkpoints (of all, if there are fewer), the one at which the number of kept neurons is the median."""

    @model_validator(mode="before")
    @classmethod
    def _former_name(cls, data: Any) -> Any:
        if not isinstance(data, dict) or "support" not in data:
            return data
        warnings.warn("the option support is now agreement_set, and goes in the next version", FutureWarning, 3)
        if "agreement_set" in data:
            raise ValueError("support is the former name of agreement_set; pass only agreement_set")
        return {("agreement_set" if name == "support" else name): value for name, value in data.items()}
