"""The base class of every part of a config, and the number types of config fields."""

from collections.abc import Mapping
from functools import cache
from numbers import Integral, Real
from types import UnionType
from typing import Annotated, Any, Union, get_args, get_origin

from pydantic import BaseModel, ConfigDict, Field, model_validator

LARGEST = 2**62  # a sum of two such numbers still fits the 64-bit integers of compiled code and of HDF5
PositiveInt = Annotated[int, Field(ge=1, le=LARGEST)]
NonNegativeInt = Annotated[int, Field(ge=0, le=LARGEST)]
LayerCount = Annotated[int, Field(ge=1, le=1000)]
NonNegativeFloat = Annotated[float, Field(ge=0)]
PositiveFloat = Annotated[float, Field(gt=0)]
Share = Annotated[float, Field(ge=0, le=1)]
Decay = Annotated[float, Field(ge=0, lt=1)]


class Part(BaseModel):
    """Base class of a config and of its parts, such as the task; it is frozen and refuses unknown fields."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False, use_attribute_docstrings=True)

    @model_validator(mode="before")
    @classmethod
    def _one_item_for_a_list(cls, data: Any) -> Any:
        if not isinstance(data, Mapping):
            return data
        alone = {name for name, kinds in _lists(cls).items() if _is_one(data.get(name), kinds)}
        return {name: (value,) if name in alone else value for name, value in data.items()} if alone else data

    def summary(self) -> dict[str, Any]:
        """The fields to show: all except `kind` and those that are None."""
        return self.model_dump(exclude={"kind"}, exclude_none=True)

    def described(self) -> str:
        """Kind and fields in one line, without the fields that are None.

        Examples
        --------
        >>> import circuits
        >>> circuits.preset("merrill-2023").optimizer.described()
        'sgd: lr 0.1, weight_decay 0.01, l1 0.0, lr_warmup_steps 0, lr_gamma 1.0, lr_cosine False, momentum 0.0'
        """
        fields = ", ".join(f"{name} {value}" for name, value in self.summary().items() if value != ())
        kind = str(getattr(self, "kind", ""))
        return f"{kind}: {fields}" if fields and kind else kind or fields

    def described_fields(self) -> dict[str, str]:
        """Every field as text, by name: a part such as the task by its kind and fields, None as "none"."""
        return {name: _text(getattr(self, name)) for name in type(self).model_fields}

    def _repr_html_(self) -> str:
        """The display in a notebook: the fields that differ from their defaults, and the others to unfold."""
        from circuits.notebook import facts_html, folded, framed

        texts = self.described_fields()
        defaults = {name: field.get_default() for name, field in type(self).model_fields.items()}
        same = {name for name in texts if name != "kind" and getattr(self, name) == defaults[name]}
        shown, others = ({key: texts[key] for key in texts if (key in same) == is_same} for is_same in (False, True))
        rest = folded(f"{len(others)} fields at their defaults", facts_html(others)) if others else ""
        return framed(f"circuits {type(self).__name__}", facts_html(shown), rest)

    def leaves(self) -> dict[str, Any]:
        """Every field's value as plain data, by the field's dotted name.

        Examples
        --------
        >>> import circuits
        >>> list(circuits.preset("merrill-2023").leaves())[2:5]
        ['task.kind', 'task.n', 'task.n_train']
        """
        values: dict[str, Any] = {}
        for name, value in self.model_dump(mode="json").items():
            part = getattr(self, name)
            inner = {f"{name}.{key}": leaf for key, leaf in part.leaves().items()} if isinstance(part, Part) else {}
            values |= inner or {name: value}
        return values


@cache
def _lists(part: type[Part]) -> dict[str, tuple[type, ...]]:
    """The fields of a config part that are lists of any length, and the types of one item in each."""
    kinds = {name: _items(field.annotation) for name, field in part.model_fields.items()}
    return {name: items for name, items in kinds.items() if items}


def _items(annotation: Any) -> tuple[type, ...]:
    """The types of an item in a type of lists; () for any other type, and for lists of a fixed length.

    Examples
    --------
    >>> _items(tuple[PositiveInt, ...] | None), _items(list[str]), _items(tuple[float, float]), _items(str)
    ((<class 'int'>,), (<class 'str'>,), (), ())
    """
    origin, inner = get_origin(annotation), get_args(annotation)
    if origin is Annotated:
        return _items(inner[0])
    if origin in (Union, UnionType):
        return tuple(kind for choice in inner for kind in _items(choice))
    if origin is list or (origin is tuple and inner[1:] == (...,)):
        kind = get_args(inner[0])[0] if get_origin(inner[0]) is Annotated else inner[0]
        return (kind,) if isinstance(kind, type) else ()
    return ()


def _is_one(value: Any, kinds: tuple[type, ...]) -> bool:
    """Whether `value` is one item of a list, by the types `kinds` of its items: a number, a text, or a part's fields.

    Examples
    --------
    >>> _is_one(0, (int,)), _is_one("0", (int,)), _is_one(True, (int,)), _is_one("a", (str,)), _is_one([0], (int,))
    (True, False, False, True, False)
    """
    taken: dict[type, Any] = {int: Integral, float: Real}
    return not isinstance(value, bool) and any(
        isinstance(value, (kind, Mapping) if issubclass(kind, Part) else taken.get(kind, kind)) for kind in kinds
    )


def _text(value: Any) -> str:
    if isinstance(value, Part):
        return value.described()
    if isinstance(value, tuple | list):
        return ", ".join(map(_text, value)) or "none"
    return "none" if value is None else str(value)
