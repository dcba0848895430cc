"""The flagship from nothing to its figures' numbers, against the plain way, and what a user waits for at the prompt."""

import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import naive
import numpy as np
import torch
from floors import ALL_CORES, PARAMETERS
from speed import NAIVE_EPOCHS, ONE, SAMPLED, TRAINED, network
from timing import REPETITIONS, Pairs, Row, alternating, seconds

import circuits

FIRST_ANSWER = 5.0  # seconds


def end_to_end(folder: Path) -> Pairs:
    """Training, effective sparsity at every checkpoint, norms and faithfulness. The plain way is extrapolated: from 4
    epochs of training, and from every 20th checkpoint of one seed."""
    config = circuits.preset("merrill-2023")
    path = folder / "flagship.h5"
    sets = [
        naive.dataset(which["inputs"], which["targets"])
        for which in (config.task.train_data(0), config.task.test_data())
    ]

    def ours() -> float:
        def everything() -> None:
            with circuits.train(config, path, overwrite=True, progress=False) as run:
                circuits.analyze(run, "subnetwork", "norms", "faithfulness")

        return seconds(everything)

    ours()
    with circuits.open(path) as run:
        networks = [network(run, checkpoint) for checkpoint in range(0, run.n_checkpoints, SAMPLED)]
    inputs, test_inputs = sets[0].tensors[0], sets[1].tensors[0]
    groups = torch.tensor(np.random.default_rng(0).integers(0, 2, (4, config.model.width)), dtype=torch.float32)

    def plain() -> float:
        net = naive.Net(config.task.n, config.model.width)
        trained = seconds(lambda: naive.train(net, *sets, NAIVE_EPOCHS, folder)) / NAIVE_EPOCHS
        looked_at = seconds(lambda: [naive.effective_sparsity(one, inputs) for one in networks])
        looked_at += seconds(lambda: [naive.norms_and_faithfulness(one, test_inputs, groups) for one in networks])
        n_seeds, n_checkpoints = len(config.seeds), config.epochs + 1
        return n_seeds * (config.epochs * trained + n_checkpoints * looked_at / len(networks))

    return alternating(plain, ours)


def first_answer(folder: Path) -> Pairs:
    """Seconds from the prompt to the table of `circuits analyze --subnetwork`, and what they should be."""
    path = folder / "flagship.h5"
    circuits.train(circuits.preset("merrill-2023"), path, overwrite=True, progress=False).close()
    command = [sys.executable, "-c", "import sys; from circuits.cli.main import main; sys.exit(main())"]

    def ask() -> float:
        asked = [*command, "analyze", str(path), "--subnetwork"]
        return seconds(lambda: subprocess.run(asked, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL))

    ask()
    return [(ask(), FIRST_ANSWER) for _ in range(REPETITIONS)]


NETWORKS = 5 * 301  # seeds, checkpoints

ROWS = (
    Row("flagship end to end: train, sparsity, norms, faithfulness", "plain", "here", "≥ 100", end_to_end,
        (TRAINED.times(5 * 300, ALL_CORES), replace(ONE.times(NETWORKS, ALL_CORES), stored=PARAMETERS * NETWORKS))),
    Row("circuits analyze --subnetwork on the flagship, from the prompt", "took", "of", "≤ 1", first_answer,
        (ONE.times(NETWORKS, ALL_CORES), None)),
)  # fmt: skip
