"""Existing runs, brought in: from the released code of Merrill et al., or from any set of state dicts."""

from circuits.convert.parity_nn import from_parity_nn
from circuits.convert.state_dicts import from_state_dicts

__all__ = ["from_parity_nn", "from_state_dicts"]
