"""A flag of one value with two, a switch with one, a flag given twice: all refused, and nothing is written."""

import warnings

import pytest
import tyro

from circuits.cli import parsing
from circuits.cli.flags import Arity, arities, n_positional
from circuits.cli.main import COMMANDS, main
from circuits.cli.train import split_preset
from circuits.cli.values import refuse_surplus
from circuits.cli.verify import VerifyFlags
from circuits.errors import InputError

BARE = {  # a command line for every parser, with nothing but its positional arguments
    ("train",): ["--dry-run"],
    ("train", "nanda-2023"): ["--dry-run"],
    ("analyze",): ["run.h5"],
    ("report",): ["run.h5"],
    ("show",): ["run.h5"],
    ("replay",): ["run.h5"],
    ("repair",): ["run.h5"],
    ("export",): ["run.h5"],
    ("convert", "parity-nn"): ["folder"],
    ("convert", "state-dicts"): ["model_*.pt"],
    ("construct",): ["dnf"],
    ("verify",): ["dnf"],
    ("presets",): ["merrill-2023"],
}


@pytest.fixture(autouse=True)
def _in_an_empty_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


@pytest.fixture
def parser_of(monkeypatch):
    """The class of flags that a command hands to tyro in the end."""

    def run(command):
        seen = []

        def read(flags, *rest, **options):
            if options:  # a first look at some of the flags
                return original(flags, *rest, **options)
            seen.append(flags)
            raise SystemExit

        original = parsing._read
        with monkeypatch.context() as patch:
            patch.setattr(parsing, "_read", read)
            with pytest.raises(SystemExit):
                COMMANDS[command[0]].load()([*command[1:], *BARE[command]])
        return seen[0]

    return run


@pytest.fixture
def refused(capsys, tmp_path):
    """The one line that refuses these words; nothing is written."""

    def run(*words):
        capsys.readouterr()
        assert main(words) == 2, words
        out, err = capsys.readouterr()
        assert out == ""
        assert err.count("\n") == 1
        assert list(tmp_path.iterdir()) == []
        return err

    return run


def two_values(arity: Arity) -> tuple[str, str]:
    """Two values that the flag would take one of, neither of which names anything else on the command line."""
    if len(arity.choices) > 1:
        return arity.choices[0], arity.choices[-1]
    return ("2", "4") if arity.number else ("one", "another")


def test_every_command_has_a_line_here():
    assert {command for command, *_ in BARE} == set(COMMANDS)


@pytest.mark.parametrize("command", BARE, ids=" ".join)
def test_arities_are_those_of_tyros_own_parser(command, parser_of):
    flags = parser_of(command)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        parser = tyro.extras.get_parser(flags, config=(tyro.conf.FlagCreatePairsOff,))
    actions = [action for action in parser._actions if action.dest != "help"]
    theirs = {action.option_strings[0]: action for action in actions if action.option_strings}
    ours = arities(flags)
    assert set(theirs) == set(ours)
    assert {name for name, action in theirs.items() if action.nargs == 0} == {n for n, a in ours.items() if a.switch}
    assert {name for name, action in theirs.items() if action.nargs == "*"} == {n for n, a in ours.items() if a.many}
    assert n_positional(flags) == len(actions) - len(theirs)


@pytest.mark.slow
@pytest.mark.parametrize("command", BARE, ids=" ".join)
def test_every_flag_of_one_value_refuses_two_and_names_both(command, parser_of, refused):
    known = arities(parser_of(command))
    bare = BARE[command]
    for name, arity in known.items():
        if arity.many or arity.switch:
            continue
        first, second = two_values(arity)
        for words in ([*bare, name, first, second], [f"{name}={first}", second, *bare]):
            said = refused(*command, *words)
            assert name in said, words
            assert f"'{first}'" in said, words
            assert f"'{second}'" in said, words


@pytest.mark.slow
@pytest.mark.parametrize("command", BARE, ids=" ".join)
def test_every_flag_given_twice_with_different_values_is_refused(command, parser_of, refused):
    for name, arity in arities(parser_of(command)).items():
        first, second = two_values(arity)
        if arity.switch:
            for value in ([f"{name}=False"], [name, "False"]):
                said = refused(*command, *BARE[command], *value)
                assert said.startswith(f"error: {name} takes no value, but was given 'False'. Write {name}, or"), said
        elif not arity.append:
            said = refused(*command, *BARE[command], name, first, f"{name}={second}")
            assert said.startswith(f"error: {name} is given twice, with '{first}' and '{second}'. Pass it once"), said


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (
            "train modular-31 --optimizer.weight-decay 2 4",
            "--optimizer.weight-decay takes one value, but was given '2' and '4'. Pass one value; for several values "
            "run the command once with each.",
        ),
        ("train --epochs 5 7 merrill-2023", "--epochs takes one value, but was given '5' and '7'."),
        ("train merrill-2023 --epochs 5 7 9", "--epochs takes one value, but was given '5', '7' and '9'."),
        ("train --model.width 50 60", "--model.width takes one value, but was given '50' and '60'."),
        ("train modular-31 --batch-size 5 None", "--batch-size takes one value, but was given '5' and 'None'."),
        ("train --epochs 5 --model.width -1 -2", "--model.width takes one value, but was given '-1' and '-2'."),
        ("train --task.support 0 1 --epochs=5 7", "--epochs takes one value, but was given '5' and '7'."),
        ("train --device cpu cuda merrill-2023", "--device takes one value, but was given 'cpu' and 'cuda'."),
        ("train merrill-2023 --name a merrill-2023-k4", "circuits train takes one preset, but was given"),
        (
            "train merrill-2023 --set epochs=5 task.k=2",
            "--set takes one value, but was given 'epochs=5' and 'task.k=2'. Write --set before each.",
        ),
        ("train --set epochs=5 --set epochs=7", "--set epochs is given twice, with '5' and '7'. Pass it once"),
        (
            "train --seeds 0 1 --seeds 2",
            "--seeds is given twice, with '0 1' and '2'. Pass it once, with all its values: --seeds 0 1 2.",
        ),
        (
            "train merrill-2023 --set epochs=3 --epochs 5",
            "--set epochs=3 and --epochs 5 give the same field different values. Pass only one of them.",
        ),
        ("train --seeds 2 3 --set seeds=[1]", "--set seeds=[1] and --seeds 2 3 give the same field different values."),
        ("train --set seeds=[1] --seeds 2", "--set seeds=[1] and --seeds 2 give the same field different values."),
        ("train --set model.width=3 --model.width=5", "--set model.width=3 and --model.width 5 give the same field"),
        ("train --set batch_size=3 --batch-size None", "--set batch_size=3 and --batch-size None give the same field"),
        (
            "train fuangkawinsombut-2024-widths --set epochs=3 --epochs 5",
            "--set epochs=3 and --epochs 5 give the same field",
        ),
        ("train --overwrite=False", "--overwrite takes no value, but was given 'False'. Write --overwrite, or"),
        (
            "train merrill-2023 --quiet true",
            "--quiet takes no value, but was given 'true'. Write --quiet, or leave it out",
        ),
        ("train --quiet true", "--quiet takes no value, but was given 'true'."),
        ("train --quiet 1 --epochs 3", "--quiet takes no value, but was given '1'."),
        ("train --resume false merrill-2023", "--resume takes no value, but was given 'false'."),
        ("train merrill-2023 --dry_run maybe", "--dry-run takes no value, but was given 'maybe'."),
        (
            "train --quiet merrill-2023 maybe",
            "circuits train takes one preset, but was given 'merrill-2023' and 'maybe'.",
        ),
        ("show --follow true run.h5", "--follow takes no value, but was given 'true'."),
        ("analyze run.h5 --quiet 1", "--quiet takes no value, but was given '1'."),
        ("analyze --quiet run.h5 other.h5", "circuits analyze does not know what to do with 'other.h5'."),
        ("verify --k 3 4 dnf", "--k takes one value, but was given '3' and '4'."),
        ("analyze --out a.nc run.h5 other.h5", "--out takes one value, but was given 'a.nc', 'run.h5' and 'other.h5'."),
        ("analyze run.h5 other.h5 --quiet", "circuits analyze does not know what to do with 'other.h5'."),
        ("convert state-dicts a.pt --model relu mlp", "--model takes one value, but was given 'relu' and 'mlp'."),
    ],
)
def test_a_value_too_many_is_named_with_the_flag_and_what_to_do(words, message, refused):
    assert refused(*words.split()).startswith(f"error: {message}")


@pytest.mark.parametrize("flag", ["--name a", "--name=a", "--device cpu"])
def test_a_word_that_is_no_preset_is_also_told_as_a_second_value(flag, refused):
    said = refused("train", *flag.split(), "cudda")
    assert said.startswith("error: There is no preset 'cudda'. There are: ")
    name, value = flag.replace("=", " ").split()
    assert said.endswith(f"If 'cudda' is meant for {name}: it takes one value, and has '{value}'.\n")


def test_a_word_after_a_switch_that_is_no_preset_is_told_as_both(refused):
    said = refused("train", "--quiet", "merril-2023")
    assert said.startswith("error: There is no preset 'merril-2023'. Did you mean 'merrill-2023'?")
    assert said.endswith("If 'merril-2023' is meant for --quiet: it takes no value.\n")


def test_after_a_flag_of_many_values_an_unknown_preset_is_only_that(refused):
    assert "is meant for" not in refused("train", "--seeds", "0", "merril-2023")


@pytest.mark.parametrize(
    "words",
    [
        "--epochs 5 merrill-2023",
        "--seeds 0 1 merrill-2023 --epochs 5 --epochs 5",
        "--model.width -1e-3 merrill-2023 --set epochs=5 --set task.k=2",
        "--metrics parameter_norm zero_weights merrill-2023",
        "merrill-2023 --metrics parameter_norm zero_weights --quiet --quiet",
    ],
)
def test_a_preset_may_follow_the_values_of_a_flag(words):
    name, others, _ = split_preset(words.split())
    assert name == "merrill-2023"
    assert others == [word for word in words.split() if word != name]


def test_a_flag_of_many_texts_takes_them_all(capsys):
    assert main(["train", "merrill-2023", "--metrics", "parameter_norm", "zero_weights", "--dry-run"]) == 0
    assert '"parameter_norm",\n    "zero_weights"' in capsys.readouterr().out


@pytest.mark.parametrize("words", [["--k", "1", "2", "--help"], ["--k=1", "2", "3", "-h"], ["--k", "2", "--", "dnf"]])
def test_help_and_the_end_of_flags_are_left_to_the_parser(words):
    refuse_surplus(VerifyFlags, words)


def test_a_value_of_its_kind_is_surplus_even_where_a_positional_argument_is_missing():
    with pytest.raises(InputError, match="--k takes one value, but was given '3' and '4'"):
        refuse_surplus(VerifyFlags, ["--k", "3", "4"])
    refuse_surplus(VerifyFlags, ["--k", "3", "dnf"])
