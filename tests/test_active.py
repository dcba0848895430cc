import itertools
from fractions import Fraction

import jaxtyping
import numpy as np
import pytest
from hypothesis import assume, currently_in_test_context, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

import circuits
from circuits.analysis import Options, active_subnetwork, effective_sparsity, incoming_norms, kept_neurons
from circuits.analysis.networks.outputs import preactivations
from circuits.analysis.networks.rounding import prefix_bounds, reach_of, rounded, rounding_terms
from circuits.analysis.subnetworks.active import examples_of
from circuits.analysis.subnetworks.pruning import pruning_order
from circuits.analysis.subnetworks.scan import disagreements, smallest_agreeing
from circuits.analysis.subnetworks.smallest import smallest_subnetwork


def exact_contributions(W, b, u, inputs):
    """u_j relu(w_j·x + b_j) as rationals, (neuron, example)."""
    rows = []
    for w, bias, readout in zip(W.tolist(), b.tolist(), u.tolist(), strict=True):
        before = [sum(Fraction(a) * int(x) for a, x in zip(w, row, strict=True)) + Fraction(bias) for row in inputs]
        rows.append([Fraction(readout) * max(value, Fraction(0)) for value in before])
    return rows


def brute_force(W, b, u, inputs, targets=None, norm="incoming", criterion="prediction"):
    """For each k in turn: mask, forward in exact arithmetic, compare. Slow and obvious."""
    contributions = exact_contributions(W, b, u, inputs)
    terms = rounding_terms(W, b, u, reach_of(inputs))
    norms = incoming_norms(W, b, u, norm)
    order = sorted(range(len(u)), key=lambda neuron: (-norms[neuron], neuron))

    def signs(n_kept):
        kept = order[:n_kept]
        bound = float(terms[kept].sum())
        outputs = np.array([float(sum(contributions[j][x] for j in kept)) for x in range(len(inputs))])
        close = (np.abs(outputs) > bound / 4) & (np.abs(outputs) < 4 * bound)  # there either sign is right
        assume(not close.any()) if currently_in_test_context() else None
        return np.sign(rounded(outputs, bound))

    full = signs(len(u))
    for n_kept in range(len(u) + 1):
        alone = signs(n_kept)
        if criterion == "prediction" and (alone == full).all():
            return n_kept
        if criterion == "accuracy" and (alone == targets).sum() == (full == targets).sum():
            return n_kept
    raise AssertionError("even the whole network disagrees with itself")


@st.composite
def networks(draw, values):
    """A network and inputs; weights from few values, so that ties, zero rows and duplicate neurons are common."""
    width, n_inputs, n_examples = draw(st.integers(1, 9)), draw(st.integers(1, 5)), draw(st.integers(1, 12))
    array = lambda *shape: draw(hnp.arrays(np.float32, shape, elements=values))  # noqa: E731
    bits = draw(hnp.arrays(np.int8, (n_examples, n_inputs), elements=st.sampled_from([-1, 1])))
    targets = draw(hnp.arrays(np.int8, n_examples, elements=st.sampled_from([-1, 1])))
    return array(width, n_inputs), array(width), array(width), bits, targets


few = st.sampled_from([-2.0, -1.0, -0.5, 0.0, 0.5, 1.0, 2.0])
many = st.floats(-4, 4, width=32)


@pytest.mark.slow
@pytest.mark.parametrize("norm", ["incoming", "incoming+bias", "path"])
@pytest.mark.parametrize("criterion", ["prediction", "accuracy"])
@given(case=st.one_of(networks(few), networks(many)))
@settings(max_examples=75)  # for each of the six ways
def test_active_subnetwork_equals_brute_force(case, norm, criterion):
    W, b, u, inputs, targets = case
    kept = active_subnetwork(W, b, u, inputs, targets, norm=norm, criterion=criterion)
    n_kept = brute_force(W, b, u, inputs, targets, norm, criterion)
    assert kept.sum() == n_kept
    assert (kept == kept_neurons(incoming_norms(W, b, u, norm), n_kept)).all()


@given(case=st.one_of(networks(few), networks(many)))
@settings(max_examples=100)
def test_every_k_is_counted_and_the_whole_network_agrees_with_itself(case):
    W, b, u, inputs, targets = case
    order = pruning_order(incoming_norms(W, b, u))
    hidden = preactivations(W.astype(float), b.astype(float), inputs)
    bounds = prefix_bounds(rounding_terms(W, b, u, reach_of(inputs)), order)
    counts = disagreements(hidden, u, order, bounds, targets, False, False)
    assert len(counts) == len(u) + 1
    assert counts[-1] == 0
    assert np.flatnonzero(counts == 0)[0] == smallest_agreeing(hidden, u, order, targets, bounds=bounds)


def test_active_subnetwork_is_the_smallest_k_where_agreement_is_not_monotone():
    # On x = 1 the running output is 3, -1, 1: k = 1 and k = 3 agree with the whole, k = 2 does not.
    W, b, u = np.array([[3.0], [2.0], [1.0]]), np.zeros(3), np.array([1.0, -2.0, 2.0])
    hidden = preactivations(W, b, np.array([[1]]))
    counts = disagreements(hidden, u, np.arange(3), np.zeros(4), np.array([1]), False, False)
    assert counts.tolist() == [1, 0, 1, 0]
    assert active_subnetwork(W, b, u, np.array([[1]])).tolist() == [True, False, False]


def padded_dnf(k, n, noise, seed=0):
    """2^k AND gates on the first k of n bits, and 40 small random neurons."""
    random = np.random.default_rng(seed)
    patterns = np.array(list(itertools.product([-1, 1], repeat=k)))
    W = np.zeros((2**k + 40, n))
    W[: 2**k, :k] = patterns
    W[2**k :] = noise * random.standard_normal((40, n))
    b = np.concatenate([np.full(2**k, -(k - 1.0)), noise * random.standard_normal(40)])
    u = np.concatenate([patterns.prod(axis=1), noise * random.standard_normal(40)])
    shuffled = random.permutation(len(u))
    return W[shuffled], b[shuffled], u[shuffled], shuffled < 2**k


@pytest.mark.parametrize("k", [2, 3, 4])
def test_a_dnf_padded_with_small_neurons_has_two_to_the_k_active_neurons(k):
    W, b, u, gates = padded_dnf(k, n=12, noise=1e-3)
    inputs = np.random.default_rng(1).choice([-1, 1], (500, 12))
    assert (active_subnetwork(W, b, u, inputs) == gates).all()


def test_permuting_neurons_permutes_the_mask_and_scaling_the_readout_changes_nothing():
    random = np.random.default_rng(3)
    inputs = random.choice([-1, 1], (60, 6))
    for _ in range(20):
        W, b, u = random.standard_normal((30, 6)), random.standard_normal(30), random.standard_normal(30)
        kept = active_subnetwork(W, b, u, inputs)
        shuffled = random.permutation(30)
        assert (active_subnetwork(W[shuffled], b[shuffled], u[shuffled], inputs) == kept[shuffled]).all()
        assert (active_subnetwork(W, b, 4.0 * u, inputs) == kept).all()  # a power of two: exact


@pytest.mark.parametrize("seed", range(12))
def test_neurons_that_cancel_are_no_subnetwork_and_none_is_needed(seed):
    # Pairs of equal (w, b) and opposite u: the output is exactly 0, the computed one is what rounding leaves.
    random = np.random.default_rng(seed)
    n_pairs, n = int(random.integers(1, 8)), int(random.integers(1, 30))
    W, b, u = random.standard_normal((n_pairs, n)), random.standard_normal(n_pairs), random.standard_normal(n_pairs)
    shuffled = random.permutation(2 * n_pairs)
    W, b, u = np.tile(W, (2, 1))[shuffled], np.tile(b, 2)[shuffled], np.concatenate([u, -u])[shuffled]
    inputs = random.choice([-1, 1], (200, n))
    assert active_subnetwork(W, b, u, inputs).sum() == 0
    found = smallest_subnetwork(W, b, u, inputs)
    assert (found.size, found.bound, found.proved) == (0, 0, True)


@given(networks(many))
@settings(max_examples=150)
def test_the_rounding_bound_holds_in_any_order_and_precision_of_the_sum(case):
    W, b, u, inputs, _ = case
    exact = exact_contributions(W, b, u, inputs)
    bound = Fraction(float(rounding_terms(W, b, u, reach_of(inputs)).sum()))
    for order in (np.arange(len(u)), np.argsort(u)):
        hidden = np.maximum(inputs.astype(float) @ W[order].T.astype(float) + b[order].astype(float), 0)
        computed = hidden @ u[order].astype(float)
        for x, value in enumerate(computed.tolist()):
            assert abs(Fraction(value) - sum(row[x] for row in exact)) <= bound + Fraction(1, 10**300)


def test_a_network_that_outputs_zero_everywhere_needs_no_neuron():
    kept = active_subnetwork(np.ones((3, 2)), np.zeros(3), np.zeros(3), np.array([[1, 1], [-1, 1]]))
    assert kept.sum() == 0


@pytest.mark.parametrize("criterion", ["prediction", "accuracy"])
@pytest.mark.parametrize("u", [np.ones(2), np.array([[1.0, 0.0], [0.0, 1.0]])])
def test_a_diverged_network_has_no_active_subnetwork(criterion, u):
    W, targets = np.array([[np.nan], [1.0]]), np.array([0 if u.ndim == 2 else 1])
    assert active_subnetwork(W, np.zeros(2), u, np.array([[1]]), targets, criterion=criterion) is None


def test_one_nan_output_is_enough_for_a_network_to_be_diverged_by_accuracy():
    hidden = np.array([[1.0, -1.0], [np.nan, -1.0]])  # the first input's output is NaN, the second's is 0
    for targets in ([1, 1], [-1, 1], [1, 0]):
        assert smallest_agreeing(hidden, np.ones(2), np.arange(2), np.array(targets), "accuracy") is None


def test_ties_go_to_the_lower_index():
    assert kept_neurons(np.array([1.0, 2.0, 2.0, 2.0]), 2).tolist() == [False, True, True, False]


@pytest.mark.parametrize(
    ("norms", "n_kept", "message"),
    [([1.0, 2.0], 3, "n_kept = 3 is not in 0..2"), ([1.0, np.nan], 1, "norms has 1 NaN")],
)
def test_kept_neurons_refuses_what_has_no_answer(norms, n_kept, message):
    with pytest.raises(ValueError, match=message):
        kept_neurons(np.array(norms), n_kept)


def test_accuracy_needs_targets():
    with pytest.raises(ValueError, match="pass targets"):
        active_subnetwork(np.ones((1, 1)), np.ones(1), np.ones(1), np.ones((1, 1)), criterion="accuracy")


def test_a_wrong_shape_raises():
    with pytest.raises(jaxtyping.TypeCheckError):
        active_subnetwork(np.ones((3, 2)), np.ones(4), np.ones(3), np.ones((5, 2)))


@pytest.mark.slow
@pytest.mark.parametrize("agreement_set", ["train", "test", "train+test"])
def test_effective_sparsity_of_a_run_equals_brute_force_at_every_checkpoint(tiny_run, agreement_set):
    found = effective_sparsity(tiny_run, Options(agreement_set=agreement_set))
    assert found.dims == ("step", "seed")
    for index, seed in enumerate(tiny_run.seeds):
        inputs, targets = examples_of(tiny_run, index, agreement_set)
        for checkpoint in range(tiny_run.n_checkpoints):
            net = tiny_run.arrays(seed, checkpoint)
            assert found.values[checkpoint, index] == brute_force(net["W"], net["b"], net["u"], inputs, targets)


def test_effective_sparsity_takes_a_slice_of_checkpoints(tiny_run):
    everything = effective_sparsity(tiny_run)
    some = effective_sparsity(tiny_run, Options(checkpoints="1::2"))
    assert some.identical(everything.isel(step=slice(1, None, 2)))


def test_a_slice_that_selects_nothing_says_so(tiny_run):
    with pytest.raises(circuits_error(), match=r"has 5 checkpoints, so checkpoints='9:' selects none"):
        effective_sparsity(tiny_run, Options(checkpoints="9:"))


def circuits_error():
    import circuits

    return circuits.InputError


def test_former_names_of_the_agreement_set_and_of_relevant_bits_are_accepted():
    with pytest.warns(FutureWarning, match="support is now agreement_set"):
        assert Options(support="test") == Options(agreement_set="test")
    construction = circuits.constructions.dnf(2)
    with pytest.warns(FutureWarning, match="support is now relevant_bits"):
        arrays = construction.arrays(4, support=[3, 1])
    assert all((arrays[name] == construction.arrays(4, [3, 1])[name]).all() for name in "Wbu")
    with pytest.raises(TypeError):
        construction.arrays(4, support=[3, 1], relevant_bits=[3, 1])
    with pytest.warns(FutureWarning), pytest.raises(ValueError, match="pass only agreement_set"):
        Options(support="test", agreement_set="test")
