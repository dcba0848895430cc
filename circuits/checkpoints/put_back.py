"""Putting back the bytes that a killed change of metadata had copied (`undo.py`), if a sound run comes out.

What lies beside a run is not trusted. A process of its own (`sandbox.py`) sees the file as it would be, with the bytes
back in their places: it must be a run that its policy accepts, have data and metadata just where the copy says, and
hold what its config promises.
Otherwise the file stays as it is, and the copy is renamed to `RUN.h5.undo.stale`.
"""

import json
import os
from collections.abc import Callable
from pathlib import Path

from circuits.atomic_write import remove_left_behind, unused
from circuits.checkpoints.layout import FORMAT, FORMAT_VERSION
from circuits.checkpoints.sandbox import examined
from circuits.checkpoints.schema import check_contents
from circuits.checkpoints.undo import has_undo, kept, undo_path
from circuits.checkpoints.unflagged import opened_for_verdict
from circuits.config import parse
from circuits.errors import InputError

REFUSED = ("refused", "damaged", "crashed", "foreign")  # verdicts on the file as it would be


def put_back(path: Path, say: Callable[[str], object] = lambda text: None) -> bool:
    """Put back what a killed change left half done; call it under the run's lock.

    Parameters
    ----------
    path
        The run file.
    say
        Called with a line on a copy that is set aside.

    Returns
    -------
    Whether anything was put back.

    Raises
    ------
    InputError
        It cannot be said whether what lies beside the run is a copy of its bytes.
    """
    beside = undo_path(path)
    remove_left_behind(beside)
    if not has_undo(path):
        return False
    copy = kept(path)
    verdict, text = ("damaged", "") if copy is None else examined(path, FORMAT, FORMAT_VERSION, undone=True)
    if copy is None or verdict in REFUSED or (verdict == "sound" and not _is_run(path)):
        aside = unused(beside.with_name(beside.name + ".stale"))
        beside.rename(aside)
        say(f"{beside} is no copy of bytes of {path}, so nothing is put back. It is {aside} now.")
        return False
    if verdict != "sound":
        raise InputError(f"{beside} cannot be checked ({verdict}: {text}), so {path} was not changed. Try again.")
    with path.open("r+b") as file:
        for start, values in copy.patches():
            file.seek(start)
            file.write(values)
        file.flush()
        file.truncate(copy.size)
        os.fsync(file.fileno())
    beside.unlink()
    return True


def _is_run(path: Path) -> bool:
    """Whether the file as it would be holds what its config promises."""
    try:
        with opened_for_verdict(str(path), undone=True) as file:
            check_contents(file, parse(json.loads(file.attrs["config"])))
    except MemoryError:  # says nothing of the file
        raise
    except Exception:  # whatever h5py, JSON and NumPy make of content that is not what it should be
        return False
    return True
