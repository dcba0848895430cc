"""A run file made writable: mended after a kill, and opened so that other processes may read meanwhile.

A kill may interrupt a change of metadata, which `put_back` undoes, or leave an end of the file that HDF5 has not
declared, which `recover` keeps. Both run under the run's lock, before a writer opens the file.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import h5py

from circuits.checkpoints.layout import FORMAT, FORMAT_VERSION
from circuits.checkpoints.put_back import REFUSED, put_back
from circuits.checkpoints.recover import completed, recover, rewrite
from circuits.checkpoints.sandbox import examined
from circuits.errors import REMEDIES, InputError, RunError, error_number, refusal, remedy

GENEROUS_SLACK = 1 << 30  # sparse: takes no room


def complete(path: Path, say: Callable[[str], object] = lambda text: None) -> bool:
    """If a kill interrupted the last write of metadata, mend them and return True; the caller holds the run's lock."""
    is_restored = put_back(path, say)
    with path.open("rb") as file:
        block = completed(file)
    if block is not None:
        verdict, text = examined(path, FORMAT, FORMAT_VERSION, undone=True)
        if verdict in REFUSED:
            raise InputError(f"{path} is not a run file: its HDF5 superblock is damaged or of another version")
        if verdict != "sound":
            raise InputError(f"{path} cannot be checked ({verdict}: {text}), so it was not changed. Try again.")
        with path.open("r+b") as file:
            rewrite(file, block)
    return is_restored or block is not None


def make_writable(path: Path, say: Callable[[str], object] = lambda text: None) -> bool:
    """If the file's last writer was killed, recover the file and return True; to be called under the run's lock."""
    is_mended = complete(path, say)
    slack = GENEROUS_SLACK
    with suppress(OSError, RuntimeError, KeyError), h5py.File(path, "r", swmr=True) as file:
        slack = int(file.attrs["recovery_slack"])
    return recover(path, slack) or is_mended


def open_for_appending(path: Path) -> h5py.File:
    """Open the file in single-writer-multiple-reader mode, so that no reader is refused; chunks are not cached."""
    access = h5py.h5p.create(h5py.h5p.FILE_ACCESS)
    access.set_libver_bounds(h5py.h5f.LIBVER_V110, h5py.h5f.LIBVER_V110)
    access.set_file_locking(False, True)
    cache = list(access.get_cache())
    cache[2] = 0  # bytes of chunk cache
    access.set_cache(*cache)
    flags = h5py.h5f.ACC_RDWR | h5py.h5f.ACC_SWMR_WRITE
    try:
        return h5py.File(h5py.h5f.open(os.fsencode(path), flags, fapl=access))
    except OSError as error:
        if error_number(error) in REMEDIES:
            raise RunError(f"{path} cannot be written ({refusal(error)}). {remedy(error)}, then try again.") from error
        raise InputError(
            f"{path} cannot be opened for writing ({error}). If this process has it open, close that Run first."
        ) from error
