"""A construction by its name: the table `CONSTRUCTIONS` of the registry, one line each.

A construction is a function that returns a `Construction` of parity, or a `ModularAddition`; what it takes is read from
its signature.
"""

from inspect import Parameter, signature
from typing import Any

from circuits.constructions.building.construction import Construction
from circuits.constructions.building.trigonometric import ModularAddition
from circuits.errors import InputError
from circuits.registry import CONSTRUCTIONS, lookup

NEEDED = {
    "k": "k, the number of relevant bits: pass --k 3",
    "p": "p, the modulus: pass --p 31",
    "frequencies": "frequencies: pass --frequencies 1 5 9",
}


def build(name: str, k: int | None = None, **options: Any) -> Construction | ModularAddition:
    """The construction called `name`; hyphens are read as underscores.

    Parameters
    ----------
    name
        As `circuits construct --help` lists it.
    k
        Relevant bits of parity; may be left out where there is only one possible.
    options
        What else the construction takes, such as `p` and `frequencies`; None is as if left out.

    Raises
    ------
    InputError
        There is no such construction, or it does not take this k or these options.

    Examples
    --------
    >>> build("threshold", k=4).n_neurons, build("four-neuron").n_neurons
    (5, 4)
    >>> build("modular-addition", p=7, frequencies=[1, 2]).n_neurons
    12
    """
    name = name.replace("-", "_")
    make = lookup(CONSTRUCTIONS, name, "construction").load()
    taken = signature(make).parameters
    given = {option: value for option, value in options.items() if value is not None}
    for option in given:
        if option not in taken:
            raise InputError(f"{name} takes no {option}. {_takers(option)}")
    if k is not None and "k" in taken:
        given["k"] = k
    for option, parameter in taken.items():
        if parameter.default is Parameter.empty and option not in given:
            raise InputError(f"{name} needs {NEEDED[option]}.")
    network: Construction | ModularAddition = make(**given)
    if k is not None and "k" not in taken:
        if isinstance(network, ModularAddition):
            raise InputError(f"{name} takes no k. {_takers('k')}")
        if k != network.k:
            raise InputError(f"{name} is for k = {network.k} bits, so k = {k} is not possible. {_takers('k')}")
    return network


def _takers(option: str) -> str:
    takers = [name for name, entry in CONSTRUCTIONS.items() if option in signature(entry.load()).parameters]
    return f"These do: {', '.join(sorted(takers))}." if takers else "None does."
