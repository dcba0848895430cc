"""Registration of your own tasks, models and presets, in a notebook or from an installed package.

A package names its plugin in its pyproject.toml: a module that registers when it is imported, or a function of it.

    [project.entry-points."circuits.plugins"]
    my_plugin = "my_package.circuits_plugin"

What is registered appears in `--help`, in `circuits presets`, in the docs, and in configs by its `kind`. A run file
holds the kind and the fields. To open such a run elsewhere, register there first; `circuits.open` reads parameters and
metrics in any case.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any, TypeVar, cast

from circuits.config_base import Part
from circuits.errors import InputError
from circuits.interfaces import Model, Task
from circuits.registry import MODELS, PRESETS, TASKS, Entry, PresetEntry, Registered

Class = TypeVar("Class", bound=type)
Function = TypeVar("Function", bound=Callable[..., Any])


def register_task(task: Class) -> Class:
    """Add a task, a subclass of `circuits.interfaces.Task`, under the default of its field `kind`; also a decorator.

    Raises
    ------
    InputError
        It is not such a class, has no default `kind`, or the kind is taken.

    Examples
    --------
    >>> from typing import Literal
    >>> from circuits.tasks.signs import SignTask
    >>> @register_task
    ... class First(SignTask):
    ...     "The first of n signs."
    ...
    ...     kind: Literal["first"] = "first"
    ...
    ...     def target(self, inputs):
    ...         return inputs[:, 0]
    >>> from circuits.registry import TASKS
    >>> TASKS["first"].help
    'The first of n signs.'
    >>> del TASKS["first"]
    """
    return _registered(task, Task, TASKS, "task")


def register_model(model: Class) -> Class:
    """Add a model, a subclass of `circuits.interfaces.Model`, under the default of its `kind`; see `register_task`."""
    return _registered(model, Model, MODELS, "model")


def register_preset(preset: Function) -> Function:
    """Add a preset, a function without arguments that returns a config or a dict of configs by name; also a decorator.

    Its name is the function's, with hyphens; its help is the first line of its docstring.
    """
    name = preset.__name__.replace("_", "-")
    refuse_taken(PRESETS, name, preset, "preset")
    PRESETS[name] = PresetEntry(first_line(preset), preset, "registered here", "", 0)
    return preset


def refuse_taken(table: Registered[Any], name: str, made: Any, what: str) -> None:
    """Raise an `InputError` if `name` is taken by something else than an earlier definition of `made`."""
    if name in table.own:
        raise InputError(f"There is a {what} '{name}' in this package already. Choose another name.")
    there = table.added[name].load() if name in table.added else made
    there = getattr(there, "defined", there)
    if (there.__module__, there.__qualname__) != (made.__module__, made.__qualname__):
        raise InputError(f"The {what} '{name}' is registered by {there.__module__}. Choose another name.")


def first_line(made: Any) -> str:
    """The first line of a docstring; empty without one."""
    return (inspect.getdoc(made) or "").partition("\n")[0]


def _registered(made: Class, base: type[Part], table: Registered[Any], what: str) -> Class:
    if not (isinstance(made, type) and issubclass(made, base)):
        raise InputError(f"{made!r} is not a subclass of circuits.interfaces.{base.__name__}.")
    fields = cast(type[Part], made).model_fields
    kind = fields["kind"].default if "kind" in fields else None
    if not isinstance(kind, str) or not kind:
        raise InputError(f'{made.__name__} has no default kind. Write: kind: Literal["name"] = "name"')
    if inspect.isabstract(made):
        missing = ", ".join(sorted(made.__abstractmethods__))
        raise InputError(f"{made.__name__} lacks {missing}, which a {what} must define.")
    refuse_taken(table, kind, made, what)
    table[kind] = Entry(first_line(made), made)
    return made
