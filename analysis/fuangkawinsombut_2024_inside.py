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
# # (n,k)-parity: what is inside
#
# Fuangkawinsombut (2024), MEng thesis, with Fuangkawinsombut and Somsirivattana (2023), blog: what networks that learn
# the parity of two or three of 50 bits make of their inputs, by t-SNE of the hidden activations; how their weights are
# distributed; and the spectral norm of their weights, which the thesis takes as its progress measure. Figures 2.2 to
# 2.4, 3.2 and A.2 to A.4; the others are in `fuangkawinsombut_2024.py`. Each statement stands beside what is measured
# here, and the verdict on each figure is computed from the numbers.
#
# Run it as a script, `python analysis/fuangkawinsombut_2024_inside.py`, or open it as a notebook with jupytext. It uses
# the runs in `checkpoints/` and trains what is missing; t-SNE needs scikit-learn, the extra `embed`. `--fast` takes a
# few small ones.

# %%
from importlib.util import find_spec

import numpy as np
import xarray as xr
from _study import Study, epochs, median

import circuits
from circuits import figures

RAISED = "fuangkawinsombut-2024-raised-decay"
FEW = {f"{RAISED}/{decay}" for decay in ("0.01", "0.1", "1.0")}
ALL_RIGHT = circuits.analysis.Options(memorization_threshold=0.999, generalization_threshold=0.999)


def reduced(config):
    """A config for `--fast`: a few of them, narrow and short, with few examples."""
    if "/" in config.name and config.name not in FEW:
        return None
    return config.replace(task__n_train=200, model__width=40, seeds=[0, 1], epochs=20)


study = Study("fuangkawinsombut-2024-inside", ["fuangkawinsombut-2024", "fuangkawinsombut-2024-k3", RAISED], reduced)

# %% [markdown]
# ## Figures 2.2 and 2.3: clusters of the hidden activations, density of the weights
#
# "Bad" representations, "which fail to cluster effectively", and "good" ones: the eye sees 2^k clusters, and the
# silhouette by the k relevant bits says how clean they are, of the activations themselves and of the t-SNE. Kaufman and
# Rousseeuw (1990) call up to 0.25 no structure, above 0.5 a reasonable and above 0.7 a strong one. The thesis says that
# Figure 2.3 shows the weights of the hidden layer; its code draws those of the output layer. Both are here. Its panels
# of weights are spread up to the last epoch, ours up to the epoch of generalization, and the last.

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
        ("no clusters by the relevant bits at memorization", "none", first, pictured[0], lambda value: value <= NONE),
        ("silhouette at generalization", "—", between, pictured[-2], None),
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
        text = f"peak {first:.1f} at memorization, {before:.1f} at generalization, {end:.1f} at the end"
        holds = bool(end > 2 * first)
        statement = f"weights of the {layer} layer gather around 0"
        study.claim(figure, statement, "yes", lambda text=text, holds=holds: (text, holds))
        rise = before / first
        if blog:
            statement = f"{layer} layer: little difference until generalization"
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
# at memorization and generalization if the medians of their estimates are within a factor of two. The text gives each
# seed's corners; ≤ and ≥ stand before the end of an interval that is open on the other side.


# %%
def spectral_norms(run):
    """(step, seed, matrix), with the epochs of the phases."""
    found = circuits.analysis.progress_measures(run)
    return found[["spectral_norm"]].merge(circuits.analysis.phases(run, ALL_RIGHT))


def ramps_of(values):
    """The ramp of each seed's norm along log epoch, None where there is none, and the ends of the window."""
    later = values.isel(step=np.flatnonzero(values["epoch"].values > 0))
    where = np.log(later["epoch"].values)
    return [circuits.analysis.fitted_ramp(where, later.sel(seed=seed).values) for seed in later["seed"].values], where


def corners(values):
    """The estimated epochs at which each seed's norm begins and ends to move, NaN where it does not."""
    ramps, _ = ramps_of(values)
    pairs = [(np.nan, np.nan) if ramp is None else np.exp([ramp.onset[0], ramp.end[0]]) for ramp in ramps]
    return np.array(pairs).T


def corners_in_words(values):
    """Onset and end of each seed; where an interval touches an end of the window, its other end as the bound."""
    ramps, where = ramps_of(values)
    said = []
    for ramp in ramps:
        if ramp is None:
            said.append(("–", "–"))
            continue
        (onset, _, onset_high), (end, end_low, _) = np.exp(ramp.onset), np.exp(ramp.end)
        begins = f"≤ {onset_high:.0f}" if ramp.onset[1] <= where[0] else f"{onset:.0f}"
        ends = f"≥ {end_low:.0f}" if ramp.end[2] >= where[-1] else f"{end:.0f}"
        said.append((begins, ends))
    return said


def near(found, wanted):
    """Whether the median is within a factor of two of another."""
    return bool(0.5 <= median(found) / median(wanted) <= 2)


def change(figure, statement, norms, matrix, wanted):
    """A statement on the norm from memorization to generalization: its ratio, and whether `wanted(ratio)`."""
    values = norms["spectral_norm"].sel(matrix=matrix)
    first, then = (at_epochs(values, norms[f"{phase}_epoch"].values) for phase in ("memorization", "generalization"))
    text = f"{matrix}: {median(first):.2f} at memorization, {median(then):.2f} at generalization"
    holds = None if wanted is None else bool(wanted(median(then) / median(first)))
    study.claim(figure, statement, "yes" if wanted else "—", lambda: (text, holds))


norms = spectral_norms(study.runs("fuangkawinsombut-2024")["fuangkawinsombut-2024"])
change("Figure 2.4", "starkly declines from memorization to generalization", norms, "W", lambda ratio: ratio < 0.8)
change("Figure 2.4", "the same of the output layer", norms, "u", lambda ratio: ratio < 1)


def at_the_phases(norms, matrix):
    """Whether the corners of a matrix's norm are at memorization and generalization."""
    onset, end = corners(norms["spectral_norm"].sel(matrix=matrix))
    memorized, generalized = norms["memorization_epoch"].values, norms["generalization_epoch"].values
    when = f"memorized {median(memorized):.0f}, generalized {median(generalized):.0f}"
    onsets, ends = zip(*corners_in_words(norms["spectral_norm"].sel(matrix=matrix)), strict=True)
    text = f"from {', '.join(onsets)}; to {', '.join(ends)}; {when}"
    return text, near(onset, memorized) and near(end, generalized)


for matrix in ("W", "u"):
    statement = f"inflection points at memorization and generalization ({matrix})"
    study.claim("Figure 2.4", statement, "yes", lambda matrix=matrix, norms=norms: at_the_phases(norms, matrix))
study.show("Figure 2.4", figures.trajectory(norms, "spectral_norm"))

# %% [markdown]
# ## Figure 3.2: spectral norm with the decay raised
#
# Up to the threshold the norm comes to that "of the final generalizing circuit", sooner the larger λ is; beyond it,
# "rapidly" to zero. Of W; it has come there when it stays within 10 % of the last norm at λ = 0.01.

# %%
raised = study.runs(RAISED)
decays = [float(name) for name in raised]
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
# ## Figure A.2: spectral norm with three bits
#
# "A notable increase", where with two bits it was a decline.

# %%
norms = spectral_norms(study.runs("fuangkawinsombut-2024-k3")["fuangkawinsombut-2024-k3"])
change("Figure A.2", "increases from memorization to generalization", norms, "W", lambda ratio: ratio > 1)
change("Figure A.2", "of the output layer", norms, "u", None)


def together():
    """Whether the norm's ramp lies where the network generalizes, seed by seed."""
    onset, end = corners(norms["spectral_norm"].sel(matrix="W"))
    generalized = norms["generalization_epoch"].values
    words = corners_in_words(norms["spectral_norm"].sel(matrix="W"))
    text = ", ".join(f"{a} to {b} / {c:g}" for (a, b), c in zip(words, generalized, strict=True))
    held = (onset / 2 < generalized) & (generalized < 2 * end)
    return f"ramp / generalized: {text}", bool(held.all())


study.claim("Figure A.2", "when the network generalizes", "yes", together)
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
