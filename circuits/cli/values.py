"""Which words of a command line are values of which flag; a value too many, and a flag given twice, are refused.

tyro gives a flag of one value the first word after it. The next word then becomes the positional argument, and a flag
that stands twice has its last value: either way a value that was typed is dropped without a word. The check reads the
words as tyro does, before tyro.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from circuits.cli.flags import Arity, arities, n_positional
from circuits.errors import InputError

MANY_RUNS = "for several values run the command once with each"
TRUTHS = ("true", "false", "yes", "no", "on", "off")  # words after a switch that are meant as its value


class Use(NamedTuple):
    """A flag where it stands: its own values, and the words after those up to the next flag."""

    flag: str
    values: list[str]
    after: list[str]


def refuse_surplus(flags: type, words: Sequence[str], n_bare: int | None = None) -> None:
    """Refuse words that tyro would drop or take for something else.

    Parameters
    ----------
    flags
        The dataclass of flags. A flag that it does not have is left for the parser to report.
    words
        The command line, after the command.
    n_bare
        Positional arguments that the command takes; by default those of `flags`.

    Raises
    ------
    InputError
        A flag of one value is followed by more than the positional arguments account for, a switch has a value, a flag
        stands twice with different values, or a flag and `--set` give one field different values.

    Examples
    --------
    >>> from circuits.cli.flags import flag_class, flags_of
    >>> from circuits.config import SGD
    >>> refuse_surplus(flag_class("SGD", flags_of(SGD()), ""), ["--weight-decay", "2", "4"])
    Traceback (most recent call last):
    circuits.errors.InputError: --weight-decay takes one value, but was given '2' and '4'. Pass one; for several \
values run the command once with each.
    """
    if "--help" in words or "-h" in words:
        return
    known = arities(flags)
    first, *uses = _uses(words, known)
    n_bare = n_positional(flags) if n_bare is None else n_bare
    _refuse_values_of_switches(uses, known, n_bare - len(first.after))
    _refuse_more_than_one(uses, known, len(first.after) + sum(len(use.after) for use in uses) > n_bare)
    _refuse_twice(uses, known)
    _refuse_two_ways(uses, known)


def is_flag(word: str) -> bool:
    """Whether a word is a flag rather than a value, by tyro's rule: numbers below 0, -inf and -50: are values.

    Examples
    --------
    >>> [is_flag(word) for word in ("--epochs=3", "-h", "-1e-3", "-inf", "-50:", "7", "a-b")]
    [True, True, False, False, False, False, False]
    """
    name = word.lstrip("-")
    return word.startswith("-") and (not name or name[0].isalpha()) and not (is_number(word) and word[1] != "-")


def is_number(word: str) -> bool:
    """Whether Python reads the word as a number.

    Examples
    --------
    >>> is_number("-1e-3"), is_number("merrill-2023")
    (True, False)
    """
    try:
        float(word)
    except ValueError:
        return False
    return True


def listed(values: Sequence[str]) -> str:
    """Words in quotes, with an "and" before the last.

    Examples
    --------
    >>> print(listed(["2", "4", "8"]))
    '2', '4' and '8'
    """
    quoted = [f"'{value}'" for value in values]
    return " and ".join(part for part in (", ".join(quoted[:-1]), quoted[-1]) if part)


def _uses(words: Sequence[str], known: Mapping[str, Arity]) -> Iterator[Use]:
    """The words before the first flag, as a use of no flag, then every flag in turn."""
    use = Use("", [], [])
    many = room = False
    for place, word in enumerate(words):
        if word == "--":  # what follows are positional arguments, as tyro has it
            yield use
            yield Use(word, [], list(words[place + 1 :]))
            return
        if is_flag(word):
            yield use
            name, equals, value = word.partition("=")
            name = name.replace("_", "-")
            use = Use(name, [value] if equals else [], [])
            arity = known.get(name)
            many = arity is None or arity.many
            room = arity is None or arity.many or (not arity.switch and not equals)
        elif room:
            use.values.append(word)
            room = many
        else:
            use.after.append(word)
    yield use


def is_truth(word: str) -> bool:
    """Whether a word after a switch is meant as its value.

    Examples
    --------
    >>> is_truth("False"), is_truth("0"), is_truth("merrill-2023")
    (True, False, False)
    """
    return word.lower() in TRUTHS


def _refuse_values_of_switches(uses: Sequence[Use], known: Mapping[str, Arity], n_bare: int) -> None:
    """Refuse `--quiet=true` and `--quiet true`; `n_bare` positional arguments may still stand among the flags.

    Another word than true or false is refused where those before it have all places of positional arguments.
    """
    for use in uses:
        switch = use.flag in known and known[use.flag].switch
        meant = [*use.values, *(word for word in use.after[:1] if is_truth(word) or n_bare <= 0)]
        if switch and meant:
            raise InputError(
                f"{use.flag} takes no value, but was given {listed(meant)}. Write {use.flag}, or leave it out."
            )
        n_bare -= len(use.after)


def _refuse_more_than_one(uses: Sequence[Use], known: Mapping[str, Arity], too_many: bool) -> None:
    """Refuse the words after a flag's one value, if there are too many words or they can only be values of it."""
    for use in uses:
        arity = known.get(use.flag)
        if arity is None or arity.many or arity.switch or not use.after:
            continue
        of_its_kind = [word for word in use.after if word in arity.choices or (arity.number and is_number(word))]
        if surplus := of_its_kind or (use.after if too_many else []):
            todo = f"Write {use.flag} before each" if arity.append else f"Pass one; {MANY_RUNS}"
            raise InputError(f"{use.flag} takes one value, but was given {listed(use.values + surplus)}. {todo}.")


def _refuse_twice(uses: Sequence[Use], known: Mapping[str, Arity]) -> None:
    before: dict[str, list[str]] = {}
    for use in uses:
        arity = known.get(use.flag)
        if arity is None or arity.switch or not use.values:
            continue
        name, values = use.flag, use.values
        if arity.append:  # such as --set KEY=JSON, which is given once for each key
            key, _, value = values[0].partition("=")
            name, values = f"{use.flag} {key.replace('-', '_')}", [value]
        if before.setdefault(name, values) != values:
            both = listed([" ".join(before[name]), " ".join(values)])
            together = " ".join([name, *before[name], *values])
            todo = f", with all its values: {together}" if arity.many else f"; {MANY_RUNS}"
            raise InputError(f"{name} stands twice, with {both}. Pass it once{todo}.")


def _refuse_two_ways(uses: Sequence[Use], known: Mapping[str, Arity]) -> None:
    """Refuse `--set epochs=3 --epochs 5`. A whole part by `--set` and a field of it by a flag differ in name."""
    by_flag = {use.flag: use.values for use in uses if use.values and use.flag in known and not known[use.flag].append}
    for use in uses:
        if use.values and use.flag in known and known[use.flag].append:
            key, _, text = use.values[0].partition("=")
            flag = "--" + key.replace("_", "-")
            if flag not in by_flag:
                continue
            of_flag = [_plain(value) for value in by_flag[flag]]
            if _plain(_json(text)) != (of_flag if known[flag].many else of_flag[0]):
                typed = " ".join([flag, *by_flag[flag]])
                raise InputError(
                    f"{use.flag} {use.values[0]} and {typed} give one field different values. Pass one of them."
                )


def _json(text: str) -> Any:
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return text


def _plain(value: Any) -> Any:
    """What a value says however it is written: 1e-3 and .001 are equal, and so are None and null.

    Examples
    --------
    >>> _plain([".001", 2, "None", "true", "cpu"])
    [0.001, 2.0, None, True, 'cpu']
    """
    if isinstance(value, list):
        return [_plain(one) for one in value]
    if isinstance(value, str):
        words = {"true": True, "false": False, "none": None, "null": None}
        return words[value.lower()] if value.lower() in words else float(value) if is_number(value) else value
    return float(value) if isinstance(value, int) and not isinstance(value, bool) else value
