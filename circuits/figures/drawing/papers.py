"""Captions of figures from papers: a caption names the paper's figure only for a run of the paper's task and model."""

import xarray as xr

from circuits.checkpoints.run import Run

MERRILL, FUANGKAWINSOMBUT = "Merrill et al. 2023", "Fuangkawinsombut 2024"
SETTINGS = {MERRILL: ("parity", "relu"), FUANGKAWINSOMBUT: ("parity", "relu")}  # task and model of the papers' figures


def with_setting(run: Run, result: xr.Dataset) -> xr.Dataset:
    """A result with its run's `task` and `model` as attributes; `task` is "parity" for every parity task."""
    task = run.config.task
    return result.assign_attrs(task=task.kind if task.parity_bits is None else "parity", model=run.config.model.kind)


def as_in(result: xr.Dataset | xr.DataArray, place: str, paper: str = MERRILL) -> str:
    """Caption text ", as in PLACE of PAPER" for a result of the paper's task and model; otherwise "".

    The attributes "task" and "model" of `result` are the kinds of its run's task and model. If they are missing, the
    text is "". `place` is a figure or section of `paper`. `SETTINGS` maps each possible `paper` to its task and model.

    Examples
    --------
    >>> parity = xr.Dataset(attrs={"task": "parity", "model": "relu"})
    >>> as_in(parity, "Figure 2 (left)"), as_in(parity.assign_attrs(task="modular"), "Figure 2 (left)")
    (', as in Figure 2 (left) of Merrill et al. 2023', '')
    """
    setting = result.attrs.get("task"), result.attrs.get("model")
    return f", as in {place} of {paper}" if setting == SETTINGS[paper] else ""
