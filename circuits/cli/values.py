"""Refuse surplus values of a flag, and repeated flags, among the words of a command line.

If a flag takes one value and two words follow, tyro reads the second word as a positional argument. If a flag is
repeated, tyro uses only its last value. Both mistakes may stay unreported, so this check reads the words first.
"""

import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from circuits.cli.flags import Arity, arities, n_positional
from circuits.errors import InputError

MANY_RUNS = "for several values run the command once with each"
TRUTHS = ("true", "false", "yes", "no", "on", "off")  # words that, after a switch, are meant as its value


class Use(NamedTuple):
    """One use of a flag: its values, and the other words before the next flag."""

    flag: str
    values: list[str]
    after: list[str]


def refuse_surplus(flags: type, words: Sequence[str], n_bare: int | None = None) -> None:
    """Refuse words that tyro would drop or misread.

    Parameters
    ----------
    flags
        The dataclass of flags. An unknown flag is left for the parser to report.
    n_bare
        Number of positional arguments that the command takes; by default the number that `flags` declares.

    Raises
    ------
    InputError
        A one-value flag has several values; a switch has a value; a flag is given twice with different values; or
        a flag and `--set` give a field different values.

    Examples
    --------
    >>> from circuits.cli.flags import flag_class, flags_of
    >>> from circuits.config import SGD
    >>> refuse_surplus(flag_class("SGD", flags_of(SGD()), ""), ["--weight-decay", "2", "4"])
    Traceback (most recent call last):
    circuits.errors.InputError: --weight-decay takes one value, but was given '2' and '4'. Pass one value; for \
several values run the command once with each.
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
    """Whether tyro reads a word as a flag; negative numbers, -inf and slices such as `-50:` are values.

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
    """Words in quotes, separated by commas and a last "and".

    Examples
    --------
    >>> print(listed(["2", "4", "8"]))
    '2', '4' and '8'
    """
    quoted = [f"'{value}'" for value in values]
    return " and ".join(part for part in (", ".join(quoted[:-1]), quoted[-1]) if part)


def _uses(words: Sequence[str], known: Mapping[str, Arity]) -> Iterator[Use]:
    """First a `Use` with flag "" for the words before any flag, then a `Use` for each flag."""
    use = Use("", [], [])
    many = room = False
    for place, word in enumerate(words):
        if word == "--":  # only positional arguments follow, as in tyro
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
    """Whether a word after a switch is meant as the switch's value: true, false, yes, no, on or off.

    Examples
    --------
    >>> is_truth("False"), is_truth("0"), is_truth("merrill-2023")
    (True, False, False)
    """
    return word.lower() in TRUTHS


def _refuse_values_of_switches(uses: Sequence[Use], known: Mapping[str, Arity], n_bare: int) -> None:
    """Refuse a value of a switch, as in `--quiet=true` or `--quiet true`.

    The command takes `n_bare` positional arguments. Once all of them are given, any word after a switch is refused.
    """
    for use in uses:
        switch = use.flag in known and known[use.flag].switch
        meant = [*use.values, *(word for word in use.after[:1] if is_truth(word) or n_bare <= 0)]
        if switch and meant:
            raise InputError(
                f"{use.flag} takes no value, but was given {listed(meant)}. Write {use.flag}, or leave it out."
            )
        n_bare -= len(use.after)


def _refuse_more_than_one(uses: Sequence[Use], known: Mapping[str, Arity], any_word: bool) -> None:
    """Refuse a second value of a flag that takes one value, such as the 5 in `--epochs 3 5`.

    If `any_word` is True, any word after the value is refused. Otherwise, such a word may be a positional argument, so
    only two kinds are refused: a number after a flag for numbers, and an allowed value after a flag with listed values.
    """
    for use in uses:
        arity = known.get(use.flag)
        if arity is None or arity.many or arity.switch or not use.after:
            continue
        of_its_kind = [word for word in use.after if word in arity.choices or (arity.number and is_number(word))]
        if surplus := of_its_kind or (use.after if any_word else []):
            todo = f"Write {use.flag} before each" if arity.append else f"Pass one value; {MANY_RUNS}"
            raise InputError(f"{use.flag} takes one value, but was given {listed(use.values + surplus)}. {todo}.")


def _refuse_twice(uses: Sequence[Use], known: Mapping[str, Arity]) -> None:
    before: dict[str, list[str]] = {}
    for use in uses:
        arity = known.get(use.flag)
        if arity is None or arity.switch or not use.values:
            continue
        name, values = use.flag, use.values
        if arity.append:  # such as --set KEY=JSON, which is repeated for each key
            key, _, value = values[0].partition("=")
            name, values = f"{use.flag} {key.replace('-', '_')}", [value]
        if before.setdefault(name, values) != values:
            both = listed([" ".join(before[name]), " ".join(values)])
            together = " ".join([name, *before[name], *values])
            todo = f", with all its values: {together}" if arity.many else f"; {MANY_RUNS}"
            raise InputError(f"{name} is given twice, with {both}. Pass it once{todo}.")


def _refuse_two_ways(uses: Sequence[Use], known: Mapping[str, Arity]) -> None:
    """Refuse different values of a field from `--set` and from the field's own flag: `--set epochs=3 --epochs 5`."""
    given = [use for use in uses if use.values and use.flag in known]
    by_flag = {use.flag: use.values for use in given if not known[use.flag].append}
    for use in given:
        key, _, text = use.values[0].partition("=")
        flag = "--" + key.replace("_", "-")
        if not known[use.flag].append or flag not in by_flag:
            continue
        of_flag = [_plain(value) for value in by_flag[flag]]
        if _plain(json_or_text(text)) != (of_flag if known[flag].many else of_flag[0]):
            typed = " ".join([flag, *by_flag[flag]])
            raise InputError(
                f"{use.flag} {use.values[0]} and {typed} give the same field different values. Pass only one of them."
            )


def json_or_text(text: str) -> Any:
    """The value of a JSON text; the text itself if it is not JSON."""
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return text


def _plain(value: Any) -> Any:
    """A value independent of its spelling: 1e-3 equals .001, None equals null.

    Examples
    --------
    >>> _plain([".001", 2, "None", "true", "cpu"])
    [0.001, 2.0, None, True, 'cpu']
    """
    if isinstance(value, list):
        return [_plain(item) for item in value]
    if isinstance(value, str):
        words = {"true": True, "false": False, "none": None, "null": None}
        return words[value.lower()] if value.lower() in words else float(value) if is_number(value) else value
    return float(value) if isinstance(value, int) and not isinstance(value, bool) else value


def assigned(word: str) -> tuple[str, Any]:
    """Key and value of `--set KEY=JSON`; a value that is not JSON is taken as text.

    Examples
    --------
    >>> assigned("task.n-train=[3, 5]"), assigned("model.kind=relu")
    (('task.n_train', [3, 5]), ('model.kind', 'relu'))
    """
    key, equals, text = word.partition("=")
    if not equals:
        raise InputError(f"--set {word} has no value. Write --set KEY=JSON, such as --set task.support=[3,5,9].")
    return key.replace("-", "_"), json_or_text(text)
