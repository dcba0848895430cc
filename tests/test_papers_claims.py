"""What the papers claim, shown at full size by the presets: when networks generalize, what brings or prevents it."""

import numpy as np
import pytest
import torch

import circuits
from circuits.config import parse

pytestmark = pytest.mark.long


@pytest.fixture(scope="module")
def epochs(tmp_path_factory):
    """Memorization and generalization epoch of a preset's config, NaN where never, and last test accuracy; (seed,)."""
    folder = tmp_path_factory.mktemp("papers")
    known = {}

    def measured(name, **changes):
        key = (name, *changes.items())
        if key not in known:
            config = circuits.preset(name).replace(**changes)
            with circuits.train(config, folder / "run.h5", overwrite=True, progress=False) as run:
                found = circuits.analysis.phases(run)
                last = run.metrics["test_accuracy"].values[-1]
                known[key] = found["memorization_epoch"].values, found["generalization_epoch"].values, last
        return known[key]

    return measured


def never(values):
    return np.isnan(values).all()


def test_without_weight_decay_modular_addition_is_memorized_and_never_generalized(epochs):
    memorized, generalized, _ = epochs("modular-31-decay/always")
    assert len(memorized) >= 4
    assert (generalized - memorized > 300).all()
    memorized, generalized, _ = epochs("modular-31-decay/never")
    assert (memorized < 100).all()
    assert never(generalized)


def test_decay_removed_early_prevents_generalization_and_removed_late_does_not_hurt(epochs):
    assert never(epochs("modular-31-decay/removed-early")[1])
    _, generalized, last = epochs("modular-31-decay/removed-late")
    assert (generalized == epochs("modular-31-decay/always")[1]).all()
    assert (last > 0.99).all()


def test_decay_introduced_late_suffices_and_doubled_it_is_faster(epochs):
    introduced = epochs("modular-31-decay/introduced")[1]
    doubled = epochs("modular-31-decay/introduced-double")[1]
    assert (introduced > 1000).all()
    assert (doubled < introduced).all()
    assert (doubled > 1000).all()


def test_a_larger_training_set_generalizes_sooner(epochs):
    few, many = (epochs(f"modular-31-fraction/{fraction}")[1] for fraction in (0.35, 0.8))
    half = epochs("modular-31-decay/always")[1]
    assert (many < half).all()
    assert (half < few).all()


def test_mild_input_noise_speeds_generalization_up_and_strong_noise_prevents_it(epochs):
    assert (epochs("modular-31-noise/0.1")[1] < epochs("modular-31-decay/always")[1]).all()
    assert never(epochs("modular-31-noise/1.0")[1])


def test_raised_decay_shortens_the_delay_up_to_a_point_and_then_nothing_generalizes(epochs):
    """Thesis, section 3.1: the threshold lies between 0.1 and 0.5."""
    plain, tenth, fifth = (epochs(f"fuangkawinsombut-2024-raised-decay/{value}")[1] for value in (0.01, 0.1, 0.2))
    assert (tenth < plain / 3).all()
    assert (fifth <= tenth).all()
    assert never(epochs("fuangkawinsombut-2024-raised-decay/0.5")[1])


def test_two_percent_of_flipped_labels_still_grok_and_twenty_do_not(epochs):
    """Thesis, section 3.2: (50,2) at λ = 0.01."""
    memorized, generalized, _ = epochs("fuangkawinsombut-2024", task__flip_fraction=0.02)
    assert (generalized > memorized).all()
    assert never(epochs("fuangkawinsombut-2024", task__flip_fraction=0.2)[1])


def test_weak_decay_groks_after_a_thousand_epochs(epochs):
    memorized, generalized, _ = epochs("merrill-2023-weak-decay")
    assert (memorized < 100).all()
    assert ((generalized > 300) & (generalized <= 1500)).all()


def test_parity_of_four_bits_groks_within_its_epochs(epochs):
    memorized, generalized, _ = epochs("merrill-2023-k4")
    assert (memorized < 100).all()
    assert ((generalized > 100) & (generalized < 300)).all()
    assert 150 < np.median(generalized) < 230


def test_a_shared_embedding_commutes_what_it_has_memorized(tmp_path):
    """Merrill et al. 2023, Figure 4: before grokking, test accuracy is the share of commuted training examples."""
    config = parse(
        {
            "task": {"kind": "modular", "p": 31, "encoding": "tokens"},
            "model": {"kind": "embedded_mlp", "widths": [256], "embedding": "shared"},
            "optimizer": {"kind": "adamw", "lr": 0.001, "weight_decay": 1.0, "betas": [0.9, 0.98]},
            "loss": "cross_entropy", "batch_size": None, "epochs": 120, "seeds": [0, 1, 2, 3],
            "checkpoints": {"every_epochs": 5},
        }
    )  # fmt: skip
    with circuits.train(config, tmp_path / "run.h5", progress=False) as run:
        for index, seed in enumerate(run.seeds):
            share = config.task.commuted_share(seed)
            memorized = int(np.argmax(run.metrics["train_accuracy"].values[:, index] > 0.98))
            assert run.metrics["test_accuracy"].values[memorized, index] == pytest.approx(share, abs=0.05)
            data = run.data(seed)
            outputs = run.model(seed, checkpoint=memorized)(torch.from_numpy(data["test_inputs"].values))
            right = (outputs.argmax(dim=1) == torch.from_numpy(data["test_targets"].values)).numpy()
            commuted = data["test_commuted"].values
            assert right[commuted].mean() > 0.9
            assert right[~commuted].mean() < 0.1
