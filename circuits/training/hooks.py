"""What training does to a network's values on their way: dropout, and Gaussian noise on the inputs.

Models know no randomness: they pass each named value through a tap, and this one drops and adds. All draws of one
update come from one generator, keyed by (seed, step), in the order in which the values pass, so that an update is the
same whether the run was interrupted before it or not. Dropout divides what it keeps by 1 - p (inverted dropout).
"""

from __future__ import annotations

import torch

from circuits.config import Config
from circuits.interfaces import Tap
from circuits.randomness import generator


def training_tap(config: Config, seed: int, step: int) -> Tap:
    """The tap of one update of one network.

    Examples
    --------
    >>> import circuits
    >>> config = circuits.preset("merrill-2023").replace(input_noise=0.1)
    >>> inputs = torch.ones(2, 3)
    >>> bool(
    ...     (training_tap(config, 0, 7)("hook_input", inputs) == training_tap(config, 0, 7)("hook_input", inputs)).all()
    ... )
    True
    """
    drawn = torch.Generator().manual_seed(int(generator("tap", seed, step).integers(1 << 62)))
    dropout = config.model.dropout_at

    def tap(name: str, value: torch.Tensor) -> torch.Tensor:
        if config.input_noise and name == config.model.noise_at:
            noise = torch.randn(value.shape, generator=drawn, dtype=value.dtype)
            value = value + config.input_noise * noise.to(value.device)
        if p := dropout.get(name, 0.0):
            kept = torch.rand(value.shape, generator=drawn, dtype=value.dtype) >= p
            value = value * kept.to(value.device) / (1 - p)
        return value

    return tap
