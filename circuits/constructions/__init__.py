"""Hand-built circuits: building them, verifying them exactly, certifying networks, reading learned circuits.

Every construction in the registry's table is a function here, loaded on first use: `dnf(3)`, `six_neuron()`, … A
construction of parity is a `Construction` with exact rational weights. Its `arrays(n, relevant_bits)` are the
parameters W, b, u of a run. `modular_addition(p, frequencies)` returns a `ModularAddition`.
"""

from typing import TYPE_CHECKING

from circuits.lazy import lazy

if TYPE_CHECKING:
    from circuits.constructions.building.and_gates import dnf as dnf
    from circuits.constructions.building.and_gates import thesis_dnf as thesis_dnf
    from circuits.constructions.building.build import build as build
    from circuits.constructions.building.construction import Construction as Construction
    from circuits.constructions.building.least_norm import min_norm as min_norm
    from circuits.constructions.building.published import four_neuron as four_neuron
    from circuits.constructions.building.published import six_neuron as six_neuron
    from circuits.constructions.building.published import two_neuron as two_neuron
    from circuits.constructions.building.threshold_gates import threshold as threshold
    from circuits.constructions.building.trigonometric import ModularAddition as ModularAddition
    from circuits.constructions.building.trigonometric import modular_addition as modular_addition
    from circuits.constructions.verifying.verification import Verification as Verification
    from circuits.constructions.verifying.verify import verify as verify
    from circuits.constructions.verifying.verify_run import verify_run as verify_run

__getattr__, __dir__, __all__ = lazy(__name__)
