"""The sandbox process. It inspects each file before the user's process opens it; a crash or hang here does no harm.

A Python process starts one sandbox process when it first opens a run. The sandbox process imports h5py (0.1 s), then
forks itself for every file. So each inspection has its own time and memory limits, starts from a clean state, and takes
milliseconds. The sandbox process ends with its parent, or after a minute without a question.

A question asks for the verdict on one file. It is a datagram with the JSON of [path, format, format_version, undone]
and the descriptor of a pipe. The answer into this pipe is the JSON of [verdict, text]. `policy.inspect` defines these.
"""

from __future__ import annotations

import encodings.ascii  # noqa: F401  which every fork would import again, as h5py._hl.dims
import json
import os
import resource
import select
import signal
import socket
import sys
from contextlib import suppress

import h5py._hl.dims  # noqa: F401

from circuits.checkpoints.policy import inspect

SECONDS = 8  # for one file, including waits for the disk
BUSY_SECONDS = 3  # of computing; sound files take hundredths of a second
BYTES_PER_SECOND = 50_000_000  # of compressed data that must be unpacked; it extends both limits
MEMORY_BYTES = 4 << 30
CRASHES = (signal.SIGSEGV, signal.SIGBUS, signal.SIGABRT, signal.SIGFPE, signal.SIGILL)
IDLE_SECONDS = 60


def serve(descriptor: str) -> None:
    """Inspect files on request from a socket until its other end closes, or for IDLE_SECONDS after the last request."""
    with socket.socket(fileno=int(descriptor)) as channel:
        while channel in select.select([channel, sys.stdin], [], [], IDLE_SECONDS)[0]:
            question, pipes, _, _ = socket.recv_fds(channel, 1 << 17, 1)
            if not question:
                return
            for pipe in pipes:
                answer(pipe, *json.loads(question))
                os.close(pipe)


def answer(pipe: int, path: str, file_format: str, format_version: int, undone: bool) -> None:
    """Inspect one file in a fork of this process; write to `pipe` the verdict, or the signal that ended the fork.

    If `undone` is True, the fork inspects the file as recovery from a kill would leave it.
    """
    child = os.fork()
    if child == 0:
        try:
            limit()
            _say(pipe, *inspect(path, file_format, format_version, more_time, undone))
        except MemoryError:
            _say(pipe, "unknown", f"checking it takes more than {MEMORY_BYTES >> 30} GiB of memory.")
        finally:
            os._exit(0)
    _, status = os.waitpid(child, 0)
    if os.WIFSIGNALED(status):
        number = os.WTERMSIG(status)
        limits = {int(signal.SIGALRM): f"{SECONDS} s", int(signal.SIGPROF): f"{BUSY_SECONDS} s of computing"}
        ended = "crashed" if number in CRASHES else "unknown"  # it was killed, as for want of memory
        _say(pipe, *(("slow", limits[number]) if number in limits else (ended, f"signal {number}")))


def limit() -> None:
    """Limit this process to 8 s of elapsed time, 3 s of CPU time and 4 GiB of memory; prevent core files."""
    more_time(0)
    for which, most in ((resource.RLIMIT_AS, MEMORY_BYTES), (resource.RLIMIT_CORE, 0)):
        with suppress(ValueError, OSError):  # not every system has every limit
            resource.setrlimit(which, (most, resource.getrlimit(which)[1]))


def more_time(nbytes: int) -> None:
    """Restart the limits of 8 s of elapsed and 3 s of CPU time, and extend both by 1 s per 50 MB of `nbytes`."""
    unpacking = nbytes / BYTES_PER_SECOND
    for number, clock, seconds in (
        (signal.SIGALRM, signal.ITIMER_REAL, SECONDS),
        (signal.SIGPROF, signal.ITIMER_PROF, BUSY_SECONDS),
    ):
        signal.signal(number, signal.SIG_DFL)
        signal.setitimer(clock, seconds + unpacking)


def _say(pipe: int, verdict: str, text: str) -> None:
    with suppress(BrokenPipeError):  # the asking process has gone
        os.write(pipe, json.dumps([verdict, text[:500]]).encode() + b"\n")
