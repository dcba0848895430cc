"""Lottery tickets, `circuits train --from RUN.h5 --seed S --keep active`: some neurons, trained without the others."""

from pathlib import Path

import numpy as np

from circuits.collapse import COLLAPSED_SHARE
from circuits.config import Config
from circuits.errors import InputError
from circuits.printable import printable

MOST_OF_NAME = 150  # characters of the parent's file name in the ticket's file name


def chosen_neurons(path: Path, seed: int | None, keep: str | None) -> tuple[Config, int, np.ndarray]:
    """Choose the neurons of a lottery ticket: some neurons of a network, to be trained again without the others.

    The network belongs to `seed` (None: the first) of the run at `path`. If `keep` is "active" or None, choose its
    active subnetwork; if "random", pick as many neurons at random. Return the ticket's config, seed and mask (neuron,).
    """
    from circuits.analysis.subnetworks.groups import GROUPS, neuron_groups
    from circuits.checkpoints.run import open_run
    from circuits.training.lottery_ticket import refuse_other_models, ticket_config

    with open_run(path) as run:
        index = run.seed_index(seed)
        seed = run.seeds[index]
        refuse_other_models(run)
        keep = keep or "active"
        which = GROUPS.index({"active": "generalizing", "random": "control"}[keep])
        groups = neuron_groups(run)
        if not groups.defined[which, index]:
            raise InputError(f"{path}: seed {seed} has diverged, so it has no active subnetwork. Pass another --seed.")
        if run.collapsed.values[groups.checkpoint[index], index]:
            raise InputError(
                f"{path}: seed {seed} has collapsed: its outputs are all 0, to within {COLLAPSED_SHARE:g}, so it has "
                f"no active subnetwork to train. Pass another --seed, or a run with less weight decay."
            )
        kept = groups.kept[which, index]
        config = ticket_config(run, int(kept.sum()), seed) if kept.any() else run.config
        return config.replace(name=f"{printable(path.stem)[:MOST_OF_NAME]}-seed{seed}-{keep}"), seed, kept
