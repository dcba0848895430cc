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
# # From memorization to trigonometry: x + y mod 113
#
# Nanda, Chan, Lieberum, Smith and Steinhardt (2023), "Progress measures for grokking via mechanistic interpretability":
# a transformer of one layer learns to add mod 113. It ends up turning x and y into waves of a few *key frequencies*,
# multiplying them, and reading off cos ω(x + y − c). The loss of that circuit alone (*restricted*) falls long before
# the test loss; the training loss without it (*excluded*) rises long before. What looks sudden is not.
#
# This study measures their statements on our run of their mainline model, at every one of 251 checkpoints. The numbers
# of the paper are quoted from its sections 4 and 5, as they are remembered: its text is not beside this project. Ours
# has TransformerLens's initialization and another seed, so the frequencies differ, and their number may.
#
# Run it as a script, `python analysis/nanda_2023.py`, or open it as a notebook with jupytext. It uses the run in
# `checkpoints/`, about ten minutes to train (`--train`), and one or two to analyze. `--fast` takes a small one.

# %%
from itertools import pairwise

import numpy as np
from _study import Study

import circuits
from circuits import figures


def reduced(config):
    """A config for `--fast`: p = 23, narrow and short."""
    small = {"task__p": 23, "model__d_model": 32, "model__d_mlp": 64, "epochs": 400, "checkpoints__every_epochs": 40}
    return config.replace(**small)


study = Study("nanda-2023", ["nanda-2023"], reduced)
runs = study.runs("nanda-2023")
run = runs.get("nanda-2023")
whole = None if run is None else circuits.analyze(run, "fourier", progress=True)["fourier"]
found = None if run is None else whole.isel(seed=0)


def measured(measure):
    """What `measure` gives of the run, or word that there is none."""
    return lambda: measure(found) if found is not None else study.missing("nanda-2023")


# %% [markdown]
# ## Section 4: the circuit of the trained network
#
# Key frequencies are those whose cos ω(x + y − c) has at least 1/113 of the logits' sum of squares at the last
# checkpoint, half of what each of 56 would have if they shared it equally: a rule, where the paper looks at its
# Figure 3. The sum of squares includes constant class biases. The restricted and the excluded loss are about the waves
# of x + y at these frequencies in any direction of the classes, whose share of the variance over tuples is larger.


# %%
def key(fourier):
    """Key frequencies."""
    return fourier["frequency"].values[fourier["key"].values]


def strongest(norms, n):
    """The frequencies of the n largest norms, ascending."""
    return sorted(norms["frequency"].values[np.argsort(-norms.values)[:n]].tolist())


def how_many(fourier):
    names = ", ".join(map(str, key(fourier)))
    return f"{len(key(fourier))}: {names}", 5 <= len(key(fourier)) <= 6


def explained(fourier):
    cosines, biases, waves = (float(fourier[name][-1]) for name in ("key_logit_share", "bias_share", "key_wave_share"))
    here = f"{cosines:.1%}; class biases {biases:.1%}; waves in any class direction {waves:.1%} of the variance"
    return here, cosines > 0.9


def sparse_embedding(fourier):
    norms = fourier["embedding_norm"].isel(step=-1, embedding=0)
    mine = set(strongest(norms, len(key(fourier))))
    gini = fourier["embedding_gini"].isel(embedding=0).values
    large = int((norms > 0.1 * norms.max()).sum())
    same = mine == set(key(fourier).tolist())
    return f"{large} above a tenth of the largest; Gini {gini[0]:.2f} to {gini[-1]:.2f}", same and gini[-1] > gini[0]


def sparse_readout(fourier):
    norms = fourier["neuron_logit_norm"].isel(step=-1)
    squares = norms.values**2
    share = squares[fourier["key"].values].sum() / squares.sum()
    return f"{share:.1%} of its squared norm on the key frequencies", share > 0.9


def one_frequency_each(fourier):
    share = fourier["neuron_share"][-1].values
    return f"{(share > 0.85).sum()} of {share.size} neurons", (share > 0.85).mean() > 0.8


def phases(fourier):
    agreement = float(fourier["phase_agreement"][-1])
    return f"mean cosine of φ_x + φ_y − φ_out: {agreement:.3f}", agreement > 0.9


SECTION_4 = "Section 4: the circuit"
study.claim(SECTION_4, "five or six key frequencies", "5: 14, 35, 41, 42, 52", measured(how_many))
study.claim(SECTION_4, "cos ω(x + y − c) explains the logits", "95 %", measured(explained))
study.claim(SECTION_4, "few frequencies in the embedding, the key ones first", "6", measured(sparse_embedding))
study.claim(SECTION_4, "few in the neuron-to-logit map", "5, rank 10", measured(sparse_readout))
study.claim(
    SECTION_4, "a neuron has one frequency (over 85 % of its variance)", "433 of 512", measured(one_frequency_each)
)
study.claim(SECTION_4, "input phases add up to the output phase", "(Gromov 2023)", measured(phases))

# %%
if run is not None:
    whole = whole.merge(circuits.analysis.phases(run))
    study.show(SECTION_4, figures.frequency_norms(whole))
    study.show(SECTION_4, figures.neuron_activations(whole), figures.logit_spectrum(whole))

# %% [markdown]
# ## Section 5: progress measures and three phases
#
# Memorization, then circuit formation, in which the restricted loss falls and the excluded loss rises while train and
# test loss hardly move, then cleanup, in which weight decay takes away what was memorized and test loss falls.


# %%
def first(condition, fourier):
    """The first epoch at which a condition on the checkpoints holds; infinity if none."""
    held = np.asarray(condition)
    return float(fourier["epoch"].values[held.argmax()]) if held.any() else np.inf


def halved(losses, fourier):
    """The first epoch after its largest value at which a loss is below half of it."""
    after = np.arange(losses.size) > int(losses.values.argmax())
    return first(after & (losses.values < 0.5 * float(losses.max())), fourier)


def restricted_first(fourier):
    restricted = halved(fourier["restricted_loss"].sel(set="all"), fourier)
    test = halved(fourier["loss"].sel(set="test"), fourier)
    return f"half of its largest at epoch {restricted:g}, test loss at {test:g}", restricted < test


def excluded_rises(fourier):
    excluded, test = fourier["excluded_loss"].sel(set="train"), halved(fourier["loss"].sel(set="test"), fourier)
    low = int(excluded.values[: int(excluded.values.argmax()) + 1].argmin())
    least, most, epoch = float(excluded[low]), float(excluded.max()), float(fourier["epoch"][low])
    here = f"from {least:.2g} at epoch {epoch:g} to {most:.2g}; test loss halves at {test:g}"
    return here, epoch < test and most > 10 * least


def cleanup(fourier):
    weights = fourier["sum_of_squared_weights"].values
    test = fourier["loss"].sel(set="test").values
    fall = np.diff(np.log(np.maximum(test, 1e-12)))
    steepest = int(fall.argmin())
    before, after = weights[max(0, steepest - 10)], weights[min(len(weights) - 1, steepest + 10)]
    return f"{before:.0f} to {after:.0f} around the steepest fall of test loss", after < before


CIRCUIT = ["restricted_loss", "excluded_loss", "key_logit_share", "embedding_gini", "phase_agreement"]
moved = None if run is None else circuits.analysis.transitions(run, whole[CIRCUIT], progress=True)


def onset(measure):
    """When a measure begins to change, with its 95 % interval, in epochs; low is -inf where it may have before."""
    of = moved.isel(seed=0).sel(measure=measure)
    return tuple(float(of[name]) for name in ("onset", "onset_low", "onset_high"))


def spoken(at, low, high):
    """An onset in words; where it may lie before the window, the high end of its interval as the bound."""
    return f"≤ {high:g}" if np.isinf(low) else f"{at:g} ({low:g} to {high:g})"


def order_of_onsets(fourier):
    names = ("excluded_loss train", "restricted_loss all", "test_loss")
    found = [onset(name) for name in names]
    here = ", ".join(f"{name.split('_')[0]} {spoken(*said)}" for name, said in zip(names, found, strict=True))
    return here, all(first[2] < second[1] for first, second in pairwise(found))


def earliest(fourier):
    """Which measure of all is surely the earliest, and whether it is the excluded loss."""
    at = moved.isel(seed=0)
    name, choices = str(at["earliest"].values), at["earliest_choices"]
    if not name:
        return f"none; tied: {', '.join(at['measure'].values[at['rank'].values == 1])}", False
    agree = round(float(choices) * choices.attrs["n_choices"])
    return f"{name}, in {agree} of {choices.attrs['n_choices']} analysis choices", name == "excluded_loss train"


SECTION_5 = "Section 5: progress measures"
study.claim(SECTION_5, "restricted loss falls before test loss", "yes", measured(restricted_first))
study.claim(SECTION_5, "excluded loss rises while the circuit forms", "epochs 1.4k to 9.4k", measured(excluded_rises))
study.claim(SECTION_5, "the sum of squared weights falls as test loss does", "9.4k to 14k", measured(cleanup))
study.claim(
    SECTION_5,
    "excluded, restricted, test loss begin to move one after the other",
    "in this order",
    measured(order_of_onsets),
)
study.claim(SECTION_5, "the excluded loss changes before all other measures", "—", measured(earliest))

# %%
if run is not None:
    study.show(SECTION_5, figures.fourier_losses(whole), figures.fourier_measures(whole))
    names = ["test_loss", "restricted_loss all", "excluded_loss train", "key_logit_share", "embedding_gini tokens"]
    study.show(SECTION_5, figures.transition_shares(moved.merge(circuits.analysis.phases(run)), names))
    if bool(whole["key"].any()):
        study.show(SECTION_5, figures.key_frequency_losses(whole))

# %%
study.finish()
