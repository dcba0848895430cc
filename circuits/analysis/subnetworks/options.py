"""Options of the measurements that merge near-parallel neurons, or that search within a time limit."""

from typing import Annotated

from pydantic import Field

from circuits.analysis.networks.options import PruningOptions


class MergeOptions(PruningOptions):
    """Conditions under which near-parallel neurons count as one circuit element."""

    merge_cosine: Annotated[float, Field(ge=-1, lt=1)] = 0.9
    """Neurons count as one circuit element if their (w, b) have a cosine above this, and their u the same sign."""
    merge_floor: Annotated[float, Field(ge=0, lt=1)] = 0.02
    """A neuron belongs to an element only if its path norm |u|·‖(w, b)‖ exceeds this share of the largest path norm."""


class SearchOptions(PruningOptions):
    """Pruning options, and the time limit of a search."""

    time_limit: Annotated[float, Field(ge=0)] = 60.0
    """Time limit of the search in each network, in seconds; for the measurements certify and exact."""
