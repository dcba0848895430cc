"""Checkpoints that are evenly spaced on a logarithmic axis."""

from circuits.config import Checkpoints


def log_steps(last: int, per_decade: int = 16, every: int = 1) -> Checkpoints:
    """Checkpoints at the steps 10^(i / per_decade) < `last`, i = 0, 1, …, each rounded up to a multiple of `every`.

    Examples
    --------
    >>> log_steps(1000, per_decade=3, every=10).at_steps
    (10, 30, 50, 100, 220, 470)
    """
    steps, i = set[int](), 0
    while (step := round(10 ** (i / per_decade))) < last:
        steps.add(-(-step // every) * every)
        i += 1
    return Checkpoints(every_epochs=None, at_steps=tuple(sorted(step for step in steps if step < last)))
