"""Errors of the library in the words of the command line.

The library's errors name Python arguments, such as `resume=True` or `norm='incoming'`. `circuits.cli.main` prints every
error through `in_flags`, which writes these arguments as flags.
"""

import re
from collections.abc import Sequence

NAMES = (
    *("allow_different_numerics", "checkpoints", "common_epochs", "dtype", "epochs", "frequencies", "k", "kernel"),
    *("layer", "loss_dtype", "norm", "overwrite", "p", "resume", "task.file", "time_limit"),
    *("checkpoints.every_epochs", "checkpoints.every_steps"),
)
"""Arguments that the library's errors name and that are flags too. Any other `name=value` stays."""

_PHRASES = {"another path": "another --out", "and the config file": "and --config"}
_NUMBER = r"-?\d+(?:\.\d+)?(?:e[+-]?\d+)?"
_ARGUMENT = (
    rf"(?<![^\s(])(?P<name>{'|'.join(map(re.escape, NAMES))})="
    rf"(?:True|'(?P<text>[^']*)'|(?P<number>{_NUMBER})|\[(?P<list>[\d, ]*)\])(?=[,.;:)]*(?:\s|$))"
)
_KEPT = (  # calls, JSON objects and assignments after a flag, as in `--set epochs=3`
    r"[\w.]+\([^()]*\)|\{[^{}]*\}|--[\w.-]+(?: [\w.-]+=\S+)+"
)
_WORDS = re.compile(
    rf"(?P<kept>{_KEPT})|{_ARGUMENT}|(?P<phrase>{'|'.join(_PHRASES)})|(?P<leave>Leave '(?P<flag>[a-z][\w-]*)' out)"
)


def in_flags(text: str, typed: Sequence[str] = ()) -> str:
    """The text of an error with flags in place of Python arguments.

    Parameters
    ----------
    text
        The text, such as "a.h5 exists. Pass overwrite=True to replace it, or another path."
    typed
        Words of the command line. Wherever such a word with a space or "=" occurs in `text`, it stays as it was typed.

    Returns
    -------
    The text in which `name=True` is `--name`, and `name='value'`, `name=7` and `name=[1, 2]` are `--name` with the
    values, for each of `NAMES`; "another path" is "another --out". Calls, JSON and any other text stay unchanged.

    Examples
    --------
    >>> in_flags("a.h5 exists. Pass resume=True to continue it, or another path.")
    'a.h5 exists. Pass --resume to continue it, or another --out.'
    >>> in_flags("Pass norm='incoming', time_limit=240 or frequencies=[1, 5].")
    'Pass --norm incoming, --time-limit 240 or --frequencies 1 5.'
    >>> in_flags("Continue it with circuits.record(…, resume=True).")
    'Continue it with circuits.record(…, resume=True).'
    >>> in_flags("a epochs=5 b.h5 does not exist.", ["show", "a epochs=5 b.h5"])
    'a epochs=5 b.h5 does not exist.'
    """
    own = sorted({word for word in typed if "=" in word or " " in word}, key=len, reverse=True)
    if not own:
        return _WORDS.sub(_as_flag, text)
    pieces = re.split(f"({'|'.join(map(re.escape, own))})", text)
    return "".join(piece if index % 2 else _WORDS.sub(_as_flag, piece) for index, piece in enumerate(pieces))


def _as_flag(match: re.Match[str]) -> str:
    if match["kept"] is not None:
        return match["kept"]
    if match["phrase"] is not None:
        return _PHRASES[match["phrase"]]
    if match["leave"] is not None:
        return f"Leave --{match['flag']} out"
    of_list = None if match["list"] is None else match["list"].replace(",", "")
    values = next((value for value in (match["text"], match["number"], of_list) if value is not None), None)
    flag = f"--{match['name'].replace('_', '-')}"
    return flag if values is None else f"{flag} {values}"
