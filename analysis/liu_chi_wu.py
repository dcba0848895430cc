# ---
# jupyter:
#   jupytext:
#     text_representation:
#       extension: .py
#       format_name: percent
#   kernelspec:
#     display_name: Python 3
#     language: python
#     name: python3
# ---

# %% [markdown]
# # Modular addition: how much, by what, with which optimizer, and why
#
# Liu, Chi and Wu, a report without a year: transformers, MLPs and LSTMs learn x + y mod 97. It varies the training
# fraction, the architecture, the optimizer and the number of summands, and looks at the norm, the sparsity and noise on
# the inputs for an explanation.
#
# This study replays its Figures 1 to 8. A run takes from one minute to an hour, all of them a day, most of that
# Figure 4's 112. So run as a script, `python analysis/liu_chi_wu.py`, it trains the MLPs, 10 minutes in all, draws and
# judges the other runs that are in `checkpoints/`, and says which are missing. `--train` trains everything, `--fast` a
# few small ones.

# %%
import numpy as np
from _study import Study, epochs, later, median

import circuits
from circuits import figures

TRANSFORMER, MLP, LSTM = "liu-chi-wu-transformer", "liu-chi-wu-mlp", "liu-chi-wu-lstm"
PANELS = {
    "full batch": "liu-chi-wu-full-batch",
    "minibatch": "liu-chi-wu-minibatch",
    "Adam, weight decay .0003": "liu-chi-wu-adam",
    "AdamW, weight decay .3": "liu-chi-wu-weight-decay",
    "AdamW, dropout .1": "liu-chi-wu-dropout",
    "larger rate": "liu-chi-wu-large-lr",
    "smaller rate": "liu-chi-wu-small-lr",
    "RMSProp": "liu-chi-wu-rmsprop",
}
THREE, FOUR = "liu-chi-wu-three-summands", "liu-chi-wu-four-summands"
SPARSITY, NOISE = "liu-chi-wu-sparsity", "liu-chi-wu-perturbation"
FEW = {
    f"{TRANSFORMER}/fraction-0.5", f"{MLP}/fraction-0.5", f"{MLP}/fraction-0.7", THREE, SPARSITY, f"{NOISE}/noise-0.0",
    f"{NOISE}/noise-0.1", f"{PANELS['minibatch']}/fraction-0.50", f"{PANELS['minibatch']}/fraction-0.95",
    f"{PANELS['full batch']}/fraction-0.50", f"{PANELS['full batch']}/fraction-0.95",
}  # fmt: skip


def reduced(config):
    """A config for `--fast`: a few of them, with a small table and few neurons."""
    if config.name not in FEW:
        return None
    small = config.replace(
        task__p=5, epochs=6, steps=None, stop=None, seeds=[0], checkpoints={"every_epochs": 2}, batch_size=None
    )
    if config.model.kind == "transformer":
        return small.replace(model__d_model=8, model__n_heads=2, model__d_mlp=8)
    return small.replace(model__widths=[8] * len(config.model.widths))


study = Study("liu-chi-wu", [TRANSFORMER, MLP, LSTM, *PANELS.values(), THREE, FOUR, SPARSITY, NOISE], reduced)
FRACTIONS = ("0.3", "0.5", "0.7")
CURVES = ["accuracy", "loss"]


def when(run, what="generalization_epoch"):
    """The epoch at which each seed of a run generalized (test accuracy above 98 %), or memorized; or the delay."""
    return circuits.analysis.phases(run)[what].values


# %% [markdown]
# ## Figures 1 to 3: the training fraction, for three architectures
#
# The learning rate falls by 0.99 per epoch, as stated; after 700 epochs hardly anything is learned. The preset has
# every fraction with a constant rate too.


# %%
def of_fractions(runs, suffix=""):
    """When each fraction generalized, as text and by fraction."""
    found = {fraction: when(runs[f"fraction-{fraction}{suffix}"]) for fraction in FRACTIONS}
    return ", ".join(f"{fraction}: {epochs(at)}" for fraction, at in found.items()), found


def fewer_is_later(runs, suffix=""):
    """Whether less for training generalizes later."""
    text, found = of_fractions(runs, suffix)
    few, half, most = found.values()
    return text, later(few, half) and later(half, most)


def less_apparent(runs, suffix=""):
    """Whether the delay at 70 % is shorter than at 30 %."""
    few, most = (when(runs[f"fraction-{fraction}{suffix}"], "grokking_delay") for fraction in ("0.3", "0.7"))
    return f"delay {epochs(few)}, then {epochs(most)}", later(few, most)


transformers = study.runs(TRANSFORMER)
for suffix, rate in (("", "falling rate"), ("-constant-rate", "constant rate")):
    study.claim(
        "Figure 1", f"{rate}: the less for training, the later", "yes", lambda s=suffix: fewer_is_later(transformers, s)
    )
    study.claim("Figure 1", f"{rate}: less apparent at .7", "yes", lambda s=suffix: less_apparent(transformers, s))
    chosen = [run for name, run in transformers.items() if name.endswith("-constant-rate") == bool(suffix)]
    study.curves("Figure 1", chosen, "accuracy", f"transformer, {rate}")


def later_than_the_transformer(runs):
    """Whether a model generalizes later than the transformer, at the best of its two rates, at every fraction."""
    text, holds = [], True
    for fraction in FRACTIONS:
        ours = when(runs[f"fraction-{fraction}"])
        theirs = [when(transformers[f"fraction-{fraction}{suffix}"]) for suffix in ("", "-constant-rate")]
        theirs = min(theirs, key=lambda at: np.inf if np.isnan(median(at)) else median(at))
        text.append(f"{fraction}: {epochs(ours)} against {epochs(theirs)}")
        holds = holds and later(ours, theirs)
    return "; ".join(text), holds


def any_grok(runs):
    """Whether the model groks at some fraction: generalizes at more than twice its age when it memorized."""
    ratios = {
        f: median(when(runs[f"fraction-{f}"]) / when(runs[f"fraction-{f}"], "memorization_epoch")) for f in FRACTIONS
    }
    text = ", ".join(f"{fraction}: {ratio:.1f}" for fraction, ratio in ratios.items())
    return f"age, generalized / memorized: {text}", any(ratio > 2 for ratio in ratios.values())


for figure, preset, name in (("Figure 2", MLP, "MLP"), ("Figure 3", LSTM, "LSTM")):
    runs = study.runs(preset)
    study.claim(figure, f"the {name} groks", "yes", lambda runs=runs: any_grok(runs))
    study.claim(figure, "the less for training, the later", "yes", lambda runs=runs: fewer_is_later(runs))
    study.claim(figure, "later than the transformer", "yes", lambda runs=runs: later_than_the_transformer(runs))
    study.curves(figure, list(runs.values()), "accuracy", name)

# %% [markdown]
# ## Figure 4: eight ways to train
#
# The best test accuracy within 15 000 updates, the median over seeds 10, 11 and 12, for 30 to 95 % of the table. A way
# is better when its mean over the fractions is higher by 0.02.

# %%
BETTER = 0.02
lines, means = {}, {}
for name, preset in PANELS.items():
    runs = study.runs(preset)
    if runs:
        found = circuits.analysis.outcomes(runs)["best_test_accuracy"]
        lines[name] = found.assign_coords(
            train_fraction=("run", [run.config.task.train_fraction for run in runs.values()])
        )
    if runs and len(runs) == len(study.configs[preset]):
        means[name] = float(found.median("seed").mean())


def mean(name):
    """The mean over the fractions of a way to train; it must be complete."""
    if name not in means:
        study.missing(f"{PANELS[name]}, every fraction")
    return means[name]


def compare(first, second, wanted):
    """Whether the first way is better (1), as good (0) or worse (-1) than the second."""
    one, two = mean(first), mean(second)
    found = 0 if abs(one - two) < BETTER else 1 if one > two else -1
    return f"{one:.2f} and {two:.2f}", found == wanted


def no_better(first, second):
    """Whether the first way is not better than the second."""
    one, two = mean(first), mean(second)
    return f"{one:.2f} and {two:.2f}", one < two + BETTER


def similar():
    """Whether the three optimizers with weight decay differ by less than 0.1."""
    found = {name: mean(name) for name in ("AdamW, weight decay .3", "Adam, weight decay .0003", "RMSProp")}
    return ", ".join(f"{name} {one:.2f}" for name, one in found.items()), max(found.values()) - min(
        found.values()
    ) < 0.1


def two_best():
    """Whether weight decay is the best of all ways."""
    ranked = sorted(PANELS, key=mean, reverse=True)
    return ", ".join(f"{name} {mean(name):.2f}" for name in ranked), ranked[0] == "AdamW, weight decay .3"


study.claim(
    "Figure 4", "weight decay against none", "critical", lambda: compare("AdamW, weight decay .3", "minibatch", 1)
)
study.claim("Figure 4", "minibatches against full batch", "much better", lambda: compare("minibatch", "full batch", 1))
study.claim("Figure 4", "dropout against none", "better", lambda: compare("AdamW, dropout .1", "minibatch", 1))
study.claim("Figure 4", "smaller rate against the rate", "no better", lambda: no_better("smaller rate", "minibatch"))
study.claim(
    "Figure 4", "larger rate against the rate", "severe problems", lambda: compare("larger rate", "minibatch", -1)
)
study.claim("Figure 4", "AdamW, Adam, RMSProp", "similar after tuning", similar)
study.claim("Figure 4", "weight decay with minibatches", "most effective", two_best)
if lines:
    drawn = figures.against(lines, "train_fraction", title="Figure 4: best test accuracy", y_range=(-0.03, 1.03))
    study.show("Figure 4", drawn)

# %% [markdown]
# ## Figure 5: more summands
#
# The dashed line is the share of the test set that is a training example in another order.

# %%
summands = {"K = 3": study.runs(THREE).get(THREE), "K = 4": study.runs(FOUR).get(FOUR)}


def summand(name):
    """A run, which must be there."""
    return summands[name] if summands[name] is not None else study.missing({"K = 3": THREE, "K = 4": FOUR}[name])


def hardly(name):
    """Whether the test accuracy follows the training accuracy within twice the age."""
    run = summand(name)
    memorized, generalized = when(run, "memorization_epoch"), when(run)
    ratio = median(generalized / memorized)
    text = f"epoch {epochs(memorized)}, then {epochs(generalized)}"
    return text, bool(ratio < 2) if np.isfinite(ratio) else None


def overlapping(name):
    """Whether train and test accuracy differ by less than 0.1 on average."""
    metrics = summand(name).metrics
    gap = float(np.abs(metrics["train_accuracy"] - metrics["test_accuracy"]).mean())
    return f"{gap:.2f} apart on average", gap < 0.1


study.claim("Figure 5", "K = 3: hardly any grokking", "yes", lambda: hardly("K = 3"))
study.claim("Figure 5", "K = 4: train and test overlap", "yes", lambda: overlapping("K = 4"))
for name in summands:
    study.claim(
        "Figure 5",
        f"{name}: solved by commuting",
        "—",
        lambda name=name: (
            f"{float(circuits.analysis.commuted_share(summand(name)).mean()):.2f} of the test set",
            None,
        ),
    )
study.curves("Figure 5", {name: run for name, run in summands.items() if run is not None}, "accuracy", "K summands")

# %% [markdown]
# ## Figure 6: the norm of the parameters


# %%
def turning(run):
    """The epoch of the largest norm, that at which half the test set is right, and the norm then and at the end."""
    norm = run.metrics["parameter_norm"].median("seed").values
    tested = run.metrics["test_accuracy"].median("seed").values
    peak = int(norm.argmax())
    half = np.flatnonzero(tested > 0.5)
    return run.epochs[peak], run.epochs[half[0]] if half.size else np.nan, norm[peak], norm[-1]


def falls(run):
    """Whether the test accuracy rises as the norm begins to fall: within a factor of two of the epochs."""
    peak, half, highest, end = turning(run)
    text = f"largest ({highest:.0f}) at epoch {peak:g}, half the test set right at {half:g}, norm {end:.0f} at the end"
    return text, bool(end < 0.95 * highest and 0.5 <= half / max(peak, 1) <= 2)


def low_while_memorizing(run):
    """Whether the norm grows and the test accuracy stays low until the network has memorized."""
    at = np.searchsorted(run.epochs, median(when(run, "memorization_epoch")))
    norm, tested = (run.metrics[name].median("seed").values for name in ("parameter_norm", "test_accuracy"))
    return f"norm {norm[0]:.0f}, then {norm[at]:.0f}; test {tested[at]:.2f}", bool(
        norm[at] > norm[0] and tested[at] < 0.5
    )


for suffix in ("", "-constant-rate"):
    name = f"fraction-0.3{suffix}"
    study.claim(
        "Figure 6",
        f"{name}: grows while memorizing, test near 0",
        "yes",
        lambda n=name: low_while_memorizing(transformers[n]),
    )
    study.claim(
        "Figure 6", f"{name}: test rises as the norm falls", "exactly then", lambda n=name: falls(transformers[n])
    )
study.curves("Figure 6", list(transformers.values()), ["accuracy", "parameter_norm"], "norm of all parameters")

# %% [markdown]
# ## Figure 7: sparsity
#
# `sparsity_ratio` is the report's measure: neurons of the active subnetwork over all neurons. It calls a lower ratio
# "an increase in sparsity".

# %%
sparse = study.runs(SPARSITY)[SPARSITY]
measured = circuits.analyze(sparse, "subnetwork")["subnetwork"]
ratio = measured["sparsity_ratio"].median("seed").values


def ends(run):
    """Whether a network is right on both sets at the end: what does not learn shows nothing about learning."""
    trained, tested = (median(run.metrics[f"{part}_accuracy"][-1].values) for part in ("train", "test"))
    return f"train {trained:.2f}, test {tested:.2f} at the end", trained > 0.98 and tested > 0.98


def along_loss(part, wanted):
    """How the ratio changes while a loss falls from nine tenths of its range to one tenth, on the way to its end."""
    loss = sparse.metrics[f"{part}_loss"].median("seed").values
    first = int(loss.argmax()) if part == "test" else 0
    low, high = loss[first:].min(), loss[first]
    above = np.flatnonzero(loss[first:] <= low + 0.9 * (high - low))
    below = np.flatnonzero(loss[first:] <= low + 0.1 * (high - low))
    begin, end = first + int(above[0]), first + int(below[0])
    text = (
        f"ratio {ratio[begin]:.2f}, then {ratio[end]:.2f} "
        f"(epochs {sparse.epochs[begin]:g} to {sparse.epochs[end]:g}), {ratio[-1]:.2f} at the end"
    )
    return text, bool(np.sign(ratio[end] - ratio[begin]) == wanted)


study.claim("Figure 7", "memorizes and generalizes", "yes", lambda: ends(sparse))
study.claim(
    "Figure 7", "train loss falls: sparsity declines, the ratio rises", "denser", lambda: along_loss("train", 1)
)
study.claim(
    "Figure 7", "test loss falls: sparsity increases, the ratio falls", "sparser", lambda: along_loss("test", -1)
)
drawn = figures.curves(
    [sparse],
    ["accuracy", "loss", "sparsity_ratio"],
    results=[measured],
    title="Figure 7: accuracy, loss, sparsity ratio",
)
study.show("Figure 7", drawn)

# %% [markdown]
# ## Figure 8: noise on the inputs

# %%
noisy = study.runs(NOISE)


def earlier():
    """Whether the network with noise on its inputs generalizes earlier."""
    without, with_noise = (when(noisy[f"noise-{sigma}"]) for sigma in (0.0, 0.1))
    return f"without: {epochs(without)}; with: {epochs(with_noise)}", later(without, with_noise)


study.claim("Figure 8", "without noise: memorizes and generalizes", "yes", lambda: ends(noisy["noise-0.0"]))
study.claim("Figure 8", "noise on the inputs generalizes earlier", "significantly earlier", earlier)
study.curves("Figure 8", list(noisy.values()), ["accuracy", "parameter_norm"], "noise on the inputs")

# %%
study.finish()
