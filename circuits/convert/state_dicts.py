"""Conversion of any state dicts: one file per checkpoint, with file names that match a pattern.

    model_*.pt                       the last number in the name is the epoch; one seed
    seed{seed}/model_{epoch}.pt      {seed} and {epoch} stand for the numbers that are the seed and the epoch
    run-{seed}-step-{step}.pt        checkpoints counted in optimizer updates

The weights determine width, number of inputs and precision. A config gives the task and the optimizer.
"""

import re
from collections.abc import Mapping
from fnmatch import translate
from glob import glob
from pathlib import Path
from typing import Any, NamedTuple

from circuits.checkpoints.run import Run
from circuits.config import Config, parse
from circuits.convert.imported import Arrays, checkpoint_plan, imported_from, write_run
from circuits.convert.weights import read_alike, read_weights, sizes
from circuits.errors import InputError

PLACEHOLDERS = ("seed", "epoch", "step")
HOW = "Write the pattern in quotes, such as 'model_*.pt' or 'seed{seed}/model_{epoch}.pt'."


def from_state_dicts(
    pattern: str | Path,
    out: str | Path,
    config: Config,
    *,
    keys: Mapping[str, str] | None = None,
    seed: int = 0,
    overwrite: bool = False,
    progress: bool = True,
) -> Run:
    """Convert the state dicts that match a pattern into a run file, and open the run for reading.

    Metrics are computed from the weights, on the data that `config.task` draws.

    Parameters
    ----------
    pattern
        File names with * and ?; {seed}, {epoch} and {step} each stand for a number. Without {epoch} and {step}, the
        last number in a file's name is its epoch.
    out
        The run file to write.
    config
        Model kind, task, optimizer and batch size. The files give seeds, checkpoints, dtype, width and input count.
    keys
        Parameter -> its key in the files, such as {"W": "linear1.weight"}; by default the model's own names, or the
        keys of the released code of Merrill et al.
    seed
        The seed, if the pattern has no {seed}.
    overwrite, progress
        As in `circuits.train`.

    Raises
    ------
    InputError
        `pattern` is wrong or matches no file; a file name lacks the epoch; two files share seed and epoch (or step);
        seeds differ in checkpoints; or a file holds no network of the config's model. The message names file and key.
    """
    unit, files = _matching(str(pattern), seed)
    seeds = sorted({which.seed for which in files})
    counts = sorted({which.number for which in files})
    for which in (_Which(seed, count) for seed in seeds for count in counts):
        if which not in files:
            place = f"{unit} {which.number}"
            raise InputError(f"At {place}, {pattern} matches files of other seeds, but no file of seed {which.seed}.")

    first = files[_Which(seeds[0], counts[0])]
    parameters = read_weights(first, config.model, keys, config.task.signature)
    lengths = sizes(parameters, config.model, config.task.signature)
    config = _fitted(config, parameters, lengths, pattern)
    n_inputs = config.task.signature.n_inputs
    if lengths.get("input", n_inputs) != n_inputs:
        raise InputError(f"{first} takes {lengths['input']} inputs, the {config.task.kind} task has {n_inputs}.")
    per = config.steps_per_epoch if unit == "epoch" else 1
    plan = checkpoint_plan([count * per for count in counts], config.steps_per_epoch)
    config = parse({**config.model_dump(mode="json"), **plan, "seeds": seeds}, pattern)

    def networks(step: int) -> list[Arrays]:
        paths = [files[_Which(seed, step // per)] for seed in seeds]
        return read_alike(paths, config.model, lengths, f"The shape must match {first}", keys, config.task.signature)

    return write_run(Path(out), config, networks, str(pattern), overwrite=overwrite, progress=progress)


class _Which(NamedTuple):
    seed: int
    number: int  # epoch or step


def _matching(pattern: str, seed: int) -> tuple[str, dict[_Which, Path]]:
    """Find the files that match `pattern`, and read the seed and the epoch or step of each file from its name.

    Returns the unit of the numbers in the names, "epoch" or "step", and a dict from (seed, epoch or step) to the file.
    """
    given = re.findall(r"\{(\w*)\}", pattern)
    wrong = [name for name in given if name not in PLACEHOLDERS]
    if wrong or len(set(given)) < len(given) or {"epoch", "step"} <= set(given):
        raise InputError(f"{pattern}: a pattern may have {{seed}} once, and {{epoch}} or {{step}} once.")
    paths = sorted(Path(path) for path in glob(re.sub(r"\{\w+\}", "*", pattern)))
    expression = _expression(str(Path(pattern)))
    unit = "step" if "step" in given else "epoch"
    files: dict[_Which, Path] = {}
    for path in paths:
        match = expression.fullmatch(str(path))
        if match is None or not path.is_file():
            continue
        values = match.groupdict()
        number = int(values[unit]) if unit in values else _last_number(path, match)
        which = _Which(int(values.get("seed", seed)), number)
        if which in files:
            raise InputError(f"{files[which]} and {path} are both {unit} {which.number} of seed {which.seed}. {HOW}")
        files[which] = path
    if not files:
        raise InputError(f"No file matches '{pattern}'. {HOW}")
    return unit, files


def _expression(pattern: str) -> re.Pattern[str]:
    """The pattern as a regular expression: * and ? match as in a shell, and each placeholder matches a number.

    Examples
    --------
    >>> _expression("s{seed}/m_*.pt").fullmatch("s3/m_10.pt")["seed"]
    '3'
    """
    return re.compile("".join(map(_part_expression, re.split(r"(\{\w+\}|\*|\?|\[!?\]?[^]]*\])", pattern))))


def _part_expression(part: str) -> str:
    if part.startswith("{") and part[1:-1] in PLACEHOLDERS:
        return rf"(?P<{part[1:-1]}>\d+)"
    if part.startswith("["):
        return translate(part)[len("(?s:") : -len(r")\Z")]
    return {"*": r"[^/]*", "?": r"[^/]"}.get(part, re.escape(part))


def _last_number(path: Path, match: re.Match[str]) -> int:
    """The last number in a file's name that is not its seed."""
    start, end = match.span("seed") if "seed" in match.groupdict() else (0, 0)
    name = Path(f"{match[0][:start]}_{match[0][end:]}").stem
    numbers = re.findall(r"\d+", name)
    if not numbers:
        raise InputError(f"{path} has no number for the epoch in its name. {HOW}")
    return int(numbers[-1])


def _fitted(config: Config, parameters: Arrays, lengths: Mapping[str, int], pattern: str | Path) -> Config:
    """The config with the width, the number of inputs and the dtype that the weights in `parameters` have.

    `lengths` has the length of each dimension of the weights, such as {"neuron": 5, "input": 3}. The result's `source`
    names `pattern`, the pattern of the imported files. The caller later replaces `seeds`, `epochs` and `checkpoints`.
    """
    data: dict[str, Any] = config.model_dump(mode="json")
    for part, field, dim in (("model", "width", "neuron"), ("task", "n", "input")):
        if field in data[part] and dim in lengths:
            data[part][field] = lengths[dim]
    double = any(values.dtype == "float64" for values in parameters.values())
    data |= {
        "source": imported_from(pattern), "dtype": "float64" if double else "float32", "seeds": [0],
        "epochs": 0, "checkpoints": {},
        "metrics": [], "weight_decay_changes": [], "stop": None, "steps": None,
    }  # fmt: skip
    return parse(data, pattern)
