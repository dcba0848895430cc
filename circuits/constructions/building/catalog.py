"""Constructions to compare with a circuit on k bits: every registered construction of the parity of k bits."""

from inspect import signature

from circuits.constructions.building.construction import Construction
from circuits.errors import InputError
from circuits.registry import CONSTRUCTIONS, about


def constructions_of(k: int) -> dict[str, Construction]:
    """Every registered construction of the parity of k bits, by name, in the order of the registry.

    Examples
    --------
    >>> constructions_of(2)["min_norm"].n_neurons
    4
    """
    constructions = {}
    for name, entry in about(CONSTRUCTIONS, "parity").items():
        make = entry.load()
        try:
            construction = make(k=k) if "k" in signature(make).parameters else make()
        except InputError:  # not defined for this k
            continue
        if construction.k == k:
            constructions[name] = construction
    return constructions
