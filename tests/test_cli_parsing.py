"""Flags from pydantic objects, and every parser error as one line of ours."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

import pytest
import tyro

from circuits.cli import parsing
from circuits.cli.flags import arities, flag_class, flags_of, overlaid
from circuits.config import SGD, Part
from circuits.errors import InputError


class Inner(Part):
    """A part of the whole."""

    kind: Literal["inner"] = "inner"
    width: int = 10
    """How wide."""


class Outer(Part):
    """The whole."""

    rate: float = 0.5
    names: tuple[str, ...] = ()
    bits: tuple[int, ...] | None = None
    at: tuple[float, ...] = ()
    loss: Literal["hinge", "square"] = "hinge"
    bias: bool = True
    label: str | None = None
    inner: Inner = Inner()


@dataclass
class RunFlags:
    run: Annotated[Path, tyro.conf.Positional, tyro.conf.arg(metavar="RUN.h5")]
    support: Literal["train", "test"] = "train"


def _outer(*words, start=None):
    start = start or Outer()
    flags = flag_class("Outer", flags_of(start), "The whole.")
    read = parsing.parsed(flags, words, "circuits try")
    return parsing.validated(Outer, overlaid(start.model_dump(mode="json"), read), flags)


def _message(function, *arguments):
    with pytest.raises(InputError) as caught:
        function(*arguments)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_a_field_gets_a_flag_when_words_or_numbers_can_say_it():
    flags = list(arities(flag_class("Outer", flags_of(Outer()), "")))
    assert flags == ["--rate", "--names", "--bits", "--at", "--loss", "--bias", "--label", "--inner.width"]


def test_no_flag_leaves_the_object_as_it_is():
    start = Outer(rate=0.1 + 0.2, names=("a", "b"), bits=(3, 1), inner=Inner(width=7))
    assert _outer(start=start) == start


def test_flags_change_only_their_fields():
    changed = _outer("--inner.width", "3", "--bits", "1", "2", "--bias", "False", "--rate=2", start=Outer(label="x"))
    assert changed == Outer(label="x", rate=2.0, bits=(1, 2), bias=False, inner=Inner(width=3))


def test_underscores_are_hyphens():
    flags = flag_class("SGD", flags_of(SGD()), "")
    assert parsing.parsed(flags, ["--weight_decay", "0.5"], "circuits try").weight_decay == 0.5


def test_help_shows_types_defaults_and_the_fields_own_words(capsys):
    with pytest.raises(SystemExit) as leaving:
        _outer("--help", start=Outer(inner=Inner(width=7)))
    assert leaving.value.code == 0
    out = capsys.readouterr().out
    assert "--inner.width INT" in out
    assert "How wide. (default: 7)" in out
    assert "--bits INT …|None" in out
    assert "{hinge,square}" in out


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--", "--rate", "3"], "--rate comes after --, where no word is an option. Leave -- out."),
        (
            ["--raet", "3"],
            "circuits try has no option --raet. Did you mean --rate? `circuits try --help` lists the options.",
        ),
        (["--width", "3"], "circuits try has no option --width. Did you mean --inner.width? `circuits try --help`"),
        (["--rate", "fast"], "--rate takes FLOAT, not 'fast'."),
        (["--inner.width=3.5"], "--inner.width takes INT, not '3.5'."),
        (["--bits", "1", "x", "--rate", "1"], "--bits takes INT …|None, not '1 x'."),
        (["--rate"], "--rate needs a value: FLOAT."),
        (["--loss", "hinges"], "--loss cannot be 'hinges'. Did you mean 'hinge'? There are: hinge, square."),
        (["more"], "circuits try does not know what to do with 'more'."),
        (["--rate", "nan"], "--rate: must be a finite number (given: nan)"),
    ],
)
def test_a_wrong_argument_gets_a_line_that_names_flag_and_value(words, message):
    assert _message(_outer, *words).startswith(message)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ([], "circuits try needs RUN.h5. `circuits try --help` shows its arguments."),
        (["--suport", "test"], "circuits try has no option --suport. Did you mean --support?"),
        (["a.h5", "b.h5"], "circuits try does not know what to do with 'b.h5'."),
    ],
)
def test_a_missing_or_surplus_argument_is_named(words, message):
    assert _message(parsing.parsed, RunFlags, words, "circuits try").startswith(message)


def test_an_error_that_the_hook_does_not_know_is_still_one_line(monkeypatch, capsys):
    monkeypatch.setattr(parsing, "_worded", lambda *_: None)
    message = _message(_outer, "--rate", "fast")
    assert "fast" in message
    assert message.endswith("See `circuits try --help`.")
    assert not set(message) & set("│╭─╰")
    assert capsys.readouterr() == ("", "")


def test_errors_are_one_line_without_the_hook(monkeypatch):
    monkeypatch.delattr(tyro, "_errors")
    assert _message(_outer, "--raet", "3").endswith("See `circuits try --help`.")


def test_known_leaves_other_flags_and_help_for_later():
    flags = parsing.recognized(RunFlags, ["a.h5", "--epochs", "3", "--support", "test", "--help"], "circuits try")
    assert (flags.run, flags.support) == (Path("a.h5"), "test")
