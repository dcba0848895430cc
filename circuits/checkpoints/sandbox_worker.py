"""The process in which files are looked at first: what crashes or hangs here costs nobody anything.

It is started once per Python process that opens runs, imports h5py (0.1 s), and then forks itself for every file it is
asked about: each look has a clock and a memory limit of its own, starts from a clean slate, and takes milliseconds.
It ends when its parent does, or when it has not been asked for a minute.

A question is a datagram, JSON of [path, format, format_version, undone], and brings a pipe for its answer, JSON of
[verdict, text]; see `policy.inspect`.
"""

from __future__ import annotations

import json
import os
import resource
import select
import signal
import socket
import sys
from contextlib import suppress

from circuits.checkpoints.policy import inspect

SECONDS = 8  # for one file, waiting for its disk included
BUSY_SECONDS = 3  # of computing; sound files take hundredths
BYTES_PER_SECOND = 50_000_000  # a second more for so much of a file whose compressed data must be unpacked
MEMORY_BYTES = 4 << 30
IDLE_SECONDS = 60


def serve(descriptor: str) -> None:
    """Answer questions from a socket, until nobody is left to ask or nobody has asked for a while."""
    with socket.socket(fileno=int(descriptor)) as channel:
        while channel in select.select([channel, sys.stdin], [], [], IDLE_SECONDS)[0]:
            question, pipes, _, _ = socket.recv_fds(channel, 1 << 17, 1)
            if not question:
                return
            for pipe in pipes:
                answer(pipe, *json.loads(question))
                os.close(pipe)


def answer(pipe: int, path: str, file_format: str, format_version: int, undone: bool) -> None:
    """Write the verdict on one file, found in a fork of this process; or what became of the fork."""
    child = os.fork()
    if child == 0:
        try:
            limit()
            _say(pipe, *inspect(path, file_format, format_version, more_time, undone))
        except MemoryError:
            _say(pipe, "refused", f"checking it takes more than {MEMORY_BYTES >> 30} GiB of memory.")
        finally:
            os._exit(0)
    _, status = os.waitpid(child, 0)
    if os.WIFSIGNALED(status):
        number = os.WTERMSIG(status)
        if number == signal.SIGALRM:
            _say(pipe, "slow", f"{SECONDS} s")
        elif number == signal.SIGPROF:
            _say(pipe, "slow", f"{BUSY_SECONDS} s of computing")
        else:
            _say(pipe, "crashed", f"signal {number}")


def limit() -> None:
    """Bound this process: the kernel ends it after some seconds, whatever it is doing, and leaves no core file."""
    more_time(0)
    for which, most in ((resource.RLIMIT_AS, MEMORY_BYTES), (resource.RLIMIT_CORE, 0)):
        with suppress(ValueError, OSError):  # not every system has every limit
            resource.setrlimit(which, (most, resource.getrlimit(which)[1]))


def more_time(nbytes: int) -> None:
    """Set the clocks; with `nbytes` they leave time to unpack compressed data of that size."""
    unpacking = nbytes / BYTES_PER_SECOND
    for number, clock, seconds in (
        (signal.SIGALRM, signal.ITIMER_REAL, SECONDS),
        (signal.SIGPROF, signal.ITIMER_PROF, BUSY_SECONDS),
    ):
        signal.signal(number, signal.SIG_DFL)
        signal.setitimer(clock, seconds + unpacking)


def _say(pipe: int, verdict: str, text: str) -> None:
    with suppress(BrokenPipeError):  # whoever asked has gone
        os.write(pipe, json.dumps([verdict, text[:500]]).encode() + b"\n")
