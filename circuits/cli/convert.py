"""`circuits convert FROM …`: convert existing runs into a run file; each origin has its own flags."""

import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import tyro

from circuits.cli.console import remark, result
from circuits.cli.flags import Flag, Switch, flag_class, flags_of, overlaid, picked, shown
from circuits.cli.opening import in_brief
from circuits.cli.parsing import parsed, recognized, validated
from circuits.cli.values import assigned
from circuits.config import Config
from circuits.errors import InputError
from circuits.presets.resolve import resolve_config
from circuits.registry import MODELS, Entry, lookup

if TYPE_CHECKING:
    from circuits.checkpoints.run import Run

COMMAND = "circuits convert"
ORIGINS = {
    "parity-nn": Entry(
        "Runs of the released code of Merrill et al., and of the thesis.", "circuits.cli.convert:parity_nn"
    ),
    "state-dicts": Entry("Any state dicts, one .pt file per checkpoint.", "circuits.cli.convert:state_dicts"),
    "weights": Entry(
        "Published weights: .pt, .pth, .safetensors, .npz; sizes are read.", "circuits.cli.convert:weights"
    ),
}
HELP = """\
usage: circuits convert FROM [ARGUMENTS]

Convert an existing run into a run file, which every analysis can read.

from:
{origins}

`circuits convert FROM --help` shows the arguments of FROM. Examples:
  circuits convert parity-nn results/n_40/k_3/N_1000/lr_0.1/wd_0.01/width_1000 --out run.h5
  circuits convert state-dicts 'seed{{seed}}/model_{{epoch}}.pt' --model relu --task.k 3 --out run.h5
  circuits convert weights mod_addition.pth --preset nanda-2023 --task.draw nanda-code --seed 1 --out run.h5
"""


@dataclass(kw_only=True)
class _Output:
    out: Annotated[Path, shown("RUN.h5", "(required)")]
    """The run file to write."""
    overwrite: Switch = False
    """Replace the run in --out."""
    quiet: Switch = False
    """No progress bar."""


@dataclass(kw_only=True)
class ParityNnFlags(_Output):
    """Convert a run of the released code of Merrill et al. 2023, or of the code of Fuangkawinsombut 2024 (thesis).

    The command reads files such as n_40/k_3/N_1000/lr_0.1/wd_0.01/width_1000/seed0_checkpoints/model_5.pt, with
    weights_only=True. The folder names give the number of inputs (n), of relevant bits (k) and of training examples
    (N), the learning rate (lr), the weight decay (wd), the width and the seed.

    Both codes save model_EPOCH.pt before epoch EPOCH, counted from 0, so the file is the state after EPOCH epochs.
    Neither code saves its data. The command draws the data again with Python's `random`, from the data seeds of the
    code that --draw names. The run file stores the data.
    """

    folder: Annotated[Path, tyro.conf.Positional, shown("DIR")]
    """The run's folder, such as width_1000; or one of its seed folders; or a higher folder that holds no other run."""
    draw: Literal["merrill-code", "thesis-code"] = "merrill-code"
    """Data seeds for network seed S. merrill-code: 17·S (train), 2001 (test). thesis-code: S (train), 2023 (test)."""
    batch_size: Annotated[int, tyro.conf.arg(metavar="INT")] = 32
    """Examples per update, to compute steps from epochs; the files of the converted run do not state this number."""
    common_epochs: Switch = False
    """If the seeds have files of different epochs, convert only the epochs that all seeds have."""


@dataclass(kw_only=True)
class _Start:
    model: Annotated[str | None, shown("{" + ",".join(MODELS) + "}", "(default: relu)")] = None
    """Kind of model; width, number of inputs and precision are read from the weights."""
    config: Annotated[Path | None, shown("FILE")] = None
    """Take task, model and optimizer from this JSON file; `circuits presets NAME` prints such a file."""


@dataclass(kw_only=True)
class StateDictsFlags(_Start, _Output):
    """Convert any state dicts, one .pt file per checkpoint.

    By default, the last number in a file's name is its epoch: the number of epochs trained so far.
    In PATTERN, {seed}, {epoch} or {step} stands for the number that is the seed, the epoch or the step.
    Width, number of inputs and precision come from the weights; files are loaded with weights_only=True.
    """

    pattern: Annotated[str, tyro.conf.Positional, shown("'PATTERN'")]
    """The files, in quotes: 'model_*.pt', or 'seed{seed}/model_{epoch}.pt'."""
    keys: Annotated[tuple[str, ...], shown("NAME=KEY …")] = ()
    """NAME=KEY: the files store the model's parameter NAME under KEY. Without this pair, the command looks for the
    parameter under NAME and, if the files lack NAME, under the key that Merrill et al.'s code uses."""
    seed: Annotated[int, tyro.conf.arg(metavar="INT")] = 0
    """Seed of the network, used if the pattern of file names has no {seed}. The seed determines the training set."""


@dataclass(kw_only=True)
class WeightsFlags(_Output):
    """Convert published weights of one network: one file, or one file per checkpoint.

    FILE is a .pt or .pth of torch (loaded with weights_only=True), .safetensors or .npz, also one that `circuits
    export` wrote. The command finds a state dict beside losses, an optimizer or a config, and several in a list. It
    knows the layouts of TransformerLens, of the code of Nanda et al. 2023, of Merrill et al. 2023 and others. Sizes are
    read from the weights. Flags such as --task.operation x-y, --model.n-heads 4 and --model.activation gelu state what
    weights do not tell.

    Without a split (in the file, by --train-indices, or by --task.draw), metrics on training and test set are left out.
    """

    files: Annotated[tuple[Path, ...], tyro.conf.Positional, shown("FILE …")]
    """The files, one per checkpoint; their names tell the epochs, such as model_100.pt."""
    preset: Annotated[str | None, shown("NAME")] = None
    """Take task and optimizer from this preset; its sizes must be those of the weights."""
    set: Annotated[tuple[str, ...], tyro.conf.UseAppendAction, tyro.conf.arg(metavar="KEY=JSON")] = ()
    """Set any field of the config, such as batch_size=64; repeat the flag for each field. Fields of task, model and
    optimizer have flags of their own, such as --task.operation x-y."""
    inside: Annotated[str | None, shown("KEY")] = None
    """Dotted keys of the state dict in the file, if it holds several."""
    epoch: Annotated[int | None, shown("INT")] = None
    """Epoch of the only network; by default that in the file, in its name, or the length of its list of losses."""
    seed: Annotated[int | None, shown("INT", "(default: the file's, or 0)")] = None
    """Seed of the network, and of a draw of its split."""
    train_indices: Annotated[Path | None, shown("FILE")] = None
    """Training examples: numbers x·p + y, a mask of all ordered pairs, or the pairs; .npz, .npy, .pt or text."""
    expect: Annotated[tuple[str, ...], shown("METRIC=VALUE …")] = ()
    """Metrics that the network must have: train_loss, test_loss, train_accuracy, test_accuracy; loss and accuracy are
    over all examples."""
    tolerance: Annotated[float, tyro.conf.arg(metavar="SHARE")] = 0.1
    """Allowed relative difference from expected losses and from those in the file; a tenth of it for accuracies."""


def command(words: list[str]) -> int:
    if not words or words[0] in ("-h", "--help"):
        text = HELP.format(origins="\n".join(f"  {name:<12} {entry.help}" for name, entry in ORIGINS.items()))
        for line in text.splitlines():
            (result if words else remark)(line)
        return 0 if words else 2
    if words[0].startswith("-"):
        raise InputError(f"{COMMAND} needs FROM before {words[0]}. `{COMMAND} --help` lists the values of FROM.")
    return lookup(ORIGINS, words[0], "origin").load()(words[1:])


def parity_nn(words: list[str]) -> int:
    flags = parsed(ParityNnFlags, words, f"{COMMAND} parity-nn")

    from circuits.convert import from_parity_nn

    options = picked(flags, "draw", "batch_size", "common_epochs", "overwrite")
    return _summarized(from_parity_nn(flags.folder, flags.out, **options))


def state_dicts(words: list[str]) -> int:
    name = f"{COMMAND} state-dicts"
    start = _start(recognized(_Start, words, name, n_bare=1))
    flag_type = flag_class("StateDicts", _described_by_the_user(start), StateDictsFlags.__doc__ or "", StateDictsFlags)
    flags: Any = parsed(flag_type, words, name)
    data = start.model_dump(mode="json")
    given = overlaid({name: data[name] for name in ("task", "optimizer", "batch_size")}, flags)
    config = validated(Config, data | given, flag_type)
    keys = dict(_pair(word) for word in flags.keys)

    from circuits.convert import from_state_dicts

    options = picked(flags, "seed", "overwrite")
    return _summarized(from_state_dicts(flags.pattern, flags.out, config, keys=keys, **options))


def weights(words: list[str]) -> int:
    flags = parsed(WeightsFlags, _with_set(words), f"{COMMAND} weights")
    config = None if flags.preset is None else resolve_config(flags.preset)
    fields = dict(assigned(word) for word in flags.set)
    expect = {name: _number(name, text) for name, text in map(_expected, flags.expect)}

    from circuits.convert import from_weights

    options = picked(flags, "inside", "epoch", "seed", "train_indices", "tolerance", "overwrite")
    converted = from_weights(flags.files, flags.out, config, fields, expect=expect, **options)
    for line in converted.remarks:
        begins_with_a_name = {"_", "."} & set(line.split()[0])
        remark((line if begins_with_a_name else line[0].upper() + line[1:]) + ".")
    return _summarized(converted.run)


def _with_set(words: list[str]) -> list[str]:
    """The words with `--task.p 59` written as `--set task.p=59`, since the weights tell the kinds of task and model.

    Examples
    --------
    >>> _with_set(["a.pt", "--task.draw", "nanda-code", "--model.n-heads=4"])
    ['a.pt', '--set', 'task.draw=nanda-code', '--set', 'model.n-heads=4']
    """
    left, written = iter(words), []
    for word in left:
        if not re.match(r"--(task|model|optimizer)\.", word):
            written.append(word)
            continue
        flag, equals, value = word.removeprefix("--").partition("=")
        value = value if equals else next(left, "")
        if not value or value.startswith("--"):
            raise InputError(f"--{flag} needs a value.")
        written += ["--set", f"{flag}={value}"]
    return written


def _expected(word: str) -> tuple[str, str]:
    name, equals, text = word.partition("=")
    if not (name and equals and text):
        raise InputError(f"--expect {word} is not a pair. Write METRIC=VALUE, such as test_loss=0.004.")
    return name, text


def _number(name: str, text: str) -> float:
    try:
        return float(text)
    except ValueError:
        raise InputError(f"--expect {name}={text}: '{text}' is not a number.") from None


def _start(given: _Start) -> Config:
    if given.config is not None:
        config = resolve_config(file=given.config)
        if given.model not in (None, config.model.kind):
            raise InputError(
                f"--model {given.model} contradicts {given.config}, whose model is {config.model.kind}. Pass only one "
                f"of --model and --config."
            )
        return config
    kind = given.model or next(iter(MODELS))
    lookup(MODELS, kind, "model")
    return resolve_config(overrides={"name": "imported", "model.kind": kind})


def _described_by_the_user(start: Config) -> list[Flag]:
    """Flags for task (except its number of inputs n), optimizer and batch size; the defaults are those of `start`."""
    of_task = [flag for flag in flags_of(start.task) if flag[0] != "n"]
    task = flag_class("task", of_task, "The task; its number of inputs is read from the weights.")
    others = [flag for flag in flags_of(start) if flag[0] in ("optimizer", "batch_size")]
    return [("task", task, field(default_factory=task)), *others]


def _pair(word: str) -> tuple[str, str]:
    name, equals, key = word.partition("=")
    if not (name and equals and key):
        raise InputError(f"--keys {word} is not a pair. Write NAME=KEY, such as W=linear1.weight.")
    return name, key


def _summarized(converted: "Run") -> int:
    with converted as run:
        result(in_brief(run))
        if run.n_checkpoints and run.steps[0] > 0:
            remark("The run has no checkpoint 0, the initialization.")
        remark(f"Next: circuits show {run.path}, or circuits analyze {run.path}")
    return 0
