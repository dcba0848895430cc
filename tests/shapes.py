"""Annotations are checked while the tests run, at a fraction of the price.

jaxtyping's hook decorates every function, also without annotations of shapes, and one inside another function at every
call of the outer one. Here a function without annotations stays as it is. One whose annotations have no shapes is
beartype's alone. A function inside another gets the checker that was made for an equal signature. A call is checked
only if no call of the same function with equal types, data types, shapes and texts has passed before.
"""

from collections.abc import Collection
from functools import cache, partial, wraps
from types import FunctionType, NoneType
from typing import get_args, get_origin, get_type_hints

import jaxtyping
import numpy as np
import torch
from beartype import beartype

JAXTYPED = jaxtyping.jaxtyped
CHECKERS = {}
PASSED = {}  # by function: descriptions of arguments that the check let pass, each with those of the results
SCALARS = frozenset({int, float, complex, bool, NoneType})
ARRAYS = frozenset({np.ndarray, torch.Tensor, torch.nn.Parameter})
MOST_ITEMS = 16


class Indescribable(Exception):
    """The check may look at more of a value than its description tells."""


def description(value):
    """All that the check of annotations looks at in a value."""
    kind = type(value)
    if kind in SCALARS:
        return kind
    if kind in ARRAYS:
        return kind, value.dtype, value.shape
    if kind is str:
        return value  # a check of a Literal compares values
    if isinstance(value, np.number | np.bool_):
        return kind
    if kind is tuple and len(value) <= MOST_ITEMS:
        return kind, *map(description, value)
    if kind is list and len(items := {description(item) for item in value}) <= 1:  # beartype checks one at random
        return kind, *items
    if kind is dict and len(value) <= MOST_ITEMS:
        return kind, *((description(key), description(item)) for key, item in value.items())
    if isinstance(value, Collection) or hasattr(kind, "shape") or isinstance(value, type):
        raise Indescribable
    return kind


def is_shape(annotation) -> bool:
    return isinstance(annotation, type) and issubclass(annotation, jaxtyping.AbstractArray)


def description_or_none(value):
    try:
        return description(value)
    except Indescribable:
        return None


def parts(annotation):
    return annotation if isinstance(annotation, list) else get_args(annotation)  # a list: the arguments of a callable


def has_shapes(annotation) -> bool:
    """Whether a shape is part of an annotation, or may be, as of one that is a string."""
    return isinstance(annotation, str) or is_shape(annotation) or any(map(has_shapes, parts(annotation)))


def is_without_shapes(function) -> bool:
    """Whether no annotation has a shape, once those that are strings are read as Python."""
    try:
        annotations = get_type_hints(function)
    except Exception:  # such as a name for type checkers only
        annotations = function.__annotations__
    return not any(map(has_shapes, annotations.values()))


def identity(annotation):
    """What is equal for annotations that are written alike: jaxtyping makes a new class for the same shape."""
    if is_shape(annotation):
        return annotation.array_type, annotation.dtypes, annotation.dim_str
    return (get_origin(annotation), *map(identity, parts(annotation))) if parts(annotation) else annotation


def checker(signature):
    """beartype's check of a bare function that jaxtyping makes for a signature, one for all that are equal."""
    annotations = tuple(identity(annotation) for annotation in signature.__annotations__.values())
    key = signature.__module__, signature.__qualname__, signature.__code__.co_varnames, annotations
    try:
        if key not in CHECKERS:
            CHECKERS[key] = beartype(signature)
        return CHECKERS[key]
    except TypeError:  # an annotation that has no hash
        return beartype(signature)


def returning(result, function):
    """A function with the signature and the names of another, whose call returns `result` at once."""
    template = lambda *_, **__: result  # noqa: E731
    stand_in = FunctionType(template.__code__, function.__globals__, closure=template.__closure__)
    return wraps(function)(stand_in)


def checked_once(function, typechecker):
    """The function, checked in every call that differs from all calls that have passed."""
    code = function.__code__
    passed = PASSED.setdefault((function.__module__, function.__qualname__, code), {})
    begin = int(code.co_argcount > 0 and code.co_varnames[0] not in function.__annotations__)  # leaves out `self`

    @cache  # on the first call, not on import
    def checked():
        return JAXTYPED(function, typechecker=typechecker)

    @wraps(function)
    def called(*values, **named):
        arguments = description_or_none((values[begin:], named))
        if arguments in passed:
            result = function(*values, **named)
            if (outcome := description_or_none(result)) in passed[arguments]:
                return result
            JAXTYPED(returning(result, function), typechecker=typechecker)(*values, **named)
        else:
            result = checked()(*values, **named)
            outcome = description_or_none(result)
        if arguments is not None and outcome is not None:
            passed.setdefault(arguments, set()).add(outcome)
        return result

    return called


def when_called(function, typechecker):
    """The checked function, where its first call decides how: only then can annotations that are strings be read."""

    @cache
    def checked():
        return (typechecker if is_without_shapes(function) else partial(checked_once, typechecker=typechecker))(
            function
        )

    return wraps(function)(lambda *values, **named: checked()(*values, **named))


def jaxtyped(*, typechecker):
    """The decorator that jaxtyping's hook puts above every function."""

    def decorated(function):
        if not isinstance(function, FunctionType):
            return JAXTYPED(function, typechecker=typechecker)
        if not function.__annotations__:
            return function
        if "<locals>" in function.__qualname__:
            return checked_once(function, checker)
        return when_called(function, typechecker)

    return decorated
