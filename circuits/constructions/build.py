"""A construction by its name: the table `CONSTRUCTIONS` of the registry, one line each.

A construction is a function that returns a `Construction`; whether it takes k, and which options, is read from its
signature.
"""

from inspect import signature

from circuits.constructions.construction import Construction
from circuits.errors import InputError
from circuits.registry import CONSTRUCTIONS, lookup


def build(name: str, k: int | None = None, **options: str | None) -> Construction:
    """The construction called `name`; hyphens are read as underscores.

    Parameters
    ----------
    name
        As `circuits construct --help` lists it.
    k
        Relevant bits; may be left out where there is only one possible.
    options
        What else the construction takes; None is as if left out.

    Raises
    ------
    InputError
        There is no such construction, or it does not take this k or these options.

    Examples
    --------
    >>> build("threshold", k=4).n_neurons, build("four-neuron").n_neurons
    (5, 4)
    """
    name = name.replace("-", "_")
    make = lookup(CONSTRUCTIONS, name, "construction").load()
    taken = set(signature(make).parameters)
    given = {option: value for option, value in options.items() if value is not None}
    for option in given:
        if option not in taken:
            raise InputError(f"{name} takes no {option}. {_takers(option)}")
    if "k" not in taken:
        made = make(**given)
        if k not in (None, made.k):
            raise InputError(f"{name} is for k = {made.k} bits, so k = {k} is not possible. {_takers('k')}")
        return made
    if k is None:
        raise InputError(f"{name} needs k, the number of relevant bits: pass --k 3.")
    return make(k=k, **given)


def _takers(option: str) -> str:
    found = [name for name, entry in CONSTRUCTIONS.items() if option in signature(entry.load()).parameters]
    return f"These do: {', '.join(sorted(found))}." if found else "None does."
