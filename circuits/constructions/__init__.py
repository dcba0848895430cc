"""Hand-built circuits: built, verified exactly, compared with what was learned, certified.

Every construction of the registry's table is a function here, loaded when it is used: `dnf(3)`, `six_neuron()`, …
Those for parity return a `Construction`, exact rationals, whose `arrays(n, support)` are the parameters W, b, u of a
run; `modular_addition(p, frequencies)` returns a `ModularAddition`.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from circuits.registry import CONSTRUCTIONS

if TYPE_CHECKING:
    from circuits.constructions.building.and_gates import dnf as dnf
    from circuits.constructions.building.and_gates import thesis_dnf as thesis_dnf
    from circuits.constructions.building.build import build as build
    from circuits.constructions.building.construction import Construction as Construction
    from circuits.constructions.building.published import four_neuron as four_neuron
    from circuits.constructions.building.published import six_neuron as six_neuron
    from circuits.constructions.building.published import two_neuron as two_neuron
    from circuits.constructions.building.threshold_gates import threshold as threshold
    from circuits.constructions.building.trigonometric import ModularAddition as ModularAddition
    from circuits.constructions.building.trigonometric import modular_addition as modular_addition
    from circuits.constructions.verifying.verification import Verification as Verification
    from circuits.constructions.verifying.verification import verify as verify
    from circuits.constructions.verifying.verify_run import verify_run as verify_run

_LAZY = {
    "Construction": "circuits.constructions.building.construction",
    "ModularAddition": "circuits.constructions.building.trigonometric",
    "Verification": "circuits.constructions.verifying.verification",
    "build": "circuits.constructions.building.build",
    "verify": "circuits.constructions.verifying.verification",
    "verify_run": "circuits.constructions.verifying.verify_run",
}

__all__ = sorted([*_LAZY, *CONSTRUCTIONS])


def __getattr__(name: str) -> Any:
    if name in CONSTRUCTIONS:
        value = CONSTRUCTIONS[name].load()
    elif name in _LAZY:
        value = getattr(import_module(_LAZY[name]), name)
    else:
        raise AttributeError(f"module 'circuits.constructions' has no attribute {name!r}")
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return [*globals(), *__all__]
