"""Annotations are checked while the tests run, at a fraction of the price.

jaxtyping's hook decorates every function, also without annotations of shapes, and one inside another function at every
call of the outer one. Here a function without annotations stays as it is. One whose annotations have no shapes is
beartype's alone. A function inside another gets the checker that was made for an equal signature.
"""

from types import FunctionType
from typing import get_args, get_origin

import jaxtyping
from beartype import beartype

JAXTYPED = jaxtyping.jaxtyped
CHECKERS = {}


def is_shape(annotation) -> bool:
    return isinstance(annotation, type) and issubclass(annotation, jaxtyping.AbstractArray)


def parts(annotation):
    return annotation if isinstance(annotation, list) else get_args(annotation)  # a list: the arguments of a callable


def has_shapes(annotation) -> bool:
    """Whether a shape is part of an annotation, or may be, as of one that is a string."""
    return isinstance(annotation, str) or is_shape(annotation) or any(map(has_shapes, parts(annotation)))


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


def jaxtyped(*, typechecker):
    """The decorator that jaxtyping's hook puts above every function."""

    def decorated(function):
        if not isinstance(function, FunctionType):
            return JAXTYPED(function, typechecker=typechecker)
        if not function.__annotations__:
            return function
        if "<locals>" in function.__qualname__:
            return JAXTYPED(function, typechecker=checker)
        if any(has_shapes(annotation) for annotation in function.__annotations__.values()):
            return JAXTYPED(function, typechecker=typechecker)
        return typechecker(function)

    return decorated
