"""Conversion to run files, from runs of the papers' codes, any state dicts, or hand-built networks."""

from circuits.convert.constructed import from_construction
from circuits.convert.parity_nn import from_parity_nn
from circuits.convert.published import from_weights
from circuits.convert.state_dicts import from_state_dicts

__all__ = ["from_construction", "from_parity_nn", "from_state_dicts", "from_weights"]
