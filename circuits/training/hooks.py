"""Dropout, and Gaussian noise on the inputs, during training.

Models have no randomness. A model passes each named value, such as an activation, through the tap, which is a function
(name, value) -> value. The tap used in training drops units and adds noise. All draws of one update come from one
generator, keyed by (seed, step), in the order of the forward pass. So an update is the same with or without an
interruption before it. Dropout at rate p divides kept values by 1 - p (inverted dropout).
"""

import torch

from circuits.config import Config
from circuits.interfaces import Tap
from circuits.randomness import generator


def training_tap(config: Config, seed: int, step: int) -> Tap:
    """Tap for the update that follows `step` earlier updates: (hook point, value) -> value with dropout or input noise.

    Examples
    --------
    >>> import circuits
    >>> config = circuits.preset("merrill-2023").replace(input_noise=0.1)
    >>> first, second = (training_tap(config, 0, 7)("hook_input", torch.ones(2, 3)) for _ in range(2))
    >>> bool((first == second).all())
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
