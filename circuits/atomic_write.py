"""Files that appear whole or not at all, whatever happens while they are written."""

import errno
import glob
import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

from circuits.errors import InputError

LFS_BEGIN = b"version https://git-lfs.github.com/spec/"
LFS_POINTER = "a Git LFS pointer, not the file itself (`git lfs pull` fetches it)"
COPIED_BYTES = 1 << 24  # at a time


@contextmanager
def written_whole(path: Path, *, replace: bool) -> Iterator[Path]:
    """Give a temporary path beside `path` to write to; on success that file is synced and takes the name in one move.

    Parameters
    ----------
    path
        The file to be.
    replace
        Replace a file that is there; otherwise it is left as it is.

    Raises
    ------
    FileExistsError
        `path` exists and `replace` is False. Then, and whenever the block fails, the temporary file is gone.

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
        temporary.touch()
    except OSError as error:
        why = f"cannot be written ({error.strerror}). Pass --out in a folder that can be written to"
        raise OSError(error.errno, why, str(path)) from None
    try:
        try:
            yield temporary
            sync(temporary)
        except OSError as error:  # HDF5 writes a paragraph, others no name: say which file, and what the system says
            if error.errno == errno.ENOSPC:
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(path)) from error
            raise
        if replace:
            os.replace(temporary, path)
        else:
            os.link(temporary, path)
        sync(path.parent)
    finally:
        temporary.unlink(missing_ok=True)


def unused(path: Path) -> Path:
    """`path` if nothing of that name is there, or else the first of PATH.1, PATH.2, … that is not."""
    candidate, number = path, 0
    while os.path.lexists(candidate):
        number += 1
        candidate = path.with_name(f"{path.name}.{number}")
    return candidate


def lfs_pointer(path: Path) -> str:
    """What a file is if Git Large File Storage keeps its content elsewhere; an empty text otherwise."""
    with path.open("rb") as file:
        return LFS_POINTER if file.read(len(LFS_BEGIN)) == LFS_BEGIN else ""


def make_folder(path: Path) -> None:
    """Make the folder of an output, if need be.

    Raises
    ------
    InputError
        It cannot be made.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InputError(
            f"{path} cannot be written: there can be no folder {path.parent} ({error.strerror}). Pass --out elsewhere."
        ) from None


def remove_left_behind(path: Path) -> None:
    """Remove temporary files for this output whose process is gone, and their locks."""
    for left in path.parent.glob(f"{glob.escape(path.name)}.*.tmp*"):
        process = left.name.removeprefix(f"{path.name}.").removesuffix(".lock").removesuffix(".tmp")
        if process.isdigit() and not is_alive(int(process)):
            left.unlink(missing_ok=True)


def is_alive(process: int) -> bool:
    """Whether there is a process of this number."""
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except OSError:  # somebody else's, or no process number at all
        return True
    return True


def copy_sparse(source: IO[bytes], target: Path) -> None:
    """Copy an open file without filling its holes, which take no room on the disk.

    Raises
    ------
    FileExistsError
        There is a file at `target`.
    OSError
        A write was refused; then there is none.

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
                    break  # nothing but a hole is left
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
    """A file without a name, in memory where the system has such."""
    if hasattr(os, "memfd_create"):
        return os.fdopen(os.memfd_create("circuits"), "r+b")
    return tempfile.TemporaryFile()


def sync(path: Path) -> None:
    """Ask the system to put a file, or a folder's entries, on the disk now."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
