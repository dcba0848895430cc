"""The paper's figure that a figure reproduces: its caption names it only for a run of the paper's task and model.

Under any other run a caption says what is drawn and nothing else.
"""

import xarray as xr

from circuits.checkpoints.run import Run

MERRILL, FUANGKAWINSOMBUT = "Merrill et al. 2023", "Fuangkawinsombut 2024"
SETTINGS = {MERRILL: ("parity", "relu"), FUANGKAWINSOMBUT: ("parity", "relu")}  # task and model of the figures named


def with_setting(run: Run, result: xr.Dataset) -> xr.Dataset:
    """A result whose attributes `task` and `model` say of what it is; every task that is a parity is "parity"."""
    task = run.config.task
    return result.assign_attrs(task=task.kind if task.parity_bits is None else "parity", model=run.config.model.kind)


def as_in(result: xr.Dataset | xr.DataArray, place: str, paper: str = MERRILL) -> str:
    """What a caption adds for a result of the paper's task and model: ", as in PLACE of PAPER"; else nothing.

    Parameters
    ----------
    result
        As `with_setting` gives it. A result that does not say of what it is gets nothing.
    place
        Where in the paper, such as "Figure 2 (left)".
    paper
        One of `SETTINGS`.

    Examples
    --------
    >>> told = xr.Dataset(attrs={"task": "parity", "model": "relu"})
    >>> as_in(told, "Figure 2 (left)"), as_in(told.assign_attrs(task="modular"), "Figure 2 (left)")
    (', as in Figure 2 (left) of Merrill et al. 2023', '')
    """
    setting = result.attrs.get("task"), result.attrs.get("model")
    return f", as in {place} of {paper}" if setting == SETTINGS[paper] else ""
