"""The prepared path trains through a model's faster forward where it has one; the reference path through `forward`."""

import numpy as np
import pytest
import torch

import circuits
from circuits.models.transformer import Transformer
from circuits.training.paths.batched import Batched
from circuits.training.paths.choice import choose_path
from circuits.training.paths.prepared import Prepared
from circuits.training.paths.reference import Reference


def config(**changes):
    """x + y mod 11 in 30 full-batch steps of a small transformer."""
    return circuits.config.parse(
        {
            "task": {"kind": "modular", "p": 11, "encoding": "tokens", "sequence": "x y =", "train_fraction": 0.6},
            "model": {"kind": "transformer", "n_heads": 2, "d_model": 16, "d_mlp": 24},
            "optimizer": {"kind": "adamw", "weight_decay": 1.0, "betas": [0.9, 0.98]},
            "loss": "cross_entropy", "batch_size": None, "epochs": 30, "seeds": [0, 1], "dtype": "float64",
            "checkpoints": {"every_epochs": 10},
        }
    ).replace(**changes)  # fmt: skip


@pytest.fixture
def counted(monkeypatch):
    """Examples that each call of `Transformer.forward` was for."""
    calls, forward = [], Transformer.forward
    monkeypatch.setattr(
        Transformer,
        "forward",
        lambda self, parameters, inputs, *tap: calls.append(len(inputs)) or forward(self, parameters, inputs, *tap),
    )
    return calls


def trained(config, path, kernel="prepared"):
    with circuits.train(config, path, kernel=kernel, progress=False) as run:
        values = {name: run.parameters[name].values for name in run.parameters}
        return values | {name: run.metrics[name].values for name in run.metrics}


def assert_alike(first, second):
    for name, values in first.items():
        np.testing.assert_allclose(values, second[name], rtol=1e-6, atol=1e-8, err_msg=name)


@pytest.mark.parametrize("batch_size", [None, pytest.param(40, marks=pytest.mark.slow)])
def test_by_tables_training_goes_where_it_goes_without(batch_size, tmp_path, counted):
    chosen = config(batch_size=batch_size)
    by_tables = trained(chosen, tmp_path / "tables.h5")
    assert set(counted) <= {73 - 40}  # the last partial batch has fewer examples than pairs
    assert_alike(by_tables, trained(chosen, tmp_path / "batched.h5", kernel="batched"))
    counted.clear()
    assert_alike(by_tables, trained(chosen, tmp_path / "plain.h5", kernel="reference"))
    assert chosen.batch in counted


@pytest.mark.slow
def test_by_tables_a_run_that_is_continued_has_the_bits_of_one_that_was_not(tmp_path):
    whole = trained(config(dtype="float32"), tmp_path / "whole.h5")
    trained(config(dtype="float32", epochs=10), tmp_path / "parts.h5")
    with circuits.train(config(dtype="float32"), tmp_path / "parts.h5", resume=True, kernel="prepared") as run:
        assert run.steps.tolist() == [0, 10, 20, 30]
        assert all((run.parameters[name].values == whole[name]).all() for name in run.parameters)


def test_with_dropout_training_takes_the_forward_that_can_be_tapped(tmp_path, counted):
    trained(config(model__dropout=0.1, epochs=2), tmp_path / "run.h5")
    assert counted == [73] * 4  # two updates of two networks; the metrics need no tap


def test_a_large_step_is_taken_by_one_network_after_the_other_and_small_ones_in_lockstep():
    assert choose_path(config(), "cpu") == (Batched, "cpu")
    large = config(task__p=113, model__d_model=128, model__d_mlp=512)
    assert choose_path(large, "cpu") == (Prepared, "cpu")
    assert choose_path(large.replace(model__n_layers=2), "cpu") == (Reference, "cpu")
    with pytest.raises(circuits.InputError, match="no faster forward pass with these settings on cpu"):
        choose_path(large.replace(model__n_layers=2), "cpu", "prepared")


@pytest.mark.slow
def test_a_run_gives_its_networks_as_bridges_of_transformer_lens(tmp_path):
    with circuits.train(config(epochs=2, checkpoints__every_epochs=1), tmp_path / "run.h5", progress=False) as run:
        inputs = torch.from_numpy(run.data(1)["test_inputs"].values).long()
        logits, cache = run.model(seed=1, checkpoint=-1).run_with_cache(inputs)
        hooked, own = run.hooked_model(seed=1, checkpoint=-1).run_with_cache(inputs)
    torch.testing.assert_close(hooked, logits[:, -1], rtol=1e-9, atol=1e-9)
    for name, values in own.items():
        z = name.endswith("hook_z")  # (example, position, head, d_head)
        theirs = cache[name][:, -values.shape[1] :] if z else cache[name][..., -values.shape[-2] :, :]
        torch.testing.assert_close(values, theirs, rtol=1e-9, atol=1e-9, msg=name)
    assert "blocks.0.attn.hook_pattern" in own


@pytest.mark.slow
@pytest.mark.parametrize("kernel", ["batched", "prepared"])
def test_further_metrics_resume_bit_for_bit_whatever_the_order_of_names_on_disk(tmp_path, kernel):
    chosen = config(metrics=["parameter_norm"], checkpoints={"every_epochs": 1}, epochs=12, dtype="float32")
    whole = trained(chosen, tmp_path / "whole.h5", kernel=kernel)
    trained(chosen.replace(epochs=5), tmp_path / "parts.h5", kernel=kernel)
    with circuits.train(chosen, tmp_path / "parts.h5", resume=True, kernel=kernel, progress=False) as run:
        assert (run.metrics["parameter_norm"].values == whole["parameter_norm"]).all()
