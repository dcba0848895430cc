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
# # Which circuit did it learn?
#
# Merrill, Tsilivis and Shukla (2023), section 3.3 and appendix D: the sparse subnetwork that computes (40,3) parity
# after grokking has 6 or 8 neurons, so the paper conjectures a disjunctive normal form (8 AND gates) or its six-neuron
# variant.
#
# This study reads the circuit off the weights, holds it against every hand-built one, proves or refutes it on all 2^40
# inputs, looks for smaller subsets of neurons, and trains the subnetwork alone. What it finds is put beside what the
# paper says.
#
# Run it as a script, `python analysis/merrill_2023_circuits.py`, or open it as a notebook with jupytext. It uses the
# run `checkpoints/merrill-2023.h5`, and trains it first if it is missing or unfinished. `--fast` takes a narrower
# network.

# %%
import sys
from pathlib import Path

import numpy as np
from rich import box
from rich.console import Console
from rich.table import Table

import circuits
from circuits import figures
from circuits.constructions import build, verify, verify_run

# %%
FAST = "--fast" in sys.argv  # the size that the tests use: a few seconds
RUNS = next(
    (folder for folder in (Path("checkpoints"), Path("../checkpoints")) if folder.is_dir()), Path("checkpoints")
)

config = circuits.preset("merrill-2023")
if FAST:
    config = config.replace(name="merrill-2023-circuits-fast", model__width=200, seeds=[0, 1])
path = RUNS / f"{config.name}.h5"
run = circuits.train(config, path, resume=path.exists())
options = circuits.analysis.Options(checkpoints="::10" if FAST else ":", time_limit=5.0 if FAST else 30.0)
run


# %%
def table(title, *columns):
    """An empty table."""
    made = Table(box=box.SIMPLE_HEAD, title=title, title_justify="left")
    for column in columns:
        made.add_column(column, overflow="fold")
    return made


def show(made):
    """Print a table."""
    Console(width=130).print(made)


# %% [markdown]
# ## The hand-built circuits
#
# Every construction of the paper is verified in exact arithmetic, and each of its neurons fires when the paper says.

# %%
for name in ("dnf", "six_neuron", "four_neuron"):
    built = verify(build(name, 3))
    print(f"{name}: {'computes' if built.computes_parity else 'does not compute'} parity, margin {built.margin}")
    assert built.computes_parity
    assert not built.disagreements

# %% [markdown]
# ## What each subnetwork is
#
# Every neuron is held against the threshold gates on the three bits; near-parallel neurons are one element; elements
# are assigned to the neurons of every construction over all symmetries of parity.

# %%
results = circuits.analyze(run, "constructions", options=options)["constructions"]
found = table("the paper: sizes 6, 6, 6, 8, 8; a DNF or its variant", "seed", "neurons", "merged", "what", "C* m / P")
for seed in run.seeds:
    at = results.sel(seed=seed)
    n_neurons = int((at["neuron_index"] >= 0).sum())
    efficiency = float(at["final_efficiency"].sel(part="network"))
    found.add_row(
        str(seed), str(n_neurons), f"{float(at['merged_size']):g}", str(at["verdict"].values), f"{efficiency:.3f}"
    )
show(found)

# %%
nearest = next(str(name) for name in results["nearest"].values if str(name) in results["construction"].values)
diagram = figures.circuit_diagram(results, build(nearest, 3))
diagram

# %%
firing = figures.firing_patterns(results)
firing

# %%
margins = figures.pattern_margins(results)
margins

# %%
merged = figures.merged_sparsity(results)
merged

# %%
cost = figures.cost_over_least(results)
cost

# %% [markdown]
# ## Proofs
#
# `verify` evaluates the relevant bits in exact arithmetic, the other 37 held at 0; `certify` is about all 2^40 inputs.

# %%
certificates = circuits.analyze(
    run, "certify", "exact", options=circuits.analysis.Options(time_limit=options.time_limit)
)
proofs, smallest = certificates["certify"].isel(step=-1), certificates["exact"].isel(step=-1)
proved = table(
    "of the last checkpoint; the paper has no proof", "seed", "on 3 bits", "subnetwork on all inputs", "whole network",
    "failures of 10^6", "smallest subset (bound), prefix",
)  # fmt: skip
for seed in run.seeds:
    at, least = proofs.sel(seed=seed), smallest.sel(seed=seed)
    kept = circuits.analysis.active_at(run, seed)
    restricted = verify_run(run, seed, kept=kept)
    bound = f"{float(least['smallest_size']):g} ({float(least['smallest_bound']):g}), {float(least['prefix_size']):g}"
    proved.add_row(
        str(seed),
        "parity" if restricted.computes_parity else "no parity",
        f"{at['verdict'].values}, {float(at['margin_lower']):.3g}",
        f"{at['whole_verdict'].values}, {float(at['whole_margin_lower']):.3g}",
        f"{1e6 * float(at['failure_rate']):.0f}",
        bound,
    )
show(proved)

# %% [markdown]
# ## Alone
#
# A lottery ticket: only the subnetwork's neurons, from their values at checkpoint 0, on the same data in the same
# order; and as many random ones. The paper's released code has this experiment, the paper does not.

# %%
groups = circuits.analysis.neuron_groups(run)
tickets = table("first epoch of test accuracy > .98", "seed", "whole network", "its subnetwork alone", "as many random")
phases = circuits.analysis.phases(run)
for index, seed in enumerate(run.seeds):
    epochs = [float(phases["generalization_epoch"][index])]
    for keep, group in (("active", 0), ("random", 3)):
        out = RUNS / f"{config.name}-seed{seed}-{keep}.h5"
        if not groups.kept[group, index].any():
            epochs.append(np.nan)
            continue
        with circuits.ticket(run, out, groups.kept[group, index], seed=seed, overwrite=True, progress=False) as alone:
            epochs.append(float(circuits.analysis.phases(alone)["generalization_epoch"][0]))
    tickets.add_row(str(seed), *("never" if np.isnan(epoch) else f"{epoch:g}" for epoch in epochs))
show(tickets)

# %%
page = path.with_suffix(".circuits.html")
drawn = [diagram, firing, margins, merged, cost]
parts = [figure.to_html(full_html=False, include_plotlyjs=index == 0) for index, figure in enumerate(drawn)]
page.write_text(f"<!doctype html><meta charset='utf-8'><title>{config.name}</title>{''.join(parts)}", encoding="utf-8")
print(f"The figures are in {page}.")

# %% [markdown]
# What holds is asserted: no subnetwork is a DNF or the six-neuron network, and every one computes parity on its bits.

# %%
if not FAST:
    verdicts = [str(one) for one in results["verdict"].values]
    assert all("not " in verdict for verdict in verdicts), verdicts
    assert all(verify_run(run, seed, kept=circuits.analysis.active_at(run, seed)).computes_parity for seed in run.seeds)
