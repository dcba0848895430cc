"""Parse the words of a command line into a dataclass of flags, or raise an error of one line.

tyro parses the words. tyro prints errors as boxes of several lines, and its error hook is not public. So this module
writes one line for each hook event that it recognizes, and condenses the printed box of any other error to one line.
"""

import io
import re
from collections.abc import Mapping, Sequence
from contextlib import nullcontext, redirect_stderr
from difflib import get_close_matches
from itertools import takewhile
from typing import Any, TypeVar

import tyro
from pydantic import BaseModel, ValidationError

from circuits.cli.console import remark
from circuits.cli.flags import arities
from circuits.cli.values import refuse_surplus
from circuits.config import one_line
from circuits.errors import InputError, nearest

FORMER = {"--support": "--agreement-set"}
"""Flags that have a new name in this version of circuits: former name -> new name. The version accepts both names."""
Flags = TypeVar("Flags")
Model = TypeVar("Model", bound=BaseModel)


def parsed(flags: type[Flags], words: Sequence[str], command: str, n_bare: int | None = None) -> Flags:
    """The flags that `words` set; `--help` prints the help on stdout and leaves with SystemExit(0).

    `n_bare` is the number of positional arguments among `words`; by default the number that `flags` declares.
    The function raises InputError, with a message of one line, if the words do not fit the flags.
    """
    words = _current(flags, words)
    refuse_surplus(flags, words, n_bare)
    return _read(flags, words, command)


def _current(flags: type, words: Sequence[str]) -> list[str]:
    """The words, with each former name of a flag replaced by its present name; a remark reports each replacement."""
    valid, current = arities(flags), list(words)
    for index, word in enumerate(takewhile(lambda word: word != "--", words)):
        flag, equals, value = word.partition("=")
        if flag in FORMER and flag not in valid and FORMER[flag] in valid:
            remark(f"warning: {flag} is now {FORMER[flag]}, and goes in the next version.")
            current[index] = FORMER[flag] + equals + value
    return current


def recognized(flags: type[Flags], words: Sequence[str], command: str, n_bare: int | None = None) -> Flags:
    """An object of class `flags`, with the values that `words` set; unknown words and `--help` are ignored.

    `n_bare`: number of positional arguments in `words`. `command`: the command's name, such as "circuits train".
    """
    refuse_surplus(flags, words, n_bare)
    return _read(flags, words, command, return_unknown_args=True, add_help=False)[0]


def validated(kind: type[Model], data: Mapping[str, Any], flags: type) -> Model:
    """The pydantic object that `data` describe; if a field is wrong, a one-line `InputError` names flag or field."""
    try:
        return kind.model_validate(data)
    except ValidationError as error:
        line = one_line(error)  # such as "epochs: must be at least 0 (given: -1)"
        field, _, problem = line.partition(": ")
        flag = "--" + re.sub(r"\.\d+$", "", field).replace("_", "-")
        raise InputError(f"{flag}: {problem}" if flag in arities(flags) else line) from None  # "--epochs: must be …"


def _read(flags: type, words: Sequence[str], command: str, **options: Any) -> Any:
    def report(event: Any) -> None:
        if (line := _worded(event, flags, words, command)) is not None:
            raise InputError(line)

    hooks = getattr(tyro, "_errors", None)
    printed = io.StringIO()
    try:
        with redirect_stderr(printed), hooks.on_parse_error(report) if hooks else nullcontext():
            return tyro.cli(flags, args=list(words), prog=command, config=(tyro.conf.FlagCreatePairsOff,), **options)
    except SystemExit as leaving:
        if leaving.code in (0, None):
            raise
        raise InputError(condensed(printed.getvalue(), command)) from None


def _worded(event: Any, flags: type, words: Sequence[str], command: str) -> str | None:
    """Error line for an event of tyro's error hook; None if this function does not recognize the event."""
    match type(event).__name__:
        case "UnrecognizedArgs":
            return _unknown(event.tokens, words, flags, command)
        case "MissingArgs":
            return _needed(words, flags, command, " and ".join(_flag(one.arg) for one in event.missing_arguments))
        case "InvalidChoice" if {choice.lower() for choice in event.choices} == {"true", "false"}:
            return f"{_flag(event.argument)} cannot be '{event.value}'. Write true or false."
        case "InvalidChoice":
            return f"{_flag(event.argument)} cannot be '{event.value}'. {nearest(event.value, event.choices)}"
        case "BadValue" if event.argument.is_positional():
            return _needed(words, flags, command, _flag(event.argument))
        case "BadValue":
            return f"{_flag(event.argument)} needs a value: {event.argument.lowered.metavar}."
        case "InstantiationFailure" if event.argument is not None:
            given = _given(event.argument.lowered.name_or_flags, words)
            return f"{_flag(event.argument)} takes {event.argument.lowered.metavar}{given}."
    return None


def _needed(words: Sequence[str], flags: type, command: str, argument: str) -> str:
    """Error line for a missing argument. If `words` have an unknown flag, the line is about this flag instead."""
    typed = [word for word in words if word.startswith("--")]
    valid = [*arities(flags), "--help"]
    if misspelled := [word for word in typed if word.partition("=")[0].replace("_", "-") not in valid]:
        return _unknown(misspelled, words, flags, command)
    return f"{command} needs {argument}. `{command} --help` shows its arguments."


def _unknown(tokens: Sequence[str], words: Sequence[str], flags: type, command: str) -> str:
    valid = [*arities(flags), "--help"]
    after = (word.partition("=")[0] for word in words[words.index("--") :]) if "--" in words else ()
    if late := [word for word in after if word.replace("_", "-") in valid]:
        return f"{late[0]} comes after --, where no word is an option. Leave -- out."
    token = next((token for token in tokens if token.startswith("-")), tokens[0]).partition("=")[0]
    if not token.startswith("-"):
        return f"{command} does not know what to do with '{token}'. `{command} --help` shows its arguments."
    if token.endswith(".kind") and "--set" in valid:
        part = token.lstrip("-").removesuffix(".kind")
        return f"{token} cannot be a flag: the other fields of {part} depend on it. Use --set {part}.kind=NAME."
    close = get_close_matches(token.replace("_", "-"), valid, n=1)
    close = close or [name for name in valid if name.rpartition(".")[2] == token.lstrip("-")][:1]
    hint = f"Did you mean {close[0]}? " if close else ""
    return f"{command} has no option {token}. {hint}`{command} --help` lists the options."


def _flag(argument: Any) -> str:
    return str(argument.lowered.metavar if argument.is_positional() else argument.lowered.name_or_flags[0])


def _given(names: Sequence[str], words: Sequence[str]) -> str:
    """Last part of an error message: it quotes the value of a flag in `words`, or is empty if the flag is absent."""
    for index in reversed(range(len(words))):
        flag, equals, value = words[index].partition("=")
        if flag.replace("_", "-") in names:
            after = takewhile(lambda word: not word.startswith("--"), words[index + 1 :])
            return f", not '{' '.join([*([value] if equals else []), *after])}'"
    return ""


def condensed(box: str, command: str) -> str:
    r"""The text of tyro's printed error box, on one line.

    Examples
    --------
    >>> condensed("╭─ Parsing error ─╮\n│ Cannot do    │\n│ this.  │\n╰────╯", "circuits train")
    'Cannot do this. See `circuits train --help`.'
    """
    lines = [re.sub(r"[│╭╮╰╯─|+]", " ", line).strip() for line in box.splitlines() if not re.match(r"\s*[╭╰+]", line)]
    text = " ".join(line for line in lines if line and "--help" not in line)
    return f"{text or 'The arguments could not be read.'} See `{command} --help`."
