"""Hand-built circuits: building them, verifying them exactly, certifying networks, reading learned circuits.

`circuits construct --help` lists the circuits. Each has a function here: `dnf(3)`, `six_neuron()`, … A function for
parity returns a `Construction`: a network f(x) = u·relu(W x + b) with exact rational W, b and u. Its method `arrays`
returns W, b and u in float64. `modular_addition(p, frequencies)` returns a `ModularAddition`.
"""

from typing import TYPE_CHECKING

from circuits.lazy import lazy

if TYPE_CHECKING:
    from circuits.constructions.building.and_gates import dnf, thesis_dnf
    from circuits.constructions.building.build import build
    from circuits.constructions.building.construction import Construction
    from circuits.constructions.building.least_norm import min_norm
    from circuits.constructions.building.published import four_neuron, six_neuron, two_neuron
    from circuits.constructions.building.threshold_gates import threshold
    from circuits.constructions.building.trigonometric import ModularAddition, modular_addition
    from circuits.constructions.verifying.verification import Verification
    from circuits.constructions.verifying.verify import verify
    from circuits.constructions.verifying.verify_run import verify_run

__getattr__, __dir__, __all__ = lazy(__name__)
