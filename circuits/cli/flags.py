"""Flags made of a pydantic object: its fields are the options, its values the defaults.

tyro reads the flags and writes the help; it never validates. What it read is laid over the object's plain data and goes
through pydantic once, so that a value is checked by the same rule whether it came by flag, by `--set` or from a file.
A field gets a flag when words or numbers can say it; kinds and other structures change through `--set`.
"""

from __future__ import annotations

import types
from collections.abc import Iterable, Mapping
from dataclasses import field, fields, is_dataclass, make_dataclass
from typing import Annotated, Any, Literal, NamedTuple, Union, get_args, get_origin

import tyro

from circuits.config import Part

METAVARS = {int: "INT", float: "FLOAT", str: "TEXT", bool: "true|false"}
Truth = Literal["true", "false", "True", "False"]  # as JSON and as Python write it; pydantic reads both

Flag = tuple[str, Any, Any]


def flags_of(part: Part) -> list[Flag]:
    """A flag for every field of `part` that can have one, as (name, type, default) triples of a dataclass.

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
    """A dataclass of these flags, after those of `base`; `about` heads its help."""
    kind = make_dataclass(name, list(flags), bases=(base,) if base else (), kw_only=True)
    kind.__doc__ = about
    return kind


def overlaid(data: Mapping[str, Any], flags: Any) -> dict[str, Any]:
    """Plain data of a part, with the values read from its flags in place of its own."""
    result = dict(data)
    for name in (one.name for one in fields(flags)):
        if name in result:
            value = getattr(flags, name)
            result[name] = overlaid(result[name], value) if is_dataclass(value) else value
    return result


class Arity(NamedTuple):
    """What a flag takes: one value, unless it is a switch, takes many, or is given once for each value."""

    switch: bool
    many: bool
    append: bool
    number: bool
    choices: tuple[str, ...]


def arities(flags: type, prefix: str = "--") -> dict[str, Arity]:
    """Every flag of a class as it is typed, and what it takes.

    Examples
    --------
    >>> from circuits.config import SGD
    >>> found = arities(flag_class("SGD", flags_of(SGD()), ""))
    >>> found["--lr"].number, found["--lr"].many
    (True, False)
    """
    arity_of: dict[str, Arity] = {}
    for one in fields(flags):
        markers = get_args(one.type)[1:] if get_origin(one.type) is Annotated else ()
        if tyro.conf.Positional in markers:
            continue
        name = prefix + one.name.rstrip("_").replace("_", "-")
        nested = (
            one.default_factory if isinstance(one.default_factory, type) and is_dataclass(one.default_factory) else None
        )
        if nested:
            arity_of |= arities(nested, f"{name}.")
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


def names(flags: type) -> list[str]:
    """Every flag of a class as it is typed.

    Examples
    --------
    >>> from circuits.config import SGD
    >>> names(flag_class("SGD", flags_of(SGD()), ""))[:3]
    ['--lr', '--weight-decay', '--l1']
    """
    return list(arities(flags))


def n_positional(flags: type) -> int:
    """How many positional arguments a class of flags has."""
    return sum(tyro.conf.Positional in get_args(one.type) for one in fields(flags))


def _alternatives(annotation: Any) -> list[Any]:
    """The types that a value may have, without pydantic's constraints and tyro's markers."""
    bare = _bare(annotation)
    return list(get_args(bare)) if get_origin(bare) in (Union, types.UnionType) else [bare]


def _about(name: str, part: Part) -> str:
    text = (type(part).__doc__ or "").strip().partition("\n")[0]
    kind = getattr(part, "kind", None)
    return f"{kind}: {text}" if kind and name in ("task", "model") else text


def _bare(annotation: Any) -> Any:
    """A type without pydantic's constraints, which pydantic checks later."""
    origin, arguments = get_origin(annotation), get_args(annotation)
    if origin is Annotated:
        return _bare(arguments[0])
    if origin in (Union, types.UnionType):
        return Union[tuple(_bare(one) for one in arguments)]  # noqa: UP007
    if origin is tuple:
        return tuple[tuple(one if one is ... else _bare(one) for one in arguments)]  # type: ignore[misc]
    return annotation


def _metavar(annotation: Any) -> str | None:
    """How help names a value of this type; None when a flag cannot say one."""
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
