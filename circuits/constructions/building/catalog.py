"""What a circuit on k bits is compared with: every construction of the registry's table for the parity of k bits."""

from inspect import signature

from circuits.constructions.building.construction import Construction
from circuits.errors import InputError
from circuits.registry import CONSTRUCTIONS, about


def known(k: int) -> dict[str, Construction]:
    """Every registered construction on k bits, by name, in the table's order; those for other k are left out.

    Examples
    --------
    >>> known(2)["min_norm"].n_neurons
    4
    """
    constructions = {}
    for name, entry in about(CONSTRUCTIONS, "parity").items():
        make = entry.load()
        try:
            construction = make(k=k) if "k" in signature(make).parameters else make()
        except InputError:  # not built for so many bits
            continue
        if construction.k == k:
            constructions[name] = construction
    return constructions
