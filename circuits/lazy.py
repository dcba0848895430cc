"""Lazy loading of a package's names, which the package's `__init__` imports under `if TYPE_CHECKING:`.

Type checkers and editors read these imports; at run time, each import runs when its name is first used.
"""

import ast
import sys
import warnings
from collections.abc import Callable, Mapping
from functools import wraps
from importlib import import_module
from pathlib import Path
from typing import Any, TypeVar, cast

Function = TypeVar("Function", bound=Callable[..., Any])


def renamed_keyword(former: str, now: str) -> Callable[[Function], Function]:
    """Decorator for a function whose keyword `former` is now called `now`; it accepts the former name for one version.

    Examples
    --------
    >>> renamed_keyword("support", "bits")(lambda bits: bits)(bits=[0, 7])
    [0, 7]
    """

    def decorated(function: Function) -> Function:
        @wraps(function)
        def accepting(*arguments: Any, **keywords: Any) -> Any:
            if former in keywords and now not in keywords:
                text = f"the argument {former} is now {now}, and goes in the next version"
                warnings.warn(text, FutureWarning, 2)
                keywords[now] = keywords.pop(former)
            return function(*arguments, **keywords)

        return cast(Function, accepting)

    return decorated


def lazy(
    package: str, renamed: Mapping[str, str] = {}
) -> tuple[Callable[[str], Any], Callable[[], list[str]], list[str]]:
    """The `__getattr__`, `__dir__` and `__all__` of a package; `dir` lists the public names and `__version__`.

    `package` is the package's `__name__`. `renamed` maps former names, accepted for one version, to new names.

    Examples
    --------
    >>> import circuits
    >>> lazy("circuits")[2][:2]
    ['Config', 'InputError']
    """
    namespace = vars(sys.modules[package])
    places = declared(Path(namespace["__file__"]).read_text(encoding="utf-8"))

    def get(name: str) -> Any:
        if name in renamed:
            now = f"{package}.{renamed[name]}"
            warnings.warn(f"{package}.{name} is now {now}, and goes in the next version", FutureWarning, 2)
            return getattr(sys.modules[package], renamed[name])
        if name not in places:
            raise AttributeError(f"module {package!r} has no attribute {name!r}")
        module, attribute = places[name]
        is_module = module == package
        value = import_module(f"{module}.{attribute}") if is_module else getattr(import_module(module), attribute)
        namespace[name] = value
        return value

    return get, lambda: sorted({*places, *(name for name in namespace if name == "__version__")}), sorted(places)


def declared(source: str) -> dict[str, tuple[str, str]]:
    r"""The imports under `if TYPE_CHECKING:` of a module's source: name -> (module, attribute).

    Examples
    --------
    >>> declared("if TYPE_CHECKING:\n    from math import inf as infinity")
    {'infinity': ('math', 'inf')}
    """
    return {
        alias.asname or alias.name: (str(node.module), alias.name)
        for block in ast.parse(source).body
        if isinstance(block, ast.If) and ast.unparse(block.test) == "TYPE_CHECKING"
        for node in block.body
        if isinstance(node, ast.ImportFrom)
        for alias in node.names
    }
