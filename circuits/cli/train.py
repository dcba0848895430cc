"""`circuits train [PRESET]`: a preset, a JSON file or the defaults, changed by `--set` and flags, trained into a file.

The preset may stand anywhere among the flags. It is found first, because the flags and their defaults are those of the
config it gives; then the flags are read.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import tyro

from circuits.cli.console import remark, result, size
from circuits.cli.flags import arities, flag_class, flags_of, overlaid
from circuits.cli.opening import opened_run
from circuits.cli.parsing import known, parsed, validated
from circuits.cli.values import is_flag, is_number, is_truth, listed
from circuits.config import Config
from circuits.errors import InputError, nearest
from circuits.presets import preset_configs
from circuits.presets.resolve import overridden, resolve_config
from circuits.registry import PRESETS
from circuits.tabular import count

if TYPE_CHECKING:
    from circuits.checkpoints.run import Run

FOLDER = Path("checkpoints")
COMMAND = "circuits train"
KERNEL_HELP = (
    "How to compute: fused, the compiled step for relu networks on CPU; batched, torch with all seeds as one (cuda, "
    "small models); prepared, torch with a model's faster forward pass; reference, torch, slow and obvious."
)


@dataclass(kw_only=True)
class TrainFlags:
    """Train a preset, a config of your own, or the defaults below, and keep every checkpoint."""

    config: Annotated[Path | None, tyro.conf.arg(metavar="FILE", help_behavior_hint="")] = None
    """Start from this JSON file instead, as `circuits presets NAME` prints it."""
    from_: Annotated[Path | None, tyro.conf.arg(name="from", metavar="RUN.h5", help_behavior_hint="")] = None
    """Train some neurons of this run's network again, alone, from their values at checkpoint 0: a lottery ticket."""
    seed: Annotated[int | None, tyro.conf.arg(metavar="INT", help_behavior_hint="(default: the first)")] = None
    """With --from: whose network, data and order of examples."""
    keep: Annotated[
        Literal["active", "random"] | None,
        tyro.conf.arg(metavar="{active,random}", help_behavior_hint="(default: active)"),
    ] = None
    """With --from: the neurons of its active subnetwork at the last checkpoint, or as many random ones, a control."""
    set: Annotated[tuple[str, ...], tyro.conf.UseAppendAction, tyro.conf.arg(metavar="KEY=JSON")] = ()
    """Change any field, such as task.kind=parity or task.support=[3,5,9]."""
    out: Annotated[Path | None, tyro.conf.arg(metavar="PATH", help_behavior_hint="(default: checkpoints/NAME.h5)")] = (
        None
    )
    """The run file to write."""
    device: Literal["auto", "cpu", "cuda", "mps"] = "auto"
    """Where to compute; auto takes the fused CPU path where it applies."""
    kernel: Annotated[Literal["auto", "fused", "batched", "prepared", "reference"], tyro.conf.arg(help=KERNEL_HELP)] = (
        "auto"
    )
    resume: Annotated[bool, tyro.conf.arg(help_behavior_hint="")] = False
    """Continue the run in --out with the config in it; only a larger --epochs may differ."""
    overwrite: Annotated[bool, tyro.conf.arg(help_behavior_hint="")] = False
    """Replace the run in --out."""
    allow_different_numerics: Annotated[bool, tyro.conf.arg(help_behavior_hint="")] = False
    """Resume although processor or libraries differ; the bits are then not those of an uninterrupted run."""
    dry_run: Annotated[bool, tyro.conf.arg(help_behavior_hint="")] = False
    """Train nothing: print the config as JSON, and the size that the run will have on disk."""
    quiet: Annotated[bool, tyro.conf.arg(help_behavior_hint="")] = False
    """No progress bar."""
    name: str | None = None


TEXT_LISTS = [f"--{name}" for name, info in Config.model_fields.items() if info.annotation == tuple[str, ...]]
PRESET_HELP = (
    "Start from this preset; its values become the defaults below. `circuits presets` lists them. A preset of several "
    "configs trains them all in turn, going on with those that are not complete; PRESET/NAME trains one."
)
PRESET_FLAG = Annotated[
    str | None,
    tyro.conf.Positional,
    tyro.conf.arg(metavar="[PRESET]", help=PRESET_HELP, help_behavior_hint=""),
]


def command(words: list[str]) -> int:
    """Run `circuits train`."""
    name, words, before = split_preset(words)
    given = known(TrainFlags, words, COMMAND, n_bare=0)  # the preset is no longer among them
    if name is not None and not _is_preset(name):
        raise _no_preset(name, *before)
    starts = _starts(name, given)
    start = starts[0]
    options = [("preset", PRESET_FLAG, field(default=None)), *flags_of(start)]
    train_flags = flag_class("Train", options, TrainFlags.__doc__ or "", TrainFlags)
    flags: Any = parsed(train_flags, words, COMMAND, n_bare=0)
    config = validated(Config, overlaid(start.model_dump(mode="json"), flags), train_flags)
    if len(starts) == 1:
        jobs = [(config, flags.out or FOLDER / f"{config.name}.h5")]
    else:
        typed = {word.partition("=")[0].lstrip("-").replace("-", "_") for word in words if word.startswith("--")}
        jobs = _several(starts, config, flags, typed)
    if flags.dry_run:
        return _plan(jobs, replaces=flags.resume or flags.overwrite)
    for one, path in jobs:
        goes_on = flags.resume if len(jobs) == 1 else path.exists() and not flags.overwrite
        _train(flags, one, path, resume=goes_on)
    return 0


def _several(starts: Sequence[Config], first: Config, flags: Any, typed: set[str]) -> list[tuple[Config, Path]]:
    """Every config of a preset with the fields whose flags were typed as the first has them, and the file of each."""
    if first.name != starts[0].name:
        raise InputError(f"The preset is {len(starts)} configs, which --name cannot rename. Pass a folder to --out.")
    if flags.out is not None and flags.out.suffix == ".h5":
        raise InputError(f"The preset is {len(starts)} configs, so --out {flags.out} must be a folder.")
    wanted = {key: value for key, value in first.leaves().items() if key in typed}
    leaves = [start.leaves() for start in starts]
    for key in wanted:
        if len({json.dumps(one.get(key)) for one in leaves}) > 1:
            remark(f"--{key.replace('_', '-')} makes equal in what the {len(starts)} configs differ.")
    jobs = []
    for start in starts:
        config = overridden(start, wanted)
        folder, _, name = config.name.partition("/")
        jobs.append((config, (flags.out or FOLDER / folder) / f"{name}.h5"))
    return jobs


def _train(flags: Any, config: Config, path: Path, *, resume: bool) -> None:
    """Train one config into its file, and say what came of it."""
    from circuits.analysis.networks.measurement import measure as measured_phases
    from circuits.analysis.networks.phase_tables import phase_tables
    from circuits.analysis.networks.remarks import loss_remarks, phase_remarks
    from circuits.analysis.networks.unseen import seen_warnings
    from circuits.checkpoints.layout import size_on_disk
    from circuits.training.paths.choice import choose_path

    choose_path(config, flags.device, flags.kernel)  # says what does not apply before anything else is said
    if not flags.quiet and not path.exists():
        planned = count(len(config.checkpoint_steps()), "checkpoint")
        remark(f"{path} will take {size(size_on_disk(config))}: {planned} of {count(len(config.seeds), 'seed')}.")
    with _trained(flags, config, path, resume) as run:
        result(
            f"{path}: {count(run.n_checkpoints, 'checkpoint')} of {count(len(run.seeds), 'seed')}, {size(run.nbytes)}"
        )
        phases = measured_phases(run)
        result(*phase_tables(phases)[0], *phase_remarks(phases), *loss_remarks(run))
        for warning in seen_warnings(run):
            remark(f"warning: {warning}")
        if run.parent and "neurons" not in run.parent:
            _compare_with_parent(run)
    left = [beside for beside in (path.with_suffix(".analysis.nc"), path.with_suffix(".html")) if beside.exists()]
    if flags.overwrite and left:
        remark(f"Of the run that is replaced, there remain: {', '.join(map(str, left))}.")
    page = f"circuits report {path} for a page with every figure."
    remark(f"Next: circuits analyze {path}, or {page}")


def _trained(flags: Any, config: Config, path: Path, resume: bool) -> "Run":
    from circuits.training.loop import train

    if flags.from_ is not None:
        from circuits.cli.ticket import train_ticket

        return train_ticket(flags, config, path)
    return train(
        config,
        path,
        device=flags.device,
        kernel=flags.kernel,
        resume=resume,
        overwrite=flags.overwrite,
        allow_different_numerics=flags.allow_different_numerics,
        progress=not flags.quiet,
    )


def _compare_with_parent(run: "Run") -> None:
    """A replay that was gone on with is held against its parent, as one that was never stopped is."""
    from circuits.checkpoints.run import open_run
    from circuits.training.replay import compare

    path = Path(run.parent["path"]) if run.parent else None
    if path is None or not path.exists():
        result(f"Its parent {path} is not there, so nothing was compared.")
        return
    with open_run(path) as parent:
        result(f"Replay and run: {compare(parent, run)}")


def split_preset(words: Sequence[str]) -> tuple[str | None, list[str], list[str]]:
    """The preset among the words, the other words, and the flag with its values that the preset follows.

    Every flag but the switches takes the word after it and all numbers after that, a flag of several texts all words
    but presets. Another bare word is the preset. If there are several, those that follow a flag or its value and name
    no preset stay among the other words, where they are one value too many; so does true, false or a number after a
    switch.

    Examples
    --------
    >>> split_preset(["--quiet", "--seeds", "0", "1", "merrill-2023", "--epochs=3"])
    ('merrill-2023', ['--quiet', '--seeds', '0', '1', '--epochs=3'], ['--seeds', '0', '1'])
    """
    own = arities(TrainFlags)
    bare: list[int] = []
    follows: dict[int, list[str]] = {}  # by place of a bare word
    flag: list[str] = []  # the last flag that takes values, and those that it has
    switch = ""  # the word before, if it is a switch
    texts = expects_value = False
    for place, word in enumerate(words):
        if is_flag(word):
            name, equals, value = word.partition("=")
            name = name.replace("_", "-")
            alone = name in ("--help", "-h") or (name in own and own[name].switch)
            switch = name if name in own and alone and not equals else ""
            flag = [] if alone else [name, value] if equals else [name]
            texts, expects_value = name in TEXT_LISTS, not (alone or equals)
            continue
        if expects_value or (flag and (is_number(word) or (texts and not _is_preset(word)))):
            flag.append(word)
            expects_value = False
        else:
            if not (switch and (is_truth(word) or is_number(word))):
                bare.append(place)
            follows[place] = [switch] if switch else flag
        switch = ""
    kept = bare
    if len(bare) > 1:
        kept = [place for place in bare if _is_preset(words[place]) or not follows[place]]
    if len(kept) > 1:
        raise InputError(f"{COMMAND} takes one preset, but was given '{words[kept[0]]}' and '{words[kept[1]]}'.")
    others = [word for place, word in enumerate(words) if place not in kept]
    return (words[kept[0]], others, follows[kept[0]]) if kept else (None, others, [])


def _is_preset(word: str) -> bool:
    return word.partition("/")[0] in PRESETS


def _no_preset(name: str, flag: str = "", *values: str) -> InputError:
    """The error for an unknown preset, which may have been meant as a second value of the flag before it."""
    flags = flag_class("Train", flags_of(resolve_config()), "", TrainFlags)
    arity = arities(flags).get(flag)
    message = f"There is no preset '{name}'. {nearest(name, PRESETS)}"
    if arity is not None and arity.switch:
        message += f" If '{name}' is meant for {flag}: it takes no value."
    elif arity is not None and not arity.many and values:
        message += f" If '{name}' is meant for {flag}: it takes one value, and has {listed(values)}."
    return InputError(message)


def _starts(name: str | None, given: TrainFlags) -> list[Config]:
    """The configs that the flags change: of the run to resume, the preset, the file, or the defaults."""
    if given.resume and given.overwrite:
        raise InputError("--resume continues a run, --overwrite replaces it. Pass one.")
    if given.from_ is not None:
        if name is not None or given.config is not None:
            raise InputError(f"--from {given.from_} says what to train, so pass neither a preset nor --config.")
        if given.resume:
            raise InputError("A run knows what it began from: to go on with it pass --resume --out, without --from.")
        from circuits.cli.ticket import chosen_neurons

        start = chosen_neurons(given.from_, given.seed, given.keep)[0]
    elif given.seed is not None:
        raise InputError("--seed goes with --from, and says which network. For the seeds of a run pass --seeds.")
    elif given.keep is not None:
        raise InputError("--keep goes with --from, and says which of its neurons to train.")
    elif name in PRESETS and given.config is None and len(configs := preset_configs(name)) > 1:
        return [_changed(config, given.set) for config in configs.values()]
    else:
        start = resolve_config(name, file=given.config)
    if given.resume and given.config is None:
        start = _stored(given.out or FOLDER / f"{given.name or start.name}.h5", name and (given.name or start.name))
    return [_changed(start, given.set)]


def _stored(path: Path, expected: str | None) -> Config:
    """The config in a run file, which must be called what the command line says, if it says so."""
    from circuits.checkpoints.repair import mend

    mend(path, remark)
    with opened_run(path) as run:
        stored_name = run.config.name
        if expected is not None and stored_name != expected:
            raise InputError(
                f"{path} holds a run of '{stored_name}', not of '{expected}'. Leave the preset out to resume it."
            )
        return run.config


def _assigned(assignments: Sequence[str]) -> dict[str, Any]:
    """The values of `KEY=JSON` words by key; a value that is not JSON is a word."""
    values: dict[str, Any] = {}
    for assignment in assignments:
        key, equals, text = assignment.partition("=")
        if not equals:
            raise InputError(
                f"--set {assignment} has no value. Write --set KEY=JSON, such as --set task.support=[3,5,9]."
            )
        try:
            value = json.loads(text)
        except (ValueError, RecursionError):
            value = text
        values[key.replace("-", "_")] = value
    return values


def _changed(config: Config, assignments: Sequence[str]) -> Config:
    """The config with the fields that `--set` changes."""
    overrides = _assigned(assignments)
    try:
        return overridden(config, overrides)
    except InputError as error:
        raise InputError(f"--set: {error}") from None


def _plan(jobs: Sequence[tuple[Config, Path]], replaces: bool) -> int:
    from circuits.checkpoints.layout import size_on_disk

    plan = jobs[0][0].to_json() if len(jobs) == 1 else json.dumps([one.model_dump(mode="json") for one, _ in jobs])
    result(*plan.splitlines())
    for config, path in jobs:
        hint = "" if replaces or not path.exists() else " It exists: pass --resume, --overwrite, or another --out."
        if path.exists() and not replaces and len(jobs) > 1:
            hint = " It exists, and is gone on with if it is not complete."
        planned = count(len(config.checkpoint_steps()), "checkpoint")
        what = f"{planned} of {count(len(config.seeds), 'seed')}, {size(size_on_disk(config))}"
        remark(f"{path} will hold {what}.{hint}")
    return 0
