"""Errors for users: one line, and an exit code by cause.

`InputError` is a bad argument or file: exit code 2.
`RunError` is a failure while working, such as a full disk: exit code 1.
`Interrupted` is Ctrl-C or SIGTERM, raised after all data is flushed: exit code 130.
"""

from collections.abc import Iterable
from difflib import get_close_matches


class InputError(ValueError):
    """A bad argument or file; the message says what was asked, what there is, what to do."""


class RunError(RuntimeError):
    """A failure during the work, such as a full disk; the message says what is saved and what to do."""


class Interrupted(KeyboardInterrupt):
    """A stop by Ctrl-C or SIGTERM, after the last complete step was committed."""


def damaged(path: object, problem: str) -> InputError:
    """The error for a damaged file: its content is not as this package wrote it."""
    return InputError(f"{path} is damaged: {problem.rstrip('.')}. Restore it from a copy, or make it again.")


def nearest(name: str, valid: Iterable[str]) -> str:
    """Text that suggests a valid name close to `name`, if there is one, and lists the valid names.

    Examples
    --------
    >>> nearest("merril-2023", ["merrill-2023", "nanda-2023"])
    "Did you mean 'merrill-2023'? There are: merrill-2023, nanda-2023."
    >>> nearest("x", ["relu"])
    'There are: relu.'
    """
    names = sorted(valid)
    close = get_close_matches(name, names, n=1)
    hint = f"Did you mean '{close[0]}'? " if close else ""
    return f"{hint}There are: {', '.join(names)}."
