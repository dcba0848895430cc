"""Early stop: a run ends before its last epoch once every seed has met the config's stop rule."""

from collections import deque

import numpy as np

from circuits.config import Config


class EarlyStop:
    """The stop rule of a run; if the config has no `stop`, the rule is never met.

    `EarlyStop(config, so_far)` takes the test accuracies (step, seed) of the checkpoints that are already stored.
    """

    def __init__(self, config: Config, so_far: np.ndarray) -> None:
        self._rule = config.stop
        if self._rule is not None:
            self._met = self._rule.is_met(so_far)
            self._recent = deque(so_far, maxlen=self._rule.checkpoints + 1)

    def after(self, test_accuracy: np.ndarray) -> bool:
        """Add a checkpoint's test accuracy (seed,); return whether every seed has met the config's stop rule by now."""
        if self._rule is None:
            return False
        self._recent.append(test_accuracy)
        self._met = self._met | self._rule.is_met(np.stack(self._recent))
        return bool(self._met.all())
