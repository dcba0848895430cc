"""Errors for users: one line, and an exit code by cause.

`InputError` is a bad argument or file: exit code 2.
`RunError` is a failure while working, such as a full disk: exit code 1.
`Interrupted` is Ctrl-C or SIGTERM, raised after all data is flushed: exit code 130.
"""

import errno
import glob
import os
import re
from collections.abc import Iterable
from difflib import get_close_matches

REMEDIES = {  # refusals by the file system, and what to do
    **dict.fromkeys((errno.ENOSPC, errno.EDQUOT), "Make room"),
    **dict.fromkeys((errno.EACCES, errno.EPERM, errno.EROFS), "Change the permissions of the file and its folder"),
    errno.EFBIG: "Raise the limit on the size of files (ulimit -f)",
}


class InputError(ValueError):
    """A bad argument or file; the message says what was asked, what there is, what to do."""


class RunError(RuntimeError):
    """A failure during the work, such as a full disk; the message says what is saved and what to do."""


class Interrupted(KeyboardInterrupt):
    """A stop by Ctrl-C or SIGTERM, after the last complete step was committed."""


def damaged(path: object, problem: str) -> InputError:
    """The error for a damaged file: its content is not as this package wrote it."""
    copies = glob.glob(f"{glob.escape(str(path))}.before-resum*[!p]")  # the end of temporary files is "tmp"
    copy = max(copies, key=lambda copy: os.lstat(copy).st_mtime, default="a copy")
    return InputError(f"{path} is damaged: {problem.rstrip('.')}. Restore it from {copy}, or make it again.")


def error_number(error: BaseException) -> int:
    """The errno of a file system error, even if only the text of HDF5's message contains it; 0 if there is none."""
    named = re.search(r"errno = (\d+)", str(error))
    return getattr(error, "errno", None) or (int(named[1]) if named else 0)


def refusal(error: BaseException) -> str:
    """Why the file system refused a write, in a few words."""
    return os.strerror(number) if (number := error_number(error)) else str(error)


def remedy(error: BaseException) -> str:
    """What to do if the file system refuses a write, as text without a final period."""
    return REMEDIES.get(error_number(error), "Check the disk, and close the file in other libraries of this process")


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
