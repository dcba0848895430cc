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
# # (n,k)-parity: decay raised, labels flipped
#
# Fuangkawinsombut (2024), MEng thesis, with Fuangkawinsombut and Somsirivattana (2023), blog: networks with 500 hidden
# neurons learn the parity of two of 50 bits from 300 examples. They memorise, and generalise later. Chapter 3 raises
# the weight decay once they have memorised, and flips a share of the training labels.
#
# This study replays chapters 2 and 3 and the appendix: the curves, and what the thesis looks at inside the network, its
# hidden activations by t-SNE, the density of its weights, and their spectral norm. Chapter 4 is in
# `fuangkawinsombut_2024_minimal.py`. Each statement of the thesis stands beside what is measured here, and the verdict
# on each figure is computed from the numbers.
#
# Run it as a script, `python analysis/fuangkawinsombut_2024.py`, or open it as a notebook with jupytext. It uses the
# runs in `checkpoints/` and trains what is missing, about eight minutes in all. `--fast` takes a few small ones.

# %%
from importlib.util import find_spec
from itertools import pairwise

import numpy as np
import xarray as xr
from _study import Study, epochs, median

import circuits
from circuits import figures

RAISED, OUTLIERS = "fuangkawinsombut-2024-raised-decay", "fuangkawinsombut-2024-outliers"
FEW = {
    f"{RAISED}/0.01",
    f"{RAISED}/0.1",
    f"{RAISED}/1.0",
    *(f"{OUTLIERS}/n50-decay0.01-flipped{p}" for p in ("0.00", "0.02")),
}


def reduced(config):
    """A config for `--fast`: a few of them, narrow and short."""
    if "/" in config.name and config.name not in FEW:
        return None
    return config.replace(model__width=60, seeds=[0, 1], epochs=40)


study = Study("fuangkawinsombut-2024", ["fuangkawinsombut-2024", "fuangkawinsombut-2024-k3", RAISED, OUTLIERS], reduced)

# %% [markdown]
# ## Figures 1.1 and 2.1: grokking
#
# The thesis's code calls a network memorised, or generalised, once its train or test accuracy exceeds 99.9 %.

# %%
ALL_RIGHT = circuits.analysis.Options(memorization_threshold=0.999, generalization_threshold=0.999)


def grokking(figure, run):
    """The two statements on a figure of grokking."""
    found = circuits.analysis.outcomes({"": run}, ALL_RIGHT).isel(run=0)
    memorised, generalised = found["memorization_epoch"].values, found["generalization_epoch"].values
    study.claim(
        figure,
        "generalises long after memorising",
        "yes",
        lambda: (
            f"epoch {epochs(memorised)}, then {epochs(generalised)}",
            median(generalised) / median(memorised) > 2,
        ),
    )
    final = found["last_test_accuracy"].values
    study.claim(figure, "test accuracy at the end", "1", lambda: (f"{median(final):.3f}", median(final) > 0.98))
    metrics = run.metrics.merge(circuits.analysis.phases(run, ALL_RIGHT))
    study.show(figure, figures.accuracy(metrics), figures.loss(metrics))


grokking("Figures 1.1 and 2.1", study.runs("fuangkawinsombut-2024")["fuangkawinsombut-2024"])

# %% [markdown]
# ## Figures 2.2 and 2.3: clusters of the hidden activations, density of the weights
#
# "Bad" representations, "which fail to cluster effectively", and "good" ones: the eye sees 2^k clusters, and the
# silhouette by the k relevant bits says how clean they are, of the activations themselves and of the t-SNE. Kaufman and
# Rousseeuw (1990) call up to 0.25 no structure, above 0.5 a reasonable and above 0.7 a strong one. The thesis says that
# Figure 2.3 shows the weights of the hidden layer; its code draws those of the output layer. Both are here. Its panels
# of weights are spread up to the last epoch, ours up to the epoch of generalisation, and the last.

# %%
NONE, REASONABLE = 0.25, 0.5


def at_epochs(values, when):
    """Values (step, seed) at an epoch for each seed; NaN where there is none."""
    known = values.swap_dims(step="epoch")
    pairs = zip(known["seed"].values, when, strict=True)
    return np.array([float(known.sel(seed=s, epoch=e)) if np.isfinite(e) else np.nan for s, e in pairs])


def clusters(figure, found, when):
    """The statements on a figure of t-SNE."""
    silhouettes, pictured = found["silhouette"], found["panel_silhouette"].sel(space="tsne").values
    pictured = pictured[np.isfinite(pictured)]
    first = at_epochs(silhouettes, when["memorization_epoch"].values)
    between = at_epochs(silhouettes, when["generalization_epoch"].values)
    last = silhouettes[-1].values
    statements = (
        ("no clusters by the relevant bits at memorisation", "none", first, pictured[0], lambda value: value <= NONE),
        ("silhouette at generalisation", "—", between, pictured[-2], None),
        (
            "clusters by the relevant bits at the end",
            f"{found.sizes['label']} clusters",
            last,
            pictured[-1],
            lambda value: value > REASONABLE,
        ),
    )
    for statement, paper, values, drawn, good in statements:
        known = values[np.isfinite(values)]
        of_seeds = f"{median(known):.2f} ({known.min():.2f} to {known.max():.2f})" if known.size else "never"
        text = f"{of_seeds}, t-SNE {drawn:.2f}"
        holds = None if good is None else bool(good(median(known)) and good(drawn))
        study.claim(figure, statement, paper, lambda text=text, holds=holds: (text, holds))
    drawn = found.merge(when)
    study.show(figure, figures.activation_panels(drawn, "tsne"), figures.cluster_silhouette(drawn))


def gathering(figure, found, blog):
    """The statements on a figure of densities; the blog's too, where it makes one."""
    last = int(np.isfinite(found["panel_epoch"].values).sum()) - 1
    for parameter, layer in (("W", "hidden"), ("u", "output")):
        peaks = found["density"].sel(parameter=parameter).max("place").values
        first, before, end = peaks[0], peaks[last - 1], peaks[last]
        text = f"peak {first:.1f} at memorisation, {before:.1f} at generalisation, {end:.1f} at the end"
        holds = bool(end > 2 * first)
        statement = f"weights of the {layer} layer gather around 0"
        study.claim(figure, statement, "yes", lambda text=text, holds=holds: (text, holds))
        rise = before / first
        if blog:
            statement = f"{layer} layer: little difference until generalisation"
            study.claim(figure, statement, "blog: yes", lambda rise=rise: (f"peak {rise:.1f}-fold", bool(rise < 1.5)))
    study.show(figure, figures.weight_densities(found))


def inside(name, of_activations, of_weights):
    """The figures of what is inside a preset's network."""
    run = study.runs(name)[name]
    if find_spec("sklearn") is None:
        for figure in (of_activations, of_weights):
            study.claim(
                figure, "clusters, densities", "", lambda: study.missing("pip install 'grokking-circuits[embed]'")
            )
        return
    found = circuits.analyze(run, "representation", options=ALL_RIGHT)["representation"]
    clusters(of_activations, found, circuits.analysis.phases(run, ALL_RIGHT))
    gathering(of_weights, found, blog=run.config.task.k == 2)


inside("fuangkawinsombut-2024", "Figure 2.2", "Figure 2.3")

# %% [markdown]
# ## Figure 2.4: spectral norm
#
# "Two critical inflection points corresponding to the epochs of memorization and generalization", between which the
# norm "starkly declines". Which matrix is not said; the code keeps the norms of both, W of the hidden layer and u of
# the output. A ramp along the logarithm of the epoch, fitted to each seed's curve, has two corners: they are said to be
# at memorisation and generalisation if they are within a factor of two.


# %%
def spectral_norms(run):
    """(step, seed, matrix), with the epochs of the phases."""
    found = circuits.analysis.progress_measures(run)
    return found[["spectral_norm"]].merge(circuits.analysis.phases(run, ALL_RIGHT))


def corners(values):
    """The epochs at which each seed's norm begins and ends to move, NaN where it does not."""
    later = values.isel(step=np.flatnonzero(values["epoch"].values > 0))
    where = np.log(later["epoch"].values)
    ramps = [circuits.analysis.fitted_ramp(where, later.sel(seed=seed).values) for seed in later["seed"].values]
    pairs = [(np.nan, np.nan) if ramp is None else np.exp([ramp.onset[0], ramp.end[0]]) for ramp in ramps]
    return np.array(pairs).T


def near(found, wanted):
    """Whether the median is within a factor of two of another."""
    return bool(0.5 <= median(found) / median(wanted) <= 2)


def change(figure, statement, norms, matrix, wanted):
    """A statement on the norm from memorisation to generalisation: its ratio, and whether `wanted(ratio)`."""
    values = norms["spectral_norm"].sel(matrix=matrix)
    first, then = (at_epochs(values, norms[f"{phase}_epoch"].values) for phase in ("memorization", "generalization"))
    text = f"{matrix}: {median(first):.2f} at memorisation, {median(then):.2f} at generalisation"
    holds = None if wanted is None else bool(wanted(median(then) / median(first)))
    study.claim(figure, statement, "yes" if wanted else "—", lambda: (text, holds))


norms = spectral_norms(study.runs("fuangkawinsombut-2024")["fuangkawinsombut-2024"])
change("Figure 2.4", "starkly declines from memorisation to generalisation", norms, "W", lambda ratio: ratio < 0.8)
change("Figure 2.4", "the same of the output layer", norms, "u", lambda ratio: ratio < 1)


def at_the_phases(norms, matrix):
    """Whether the corners of a matrix's norm are at memorisation and generalisation."""
    onset, end = corners(norms["spectral_norm"].sel(matrix=matrix))
    memorised, generalised = norms["memorization_epoch"].values, norms["generalization_epoch"].values
    when = f"memorised {median(memorised):.0f}, generalised {median(generalised):.0f}"
    text = f"{median(onset):.0f} and {median(end):.0f}; {when}"
    return text, near(onset, memorised) and near(end, generalised)


for matrix in ("W", "u"):
    statement = f"inflection points at memorisation and generalisation ({matrix})"
    study.claim("Figure 2.4", statement, "yes", lambda matrix=matrix, norms=norms: at_the_phases(norms, matrix))
study.show("Figure 2.4", figures.trajectory(norms, "spectral_norm"))

# %% [markdown]
# ## Figure 3.1: weight decay raised after memorisation
#
# Hypothesis 3.1: the larger, the faster, up to a threshold "approximately between λ = 0.1 and λ = 0.5", beyond which
# the network fails to generalise. A seed generalises when its test accuracy exceeds 98 %; one that does so and loses it
# again has not kept it.

# %%
raised = study.runs(RAISED)
decays = [float(name) for name in raised]
found = circuits.analysis.outcomes(raised).assign_coords(decay=("run", decays, {"long_name": "weight decay"}))
when = {decay: found["generalization_epoch"].values[i] for i, decay in enumerate(decays)}
kept = {decay: (found["last_test_accuracy"].values[i] > 0.98).mean() for i, decay in enumerate(decays)}
typical = {decay: np.inf if np.isnan(median(when[decay])) else median(when[decay]) for decay in decays}
best = min(typical, key=lambda decay: typical[decay])
beyond = [decay for decay in decays if decay > best and (typical[decay] > typical[best] or kept[decay] < 0.5)]
lost = [decay for decay in decays if decay > best and kept[decay] == 0]
study.claim(
    "Figure 3.1",
    "the larger λ, the faster, up to the best",
    "faster",
    lambda: (
        ", ".join(f"λ {decay:g}: epoch {epochs(when[decay])}" for decay in decays if decay <= best),
        best > decays[0] and bool(np.all(np.diff([typical[decay] for decay in decays if decay <= best]) <= 0)),
    ),
)
study.claim(
    "Figure 3.1",
    "beyond a threshold it deteriorates",
    "0.1 to 0.5",
    lambda: (
        f"best λ {best:g}, slower or lost from λ {beyond[0]:g}" if beyond else f"best λ {best:g}, nothing is lost",
        bool(beyond) and best >= 0.1 * (1 - 1e-9) and beyond[0] <= 0.5,
    ),
)
study.claim(
    "Figure 3.1",
    "from some λ on it fails",
    "beyond the threshold",
    lambda: (f"no seed keeps it from λ {lost[0]:g}" if lost else "at every λ some seed keeps it", bool(lost)),
)
study.curves("Figure 3.1", {f"λ {name}": run for name, run in raised.items()}, ["accuracy", "loss"], "λ raised")
study.show(
    "Figure 3.1",
    figures.against(found["generalization_epoch"], "decay", title="Figure 3.1: epoch of generalisation", log_x=True),
)

# %% [markdown]
# ## Figure 3.2: spectral norm with the decay raised
#
# Up to the threshold the norm comes to that "of the final generalizing circuit", sooner the larger λ is; beyond it,
# "rapidly" to zero. Of W; it has come there when it stays within 10 % of the last norm at λ = 0.01.

# %%
ends = {float(name): spectral_norms(run)["spectral_norm"].sel(matrix="W") for name, run in raised.items()}
wanted = median(ends[decays[0]][-1].values)


def settled(values):
    """Epoch from which each seed's norm stays within 10 % of that wanted, NaN if it does not."""
    off = np.abs(values.values / wanted - 1) > 0.1
    known = values["epoch"].values
    first = [0 if not seed.any() else np.flatnonzero(seed)[-1] + 1 for seed in off.T]
    return np.array([known[index] if index < len(known) else np.nan for index in first])


moderate, large = [decay for decay in decays if decay <= 0.1], [decay for decay in decays if decay >= 0.5]
study.claim(
    "Figure 3.2",
    "up to λ = 0.1 it comes to the norm at λ = 0.01",
    "yes",
    lambda: (
        ", ".join(f"λ {decay:g}: {median(ends[decay][-1].values):.2f}" for decay in moderate),
        all(abs(median(ends[decay][-1].values) / wanted - 1) < 0.1 for decay in moderate),
    ),
)
study.claim(
    "Figure 3.2",
    "sooner the larger λ is",
    "yes",
    lambda: (
        ", ".join(f"λ {decay:g}: epoch {epochs(settled(ends[decay]))}" for decay in moderate),
        bool(np.all(np.diff([median(settled(ends[decay])) for decay in moderate]) < 0)),
    ),
)
study.claim(
    "Figure 3.2",
    "too large a λ takes it to zero",
    "rapidly",
    lambda: (
        ", ".join(f"λ {decay:g}: {median(ends[decay][-1].values):.1g}" for decay in large),
        all(float(ends[decay][-1].max()) < 0.01 for decay in large),
    ),
)
lines = xr.concat(ends.values(), "decay").assign_coords(decay=[f"λ {decay:g}" for decay in decays])
study.show("Figure 3.2", figures.trajectory(lines.to_dataset(name="spectral_norm"), "spectral_norm"))

# %% [markdown]
# ## Figures 3.3 to 3.5 and Table 3.1: flipped labels
#
# The thesis does not say when "grokking still occurs". Here: at least half of the seeds ever exceed 98 % test accuracy
# within the 500 epochs. Its grid of shares is not stated either; a threshold is the largest share of ours up to which
# this holds throughout, and agrees with the thesis's within 0.02.

# %%
TABLE = {  # weight decay -> n -> threshold
    0.01: {30: 0.02, 50: 0.03, 70: 0.01},
    0.05: {30: 0.12, 50: 0.06, 70: 0.03},
    0.1: {30: 0.20, 50: 0.12, 70: 0.05},
}
flipped = study.runs(OUTLIERS)


def series(n, decay):
    """The runs of one n and weight decay, by the share of flipped labels."""
    return {
        run.config.task.flip_fraction: run
        for run in flipped.values()
        if run.config.task.n == n and run.config.optimizer.weight_decay == decay
    }


def generalising(n, decay):
    """The share of seeds that ever generalise, by the share of flipped labels."""
    runs = series(n, decay)
    if len(runs) < 2:
        flipped[f"n{n}-decay{decay}"]
    return {share: float((run.metrics["test_accuracy"].max("step") > 0.98).mean()) for share, run in runs.items()}


def threshold(n, decay):
    """Largest share up to which at least half of the seeds generalise."""
    good = 0.0
    for share, generalise in sorted(generalising(n, decay).items()):
        if generalise < 0.5:
            break
        good = share
    return good


def of_shares(n, decay, wanted):
    """What `wanted` shares of seeds do, as text, and whether half of them generalise."""
    found = generalising(n, decay)
    text = ", ".join(f"{share:g}: {found[share]:.0%} of seeds" for share in sorted(found))
    for share in wanted:
        if share not in found:
            flipped[f"n{n}-decay{decay}-flipped{share:.2f}"]
    return text, all((found[share] >= 0.5) == good for share, good in wanted.items())


study.claim(
    "Figures 3.3 and 3.4",
    "λ = 0.01: .02 flipped still generalises, .05 does not",
    "2 %, not 5 %",
    lambda: of_shares(50, 0.01, {0.02: True, 0.05: False, 0.06: False}),
)


def slower():
    """Whether generalisation takes longer the more labels are flipped."""
    runs = series(50, 0.01)
    found = {share: circuits.analysis.phases(run)["generalization_epoch"].values for share, run in runs.items()}
    middles = [median(found[share]) for share in sorted(found)]
    middles = [np.inf if np.isnan(one) else one for one in middles]
    text = ", ".join(f"{share:g}: {epochs(found[share])}" for share in sorted(found))
    return text, min(middles) < np.inf and all(first <= second for first, second in pairwise(middles))


study.claim("Figures 3.3 and 3.4", "the more are flipped, the slower", "slower", slower)
study.claim(
    "Figure 3.5",
    "λ = 0.1: .10 flipped still generalises, .15 does not",
    "10 %, not 15 %",
    lambda: of_shares(50, 0.1, {0.1: True, 0.15: False, 0.18: False}),
)
for figure, decay in (("Figures 3.3 and 3.4", 0.01), ("Figure 3.5", 0.1)):
    runs = series(50, decay)
    if runs:
        study.curves(figure, {f"{share:g} flipped": runs[share] for share in sorted(runs)}, "accuracy", f"λ = {decay}")
        most = runs[max(runs)]
        metrics = most.metrics.merge(circuits.analysis.phases(most))
        study.show(figure, figures.marked_accuracy(metrics))

# %%
for decay, thresholds in TABLE.items():
    for n, paper in thresholds.items():
        study.claim(
            "Table 3.1",
            f"n = {n}, λ = {decay}: threshold",
            f"{paper:g}",
            lambda n=n, decay=decay, paper=paper: (
                f"{threshold(n, decay):g}",
                bool(abs(threshold(n, decay) - paper) <= 0.02 + 1e-9),
            ),
        )


def rises():
    """Whether the thresholds rise with the weight decay for every n."""
    rows = {n: [threshold(n, decay) for decay in TABLE] for n in (30, 50, 70)}
    text = "; ".join(f"n = {n}: {', '.join(f'{one:g}' for one in row)}" for n, row in rows.items())
    return text, all(row[0] <= row[1] <= row[2] and row[0] < row[2] for row in rows.values())


def dips():
    """Whether at λ = 0.01 the threshold is higher at n = 50 than at n = 30."""
    small, large = threshold(30, 0.01), threshold(50, 0.01)
    return f"{small:g}, then {large:g}", large > small


def plateau():
    """Train accuracy at the end where λ is 0.1, beside the share of labels that are not flipped."""
    runs = series(50, 0.1)
    if not runs:
        flipped["n50-decay0.1"]
    ends = {share: median(run.metrics["train_accuracy"][-1].values) for share, run in runs.items()}
    text = ", ".join(f"{share:g}: {ends[share]:.2f}" for share in sorted(ends))
    return f"{text}: no flipped label is memorised where it is 1 minus the share", None


study.claim("Table 3.1", "thresholds rise with λ", "yes", rises)
study.claim("Table 3.1", "λ = 0.01: higher at n = 50 than at n = 30", ".02, then .03", dips)
study.claim("Table 3.1", "train accuracy at the end, λ = 0.1, n = 50", "—", plateau)
lines = {}
for decay in TABLE:
    runs = series(50, decay)
    if len(runs) > 1:
        best_of = circuits.analysis.outcomes({str(share): run for share, run in runs.items()})["best_test_accuracy"]
        lines[f"λ {decay}"] = best_of.assign_coords(flipped=("run", list(runs)))
if lines:
    study.show("Table 3.1", figures.against(lines, "flipped", title="Table 3.1: n = 50, best test accuracy"))

# %% [markdown]
# ## Figure A.1: three bits

# %%
grokking("Figure A.1", study.runs("fuangkawinsombut-2024-k3")["fuangkawinsombut-2024-k3"])

# %% [markdown]
# ## Figure A.2: spectral norm with three bits
#
# "A notable increase", where with two bits it was a decline.

# %%
norms = spectral_norms(study.runs("fuangkawinsombut-2024-k3")["fuangkawinsombut-2024-k3"])
change("Figure A.2", "increases from memorisation to generalisation", norms, "W", lambda ratio: ratio > 1)
change("Figure A.2", "of the output layer", norms, "u", None)


def together():
    """Whether the norm's ramp lies where the network generalises, seed by seed."""
    onset, end = corners(norms["spectral_norm"].sel(matrix="W"))
    generalised = norms["generalization_epoch"].values
    text = ", ".join(f"{a:.0f} to {b:.0f} / {c:g}" for a, b, c in zip(onset, end, generalised, strict=True))
    held = (onset / 2 < generalised) & (generalised < 2 * end)
    return f"ramp / generalised: {text}", bool(held.all())


study.claim("Figure A.2", "when the network generalises", "yes", together)
study.show("Figure A.2", figures.trajectory(norms, "spectral_norm"))

# %% [markdown]
# ## Figures A.3 and A.4: clusters and densities with three bits
#
# "Clear clustering of labels". A seed may have four clusters in place of eight: two patterns alone, and two clusters of
# three, alike in the sum of their bits up to signs. Then its circuit is like that of Merrill et al. (2023), Proposition
# 3, AND gates and majority gates that know no more than this sum, and its silhouette by patterns stays low.

# %%
inside("fuangkawinsombut-2024-k3", "Figure A.3", "Figure A.4")

# %%
study.finish()
