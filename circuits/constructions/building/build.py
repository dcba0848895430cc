"""A construction by its name, from the table `CONSTRUCTIONS` of the registry.

Each entry is a function that returns a `Construction` of parity, or a `ModularAddition`. The function's signature names
the options of the construction.
"""

from inspect import Parameter, signature
from typing import Any

from circuits.constructions.building.construction import Construction
from circuits.constructions.building.trigonometric import ModularAddition
from circuits.errors import InputError
from circuits.registry import CONSTRUCTIONS, lookup

NEEDED = {
    "k": "k, the number of relevant bits: pass k=3",
    "p": "p, the modulus: pass p=31",
    "frequencies": "frequencies: pass frequencies=[1, 5, 9]",
}


def build(name: str, k: int | None = None, **options: Any) -> Construction | ModularAddition:
    """The construction called `name`; a hyphen counts as an underscore.

    Parameters
    ----------
    name
        A name that `circuits construct --help` lists.
    k
        Number of relevant bits of a parity; optional if the construction has a fixed k.
    options
        Further options of the construction, such as `p` and `frequencies`; None means not given.

    Raises
    ------
    InputError
        No construction has this name, or the construction does not take this k or these options.

    Examples
    --------
    >>> build("threshold", k=4).n_neurons, build("four-neuron").n_neurons
    (5, 4)
    >>> build("modular-addition", p=7, frequencies=[1, 2]).n_neurons
    12
    """
    name = name.replace("-", "_")
    make = lookup(CONSTRUCTIONS, name, "construction").load()
    parameters = signature(make).parameters
    given = {option: value for option, value in options.items() if value is not None}
    for option in given:
        if option not in parameters:
            raise InputError(f"{name} takes no {option}. {_takers(option)}")
    if k is not None and "k" in parameters:
        given["k"] = k
    for option, parameter in parameters.items():
        if parameter.default is Parameter.empty and option not in given:
            raise InputError(f"{name} needs {NEEDED[option]}.")
    network: Construction | ModularAddition = make(**given)
    if k is not None and "k" not in parameters:
        if isinstance(network, ModularAddition):
            raise InputError(f"{name} takes no k. {_takers('k')}")
        if k != network.k:
            raise InputError(f"{name} is for k = {network.k} bits, so k = {k} is not possible. {_takers('k')}")
    return network


def _takers(option: str) -> str:
    takers = [name for name, entry in CONSTRUCTIONS.items() if option in signature(entry.load()).parameters]
    return f"{option} is an option of {', '.join(sorted(takers))}." if takers else f"No construction takes {option}."
