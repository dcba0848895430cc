"""Flags from a pydantic object: its fields are the options, its values the defaults.

tyro reads the flags and writes the help; it never validates. The values that tyro reads replace those of the object,
and pydantic validates the result once. So the same rule holds for a value from a flag, from `--set` or from a file.
A field has a flag if words or numbers can express its values. All other fields, and `kind` (which selects the class
of a task, model or optimizer), change only by `--set`.
"""

import types
from collections.abc import Iterable, Mapping
from dataclasses import field, fields, is_dataclass, make_dataclass
from pathlib import Path
from typing import Annotated, Any, Literal, NamedTuple, Union, get_args, get_origin

import tyro

from circuits.config import Part

METAVARS = {int: "INT", float: "FLOAT", str: "TEXT", bool: "true|false"}
Truth = Literal["true", "false", "True", "False"]  # as JSON and as Python write it; pydantic reads both

Flag = tuple[str, Any, Any]


def shown(metavar: str, hint: str = "") -> Any:
    """Marker of a flag for tyro: help shows `metavar` for the value, and `hint` in place of tyro's own hint."""
    return tyro.conf.arg(metavar=metavar, help_behavior_hint=hint)


RunFile = Annotated[Path, tyro.conf.Positional, shown("RUN.h5")]
Switch = Annotated[bool, tyro.conf.arg(help_behavior_hint="")]


def flags_of(part: Part) -> list[Flag]:
    """One flag (name, type, default) for each field of the config object `part`, if text can express its values.

    Examples
    --------
    >>> from circuits.config import SGD
    >>> [name for name, _, _ in flags_of(SGD())][:3]
    ['lr', 'weight_decay', 'l1']
    """
    flags: list[Flag] = []
    for name, info in type(part).model_fields.items():
        value = getattr(part, name)
        if isinstance(value, Part):
            group = flag_class(name, flags_of(value), _about(name, value))
            flags.append((name, group, field(default_factory=group)))
        elif name != "kind" and (metavar := _metavar(info.annotation)):
            described = tyro.conf.arg(
                help=info.description or "",
                metavar=metavar,
                help_behavior_hint="(default: none)" if value == () else None,
            )
            kind = _bare(info.annotation)
            if kind is bool:
                kind, value = Truth, str(value).lower()
            flags.append((name, Annotated[kind, described, tyro.conf.FlagConversionOff], field(default=value)))
    return flags


def flag_class(name: str, flags: Iterable[Flag], about: str, base: type | None = None) -> type:
    """A dataclass with the flags of `base` and `flags`; `about` is the first line of its help."""
    kind = make_dataclass(name, list(flags), bases=(base,) if base else (), kw_only=True)
    kind.__doc__ = about
    return kind


def overlaid(data: Mapping[str, Any], flags: Any) -> dict[str, Any]:
    """The config fields `data`; a field with the name of a flag in `flags` takes the flag's value."""
    given = {flag.name: getattr(flags, flag.name) for flag in fields(flags) if flag.name in data}
    return {**data, **{name: overlaid(data[name], v) if is_dataclass(v) else v for name, v in given.items()}}


def picked(flags: Any, *names: str) -> dict[str, Any]:
    """Keyword arguments: the values of the flags `names`, and `progress`, which is False with --quiet."""
    return {name: getattr(flags, name) for name in names} | {"progress": not flags.quiet}


class Arity(NamedTuple):
    """A flag takes no value if `switch`, several values if `many`, else one value. `append`: the flag may be repeated.

    `number`: each value is a number. `choices`: words that the flag accepts as its value, such as "None".
    """

    switch: bool
    many: bool
    append: bool
    number: bool
    choices: tuple[str, ...]


def arities(flags: type, prefix: str = "--") -> dict[str, Arity]:
    """Every flag of a class, such as `--lr`, and what values the flag takes.

    Examples
    --------
    >>> from circuits.config import SGD
    >>> lr = arities(flag_class("SGD", flags_of(SGD()), ""))["--lr"]
    >>> lr.number, lr.many
    (True, False)
    """
    arity_of: dict[str, Arity] = {}
    for one in fields(flags):
        markers = get_args(one.type)[1:] if get_origin(one.type) is Annotated else ()
        if tyro.conf.Positional in markers:
            continue
        name = prefix + one.name.rstrip("_").replace("_", "-")
        if isinstance(one.default_factory, type) and is_dataclass(one.default_factory):
            arity_of |= arities(one.default_factory, f"{name}.")
            continue
        append = tyro.conf.UseAppendAction in markers
        alternatives = _alternatives(one.type)
        plain = [each for each in alternatives if each is not types.NoneType]
        is_tuple = any(get_origin(each) is tuple for each in plain)
        arity_of[name] = Arity(
            switch=plain == [bool] and tyro.conf.FlagConversionOff not in markers,
            many=is_tuple and not append,
            append=append,
            number=bool(plain) and set(plain) <= {int, float},
            choices=tuple(str(word) for each in plain if get_origin(each) is Literal for word in get_args(each))
            + ("None",) * (types.NoneType in alternatives),
        )
    return arity_of


def n_positional(flags: type) -> int:
    """Number of positional arguments of a class of flags."""
    return sum(tyro.conf.Positional in get_args(one.type) for one in fields(flags))


def _alternatives(annotation: Any) -> list[Any]:
    """The types in a union, without pydantic's constraints and tyro's markers."""
    bare = _bare(annotation)
    return list(get_args(bare)) if get_origin(bare) in (Union, types.UnionType) else [bare]


def _about(name: str, part: Part) -> str:
    text = (type(part).__doc__ or "").strip().partition("\n")[0]
    kind = getattr(part, "kind", None)
    return f"{kind}: {text}" if kind and name in ("task", "model") else text


def _bare(annotation: Any) -> Any:
    """A type without the constraints that pydantic checks later."""
    origin, arguments = get_origin(annotation), get_args(annotation)
    if origin is Annotated:
        return _bare(arguments[0])
    if origin in (Union, types.UnionType):
        return Union[tuple(_bare(one) for one in arguments)]  # noqa: UP007
    if origin is tuple:
        return tuple[tuple(one if one is ... else _bare(one) for one in arguments)]  # type: ignore[misc]
    return annotation


def _metavar(annotation: Any) -> str | None:
    """Name that help shows for a value of this type; None if a flag cannot express the type."""
    bare = _bare(annotation)
    origin, arguments = get_origin(bare), get_args(bare)
    if bare in METAVARS:
        return METAVARS[bare]
    if origin is Literal:
        return "{" + ",".join(map(str, arguments)) + "}"
    if origin in (Union, types.UnionType) and len(arguments) == 2 and types.NoneType in arguments:
        one = next(argument for argument in arguments if argument is not types.NoneType)
        return f"{inner}|None" if (inner := _metavar(one)) else None
    if origin is tuple and len(arguments) == 2 and arguments[1] is ... and arguments[0] in (int, float, str):
        return f"{METAVARS[arguments[0]]} …"
    return None
