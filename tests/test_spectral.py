"""Norms of parameters: closed forms, the inequalities between them, and which parameters are matrices and layers."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

import circuits
from circuits.analysis.progress.spectral import (
    as_matrix,
    frobenius_norm,
    layer_norms,
    layer_of_parameter,
    matrix_names,
    spectral_norm,
)
from circuits.config import parse

SMALL = st.floats(-50, 50, width=32)
MATRICES = hnp.array_shapes(min_dims=2, max_dims=2, max_side=7).flatmap(
    lambda shape: hnp.arrays(np.float32, shape, elements=SMALL)
)


@pytest.mark.parametrize("shape", [(1, 1), (4, 4), (3, 9), (9, 3)])
def test_the_identity_has_spectral_norm_one_and_frobenius_root_of_its_rank(shape):
    assert spectral_norm(np.eye(*shape)) == 1.0
    assert frobenius_norm(np.eye(*shape)) == pytest.approx(math.sqrt(min(shape)))


def test_a_vector_as_one_row_has_its_length_for_both_norms():
    u = np.array([3.0, -4.0, 12.0])
    assert spectral_norm(as_matrix(u, ("neuron",))) == pytest.approx(13.0, rel=1e-15)
    assert frobenius_norm(u) == 13.0


def test_rank_one_has_equal_norms():
    matrix = np.outer([1.0, 2.0, 2.0], [3.0, 4.0])
    assert spectral_norm(matrix) == pytest.approx(15.0)
    assert frobenius_norm(matrix) == pytest.approx(15.0)


@pytest.mark.parametrize("shape", [(300, 40), (40, 300), (64, 64)])
def test_the_spectral_norm_is_the_largest_singular_value(shape):
    matrix = np.random.default_rng(0).normal(size=shape).astype(np.float32)
    expected = np.linalg.svd(matrix.astype(np.float64), compute_uv=False)[0]
    assert spectral_norm(matrix) == pytest.approx(expected, rel=1e-13)


@given(MATRICES)
def test_spectral_is_at_most_frobenius_which_is_at_most_root_rank_times_spectral(matrix):
    spectral, frobenius = spectral_norm(matrix), frobenius_norm(matrix)
    rank = min(matrix.shape)
    assert spectral <= frobenius * (1 + 1e-9) + 1e-30
    assert frobenius <= math.sqrt(rank) * spectral * (1 + 1e-9) + 1e-30


@given(MATRICES, st.sampled_from([-3.0, 0.5, 1e-30, 1e30]))
def test_norms_scale_with_the_matrix(matrix, factor):
    matrix = matrix.astype(np.float64)
    assert spectral_norm(factor * matrix) == pytest.approx(abs(factor) * spectral_norm(matrix), rel=1e-7, abs=0)


@pytest.mark.parametrize(("entry", "expected"), [(np.nan, math.nan), (np.inf, math.inf), (0.0, 0.0)])
def test_what_is_not_finite_and_what_is_zero_has_the_norm_it_should(entry, expected):
    assert spectral_norm(np.full((2, 3), entry)) == pytest.approx(expected, nan_ok=True)


def test_heads_are_one_matrix_from_the_residual_stream_to_all_heads():
    W_Q = np.random.default_rng(1).normal(size=(2, 5, 3))  # (head, d_model, d_head)
    together = as_matrix(W_Q, ("head", "d_model", "d_head"))
    x = np.arange(5.0)
    np.testing.assert_allclose(together @ x, np.einsum("d,hdk->hk", x, W_Q).ravel())
    W_O = np.swapaxes(W_Q, 1, 2)  # (head, d_head, d_model)
    np.testing.assert_array_equal(as_matrix(W_O, ("head", "d_head", "d_model")), together)


def test_matrices_and_layers_of_every_kind_of_model(make_config):
    modular = {
        "task": {"kind": "modular", "p": 7, "encoding": "tokens"},
        "loss": "cross_entropy",
        "optimizer": {"kind": "adamw"},
    }
    lstm = parse(modular | {"model": {"kind": "lstm", "hidden": 5, "d_embed": 4}})
    assert matrix_names(lstm) == ["embed", "weight_ih_l0", "weight_hh_l0", "readout.W"]
    assert set(layer_of_parameter(lstm).values()) == {"embed", "recurrent.0", "readout"}
    transformer = circuits.preset("nanda-2023")
    assert not [name for name in matrix_names(transformer) if ".b_" in name]
    assert set(layer_of_parameter(transformer).values()) == {
        "embed", "pos_embed", "blocks.0.attn", "blocks.0.mlp", "unembed",
    }  # fmt: skip
    deep = make_config().replace(model={"kind": "mlp", "widths": [5, 4]})
    assert layer_of_parameter(deep)["hidden.1.b"] == layer_of_parameter(deep)["hidden.1.W"] == "hidden.1"
    assert matrix_names(deep) == ["hidden.0.W", "hidden.1.W", "readout.W"]
    linear = make_config().replace(model__kind="linear")
    assert matrix_names(linear) == ["w"]


def test_squares_of_layer_norms_add_up_to_that_of_all_parameters(tiny_run):
    net = tiny_run.arrays(seed=1)
    found = layer_norms(net, layer_of_parameter(tiny_run.config))
    everything = np.concatenate([values.astype(np.float64).ravel() for values in net.values()])
    assert sum(norm**2 for norm in found.values()) == pytest.approx((everything**2).sum())
    assert found["hidden"] == pytest.approx(
        np.sqrt((net["W"].astype(float) ** 2).sum() + (net["b"].astype(float) ** 2).sum())
    )
