"""The choices that every measurement shares; they are stored with the result."""

from __future__ import annotations

import re
from typing import Annotated, Literal

from pydantic import Field, field_validator, model_validator

from circuits.config_base import Part, Share

Criterion = Literal["prediction", "accuracy"]
Norm = Literal["incoming", "incoming+bias", "path"]


OF_SOME = {
    "key_share": ("fourier",),
    "merge_cosine": ("constructions",),
    "merge_floor": ("constructions",),
    "time_limit": ("certify", "exact"),
    "walsh_exact_bits": ("walsh",),
    "walsh_samples": ("walsh",),
}
"""Options that only these measurements read; every other option may count for all of them."""


class Options(Part):
    """How to measure.

    Examples
    --------
    >>> Options(checkpoints="-50:").slice
    slice(-50, None, None)
    """

    checkpoints: str = ":"
    """Which checkpoints, as a Python slice START:STOP:STEP over their indices."""
    most_checkpoints: Annotated[int, Field(ge=2)] | None = None
    """Measure at most this many of them, evenly spaced in log epoch, and those at which a seed memorized or
    generalized; by default all. A page of a longer run takes at most 1,000 for slow measurements."""
    layer: str | None = None
    """Which layer is pruned, by its hook point, such as hidden.0.hook_post; by default the last that can be."""
    support: Literal["train", "test", "train+test"] = "train"
    """Inputs on which a subnetwork must agree with the full network."""
    criterion: Criterion = "prediction"
    """prediction: same sign, or class, on every input (the paper); accuracy: equal accuracy (its released code)."""
    norm: Norm = "incoming"
    """What orders the neurons: ‖w‖ (the paper), ‖(w, b)‖, or |u|·‖(w, b)‖."""
    final: Literal["last", "median"] = "last"
    """Generalizing subnetwork: that of the last checkpoint, or of median size among the last 50 (or all of fewer)."""
    merge_cosine: Annotated[float, Field(ge=-1, lt=1)] = 0.9
    """Neurons with a larger cosine of (w, b), and the same sign of u, are one circuit element."""
    merge_floor: Annotated[float, Field(ge=0, lt=1)] = 0.02
    """Neurons count as elements above this share of the largest path norm |u|·‖(w, b)‖."""
    memorization_threshold: Share = 0.98
    """Memorized: train accuracy first exceeds this."""
    generalization_threshold: Share = 0.98
    """Generalized: test accuracy first exceeds this."""
    key_share: Share | None = None
    """A frequency is key if its cosine has at least this share of the last logits' sum of squares (fourier); by default
    1/m for Z_m, half of what each would have if all were alike."""
    walsh_samples: Annotated[int, Field(ge=16, le=1 << 20)] = 1024
    """Inputs drawn for each network (walsh); sixteen times as many where single coefficients are estimated."""
    walsh_exact_bits: Annotated[int, Field(ge=0, le=20)] = 12
    """Up to so many input bits all 2^n inputs are taken instead (walsh), up to 14 where single
    coefficients of many networks are estimated; at 20 a network takes about a second."""

    time_limit: Annotated[float, Field(ge=0)] = 60.0
    """Seconds that the search may take for each network (certify, exact)."""

    @field_validator("checkpoints")
    @classmethod
    def _is_a_slice(cls, text: str) -> str:
        if not re.fullmatch(r"\s*-?\d*\s*:\s*-?\d*\s*(:\s*-?\d*\s*)?", text):
            raise ValueError(f"{text!r} is not a Python slice START:STOP:STEP, such as '::10' or '-50:'")
        return text

    @model_validator(mode="after")
    def _step_goes_forward(self) -> Options:
        if self.slice.step is not None and self.slice.step < 1:
            raise ValueError(f"checkpoints {self.checkpoints!r} must step forward")
        return self

    def of(self, measurement: str) -> Options:
        """These options as far as they count for a measurement: those that it does not read are at their defaults.

        Examples
        --------
        >>> Options(time_limit=5, norm="path").of("norms") == Options(norm="path")
        True
        """
        usual = {name: fields.default for name, fields in type(self).model_fields.items()}
        other = {name: usual[name] for name, readers in OF_SOME.items() if measurement not in readers}
        return self.model_copy(update=other)

    @property
    def slice(self) -> slice:
        """`checkpoints` as a slice object."""
        return slice(*(int(part) if part.strip() else None for part in self.checkpoints.split(":")))
