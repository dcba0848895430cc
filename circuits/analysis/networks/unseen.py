"""Seen test inputs: the share of each seed's test set that is in its training set.

A network that has memorized its training set knows the answer to seen test inputs. The larger the share of seen
test inputs is, the weaker is the evidence of generalization in the test accuracy and in the generalization epoch. Runs
store which test inputs are seen; for runs of earlier versions this module compares the stored inputs.
"""

import numpy as np
import xarray as xr
from jaxtyping import Bool

from circuits.analysis.networks.phases import phases
from circuits.checkpoints.layout import UNSEEN_ACCURACY
from circuits.checkpoints.run import Run
from circuits.config import Config
from circuits.seen import SEEN, seen_inputs

HARMLESS = 0.05  # a share up to this has no remark
FEW_SEEDS = 8  # up to this many seeds are listed; for more seeds, the range of shares


def seen_share(run: Run) -> xr.DataArray:
    """Share of each seed's test inputs that are in the seed's training set, (seed,) in 0..1.

    Targets are not compared. 0 means that all test inputs are new, or that there are none.

    Examples
    --------
    >>> import circuits, tempfile
    >>> config = circuits.preset("merrill-2023").replace(model__width=8, task__n=6, task__n_train=50, epochs=0)
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     seen_share(circuits.train(config, f"{folder}/a.h5", progress=False)).values.tolist()
    [0.61, 0.47, 0.58, 0.49, 0.65]
    """
    seen = [seen_test_inputs(run, seed) for seed in run.seeds]
    share = np.array([each.mean() if each.size else 0.0 for each in seen])
    attrs = {"long_name": "share of the test inputs that are in the training set"}
    return xr.DataArray(share, {"seed": list(run.seeds)}, ["seed"], "test_seen_share", attrs)


def seen_test_inputs(run: Run, seed: int | None = None) -> Bool[np.ndarray, " test_example"]:
    """Mask of a seed's test inputs that are in the seed's training set; by default of the first seed."""
    data = run.data(seed)
    if SEEN in data:
        return data[SEEN].values.astype(bool)
    return seen_inputs(data["test_inputs"].values, data["train_inputs"].values)


def memory_share(run: Run) -> xr.DataArray:
    """Share of each seed's test inputs that are in its training set, (seed,); 0 if the run has no training step."""
    share = seen_share(run)
    return share if run.config.total_steps else 0 * share


def seen_remark(share: xr.DataArray | float) -> str:
    """Table text on one seed's share of test inputs seen in training; "" if the share is at most 5 %.

    Examples
    --------
    >>> seen_remark(0.64), seen_remark(0.05)
    ('64 % of the test set seen', '')
    """
    return f"{100 * float(share):.3g} % of the test set seen" if float(share) > HARMLESS else ""


def described_test_set(run: Run) -> str:
    """Text on the test set: its size, whether all seeds share it, and how much of it is in the training set."""
    if not run.all_data.sizes["test_example"]:
        return "none"
    shared = "seed" not in run.all_data["test_inputs"].dims
    whose = "" if len(run.seeds) == 1 else ", the same for all seeds" if shared else " of each seed's own"
    share = seen_share(run)
    listed = ", ".join(f"{100 * value:.3g} % (seed {seed})" for seed, value in share.to_series().items())
    shown = listed if share.size <= FEW_SEEDS else percent(share)
    seen = f"in the training set: {shown}" if share.any() else "none is in the training set"
    return f"{run.all_data.sizes['test_example']} inputs{whose}; {seen}"


def seen_sentence(run: Run) -> str:
    """Sentence on seeds whose training set holds more than 5 % of the test inputs; "" without such seeds."""
    share = _remarkable(run)
    if not share.size:
        return ""
    seeds = share["seed"].values.tolist()
    named = f"seed{'s' * (len(seeds) > 1)} {', '.join(map(str, seeds))}"
    whose = named if len(seeds) <= FEW_SEEDS else f"{len(seeds)} seeds"
    return f"{percent(share)} of the test inputs of {whose} are in the training set"


def seen_warnings(run: Run) -> list[str]:
    """Warning, at most one line, about seeds whose training set holds more than 5 % of the test inputs."""
    if not (what := seen_sentence(run)):
        return []
    share, n_test = _remarkable(run), run.all_data.sizes["test_example"]
    when = phases(run).sel(seed=share["seed"])
    if bool((when["collapsed"] | when["diverged"]).all()):
        return []  # memory has raised no accuracy
    n_others = np.rint((1 - share.values) * n_test).astype(int)
    some = n_others[n_others > 0]
    generalizes = bool(when["generalization_epoch"].notnull().any())
    about = "test accuracy and the epoch of generalization are" if generalizes else "test accuracy is"
    so = f"so {about} {'memory' if not some.size else 'partly memory'}"
    ways = []
    if some.size and UNSEEN_ACCURACY in run.metrics:
        few, many = int(some.min()), int(some.max())
        number = f"{few}" if few == many else f"{few} to {many}"
        without = ", ".join(str(seed) for seed, n in zip(share["seed"].values, n_others, strict=True) if not n)
        where = f" (seed {without} has none)" if without else ""
        ways.append(f"{UNSEEN_ACCURACY} counts the {number} {'other' if many == 1 else 'others'} alone{where}")
    return [f"{what}, {so}: {'; '.join([*ways, _way_to_unseen(run.config)])}."]


def percent(share: xr.DataArray) -> str:
    """Range of the shares in percent.

    Examples
    --------
    >>> percent(xr.DataArray([0.47, 0.61])), percent(xr.DataArray([0.64]))
    ('47 to 61 %', '64 %')
    """
    low, high = (f"{100 * float(value):.3g}" for value in (share.min(), share.max()))
    return f"{low} %" if low == high else f"{low} to {high} %"


def _way_to_unseen(config: Config) -> str:
    task = config.task
    if not hasattr(task, "too_few_unseen"):
        return f"give the task '{task.kind}' a test set without them"
    short = task.too_few_unseen(config.seeds)
    if short is None:
        return "train with --task.test-unseen true for a test set without them"
    seed, left = short
    if left:
        return f"train with --task.test-unseen true --task.n-test {left} for a test set without them"
    return f"the training set of seed {seed} holds every input there is, so lower --task.n-train"


def _remarkable(run: Run) -> xr.DataArray:
    share = memory_share(run)
    return share[share.values > HARMLESS]
