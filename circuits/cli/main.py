"""`circuits COMMAND …`: find the command, run it, and turn any error into one line and an exit code.

Nothing heavy is imported here. A command loads its module when called, and torch only once its arguments are valid.
Exit codes: 0 done, 1 failed while running, 2 bad usage or input, 4 not a parity network (`verify`), 130 interrupted.
"""

from __future__ import annotations

import io
import os
import resource
import signal
import sys
import threading
import traceback
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from typing import Any

from circuits import __version__
from circuits.cli.python_words import in_flags
from circuits.errors import REMEDIES, InputError, Interrupted, RunError, remedy
from circuits.printable import printable
from circuits.registry import Entry, lookup

COMMANDS = {
    "train": Entry("Train a preset, or a config of your own, into a run file.", "circuits.cli.train:command"),
    "analyze": Entry("Measure a run: active subnetworks, norms, faithfulness.", "circuits.cli.analyze:command"),
    "report": Entry("Write one HTML page with every figure of a run.", "circuits.cli.report:command"),
    "show": Entry("Summarize a run: config, checkpoints, phases, state.", "circuits.cli.show:command"),
    "replay": Entry("Train a stretch of a run again, keeping every step.", "circuits.cli.replay:command"),
    "repair": Entry("Make a killed run's file open in plain HDF5 tools.", "circuits.cli.repair:command"),
    "export": Entry("Write one network's parameters as npz, safetensors or torch.", "circuits.cli.export:command"),
    "convert": Entry("Convert existing runs into run files: parity-nn, state dicts.", "circuits.cli.convert:command"),
    "construct": Entry("Write a hand-built network as a run file.", "circuits.cli.construct:command"),
    "verify": Entry("Check whether a network computes parity, and how.", "circuits.cli.verify:command"),
    "presets": Entry("List the presets, or print one as JSON.", "circuits.cli.presets:command"),
}

HELP = f"""\
circuits {__version__}: which circuit computes the answer, and when did it take over?
Train small networks that grok, keep every checkpoint, analyze the trajectory.

usage: circuits COMMAND [ARGUMENTS]

commands:
{{commands}}

options:
  -h, --help   show this page; after a command, that command's arguments
  --version    show the version
  --debug      show the traceback of an error, with any command

an example session:
  circuits presets
  circuits train merrill-2023                                # -> checkpoints/merrill-2023.h5
  circuits show checkpoints/merrill-2023.h5
  circuits analyze checkpoints/merrill-2023.h5 --subnetwork
  circuits report checkpoints/merrill-2023.h5                # -> checkpoints/merrill-2023.html
"""

DONE, FAILED, MISUSED, INTERRUPTED = 0, 1, 2, 130
LONGEST = 2000  # characters of an error
LEAST_MEMORY = {resource.RLIMIT_AS: ("v", 2.6), resource.RLIMIT_DATA: ("d", 0.8)}  # GB, for the libraries themselves


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command line and return its exit code; results go to stdout, everything else to stderr."""
    words = list(sys.argv[1:] if argv is None else argv)
    debug = "--debug" in words
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")  # tables have signs that not every encoding has
    try:
        with _terminated_as_interrupted(), _out_of_memory_reported_once():
            return _exit_code(words, debug)
    except KeyboardInterrupt as error:  # Ctrl-C while the error is printed
        return _reported(error, words)


def _exit_code(words: list[str], debug: bool) -> int:
    try:
        code = _run([word for word in words if word != "--debug"])
        sys.stdout.flush()
        return code
    except SystemExit as leaving:  # the parser has shown a command's help
        return leaving.code if isinstance(leaving.code, int) else DONE
    except BrokenPipeError:  # the reader of stdout has stopped; the interpreter's own last flush must not fail
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
        return FAILED
    except (Exception, KeyboardInterrupt) as error:
        if debug:
            traceback.print_exc()
        return _reported(error, words)


@contextmanager
def _terminated_as_interrupted() -> Iterator[None]:
    """Inside the block, SIGTERM stops a command as Ctrl-C does; training then stops at most one epoch later."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGTERM, interrupt)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


@contextmanager
def _out_of_memory_reported_once() -> Iterator[None]:
    """Inside the block, threads and finalizers that run out of memory print nothing: the command's error reports it."""
    in_threads, unraisable = threading.excepthook, sys.unraisablehook

    def filtered(hook: Callable[[Any], object], failure: Any) -> None:
        if failure.exc_value is None or not _is_out_of_memory(failure.exc_value):
            hook(failure)

    threading.excepthook, sys.unraisablehook = partial(filtered, in_threads), partial(filtered, unraisable)
    try:
        yield
    finally:
        threading.excepthook, sys.unraisablehook = in_threads, unraisable


def _refuse_too_little_memory() -> None:
    """Refuse a memory limit that is too small for the libraries: under it OpenBLAS would retry forever."""
    for which, (flag, least) in LEAST_MEMORY.items():
        limit = resource.getrlimit(which)[0]
        if limit != resource.RLIM_INFINITY and limit < least * 1e9:
            raise RunError(
                f"this process may use {limit / 1e9:.3g} GB of memory (ulimit -{flag}); circuits needs {least:g} GB to "
                f"load its libraries. Raise the limit: ulimit -{flag} {least * 1e6:.0f}, or more for a large run."
            )


def _run(words: list[str]) -> int:
    if not words:
        print(_help(), file=sys.stderr, end="")
        return MISUSED
    name, rest = words[0], words[1:]
    if name == "help" and rest:
        name, rest = rest[0], ["--help"]
    if name in ("-h", "--help", "help"):
        print(_help(), end="")
        return DONE
    if name in ("-V", "--version"):
        print(f"circuits {__version__}")
        return DONE
    if name.startswith("-"):
        raise InputError(
            f"{name} must follow the command. Write `circuits COMMAND {name}`; `circuits --help` lists the commands."
        )
    command = lookup(COMMANDS, name, "command")
    if not {"-h", "--help"} & set(rest):
        _refuse_too_little_memory()
    return command.load()(rest)


def _help() -> str:
    return HELP.format(commands="\n".join(f"  {name:<12} {entry.help}" for name, entry in COMMANDS.items()))


def _reported(error: BaseException, words: list[str]) -> int:
    text = str(error).strip()
    if not isinstance(error, InputError | RunError | Interrupted):  # in these errors, a line break is part of a name
        text = " ".join(text.split())
    if isinstance(error, KeyboardInterrupt):
        print(printable(text) or "Interrupted.", file=sys.stderr)
        return INTERRUPTED
    if _is_out_of_memory(error):
        text = (
            f"there is not enough memory ({text or 'an allocation failed'}). Raise the limit (ulimit -v), or ask for "
            f"less: fewer seeds, examples or checkpoints."
        )
    elif isinstance(error, OSError) and error.strerror:
        text = f"{error.filename}: {error.strerror}" if error.filename else error.strerror
        if error.errno in REMEDIES and "another path" not in error.strerror:
            text += f". {remedy(error)}{', or pass --out on another disk' if remedy(error) == 'Make room' else ''}."
    elif not isinstance(error, InputError | RunError | OSError):
        text = f"{type(error).__name__}: {text}. This is a bug in circuits; --debug shows where."
    if isinstance(error, InputError | RunError | OSError):
        text = in_flags(text, words)
    if len(text) > LONGEST:  # such as the list of a million refused values
        text = f"{text[: LONGEST // 2]} … {text[-LONGEST // 2 :]}"
    print(f"error: {printable(text)}", file=sys.stderr)
    return MISUSED if isinstance(error, InputError) else FAILED


def _is_out_of_memory(error: BaseException) -> bool:
    """Whether the error means that memory ran out; Python, the library loader and torch raise different errors."""
    phrases = ("failed to map segment", "Cannot allocate memory", "can't allocate memory", "can't start new thread")
    return isinstance(error, MemoryError) or (
        isinstance(error, ImportError | RuntimeError | OSError) and any(text in str(error) for text in phrases)
    )
