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
# # Recurrent networks grok, and weight decay decides
#
# Ahmed (2024), essay, AIMS Ghana: LSTMs and RNNs learn x + y mod p from 30, 50 and 70 % of the table. Without weight
# decay they never generalize; removed early it is missed, removed late it is not; introduced late it suffices, and more
# of it is faster.
#
# This study replays Figures 5.2 to 5.7 and 7.1 to 7.8: every figure of chapters 5 and 7 that has curves. A run takes an
# hour, all of them two days. So run as a script, `python analysis/ahmed_2024.py`, it draws and judges the runs that are
# in `checkpoints/`, says which are missing, and trains only the laboratory: a network that groks in seconds, of which
# it asks the same questions. `--train` trains everything, `--fast` a few small ones.

# %%
import numpy as np
from _study import Study, epochs, later, median

import circuits
from circuits import figures

LSTM, RNN, ADAM, DROPOUT = "ahmed-2024-lstm", "ahmed-2024-rnn", "ahmed-2024-adam", "ahmed-2024-dropout"
NONE, REMOVED, INTRODUCED = "ahmed-2024-no-decay", "ahmed-2024-decay-removed", "ahmed-2024-decay-introduced"
SCALE = "ahmed-2024-init-scale"
LABORATORY = ("modular-31-decay", "modular-31-fraction", "modular-31-init-scale")
FEW = {
    f"{LSTM}/fraction-0.3", f"{LSTM}/fraction-0.5", f"{RNN}/fraction-0.5", NONE, f"{ADAM}/rnn-fraction-0.5",
    f"{REMOVED}/epoch-60", f"{INTRODUCED}/epoch-500-decay-0.02", f"{SCALE}/lstm-1", f"{SCALE}/lstm-5",
    "modular-31-decay/always", "modular-31-decay/never", "modular-31-decay/removed-early",
}  # fmt: skip


def reduced(config):
    """A config for `--fast`: a few of them, with a small table and few units."""
    if config.name not in FEW:
        return None
    changes = [{"epoch": 3, "value": change.value} for change in config.weight_decay_changes]
    small = config.replace(
        task__p=5, epochs=8, batch_size=None, seeds=[0], checkpoints__every_epochs=2, weight_decay_changes=changes
    )
    if config.model.kind == "mlp":
        return small.replace(model__widths=[8])
    return small.replace(model__hidden=8, model__d_embed=8)


study = Study("ahmed-2024", [LSTM, RNN, NONE, REMOVED, INTRODUCED, ADAM, DROPOUT, SCALE, *LABORATORY], reduced)
CURVES = ["accuracy", "loss"]
DYNAMICS = ["loss", "accuracy", "parameter_norm"]  # the three columns of chapter 5's figures on weight decay
GROKS = 100  # epochs: a shorter delay is no grokking


def when(run, what="generalization_epoch"):
    """The epoch at which each seed of a run generalized (test accuracy above 98 %), or memorized; or the delay."""
    return circuits.analysis.phases(run)[what].values


def last(run, metric="test_accuracy"):
    """A metric at the end, the median over seeds."""
    return median(run.metrics[metric][-1].values)


def best(run):
    """The best test accuracy, the median over seeds."""
    return median(run.metrics["test_accuracy"].max("step").values)


# %% [markdown]
# ## Figures 5.2 and 5.3: three training fractions

# %%
FRACTIONS = ("0.3", "0.5", "0.7")


def delays(runs, prefix=""):
    """Delays by fraction, as text, and whether every run groks."""
    found = {fraction: when(runs[f"{prefix}fraction-{fraction}"], "grokking_delay") for fraction in FRACTIONS}
    text = ", ".join(f"{fraction}: {epochs(delay)}" for fraction, delay in found.items())
    return f"delay {text}", found


def all_grok(runs):
    """Whether every fraction has a delay."""
    text, found = delays(runs)
    return text, all(median(delay) > GROKS for delay in found.values())


def less_is_longer(runs):
    """Whether the delay is longer the less there is for training."""
    text, found = delays(runs)
    few, half, most = (found[fraction] for fraction in FRACTIONS)
    return text, later(half, most) and (later(few, half) or bool(np.isnan(few).all()))


for figure, preset, kind in (("Figure 5.2", LSTM, "LSTM"), ("Figure 5.3", RNN, "RNN")):
    runs = study.runs(preset)
    study.claim(figure, f"{kind} groks at 30, 50 and 70 %", "yes", lambda runs=runs: all_grok(runs))
    study.claim(figure, "less pronounced the more is for training", "yes", lambda runs=runs: less_is_longer(runs))
    study.curves(figure, list(runs.values()), CURVES, kind)

# %% [markdown]
# ## Figure 5.4: no weight decay

# %%
without = study.runs(NONE)


def overfits():
    """Whether the network without weight decay memorizes and never generalizes."""
    run = without[NONE]
    memorized, tested = last(run, "train_accuracy"), best(run)
    return f"train {memorized:.2f}, best test {tested:.2f}", memorized > 0.98 and bool(np.isnan(when(run)).all())


study.claim("Figure 5.4", "without weight decay: overfits, no grokking, even extended", "no grokking", overfits)
study.curves("Figure 5.4", list(without.values()), CURVES, "no weight decay")

# %% [markdown]
# ## Figures 5.5, 5.6, 7.5 and 7.6: weight decay removed
#
# The dashed line is the weight decay in force.

# %%
removed = study.runs(REMOVED)


def stays_low(epoch):
    """Whether the test accuracy stays low when weight decay is removed at an epoch."""
    tested = best(removed[f"epoch-{epoch}"])
    return f"best test {tested:.2f}", tested < 0.5


def grows(epoch):
    """Whether the norm is larger at the end than when weight decay was removed."""
    run = removed[f"epoch-{epoch}"]
    norm = run.metrics["parameter_norm"].median("seed").values
    then = norm[np.searchsorted(run.epochs, epoch)]
    return f"norm {then:.1f}, then {norm[-1]:.1f}", bool(norm[-1] > then)


def unharmed(epoch):
    """Whether the network had generalized when weight decay was removed, and stays so."""
    run = removed[f"epoch-{epoch}"]
    then = float(run.metrics["test_accuracy"].median("seed").values[np.searchsorted(run.epochs, epoch)])
    return f"test {then:.2f}, then {last(run):.2f}", then > 0.9 and last(run) > then - 0.02


for figure, removals, statement, measure in (
    ("Figures 5.5 and 7.5", (60, 70, 97, 200), "test accuracy stays low", stays_low),
    ("Figures 5.6 and 7.6", (3495, 3690, 3850, 4270), "it stays as it was", unharmed),
):
    for epoch in removals:
        study.claim(figure, f"removed at epoch {epoch}: {statement}", "yes", lambda m=measure, e=epoch: m(e))
    chosen = {f"epoch {epoch}": removed[f"epoch-{epoch}"] for epoch in removals if f"epoch-{epoch}" in removed}
    study.curves(figure, chosen, DYNAMICS, "weight decay removed")
study.claim("Figures 5.5 and 7.5", "removed at epoch 200: the norm keeps growing", "yes", lambda: grows(200))

# %% [markdown]
# ## Figures 5.7 and 7.7: weight decay introduced
#
# The two captions give .01 and .02 opposite colors; the text says that .02 groks earlier.

# %%
introduced = study.runs(INTRODUCED)


def suffices(epoch):
    """Whether the network generalizes after weight decay is introduced, and not before."""
    text, holds = [], True
    for decay in (0.01, 0.02):
        at = when(introduced[f"epoch-{epoch}-decay-{decay}"])
        text.append(f"{decay}: {epochs(at)}")
        holds = holds and bool((at > epoch).all())
    return ", ".join(text), holds


def more_is_faster(epoch):
    """Whether twice the weight decay generalizes earlier."""
    once, twice = (when(introduced[f"epoch-{epoch}-decay-{decay}"]) for decay in (0.01, 0.02))
    return f"{epochs(once)}, then {epochs(twice)}", later(once, twice)


for epoch in (500, 2000):
    study.claim("Figures 5.7 and 7.7", f"introduced at {epoch}: groks", "yes", lambda e=epoch: suffices(e))
    study.claim("Figures 5.7 and 7.7", f"introduced at {epoch}: .02 earlier", "yes", lambda e=epoch: more_is_faster(e))
study.curves("Figures 5.7 and 7.7", introduced, DYNAMICS, "weight decay introduced")

# %% [markdown]
# ## Figures 7.1 to 7.4: Adam without regularization, dropout

# %%
adam, dropout = study.runs(ADAM), study.runs(DROPOUT)


def no_grokking(prefix):
    """Whether no fraction of a model under Adam groks."""
    text, found = delays(adam, prefix)
    return text, all(not median(delay) > GROKS for delay in found.values())


for kind, plain, with_dropout in (("rnn", "7.1a", ("7.1b", "7.2a")), ("lstm", "7.3a", ("7.3b", "7.4a"))):
    figure = f"Figure {plain}"
    study.claim(figure, f"{kind.upper()}, Adam: no grokking", "none", lambda k=kind: no_grokking(f"{k}-"))
    study.curves(figure, [run for name, run in adam.items() if name.startswith(kind)], CURVES, f"{kind.upper()}, Adam")
    for number, optimizer in zip(with_dropout, ("adam", "adamw"), strict=True):
        prefix = f"{optimizer}-{kind}-"
        study.claim(
            f"Figure {number}",
            f"{kind.upper()}, dropout, {optimizer}",
            "shown, no numbers",
            lambda prefix=prefix: (delays(dropout, prefix)[0], None),
        )
        chosen = [run for name, run in dropout.items() if name.startswith(prefix)]
        study.curves(f"Figure {number}", chosen, CURVES, f"{kind.upper()}, dropout, {optimizer}")

# %% [markdown]
# ## Figure 7.8: the scale of the initialization
#
# The caption says that the plots are of the scaled ones; the text describes both.

# %%
scaled = study.runs(SCALE)


def larger_is_longer(kind):
    """Whether a network groks later from a larger initialization."""
    small, large = (when(scaled[f"{kind}-{alpha}"], "grokking_delay") for alpha in (1, 5))
    return f"delay α = 1: {epochs(small)}, α = 5: {epochs(large)}", later(large, small) and median(large) > GROKS


for kind in ("rnn", "lstm"):
    study.claim("Figure 7.8", f"{kind.upper()}: the larger α, the longer", "yes", lambda k=kind: larger_is_longer(k))
    study.curves("Figure 7.8", [run for name, run in scaled.items() if name.startswith(kind)], CURVES, kind.upper())

# %% [markdown]
# ## The same questions in the laboratory
#
# x + y mod 31, one hidden layer of squares, AdamW with weight decay 1: not from a paper, but it groks in seconds. What
# holds there is not what the essay shows; it says how far its conclusions reach.

# %%
decay, fraction, scale = (study.runs(preset) for preset in LABORATORY)
WHERE = "The laboratory"


def generalizes(name, wanted):
    """Whether half of a run's seeds generalize, against what is wanted."""
    at = when(decay[name])
    return epochs(at), (np.isfinite(at).mean() >= 0.5) == wanted


for statement, name, wanted in (
    ("with weight decay it generalizes", "always", True),
    ("without weight decay it never does", "never", False),
    ("removed early, it never does", "removed-early", False),
    ("introduced at epoch 1000, it does", "introduced", True),
):
    study.claim(WHERE, statement, "yes", lambda n=name, w=wanted: generalizes(n, w))
study.claim(
    WHERE,
    "removed late, it stays generalized",
    "yes",
    lambda: (f"test {last(decay['removed-late']):.3f} at the end", last(decay["removed-late"]) > 0.98),
)


def double():
    """Whether twice the weight decay, introduced late, is faster."""
    once, twice = when(decay["introduced"]), when(decay["introduced-double"])
    return f"{epochs(once)}, twice as much: {epochs(twice)}", later(once, twice)


def along(runs, names):
    """Delays in the order of `names`, as text, and whether they grow."""
    found = [when(runs[name], "grokking_delay") for name in names]
    text = ", ".join(f"{name}: {epochs(delay)}" for name, delay in zip(names, found, strict=True))
    return text, all(later(found[i + 1], found[i]) for i in range(len(found) - 1))


study.claim(WHERE, "more weight decay is faster", "yes", double)
study.claim(
    WHERE, "the smaller the fraction, the longer", "yes", lambda: along(fraction, ["0.8", "0.65", "0.5", "0.35"])
)
study.claim(
    WHERE, "the larger the initialization, the longer", "yes", lambda: along(scale, ["0.5", "1.0", "2.0", "4.0"])
)
study.curves(WHERE, decay, ["accuracy", "parameter_norm"], "weight decay")
study.curves(WHERE, list(fraction.values()), "accuracy", "training fraction")
study.curves(WHERE, list(scale.values()), ["accuracy", "parameter_norm"], "initialization")
if len(fraction) > 1:
    found = circuits.analysis.outcomes(fraction)["grokking_delay"]
    found = found.assign_coords(train_fraction=("run", [run.config.task.train_fraction for run in fraction.values()]))
    study.show(WHERE, figures.against(found, "train_fraction", title="The laboratory: grokking delay"))

# %%
study.finish()
