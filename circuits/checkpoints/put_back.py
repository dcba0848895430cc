"""Restores a run's metadata after an interrupted change, from the copy made before the change (`undo.py`).

The copy is not trusted. Before the run file changes, the code checks the *restored file*: what the run file would be
with the copied bytes. First, the sandbox process (`sandbox.py`) checks that the restored file obeys `policy.py`, the
rules for run files from any source. Its data and metadata must lie exactly where the copy says. Then its content must
match its own config. If the present run file is valid, the restored file must be the same run, with at least as many
checkpoints. If any check fails, the run file stays unchanged, and the copy is renamed to `RUN.h5.undo.stale`.
"""

import json
import os
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import h5py

from circuits.atomic_write import copy_sparse, remove_left_behind, unused, written_whole
from circuits.checkpoints.commits import n_committed, planned_checkpoints
from circuits.checkpoints.layout import FORMAT, FORMAT_VERSION
from circuits.checkpoints.sandbox import examined
from circuits.checkpoints.schema import check_contents
from circuits.checkpoints.undo import has_undo, kept, set_aside, undo_path
from circuits.checkpoints.unflagged import opened_for_verdict
from circuits.config import parse
from circuits.errors import InputError

BEFORE_REPAIR, BEFORE_RESUME = ".before-repair", ".before-resume"
REFUSED = ("refused", "damaged", "crashed", "foreign")  # verdicts on the restored file


def put_back(path: Path, say: Callable[[str], object] = lambda text: None, *, keeps: bool = True) -> bool:
    """Restore the HDF5 metadata of a run file `RUN.h5` from `RUN.h5.undo`; the caller holds the run's lock.

    Before a writer changes metadata, it copies them to `RUN.h5.undo`; after the change, it removes this copy. So the
    copy exists only if something, such as a kill, interrupted the change.

    Parameters
    ----------
    path, say
        The run file, and a function that gets one line of text for each file that is renamed or copied.
    keeps
        Whether to copy the run file to `RUN.h5.before-repair` if it is invalid and has grown since `RUN.h5.undo` was
        made. The restore cuts off the added bytes, which may be new checkpoints.

    Returns
    -------
    Whether metadata were restored. It is False if there is no copy, or if the copy does not fit the run and is renamed.

    Raises
    ------
    InputError
        A check of the run file or of its restored version took too long or gave no result. The run file is unchanged.
    """
    beside = undo_path(path)
    remove_left_behind(beside)
    if not has_undo(path):
        return False
    copy = kept(path)
    verdict, text = ("damaged", "") if copy is None else examined(path, FORMAT, FORMAT_VERSION, undone=True)
    present, why = examined(path, FORMAT, FORMAT_VERSION)
    now, restored = (  # read again if the content seems wrong: a disk error decides nothing
        _state(path, undone=undone) or _state(path, undone=undone) if checked == "sound" else None
        for checked, undone in ((present, False), (verdict, True))
    )
    if verdict == "sound" and (restored is None or (now and (restored[0] < now[0] or restored[1] != now[1]))):
        verdict = "damaged"
    if copy is None or verdict in REFUSED:
        set_aside(path, say)
        return False
    verdict, text = (present, why) if verdict == "sound" and present not in REFUSED else (verdict, text)
    if verdict != "sound":
        raise InputError(f"{beside} cannot be checked ({verdict}: {text}), so {path} was not changed. Try again.")
    if keeps and now is None and path.stat().st_size > copy.size:
        say(f"{path} cannot be read, so metadata from before the last change are restored. Copy: {kept_copy(path)}.")
    with path.open("r+b") as file:
        for start, values in copy.patches():
            file.seek(start)
            file.write(values)
        file.flush()
        file.truncate(copy.size)
        os.fsync(file.fileno())
    beside.unlink()
    return True


def kept_copy(path: Path, ending: str = BEFORE_REPAIR) -> Path:
    """Copy the file to the first unused name beside it, so that earlier copies stay, and return the copy's path."""
    while True:
        copy = unused(path.with_name(path.name + ending))
        with suppress(FileExistsError), path.open("rb") as whole, written_whole(copy, replace=False) as temporary:
            temporary.unlink()
            copy_sparse(whole, temporary)
            return copy


def copy_of_version_1(path: Path, say: Callable[[str], object]) -> Path | None:
    """Copy a file of format version 1, pass one line to `say`, and return the copy's path. For others, return None."""
    is_old = False
    with suppress(OSError), h5py.File(path, "r", swmr=True) as file:  # the writer says why it does not open
        is_old = "digests" not in file
    if not is_old:
        return None
    copy = kept_copy(path, BEFORE_RESUME)
    say(f"{path} has format version 1, so a kill may damage it. Copy until it is closed: {copy}.")
    return copy


def _state(path: Path, *, undone: bool) -> tuple[int, list[Any]] | None:
    """Number of checkpoints of a run file, and a list of facts that identify the run; None for invalid content.

    The facts are the config without `epochs`, and the attributes `created` and `numerics`. If `undone` is True, the
    function takes the metadata from the copy RUN.h5.undo, and also checks that all contents match the config.
    """
    try:
        with opened_for_verdict(str(path), undone=undone) as file:
            config = parse(json.loads(file.attrs["config"]))
            if undone:
                check_contents(file, config)
            facts = [config.model_dump(exclude={"epochs"}), str(file.attrs["created"]), str(file.attrs["numerics"])]
            return n_committed(file["step"][:], planned_checkpoints(config)), facts
    except (MemoryError, OSError):  # no evidence about the file, which the sandbox process finds sound
        raise
    except Exception:  # any error of h5py, JSON or NumPy on wrong content
        return None
