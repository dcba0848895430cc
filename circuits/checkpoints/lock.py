"""Locks which ensure that only one process at a time, the writer, writes a run file RUN.h5.

The writer first creates and locks the file RUN.h5.lock, which holds its process id. At the end, it removes RUN.h5.lock.
If a process opens RUN.h5.lock before this removal but locks it afterwards, it tries again with a new RUN.h5.lock.

The writer also marks RUN.h5 itself, by a lock on one byte of it (`file_signature.py`). A process finds the mark even if
it knows RUN.h5 under another path, where no RUN.h5.lock exists.

HDF5's own locks are not used: a reader that dies with such a lock would block every resume.
"""

from __future__ import annotations

import fcntl
import os
import stat
import time
from contextlib import suppress
from pathlib import Path

from circuits.atomic_write import is_alive, process_number, remove_left_behind
from circuits.checkpoints.file_signature import Mark, marked_by
from circuits.checkpoints.undo import undo_path
from circuits.errors import InputError, RunError, refusal, remedy

ATTEMPTS = 100  # to take a lock that `writer_pid` may hold for an instant


class RunLock:
    """The lock that a process holds while it writes a run; a second writer gets an InputError that names the first."""

    def __init__(self, path: Path) -> None:
        self.path_of_run, self.path = path, lock_path(path)
        self._descriptor = self._locked()
        self._mark: Mark | None = None
        try:
            try:
                os.ftruncate(self._descriptor, 0)
                os.pwrite(self._descriptor, str(os.getpid()).encode(), 0)
            except OSError as error:  # a full disk
                raise RunError(
                    f"{path}: its lock file {self.path} cannot be written ({refusal(error)}). Nothing was "
                    f"changed. {remedy(error)}, then try again."
                ) from error
            remove_left_behind(path)
            if path.exists():
                self.mark()
        except BaseException:
            self.release()
            raise

    def mark(self) -> None:
        """Mark the run file by a lock on one byte; call this again after the file is created or replaced."""
        before, self._mark = self._mark, Mark(self.path_of_run)
        if before is not None:
            before.release()
        if (process := self._mark.other()) is not None:
            raise being_written(self.path_of_run, process)

    def _locked(self) -> int:
        """Take the lock, and return the lock file's descriptor; InputError if another process holds the lock."""
        for _ in range(ATTEMPTS):
            try:
                descriptor = os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_NONBLOCK | os.O_NOFOLLOW, 0o644)
            except OSError as error:
                if os.path.lexists(self.path) and not stat.S_ISREG(os.lstat(self.path).st_mode):
                    raise self._not_our_file() from error
                beside = undo_path(self.path_of_run).name
                files = f"the run and {beside}" if os.path.lexists(undo_path(self.path_of_run)) else "the run"
                raise InputError(
                    f"{self.path_of_run} cannot be written: its lock file {self.path} cannot be created "
                    f"({error.strerror or error}). Copy {files} to a writable folder, or pass another path."
                ) from error
            self._refuse_other_file(descriptor)
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                process = process_number(os.pread(descriptor, 100, 0).decode(errors="replace"))
                os.close(descriptor)
                if process is not None and is_alive(process):  # the file may still name a killed writer
                    raise being_written(self.path_of_run, process) from None
                time.sleep(0.01)  # `writer_pid`, which only asks who writes, soon releases the lock
            except OSError as error:
                if os.fstat(descriptor).st_size == 0:  # made here, as no process id is in it
                    self.path.unlink(missing_ok=True)
                os.close(descriptor)
                raise InputError(
                    f"{self.path_of_run} cannot be locked ({error.strerror or error}), and without a lock two writers "
                    f"could damage it. Write the run to a local disk, or mount this file system with locks."
                ) from error
            else:
                if _has_name(descriptor, self.path):
                    return descriptor
                os.close(descriptor)
        raise being_written(self.path_of_run, "(id unknown)")  # "RUN.h5 is being written by process (id unknown). …"

    def _refuse_other_file(self, descriptor: int) -> None:
        """Before a write, refuse a lock file that is a pipe, has other hard links, or holds text but no process id."""
        status = os.fstat(descriptor)
        is_file = stat.S_ISREG(status.st_mode) and status.st_nlink <= 1
        try:
            content = os.pread(descriptor, 100, 0).decode(errors="replace") if is_file else ""
        except OSError:
            is_file = False
        if not is_file or (content and process_number(content) is None):
            os.close(descriptor)
            raise self._not_our_file()

    def _not_our_file(self) -> InputError:
        return InputError(
            f"{self.path_of_run} cannot be written: {self.path} is not its lock file. Move {self.path.name} away."
        )

    def release(self) -> None:
        """Remove the lock file while this process still holds the lock, then release the lock."""
        if self._mark is not None:
            self._mark.release()
        os.ftruncate(self._descriptor, 0)
        if _has_name(self._descriptor, self.path):
            self.path.unlink(missing_ok=True)
        os.close(self._descriptor)

    def __enter__(self) -> RunLock:
        return self

    def __exit__(self, *_: object) -> None:
        self.release()


def being_written(path: Path, holder: str | int) -> InputError:
    """The error for a file that another process is writing; `holder` is the process id, or "(id unknown)"."""
    return InputError(f"{path} is being written by process {holder}. Wait for it, stop it, or pass another path.")


def lock_path(path: Path) -> Path:
    """Path of a run's lock file: beside the file itself, with symbolic links resolved."""
    path = path.resolve()
    return path.with_name(path.name + ".lock")


def _has_name(descriptor: int, path: Path) -> bool:
    """Whether the path still names the open file."""
    try:
        return os.path.samestat(os.fstat(descriptor), os.stat(path))
    except FileNotFoundError:
        return False


def writer_pid(path: Path) -> int | None:
    """Id of the process that writes the run now; None if no process writes it."""
    with suppress(OSError):  # there is no lock file, or the file system has no locks; reading needs none
        descriptor = os.open(lock_path(path), os.O_RDONLY | os.O_NONBLOCK | os.O_NOFOLLOW)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            process = process_number(os.read(descriptor, 100).decode(errors="replace"))
            return process if process is not None and is_alive(process) else None
        finally:
            os.close(descriptor)
    return marked_by(path)
