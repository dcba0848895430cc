"""The optimizer's state at some checkpoints of a run, which a replay starts from."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from circuits.checkpoints.commits import n_committed, planned_states
from circuits.checkpoints.digests import check_rows
from circuits.checkpoints.handles import OpenedFile
from circuits.checkpoints.layout import of_state
from circuits.config import Config
from circuits.errors import InputError


def stored_state_steps(opened: OpenedFile, config: Config) -> np.ndarray:
    """Steps at which a run's file has the optimizer's state, in ascending order; see `Run.state_steps`."""
    if "state_step" not in opened.file:
        return np.zeros(0, np.int64)
    with opened.dataset("state_step") as kept:
        values = kept[:]
    return values[: n_committed(values, planned_states(config), "state_step")]


def stored_state(
    path: Path, opened: OpenedFile, seeds: Sequence[int], steps: np.ndarray, step: int
) -> dict[str, np.ndarray]:
    """Arrays of the optimizer's state at a step out of `steps`, by name, each (seed, …); see `Run.optimizer_state`."""
    places = np.flatnonzero(steps == step)
    if not places.size:
        kept = ", ".join(map(str, steps)) or "none (checkpoints.optimizer_state_every keeps some)"
        raise InputError(f"{path} keeps no optimizer state at step {step}. It keeps: {kept}.")
    file, at = opened.file, int(places[0])
    group = file["optimizer"]
    names = sorted(name for name in group if name not in ("state_step", "seed"))
    state = {of_state(name): group[name][at] for name in names}
    if "digests" in file:
        expected = file["digests/optimizer"][at]  # (seed, kept)
        for index, (name, values) in enumerate(state.items()):
            check_rows(
                path, f"optimizer/{name}", values[None], expected[None, :, index],
                lambda _, seed: f"of seed {seeds[seed]} at step {step}",
            )  # fmt: skip
    return state
