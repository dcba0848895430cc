"""`circuits train [PRESET]`: train a preset, a JSON file or the defaults, changed by `--set` and flags.

The preset may stand anywhere among the flags. It is read first: its config determines the flags and their defaults.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import tyro

from circuits.cli.console import remark, result
from circuits.cli.flags import Switch, arities, flag_class, flags_of, overlaid, picked, shown
from circuits.cli.opening import in_brief, opened_run
from circuits.cli.parsing import parsed, recognized, validated
from circuits.cli.values import assigned, is_flag, is_number, is_truth, listed
from circuits.config import Config
from circuits.errors import InputError, nearest
from circuits.presets import preset_configs
from circuits.presets.resolve import overridden, resolve_config
from circuits.registry import PRESETS
from circuits.tabular import count, size

if TYPE_CHECKING:
    from circuits.checkpoints.run import Run

FOLDER = Path("checkpoints")
COMMAND = "circuits train"
KERNEL_HELP = (
    "Training path: fused, the compiled step for relu networks on CPU; batched, torch with all seeds at once (cuda, "
    "small models); prepared, torch with a model's faster forward pass; reference, plain torch."
)


@dataclass(kw_only=True)
class TrainFlags:
    """Train a preset, a config of your own, or the defaults below, and keep every checkpoint."""

    config: Annotated[Path | None, shown("FILE")] = None
    """Start from this JSON file instead of a preset; `circuits presets NAME` prints such a file."""
    from_: Annotated[Path | None, tyro.conf.arg(name="from", metavar="RUN.h5", help_behavior_hint="")] = None
    """Train a lottery ticket: only some neurons of this run's network, from their parameters at checkpoint 0."""
    seed: Annotated[int | None, shown("INT", "(default: the first)")] = None
    """With --from: the seed whose network, data and order of examples are used."""
    keep: Annotated[Literal["active", "random"] | None, shown("{active,random}", "(default: active)")] = None
    """With --from: neurons to train. active: the active subnetwork of the last checkpoint (fewest neurons of largest
    norm that predict the training set like the whole network). random: as many random neurons, as a control."""
    set: Annotated[tuple[str, ...], tyro.conf.UseAppendAction, tyro.conf.arg(metavar="KEY=JSON")] = ()
    """Change any field, such as task.kind=parity or task.support=[3,5,9]."""
    out: Annotated[Path | None, shown("PATH", "(default: checkpoints/NAME.h5)")] = None
    """The run file to write."""
    device: Literal["auto", "cpu", "cuda", "mps"] = "auto"
    """Where to compute; auto: cpu if the kernel (see --kernel) is fused; otherwise cuda if available, else cpu."""
    kernel: Annotated[Literal["auto", "fused", "batched", "prepared", "reference"], tyro.conf.arg(help=KERNEL_HELP)] = (
        "auto"
    )
    resume: Switch = False
    """Continue the run in --out with its stored config; the only possible change is a larger --epochs."""
    overwrite: Switch = False
    """Replace the run in --out."""
    allow_different_numerics: Switch = False
    """Resume even if processor or libraries differ. Rounding and results then differ from an uninterrupted run."""
    dry_run: Switch = False
    """Train nothing; print the config as JSON, and the size of the run on disk."""
    quiet: Switch = False
    """No progress bar."""
    name: str | None = None


TEXT_LISTS = [f"--{name}" for name, info in Config.model_fields.items() if info.annotation == tuple[str, ...]]
PRESET_HELP = (
    "Start from this preset; its values become the defaults below. `circuits presets` lists the presets. A preset of "
    "several configs trains all of them in turn and continues incomplete runs; PRESET/NAME trains one config."
)
PRESET_ARG = tyro.conf.arg(metavar="[PRESET]", help=PRESET_HELP, help_behavior_hint="")
PRESET_FLAG = Annotated[str | None, tyro.conf.Positional, PRESET_ARG]


def command(words: list[str]) -> int:
    name, words, before = split_preset(words)
    given = recognized(TrainFlags, words, COMMAND, n_bare=0)  # the words no longer contain the preset
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
    """Each config of a preset (`starts`), as changed by the flags, with its run file.

    `first` is starts[0] after the changes. `typed` has the names of the fields that the flags change. In every config,
    each of these fields gets the value that the field has in `first`.
    """
    if first.name != starts[0].name:
        raise InputError(f"The preset has {len(starts)} configs, but --name names only one. Pass --out FOLDER instead.")
    if flags.out is not None and flags.out.suffix == ".h5":
        raise InputError(f"The preset has {len(starts)} configs, so --out {flags.out} must be a folder.")
    wanted = {key: value for key, value in first.leaves().items() if key in typed}
    leaves = [start.leaves() for start in starts]
    for key in wanted:
        if len({json.dumps(one.get(key)) for one in leaves}) > 1:
            remark(f"--{key.replace('_', '-')} overrides the field in which the {len(starts)} configs differ.")
    configs = [overridden(start, wanted) for start in starts]
    named = [(config, config.name.partition("/")) for config in configs]
    return [(config, (flags.out or FOLDER / folder) / f"{name}.h5") for config, (folder, _, name) in named]


def _train(flags: Any, config: Config, path: Path, *, resume: bool) -> None:
    from circuits.analysis.networks.measurement import measure as measured_phases
    from circuits.analysis.networks.phase_tables import phase_tables
    from circuits.analysis.networks.remarks import loss_remarks, phase_remarks
    from circuits.analysis.networks.unseen import seen_warnings
    from circuits.checkpoints.layout import size_on_disk
    from circuits.training.paths.choice import choose_path

    choose_path(config, flags.device, flags.kernel)  # raises before anything is printed
    if not flags.quiet and not path.exists():
        planned = count(len(config.checkpoint_steps()), "checkpoint")
        remark(f"{path} will take {size(size_on_disk(config))}: {planned} of {count(len(config.seeds), 'seed')}.")
    with _trained(flags, config, path, resume) as run:
        result(in_brief(run))
        phases = measured_phases(run)
        result(*phase_tables(phases)[0], *phase_remarks(phases), *loss_remarks(run))
        for warning in seen_warnings(run):
            remark(f"warning: {warning}")
        if run.parent and "neurons" not in run.parent:
            _compare_with_parent(run)
    left = [beside for beside in (path.with_suffix(".analysis.nc"), path.with_suffix(".html")) if beside.exists()]
    if flags.overwrite and left:
        remark(f"These files belong to the replaced run: {', '.join(map(str, left))}.")
    remark(f"Next: circuits analyze {path}, or circuits report {path} for a page with every figure.")


def _trained(flags: Any, config: Config, path: Path, resume: bool) -> "Run":
    from circuits.checkpoints.run import open_run
    from circuits.cli.ticket import chosen_neurons
    from circuits.training.loop import train
    from circuits.training.lottery_ticket import ticket

    options = picked(flags, "device", "kernel", "overwrite")
    if flags.from_ is None:
        return train(config, path, resume=resume, allow_different_numerics=flags.allow_different_numerics, **options)
    _, seed, kept = chosen_neurons(flags.from_, flags.seed, flags.keep)
    with open_run(flags.from_) as run:
        return ticket(run, path, kept, seed=seed, config=config, **options)


def _compare_with_parent(run: "Run") -> None:
    """Compare a resumed replay with its parent, the original run, and print the result as `circuits replay` does."""
    from circuits.checkpoints.run import open_run
    from circuits.training.replay import compare

    path = Path(run.parent["path"]) if run.parent else None
    if path is None or not path.exists():
        result(f"Its parent {path} does not exist, so nothing was compared.")
        return
    with open_run(path) as parent:
        result(f"Replay and run: {compare(parent, run)}")


def split_preset(words: Sequence[str]) -> tuple[str | None, list[str], list[str]]:
    """Find the preset's name among the words after `circuits train`, before the flags are parsed.

    A switch is a flag that takes no value, such as --quiet. The function skips all flags, and these words as values:
    - the word directly after a flag that takes values and is written without "=", such as x in `--out x`
    - a number, if the last flag before it takes values
    - a word that is not a preset name, if the last flag before it takes a list of texts, such as --metrics
    - a number or a truth value directly after a switch

    All other words are candidates. If there is only one, it is the name, even if it is misspelled. If there are more,
    the function drops each candidate that is not a preset name and may belong to a flag: it stands directly after a
    switch, or the last flag before it takes values. An instance is x in `merrill-2023 --epochs 3 x`. If more than one
    is left, InputError is raised. Return the name (None if there is none), all other words, and a list for an error
    message. If the name may belong to a flag, the list has this flag and its values. Otherwise the list is empty.

    Examples
    --------
    >>> split_preset(["--quiet", "--seeds", "0", "1", "merrill-2023", "--epochs=3"])
    ('merrill-2023', ['--quiet', '--seeds', '0', '1', '--epochs=3'], ['--seeds', '0', '1'])
    """
    own = arities(TrainFlags)
    bare: list[int] = []
    follows: dict[int, list[str]] = {}  # place of a bare word -> the flag before it, with its values
    flag: list[str] = []  # the last flag that takes values, with its values
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
    flags = flag_class("Train", flags_of(resolve_config()), "", TrainFlags)
    arity = arities(flags).get(flag)
    message = f"There is no preset '{name}'. {nearest(name, PRESETS)}"
    if arity is not None and arity.switch:
        message += f" If '{name}' is meant for {flag}: it takes no value."
    elif arity is not None and not arity.many and values:
        message += f" If '{name}' is meant for {flag}: it takes one value, and has {listed(values)}."
    return InputError(message)


def _starts(name: str | None, given: TrainFlags) -> list[Config]:
    """Configs to train: from a lottery ticket, the run to resume, a preset, a file or defaults, changed by `--set`."""
    if given.resume and given.overwrite:
        raise InputError("--resume continues a run, --overwrite replaces it. Pass only one of them.")
    if given.from_ is not None:
        if name is not None or given.config is not None:
            raise InputError(f"--from {given.from_} determines what to train, so pass neither a preset nor --config.")
        if given.resume:
            raise InputError("To resume a run that was made with --from, pass --resume --out without --from.")
        from circuits.cli.ticket import chosen_neurons

        start = chosen_neurons(given.from_, given.seed, given.keep)[0]
    elif given.seed is not None:
        raise InputError("--seed needs --from RUN.h5, to choose a network of that run. To train seeds, pass --seeds.")
    elif given.keep is not None:
        raise InputError("--keep needs --from RUN.h5, to choose neurons of that run. Pass both, or leave --keep out.")
    elif name is not None and name in PRESETS and given.config is None and len(configs := preset_configs(name)) > 1:
        return [_changed(config, given.set) for config in configs.values()]
    else:
        start = resolve_config(name, file=given.config)
    if given.resume and given.config is None:
        start = _stored(given.out or FOLDER / f"{given.name or start.name}.h5", name and (given.name or start.name))
    return [_changed(start, given.set)]


def _stored(path: Path, expected: str | None) -> Config:
    from circuits.checkpoints.repair import mend

    mend(path, remark)
    with opened_run(path) as run:
        stored_name = run.config.name
        if expected is not None and stored_name != expected:
            raise InputError(
                f"{path} holds a run of '{stored_name}', not of '{expected}'. Leave the preset out to resume it."
            )
        if reason := run.config.task.unregistered or run.config.model.unregistered:
            raise InputError(f"{path} cannot be resumed: {reason}")
        return run.config


def _changed(config: Config, assignments: Sequence[str]) -> Config:
    """The config with the changes of `--set KEY=JSON`; a value that is not JSON is taken as text."""
    values = dict(assigned(word) for word in assignments)
    try:
        return overridden(config, values)
    except InputError as error:
        raise InputError(f"--set: {error}") from None


def _plan(jobs: Sequence[tuple[Config, Path]], replaces: bool) -> int:
    from circuits.checkpoints.layout import size_on_disk

    plan = jobs[0][0].to_json() if len(jobs) == 1 else json.dumps([one.model_dump(mode="json") for one, _ in jobs])
    result(*plan.splitlines())
    for config, path in jobs:
        hint = "" if replaces or not path.exists() else " It exists: pass --resume, --overwrite, or another --out."
        if path.exists() and not replaces and len(jobs) > 1:
            hint = " It exists; training continues if it is not complete."
        planned = count(len(config.checkpoint_steps()), "checkpoint")
        what = f"{planned} of {count(len(config.seeds), 'seed')}, {size(size_on_disk(config))}"
        remark(f"{path} will hold {what}.{hint}")
    return 0
