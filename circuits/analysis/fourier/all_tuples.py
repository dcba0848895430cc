"""A network on all tuples of operands: its logits, and the values of its neurons at the last position.

The tuples are enumerated once, in the order of the task's cyclic group Z_m (`cyclic`). A tap (hook function) in the
model's own `forward` records the values. The model also gives the embedding tables, with rows in the order of Z_m.
"""

from collections.abc import Mapping
from typing import Any

import numpy as np
from einops import rearrange
from jaxtyping import Bool, Float

from circuits.analysis.fourier.cyclic import cyclic_group
from circuits.analysis.networks.masking import EXAMPLES_AT_ONCE
from circuits.analysis.subnetworks.active import as_read
from circuits.checkpoints.run import Run
from circuits.config import Config

SETS = ("train", "test", "all")


class AllTuples:
    """All tuples of operands of a modular task, as inputs of a config's networks.

    The task is a sum on a cyclic group, with few enough tuples for the memory (see `is_cyclic`). `hook` is the hook
    point of the neurons to record; None records nothing.
    """

    def __init__(self, config: Config, hook: str | None = None) -> None:
        import torch

        self.config, self.hook = config, hook
        task: Any = config.task
        self.group = cyclic_group(task.operation, task.p, task.n_summands)
        self._inputs = torch.from_numpy(as_read(config, task.encode(self.group.tuples)))

    def values(
        self, net: Mapping[str, np.ndarray]
    ) -> tuple[Float[np.ndarray, "*tuples neuron"] | None, Float[np.ndarray, "tuple class"]]:
        """Values of one network's neurons, and the network's logits, for all tuples of operands.

        The first array is (m, ..., m, neuron), with one axis per operand; m is the number of elements of the task's
        cyclic group. It holds the neurons' values at the input's last position, and is None if `self.hook` is None.
        Each row of the logits is a tuple; the last operand changes fastest. Both arrays are computed on CPU, on the
        caller's thread, in the parameters' dtype.
        """
        import torch

        parameters = {name: torch.from_numpy(np.array(values)) for name, values in net.items()}
        recorded: list[torch.Tensor] = []

        def tap(name: str, value: Any) -> Any:
            if name == self.hook:
                recorded.append(value if value.ndim == 2 else value[:, -1])
            return value

        with torch.no_grad():
            forward = self.config.model.forward
            logits = [forward(parameters, part, tap) for part in self._inputs.split(EXAMPLES_AT_ONCE)]
        shape = (self.group.order,) * self.group.n_operands
        neurons = torch.cat(recorded).numpy().reshape(*shape, -1) if recorded else None
        return neurons, torch.cat(logits).numpy()

    def members(self, run: Run) -> Bool[np.ndarray, "seed set element tuple_of_sum"]:
        """Which tuples of operands, such as (x, y), are in each set: train set (0), test set (1), all tuples (2).

        The task's operation is written as a sum mod m. For x * y, this sum is log x + log y, with discrete logarithms.
        Entry (seed, set, s, j) says whether the set has tuple j of the tuples whose sum is s (row s of the indices
        `CyclicGroup.by_sum`). Products and quotients have no entry for tuples with an operand 0: 0 has no logarithm.
        """
        task: Any = self.config.task
        masks = np.zeros((len(run.seeds), len(SETS), len(self.group.sums)), bool)
        for seed in range(len(run.seeds)):
            for place, name in enumerate(SETS[:2]):
                inputs = run.all_data[f"{name}_inputs"].values
                positions = self.group.positions(task.decode(inputs[seed] if inputs.ndim == 3 else inputs))
                masks[seed, place, positions[positions >= 0]] = True
        masks[:, -1] = True
        return masks[:, :, self.group.by_sum]

    @property
    def table_names(self) -> list[str]:
        """Names of the `embedding_tables`: the operands, or "tokens" for one table that serves all operands."""
        task: Any = self.config.task
        if task.encoding == "one-hot":
            return list(task.operands)
        blank = {name: np.empty(shape) for name, (_, shape) in self.config.shapes.items()}
        table = self.config.model.embedding_table(blank)
        return [] if table is None else ["tokens"] if table.ndim == 2 else list(task.operands)

    def embedding_tables(self, net: Mapping[str, np.ndarray]) -> list[Float[np.ndarray, "element feature"]]:
        """Embedding tables of the operands, one row per element of Z_m; empty if the model has no embedding."""
        task: Any = self.config.task
        table = self.config.model.embedding_table(net)
        if table is None:
            return []
        if task.encoding == "one-hot":
            by_operand = rearrange(table, "(operand residue) feature -> operand residue feature", residue=task.p)
        elif table.ndim == 2:
            by_operand = table[None]
        else:
            by_operand = table[[task.words.index(name) for name in task.operands]]
        return [rows[residues] for rows, residues in zip(by_operand, self.group.residues, strict=False)]

    def of_classes(
        self, weights: Float[np.ndarray, "feature class"] | None
    ) -> Float[np.ndarray, "element feature"] | None:
        """Transpose of `weights`, with one row per element s = 0, 1, ..., m - 1 of the task's cyclic group.

        In this group, the task's operation is a sum, and each sum s gives one class as the result. Row s has the
        weights of this class. For x + y, row s has the weights of class s. For x * y mod 5, row s has the weights of
        class 2^s mod 5, so row 2 has the weights of class 4. The result is None if `weights` is None.
        """
        return None if weights is None else weights[:, self.group.classes].T
