"""Writing of output files: an interrupted write leaves no partial file under the output's name."""

import errno
import glob
import os
import re
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from itertools import chain, count
from pathlib import Path
from typing import IO

from circuits.errors import InputError, RunError, error_number, refusal

LFS_BEGIN = b"version https://git-lfs.github.com/spec/"
LFS_POINTER = "a Git LFS pointer, not the file itself (`git lfs pull` fetches it)"
COPIED_BYTES = 1 << 24  # copied at a time
MOST_PROCESSES = 1 << 22  # PID_MAX_LIMIT of Linux


@contextmanager
def written_whole(path: Path, *, replace: bool) -> Iterator[Path]:
    """Yields a temporary path beside `path`; on success this file is synced and renamed to `path`, otherwise removed.

    Raises
    ------
    FileExistsError
        `path` exists and `replace` is False.
    RunError
        `path` is written, but its folder could not be synced.

    Examples
    --------
    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     path = Path(folder) / "a.txt"
    ...     with written_whole(path, replace=False) as temporary:
    ...         _ = temporary.write_text("all of it")
    ...     path.read_text(), len(list(Path(folder).iterdir()))
    ('all of it', 1)
    """
    remove_left_behind(path)
    temporary = path.with_name(f"{path.name}.{os.getpid()}.tmp")
    try:
        with suppress(FileNotFoundError):
            temporary.unlink()  # left by an ended process that had our process id
        temporary.touch(exist_ok=False)
    except OSError as error:
        why = f"cannot be written ({error.strerror}). Pass another path, in a folder that can be written to"
        raise OSError(error.errno, why, str(path)) from None
    try:
        try:
            yield temporary
            sync(temporary)
        except OSError as error:  # HDF5's message is a paragraph, others lack the file name
            if error.filename is None and (number := error_number(error)):
                raise OSError(number, os.strerror(number), str(path)) from error
            raise
        if replace:
            os.replace(temporary, path)
        else:
            os.link(temporary, path)
        try:
            sync(path.parent)
        except OSError as error:
            why = f"its folder could not be synced ({refusal(error)}), so a power failure may lose it"
            raise RunError(f"{path} is written, but {why}. Check the disk.") from error
    finally:
        temporary.unlink(missing_ok=True)


def unused(path: Path) -> Path:
    """`path` if it does not exist, otherwise the first of PATH.1, PATH.2, … that does not exist."""
    candidates = chain([path], (path.with_name(f"{path.name}.{number}") for number in count(1)))
    return next(candidate for candidate in candidates if not os.path.lexists(candidate))


def lfs_pointer(path: Path) -> str:
    """Description of a Git LFS pointer file, whose content is stored elsewhere; "" for any other file."""
    with path.open("rb") as file:
        return LFS_POINTER if file.read(len(LFS_BEGIN)) == LFS_BEGIN else ""


def make_folder(path: Path) -> None:
    """Create the folder of an output file if it does not exist.

    Raises
    ------
    InputError
        The folder cannot be created.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        why = f"the folder {path.parent} cannot be created ({error.strerror})"
        raise InputError(f"{path} cannot be written: {why}. Pass another path.") from None


def remove_left_behind(path: Path) -> None:
    """Remove temporary files and lock files for `path` and its backups, if the process that made them has ended."""
    copies = r"(?:\.undo|\.before-re(?:pair|sume)(?:\.\d+)?)?"
    temporary = re.compile(rf"{re.escape(path.name)}{copies}\.(\d+)\.tmp(?:\.lock)?")
    for left in path.parent.glob(f"{glob.escape(path.name)}.*.tmp*"):
        name = temporary.fullmatch(left.name)
        number = process_number(name[1]) if name else None
        if number is not None and not is_alive(number):
            with suppress(OSError):  # a folder, or removed meanwhile
                left.unlink()


def process_number(text: str) -> int | None:
    """The process id that a text holds; None if the text is not a process id.

    Examples
    --------
    >>> process_number("4321"), process_number("²"), process_number("4294967297")
    (4321, None, None)
    """
    return int(text) if text.isascii() and text.isdigit() and len(text) <= 7 and int(text) <= MOST_PROCESSES else None


def is_alive(process: int) -> bool:
    """Whether a process with this id is running."""
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except OSError:  # another user's process
        return True
    return True


def copy_sparse(source: IO[bytes], target: Path) -> None:
    """Copy an open file and keep its holes, which take no disk space.

    Raises
    ------
    FileExistsError
        `target` exists.
    OSError
        A write failed; `target` is removed.

    Examples
    --------
    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder, scratch() as file:
    ...     _ = file.truncate(1 << 20), file.seek(1 << 19), file.write(b"x")
    ...     copy_sparse(file, Path(folder) / "b")
    ...     copied = (Path(folder) / "b").read_bytes()
    ...     len(copied), copied.index(b"x")
    (1048576, 524288)
    """
    source.flush()
    new = target.open("xb")
    try:
        with new:
            size, end = os.fstat(source.fileno()).st_size, 0
            while end < size:
                try:
                    start = os.lseek(source.fileno(), end, os.SEEK_DATA)
                except OSError as error:
                    if error.errno != errno.ENXIO:
                        raise
                    break  # only a hole is left
                end = os.lseek(source.fileno(), start, os.SEEK_HOLE)
                source.seek(start)
                new.seek(start)
                while source.tell() < end:
                    new.write(source.read(min(end - source.tell(), COPIED_BYTES)))
            new.truncate(size)
            new.flush()
            os.fsync(new.fileno())
    except BaseException:
        target.unlink(missing_ok=True)
        raise


def scratch() -> IO[bytes]:
    """An unnamed temporary file, in memory where the system supports it."""
    if hasattr(os, "memfd_create"):
        return os.fdopen(os.memfd_create("circuits"), "r+b")
    return tempfile.TemporaryFile()


def sync(path: Path) -> None:
    """Flush a file, or a folder's entries, to disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
