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
# # How few neurons?
#
# Fuangkawinsombut (2024), chapter 4: 2^k neurons suffice for (n,k) parity (Prop. 4.1), two are said to be the least for
# k = 2 (section 4.2), and training is said to converge to them; five neurons for k = 3 are tried by training and not
# reached (section 4.3), where an L1 penalty is suggested.
#
# This study trains networks with few neurons, 50 seeds of each width, with and without an L1 penalty, counts how many
# learn, verifies each that does in exact arithmetic, and says which hand-built circuit each is nearest to.
#
# Run it as a script, `python analysis/fuangkawinsombut_2024_minimal.py`, or open it as a notebook with jupytext. It
# uses the runs in `checkpoints/fuangkawinsombut-2024-widths/`, and trains what is missing. `--fast` takes a few.

# %%
import sys
from collections import Counter
from pathlib import Path

import numpy as np
from rich import box
from rich.console import Console
from rich.table import Table
from scipy.stats import binomtest

import circuits
from circuits.constructions import two_neuron, verify, verify_run

# %%
FAST = "--fast" in sys.argv  # the size that the tests use: a few seconds
RUNS = next(
    (folder for folder in (Path("checkpoints"), Path("../checkpoints")) if folder.is_dir()), Path("checkpoints")
)
PRESET = "fuangkawinsombut-2024-widths"
SUCCESS = 0.98  # last test accuracy above this

configs = circuits.preset_configs(PRESET)
if FAST:
    few = [f"{PRESET}/k2-width{width}{suffix}" for width in (2, 4) for suffix in ("", "-l1")]
    configs = {
        f"{name}-fast": configs[name].replace(name=f"{name}-fast", epochs=400, seeds=[0, 1, 2, 3, 4, 5]) for name in few
    }


def trained(name, config):
    """The run of a config, trained if it is not complete."""
    path = RUNS / f"{name}.h5"
    return circuits.train(config, path, resume=path.exists())


runs = {name.partition("/")[2].removesuffix("-fast"): trained(name, config) for name, config in configs.items()}
len(runs)

# %% [markdown]
# ## The thesis's two-neuron network
#
# h1 = relu(x1/2 + x2/2), h2 = relu(−x1/2 − x2/2), y = h1 + h2 (counted from 1; below from 0). The thesis
# calls it the theoretical minimum.

# %%
verified = verify(two_neuron())
print(verified)

# %% [markdown]
# Under the definition of Merrill et al., positive where the parity is 1 and negative where it is −1, no two neurons
# without an output bias compute the parity of two bits. The output must take both signs, so let u1 > 0 > u2. Where it
# is positive, at both ends of one diagonal, h1 fires, so there h1 sums to 2 b1, and h2, convex, to at least 2 b2:
# hence u1 b1 > |u2| b2. Where it is negative, at both ends of the other, h2 fires and sums to 2 b2, and h1 to at least
# 2 b1: hence u1 b1 < |u2| b2. Many trained networks of width 2 reach the thesis's weights all the same.

# %%
narrow = runs["k2-width2"]
last = {name: values[-1].values for name, values in narrow.parameters.items()}
relevant = np.abs(last["W"][:, :, list(narrow.config.task.relevant_bits)])  # (seed, neuron, bit)
symmetric = np.ptp(np.abs(last["u"]), axis=1) < 0.05
print(f"width 2: {int(symmetric.sum())} of {len(narrow.seeds)} seeds end with two neurons of equal readout;")
if symmetric.any():
    print(f"their weights on the two bits are ±{relevant[symmetric].mean():.2f} (thesis: ±.62),")
    print(f"their readouts ±{np.abs(last['u'][symmetric]).mean():.2f} (thesis: .85).")
accuracy = narrow.metrics["test_accuracy"][-1].values
print(f"Test accuracy {accuracy.min():.2f} to {accuracy.max():.2f}: none computes parity.")

# %% [markdown]
# ## Successes
#
# A seed succeeds when its last test accuracy exceeds 98 %. `parity` counts the successes whose network, with the other
# inputs at 0, computes parity in exact arithmetic. Intervals are Wilson's, 95 %. A name with "−1 +2" is a circuit that
# lacks one of the construction's neurons and has two further elements.


# %%
def interval(successes, tries):
    """Wilson's 95 % interval of a share, as text."""
    low, high = binomtest(successes, tries).proportion_ci(method="wilson")
    return f"{successes / tries:.2f} ({low:.2f} to {high:.2f})"


def nearest(run, seed):
    """The construction that a seed's circuit is nearest to, and whether it is that."""
    circuit = circuits.analysis.circuit_of(run, seed)
    best = next(iter(circuit.matches.values()))
    extra = int((best.neuron_of < 0).sum())
    return best.name if not best.missing and not extra else f"{best.name} −{len(best.missing)} +{extra}"


table = Table(box=box.SIMPLE_HEAD, title=f"{PRESET}: the paper's chapter 4, trained", title_justify="left")
for title in ("run", "succeed", "share", "parity", "nearest circuits of those that succeed", "zero weights"):
    table.add_column(title, overflow="fold")
counts = {}
for name, run in runs.items():
    final = run.metrics["test_accuracy"][-1].values
    succeeded = [seed for seed, one in zip(run.seeds, final, strict=True) if one > SUCCESS]
    parity = [seed for seed in succeeded if verify_run(run, seed).computes_parity]
    found = Counter(nearest(run, seed) for seed in succeeded)
    zero = float(run.metrics["zero_weights"][-1].mean())
    counts[name] = len(succeeded)
    what = ", ".join(f"{count} {circuit}" for circuit, count in found.most_common(3)) or "—"
    share = interval(len(succeeded), len(run.seeds))
    table.add_row(name, f"{len(succeeded)} of {len(run.seeds)}", share, str(len(parity)), what, f"{zero:.2f}")
Console(width=140).print(table)

# %%
page = RUNS / f"{PRESET}{'-fast' if FAST else ''}.study.html"
drawn = [circuits.figures.accuracy(run.metrics.merge(circuits.analysis.phases(run))) for run in runs.values()]
for figure, name in zip(drawn, runs, strict=True):
    figure.update_layout(title_text=f"Accuracy: {name}")
parts = [figure.to_html(full_html=False, include_plotlyjs=index == 0) for index, figure in enumerate(drawn)]
page.write_text(f"<!doctype html><meta charset='utf-8'><title>{PRESET}</title>{''.join(parts)}", encoding="utf-8")
print(f"The curves are in {page}.")

# %% [markdown]
# What holds is asserted: two neurons never succeed, more of them succeed more often.

# %%
assert counts["k2-width2"] == 0
assert not verified.computes_parity
assert verified.thresholds == (0, 1)
assert counts["k2-width4"] > 0
