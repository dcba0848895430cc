"""Options of the measurements that merge near-parallel neurons, or that search within a time limit."""

from typing import Annotated

from pydantic import Field

from circuits.analysis.networks.options import PruningOptions


class MergeOptions(PruningOptions):
    """Options that decide which neurons with nearly parallel weights form one circuit element."""

    merge_cosine: Annotated[float, Field(ge=-1, lt=1)] = 0.9
    """Two neurons belong to one circuit element if two conditions hold: the vectors (incoming weights, bias) of the two
    neurons have a cosine above this number, and their outgoing weights have the same sign."""
    merge_floor: Annotated[float, Field(ge=0, lt=1)] = 0.02
    """A circuit element is a set of neurons with nearly parallel weights. It has only neurons whose path norm exceeds
    this share of the largest. Path norm: |outgoing weight| times the norm of the vector (incoming weights, bias)."""


class SearchOptions(PruningOptions):
    """Options of pruning (inherited), and the time limit of the measurements "exact" and "certify"."""

    time_limit: Annotated[float, Field(ge=0)] = 60.0
    """Time limit per network, in seconds, of the searches of "exact" (smallest subnetwork) and "certify" (margin)."""
