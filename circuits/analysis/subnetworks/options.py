"""Options of the measurements that merge neurons or search for a proof."""

from typing import Annotated

from pydantic import Field

from circuits.analysis.networks.options import PruningOptions


class MergeOptions(PruningOptions):
    """Conditions under which neurons form one element of a circuit."""

    merge_cosine: Annotated[float, Field(ge=-1, lt=1)] = 0.9
    """Neurons whose (w, b) have a cosine above this, and whose u have the same sign, form one circuit element."""
    merge_floor: Annotated[float, Field(ge=0, lt=1)] = 0.02
    """Only neurons whose path norm |u|·‖(w, b)‖ exceeds this share of the largest path norm form circuit elements."""


class SearchOptions(PruningOptions):
    """Time limit of a search."""

    time_limit: Annotated[float, Field(ge=0)] = 60.0
    """Time limit of the search in each network, in seconds; for the measurements certify and exact."""
