"""`circuits convert FROM …`: existing runs, brought into a run file. One set of flags per origin."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import tyro

from circuits.cli.console import remark, result, size
from circuits.cli.flags import Flag, flag_class, flags_of, overlaid
from circuits.cli.parsing import known, parsed, validated
from circuits.config import Config
from circuits.errors import InputError
from circuits.presets.resolve import resolve_config
from circuits.registry import MODELS, Entry, lookup
from circuits.tabular import count

if TYPE_CHECKING:
    from circuits.checkpoints.run import Run

COMMAND = "circuits convert"
ORIGINS = {
    "parity-nn": Entry(
        "Runs of the released code of Merrill et al., and of the thesis.", "circuits.cli.convert:parity_nn"
    ),
    "state-dicts": Entry("Any state dicts, one .pt file per checkpoint.", "circuits.cli.convert:state_dicts"),
}
HELP = """\
usage: circuits convert FROM [ARGUMENTS]

Bring an existing run into a run file, on which every analysis works.

from:
{origins}

`circuits convert FROM --help` shows its arguments. Examples:
  circuits convert parity-nn results/n_40/k_3/N_1000/lr_0.1/wd_0.01/width_1000 --out run.h5
  circuits convert state-dicts 'seed{{seed}}/model_{{epoch}}.pt' --model relu --task.k 3 --out run.h5
"""


@dataclass(kw_only=True)
class _Output:
    out: Annotated[Path, tyro.conf.arg(metavar="RUN.h5", help_behavior_hint="(required)")]
    """The run file to write."""
    overwrite: Annotated[bool, tyro.conf.arg(help_behavior_hint="")] = False
    """Replace the run in --out."""
    quiet: Annotated[bool, tyro.conf.arg(help_behavior_hint="")] = False
    """No progress bar."""


@dataclass(kw_only=True)
class ParityNnFlags(_Output):
    """Bring in a run of the released code of Merrill et al. 2023, or of the thesis.

    Read are n_N/k_K/N_N/lr_LR/wd_WD/width_P/seedS_checkpoints/model_EPOCH.pt, with weights_only=True.

    Both codes save model_EPOCH.pt before that epoch's updates: it is the state after EPOCH epochs.

    The data are drawn again, by Python's random from the seeds of --draw, and stored in the run.
    """

    folder: Annotated[Path, tyro.conf.Positional, tyro.conf.arg(metavar="DIR", help_behavior_hint="")]
    """The width_P folder, one seedS_checkpoints, or a folder above that has one configuration below."""
    draw: Literal["merrill-code", "thesis-code"] = "merrill-code"
    """Whose data: train seed 17·S and test seed 2001 (Merrill et al.), or S and 2023 (thesis)."""
    batch_size: Annotated[int, tyro.conf.arg(metavar="INT")] = 32
    """Examples per update, which the path does not say: it makes epochs of steps."""
    common_epochs: Annotated[bool, tyro.conf.arg(help_behavior_hint="")] = False
    """Take the epochs that every seed has, when the seeds differ."""


@dataclass(kw_only=True)
class _Start:
    model: Annotated[
        str | None, tyro.conf.arg(metavar="{" + ",".join(MODELS) + "}", help_behavior_hint="(default: relu)")
    ] = None
    """What the networks are; width, inputs and precision are read from the weights."""
    config: Annotated[Path | None, tyro.conf.arg(metavar="FILE", help_behavior_hint="")] = None
    """Take task, model, optimizer from this JSON file, as `circuits presets NAME` prints it."""


@dataclass(kw_only=True)
class StateDictsFlags(_Start, _Output):
    """Bring in any state dicts, one .pt file per checkpoint.

    The last number in a file's name is its epoch: how many epochs of training it has had.
    {epoch}, {step} and {seed} in the pattern say which number is what.
    Width, inputs and precision come from the weights; files are loaded with weights_only=True.
    """

    pattern: Annotated[str, tyro.conf.Positional, tyro.conf.arg(metavar="'PATTERN'", help_behavior_hint="")]
    """The files, in quotes: 'model_*.pt', or 'seed{seed}/model_{epoch}.pt'."""
    keys: Annotated[tuple[str, ...], tyro.conf.arg(metavar="NAME=KEY …", help_behavior_hint="")] = ()
    """What the files call the parameters, such as W=linear1.weight; that, and the model's own names, are known."""
    seed: Annotated[int, tyro.conf.arg(metavar="INT")] = 0
    """Which seed it is, when the pattern has no {seed}; it says which training set is drawn."""


def command(words: list[str]) -> int:
    """Run `circuits convert`."""
    if not words or words[0] in ("-h", "--help"):
        text = HELP.format(origins="\n".join(f"  {name:<12} {entry.help}" for name, entry in ORIGINS.items()))
        for line in text.splitlines():
            (result if words else remark)(line)
        return 0 if words else 2
    if words[0].startswith("-"):
        raise InputError(f"{COMMAND} needs FROM before {words[0]}. `{COMMAND} --help` lists what it reads.")
    return lookup(ORIGINS, words[0], "origin").load()(words[1:])


def parity_nn(words: list[str]) -> int:
    """Run `circuits convert parity-nn`."""
    flags = parsed(ParityNnFlags, words, f"{COMMAND} parity-nn")

    from circuits.convert import from_parity_nn

    with from_parity_nn(
        flags.folder,
        flags.out,
        draw=flags.draw,
        batch_size=flags.batch_size,
        common_epochs=flags.common_epochs,
        overwrite=flags.overwrite,
        progress=not flags.quiet,
    ) as run:
        _tell(run)
    return 0


def state_dicts(words: list[str]) -> int:
    """Run `circuits convert state-dicts`."""
    command_ = f"{COMMAND} state-dicts"
    start = _start(known(_Start, words, command_, n_bare=1))
    flag_type = flag_class("StateDicts", _described_by_the_user(start), StateDictsFlags.__doc__ or "", StateDictsFlags)
    flags: Any = parsed(flag_type, words, command_)
    data = start.model_dump(mode="json")
    given = overlaid({name: data[name] for name in ("task", "optimizer", "batch_size")}, flags)
    config = validated(Config, data | given, flag_type)
    keys = dict(_pair(word) for word in flags.keys)

    from circuits.convert import from_state_dicts

    with from_state_dicts(
        flags.pattern,
        flags.out,
        config,
        keys=keys,
        seed=flags.seed,
        overwrite=flags.overwrite,
        progress=not flags.quiet,
    ) as run:
        _tell(run)
    return 0


def _start(given: _Start) -> Config:
    if given.config is not None:
        config = resolve_config(file=given.config)
        if given.model not in (None, config.model.kind):
            raise InputError(f"--model {given.model} is not what {given.config} says: {config.model.kind}. Pass one.")
        return config
    kind = given.model or next(iter(MODELS))
    lookup(MODELS, kind, "model")
    return resolve_config(overrides={"name": "imported", "model.kind": kind})


def _described_by_the_user(start: Config) -> list[Flag]:
    """Flags, as those of `circuits train`, for what the files do not tell."""
    of_task = [flag for flag in flags_of(start.task) if flag[0] != "n"]
    task = flag_class("task", of_task, "What was learned; the number of inputs is read from the weights.")
    others = [flag for flag in flags_of(start) if flag[0] in ("optimizer", "batch_size")]
    return [("task", task, field(default_factory=task)), *others]


def _pair(word: str) -> tuple[str, str]:
    name, equals, key = word.partition("=")
    if not (name and equals and key):
        raise InputError(f"--keys {word} is no pair. Write NAME=KEY, such as W=linear1.weight.")
    return name, key


def _tell(run: "Run") -> None:
    result(
        f"{run.path}: {count(run.n_checkpoints, 'checkpoint')} of {count(len(run.seeds), 'seed')}, {size(run.nbytes)}"
    )
    if run.n_checkpoints and run.steps[0] > 0:
        remark("Checkpoint 0, the initialization, is not there.")
    remark(f"Next: circuits show {run.path}, or circuits analyze {run.path}")
