"""Configs of torch's optimizers, each with a schedule of the learning rate.

The rate of update t (from 0) in epoch e is

    lr · min(1, (t + 1) / lr_warmup_steps) · lr_gamma^e · (1 + cos(π s)) / 2

where s is the completed share of the updates after the warm-up. The last factor applies only with `lr_cosine`.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Iterable
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal

from pydantic import Field

from circuits.config_base import Decay, NonNegativeFloat, NonNegativeInt, Part, PositiveFloat
from circuits.errors import InputError

if TYPE_CHECKING:
    import torch


class Optimizer(Part, ABC):
    """An optimizer and the schedule of its learning rate."""

    decoupled: ClassVar[bool] = False
    """Whether weight decay multiplies the parameters, instead of adding to the gradient."""
    kind: str
    lr: PositiveFloat
    weight_decay: NonNegativeFloat
    l1: NonNegativeFloat = 0.0
    """Coefficient of Σ|θ|, applied after each update as a proximal step, which sets small weights to exactly 0."""
    lr_warmup_steps: NonNegativeInt = 0
    """Updates over which the learning rate rises linearly from 0 to `lr`."""
    lr_gamma: Annotated[float, Field(gt=0, le=1)] = 1.0
    """Factor that multiplies the learning rate after each epoch."""
    lr_cosine: bool = False
    """Decay the learning rate to 0 along half a cosine, from the end of the warm-up to the end of the run."""

    @property
    def moments(self) -> tuple[str, ...]:
        """Torch's names of a parameter's running means or sums; empty if resuming needs only the parameters."""
        return ()

    @property
    def counts_updates(self) -> bool:
        """Whether the number of updates so far is part of the optimizer's state."""
        return bool(self.moments)

    def lr_varies_after(self, step: int) -> bool:
        """True if update `step` (from 0) is in the warm-up or `lr_cosine` is set: then rates may vary within an epoch.

        Examples
        --------
        >>> [SGD(lr_warmup_steps=4).lr_varies_after(step) for step in (0, 3, 4)]
        [True, True, False]
        """
        return self.lr_cosine or step < self.lr_warmup_steps

    def lr_at(self, step: int, epoch: int, total_steps: int) -> float:
        """Learning rate of update `step`, counted from 0.

        Examples
        --------
        >>> [SGD(lr=0.1, lr_warmup_steps=4, lr_gamma=0.5).lr_at(step, step // 3, 9) for step in (0, 3, 6)]
        [0.025, 0.05, 0.025]
        """
        factor = self.lr_gamma**epoch
        if step < self.lr_warmup_steps:
            factor *= (step + 1) / self.lr_warmup_steps
        elif self.lr_cosine:
            after = total_steps - self.lr_warmup_steps
            factor *= (1 + math.cos(math.pi * (step - self.lr_warmup_steps) / max(1, after))) / 2
        return self.lr * factor

    @abstractmethod
    def made(self, parameters: Iterable[torch.Tensor]) -> torch.optim.Optimizer:
        """The torch optimizer for these parameters."""


class SGD(Optimizer):
    """Stochastic gradient descent with L2 weight decay on all parameters, as `torch.optim.SGD` applies it."""

    kind: Literal["sgd"] = "sgd"
    lr: PositiveFloat = 0.1
    """Learning rate."""
    weight_decay: NonNegativeFloat = 0.01
    """L2 coefficient λ, added to the gradient as λθ."""
    momentum: Decay = 0.0
    """Share of the last update that is added to the next update."""

    @property
    def moments(self) -> tuple[str, ...]:
        """Name of the running sum of gradients; empty without momentum."""
        return ("momentum_buffer",) if self.momentum else ()

    @property
    def counts_updates(self) -> bool:
        """False: with or without momentum, the number of updates is not part of the state."""
        return False

    def made(self, parameters: Iterable[torch.Tensor]) -> torch.optim.Optimizer:
        import torch

        return torch.optim.SGD(parameters, lr=self.lr, momentum=self.momentum, weight_decay=self.weight_decay)


class Adam(Optimizer):
    """Adam with L2 weight decay, as `torch.optim.Adam` applies it (Kingma and Ba 2015)."""

    kind: Literal["adam"] = "adam"
    lr: PositiveFloat = 0.001
    """Learning rate."""
    weight_decay: NonNegativeFloat = 0.0
    """L2 coefficient λ, added to the gradient as λθ."""
    betas: tuple[Decay, Decay] = (0.9, 0.999)
    """Decay rates of the running means of the gradient and of its square."""
    eps: PositiveFloat = 1e-8
    """Constant added to the denominator of the update."""

    @property
    def moments(self) -> tuple[str, ...]:
        """Names of the running means of the gradient and of its square."""
        return ("exp_avg", "exp_avg_sq")

    def made(self, parameters: Iterable[torch.Tensor]) -> torch.optim.Optimizer:
        """`torch.optim.Adam`, or `torch.optim.AdamW` if weight decay is decoupled."""
        import torch

        adam = torch.optim.AdamW if self.decoupled else torch.optim.Adam
        return adam(parameters, lr=self.lr, betas=self.betas, eps=self.eps, weight_decay=self.weight_decay, fused=True)


class AdamW(Adam):
    """Adam with decoupled weight decay, as `torch.optim.AdamW` applies it (Loshchilov and Hutter 2019)."""

    decoupled: ClassVar[bool] = True
    kind: Literal["adamw"] = "adamw"  # type: ignore[assignment]
    weight_decay: NonNegativeFloat = 0.01
    """Decoupled coefficient λ: θ is multiplied by 1 - lr λ at every update."""


class RMSProp(Optimizer):
    """Gradients divided by the root of their running mean square: `torch.optim.RMSprop` (Tieleman and Hinton 2012)."""

    kind: Literal["rmsprop"] = "rmsprop"
    lr: PositiveFloat = 0.001
    """Learning rate."""
    weight_decay: NonNegativeFloat = 0.0
    """L2 coefficient λ, added to the gradient as λθ."""
    alpha: Decay = 0.99
    """Decay rate of the running mean of the gradient's square."""
    momentum: Decay = 0.0
    """Share of the last update that is added to the next update."""
    eps: PositiveFloat = 1e-8
    """Constant added to the denominator of the update."""

    @property
    def moments(self) -> tuple[str, ...]:
        """Names of the running mean of squared gradients and, with momentum, of the running sum of updates."""
        return ("square_avg", "momentum_buffer") if self.momentum else ("square_avg",)

    def made(self, parameters: Iterable[torch.Tensor]) -> torch.optim.Optimizer:
        import torch

        return torch.optim.RMSprop(
            parameters,
            lr=self.lr,
            alpha=self.alpha,
            eps=self.eps,
            weight_decay=self.weight_decay,
            momentum=self.momentum,
        )


class RecordedOptimizer(Optimizer):
    """The optimizer, or the optimizers, of a recorded training loop; the run file keeps their whole state."""

    kind: Literal["recorded"] = "recorded"
    lr: NonNegativeFloat = 0.0
    """Learning rate of the first parameter group when recording began."""
    weight_decay: NonNegativeFloat = 0.0
    """Weight decay of the first parameter group when recording began."""
    classes: tuple[str, ...] = ()
    """Class of each optimizer, such as torch.optim.AdamW."""

    def summary(self) -> dict[str, Any]:
        """The classes of the loop's optimizers, and the rates of the first; nothing if the recorder was given none."""
        names = [name.rpartition(".")[2] for name in self.classes]
        rates = {"lr": self.lr, "weight_decay": self.weight_decay} if names else {}
        return {"classes": ", ".join(names) or "not given"} | rates

    def made(self, parameters: Iterable[torch.Tensor]) -> torch.optim.Optimizer:
        raise InputError("The optimizer 'recorded' belongs to your own loop. Choose one of the others to train here.")
