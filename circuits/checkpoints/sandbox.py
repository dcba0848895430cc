"""Validation of files from any source: an unsafe file gets a clear error, never a crash or a hang.

HDF5 is a large C library that trusts its files; on a damaged or hostile one it may crash or wait for years. So a
separate process, the sandbox process (`sandbox_worker.py`), first checks every file by the rules of `policy.py`. The
user's process opens only files that pass. The first check takes about 0.15 s, to start the sandbox process. Later
checks take milliseconds. Verdicts are not cached, since a file may change between two checks.
"""

from __future__ import annotations

import atexit
import json
import os
import select
import socket
import stat
import subprocess
import sys
import threading
from pathlib import Path

import circuits
from circuits.atomic_write import LFS_POINTER, lfs_pointer
from circuits.checkpoints.recover import SIGNATURE
from circuits.errors import InputError, damaged

START_SECONDS = 60  # for the worker to import h5py, on a slow disk
SLOWEST_BYTES_PER_SECOND = 25e6  # at which the worker unpacks compressed data
_ENVIRONMENT = {
    "OPENBLAS_NUM_THREADS": "1",  # one thread, since the process forks
    "OMP_NUM_THREADS": "1",
    "HDF5_PLUGIN_PRELOAD": "::",  # no plugins
}
_STARTED = (
    "import sys; sys.path[:] = sys.argv[2:]; from circuits.checkpoints.sandbox_worker import serve; serve(sys.argv[1])"
)


def validate(path: Path, file_format: str, format_version: int) -> None:
    """Raise an InputError unless a file is safe to open and has the format `file_format`, version <= `format_version`.

    A file is refused if it is not HDF5, has contents that a run may not have, is damaged, or has a newer version.
    """
    verdict, text = examined(path, file_format, format_version)
    if verdict == "foreign":
        raise InputError(
            f"{path} is an HDF5 file but not a run: its 'format' is {text or None!r}, expected {file_format!r}."
        )
    if verdict == "newer":
        raise InputError(
            f"{path} has format version {text}, this package reads up to {format_version}. Upgrade grokking-circuits."
        )
    lines = {
        "refused": f"{path} is refused: {text}",
        "damaged": str(damaged(path, text)),
        "crashed": f"{path} made HDF5 crash ({text}) when it was checked. It is damaged or hostile.",
        "slow": f"{path} took longer than {text} to check. It is damaged or hostile, or its disk does not answer.",
        "unknown": f"{path} cannot be checked: {text}",
        "closed": f"{path} cannot be opened: {text}",
        "other": f"{path} is {text}, so it is not a run."
        + ("" if text == LFS_POINTER else " `circuits train` makes runs."),
    }
    if verdict != "sound":
        raise InputError(lines[verdict])


def examined(path: Path, file_format: str, format_version: int, *, undone: bool = False) -> tuple[str, str]:
    """The verdict on a file, and one line that explains the verdict.

    Verdicts are those of `policy.inspect` and "crashed", "slow", "unknown" (not checkable), "closed" (the file cannot
    be opened), "other" (not a regular file, or not an HDF5 file). A killed writer may leave a file half changed, and
    the next writer repairs the file. If `undone` is True, the verdict is about the file that this repair would make.
    """
    try:
        status = path.stat()
        if not stat.S_ISREG(status.st_mode):  # reading from a pipe or a device may never end
            return "other", "not a regular file"
        with path.open("rb") as file:
            begin = file.read(len(SIGNATURE))
    except OSError as error:
        return "closed", error.strerror or str(error)
    if begin != SIGNATURE:
        return "other", lfs_pointer(path) or "not an HDF5 file"
    return _worker.ask(path, status.st_size, file_format, format_version, undone)


class _Worker:
    """Client of the sandbox process. The client starts this process at the first question, and again if it has ended.

    Forks of the user's process share the sandbox process. Each question carries a new pipe for its answer. So threads
    and forks cannot receive each other's answers, and a late answer cannot pass for the answer to a later question.
    """

    def __init__(self) -> None:
        self._starting = threading.Lock()
        self._process: subprocess.Popen | None = None
        self._channel: socket.socket | None = None
        self._owner = 0

    def ask(self, path: Path, size: int, file_format: str, format_version: int, undone: bool) -> tuple[str, str]:
        """Ask the sandbox process whether a file of `size` bytes is safe to open; return the verdict and its reason.

        If `undone` is True, the sandbox process inspects the file as recovery from a kill would leave it.
        """
        question = json.dumps([str(path.absolute()), file_format, format_version, undone]).encode()
        try:
            for _ in range(2):  # an idle worker may have ended by itself
                channel = self._started()
                reply = _reply(channel, question, START_SECONDS + size / SLOWEST_BYTES_PER_SECOND)
                if reply:
                    verdict, text = json.loads(reply)
                    return verdict, text
                self._end(channel)
        except OSError as error:
            return "unknown", f"the sandbox process cannot be started ({error.strerror or error})"
        return "unknown", "the sandbox process ended without an answer"

    def _started(self) -> socket.socket:
        with self._starting:
            if self._channel is None:
                if not self._owner:
                    atexit.register(self._end)
                    os.register_at_fork(after_in_child=self._unlock)
                self._owner = os.getpid()
                places = [str(Path(circuits.__file__).parents[1]), *filter(os.path.isabs, sys.path)]
                self._channel, its_end = socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM)
                with its_end:
                    self._process = subprocess.Popen(
                        [sys.executable, "-I", "-c", _STARTED, str(its_end.fileno()), *places],
                        stdin=subprocess.PIPE,  # closes with this process, and its forks; nothing is written to it
                        stdout=subprocess.DEVNULL,
                        stderr=subprocess.DEVNULL,
                        pass_fds=[its_end.fileno()],
                        cwd="/",
                        env=os.environ | _ENVIRONMENT,
                        start_new_session=True,  # so Ctrl-C does not reach it
                    )
            return self._channel

    def _end(self, channel: socket.socket | None = None) -> None:
        """End the sandbox process; do nothing if `channel` is the socket of an earlier sandbox process."""
        with self._starting:
            if self._channel is None or channel not in (None, self._channel):
                return
            self._channel.close()
            process, self._channel, self._process = self._process, None, None
            if process is not None and self._owner == os.getpid():
                process.kill()
                process.communicate()

    def _unlock(self) -> None:
        self._starting = threading.Lock()


def _reply(channel: socket.socket, question: bytes, seconds: float) -> bytes:
    """The sandbox process's verdict on a file, or "slow" after `seconds`; empty if the sandbox process has ended."""
    receiving, sending = os.pipe()
    with open(receiving, "rb") as pipe:
        try:
            socket.send_fds(channel, [question], [sending])
        except (ConnectionError, BrokenPipeError):
            return b""
        finally:
            os.close(sending)
        if not select.select([pipe], [], [], seconds)[0]:
            return json.dumps(["slow", f"{seconds:.0f} s"]).encode()
        return pipe.readline()


_worker = _Worker()
