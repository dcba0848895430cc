"""Bits, gates, elements and matches: hand-built networks of known circuit, changed in ways that must not matter."""

import itertools

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from printed import DNF, FOUR, SIX, TWO

from circuits.constructions.building.construction import Construction
from circuits.constructions.building.least_norm import min_norm
from circuits.constructions.patterns import parities, patterns
from circuits.constructions.reading.circuit import read_circuit
from circuits.constructions.reading.elements import elements, merged_network
from circuits.constructions.reading.gates import CONSTANT, LINEAR, firing_sets, gates_text, nearest_gates, templates
from circuits.constructions.reading.match import forms, match, matches
from circuits.constructions.reading.recovered_bits import relevant_bits, relevant_share

PRINTED = [DNF, SIX, FOUR, TWO]


SIGNS = [np.array(signs) for signs in itertools.product([-1, 1], repeat=3)]


# ---- relevant bits ----


@given(
    bits=st.sets(st.integers(0, 9), min_size=1, max_size=6),
    seed=st.integers(0, 1000),
    scale=hnp.arrays(np.float64, 12, elements=st.floats(0.1, 10)),
)
@settings(max_examples=50)
def test_the_relevant_bits_are_found_wherever_they_are_and_however_neurons_are_scaled(bits, seed, scale):
    random = np.random.default_rng(seed)
    W = 0.05 * random.standard_normal((12, 10))
    W[:, sorted(bits)] += random.choice([-1, 1], (12, len(bits)))
    u = random.choice([-1.0, 1.0], 12)
    found = relevant_bits(W, u)
    assert found.bits == tuple(sorted(bits))
    assert not found.ambiguous
    assert relevant_bits(W * scale[:, None], u / scale).bits == found.bits


def test_an_untrained_network_is_ambiguous_about_its_bits():
    random = np.random.default_rng(0)
    assert relevant_bits(random.uniform(-1, 1, (1000, 40)), random.uniform(-1, 1, 1000)).ambiguous


@pytest.mark.parametrize(("W", "u"), [(np.zeros((3, 5)), np.ones(3)), (np.full((3, 5), np.nan), np.ones(3))])
def test_a_collapsed_or_diverged_network_is_ambiguous_about_its_bits(W, u):
    assert relevant_bits(W, u).ambiguous


def test_k_may_be_given_and_is_checked():
    W, u = np.array([[5.0, 4.0, 0.1]]), np.array([1.0])
    assert relevant_bits(W, u, k=1).bits == (0,)
    assert relevant_bits(W, u, k=1).ambiguous
    with pytest.raises(ValueError, match="k = 4 relevant bits do not fit in 3 inputs"):
        relevant_bits(W, u, k=4)


def test_all_bits_can_be_relevant_only_if_that_is_said():
    W, u = np.ones((2, 3)), np.ones(2)
    assert relevant_bits(W, u).ambiguous
    assert relevant_bits(W, u, k=3) == ((0, 1, 2), np.inf, False)
    assert relevant_share(W, (0, 1)).tolist() == [2.0, 2.0]


# ---- gates ----


@pytest.mark.parametrize("k", range(1, 6))
def test_every_template_is_itself_under_every_pattern_and_scale(k):
    for code, bias in zip(*templates(k), strict=True):
        for signs in itertools.product([-1, 1], repeat=k):
            gates = nearest_gates(3.0 * np.array([signs], float), np.array([3.0 * bias]))
            assert gates.t.tolist() == [code]
            assert gates.signs.tolist() == [list(signs)]
            assert gates.cosine[0] == pytest.approx(1)


@pytest.mark.parametrize("k", range(1, 6))
def test_the_gate_at_least_t_of_k_fires_where_at_least_t_bits_agree(k):
    for t, bias in zip(*templates(k), strict=True):
        if t > 0:
            fires = firing_sets(np.ones((1, k)), np.array([bias]), range(k))[0][0]
            assert fires.tolist() == [(row == 1).sum() >= t for row in patterns(k)]


@pytest.mark.parametrize("k", range(1, 6))
def test_the_sign_of_a_gate_is_that_of_its_correlation_with_parity(k):
    for bias in templates(k)[1]:
        for signs in itertools.product([-1, 1], repeat=k):
            W = np.array([signs], float)
            fires = np.maximum(W @ patterns(k).T + bias, 0)[0]
            assert nearest_gates(W, np.array([float(bias)])).expected[0] == np.sign((parities(k) * fires).mean())


def test_a_constant_and_a_one_sided_linear_neuron_are_told_from_gates():
    gates = nearest_gates(np.array([[0.01, 0.0, -0.01], [1.0, -1.0, 1.0], [0.0, 0.0, 0.0]]), np.array([1.0, 0.0, -1.0]))
    assert gates.t.tolist() == [CONSTANT, LINEAR, CONSTANT]
    assert gates.cosine[2] == -1
    assert gates.names == ["1", "L(+-+)", "?"]
    assert gates_text(gates) == "1 constant, 1 one-sided linear gate and 1 neuron like no gate"


def test_the_neuron_of_ten_of_the_six_neuron_network_is_like_no_gate():
    net = SIX.arrays()
    assert nearest_gates(net["W"], net["b"]).names == ["?", "A(--+)", "A(+++)", "?", "A(-+-)", "A(+--)"]


def test_fires_always_and_can_fire_are_what_enumerating_the_other_bits_says():
    random = np.random.default_rng(1)
    W, b = random.standard_normal((30, 6)), random.standard_normal(30)
    fires, always, can = firing_sets(W, b, [1, 4])
    for index, z in enumerate(patterns(2)):
        x = np.zeros((16, 6))
        x[:, [1, 4]], x[:, [0, 2, 3, 5]] = z, patterns(4)
        hidden = W @ x.T + b[:, None]
        assert (always[:, index] == (hidden > 0).all(axis=1)).all()
        assert (can[:, index] == (hidden > 0).any(axis=1)).all()
        assert (fires[:, index] == (hidden.mean(axis=1) > 0)).all()


# ---- elements ----

gate_networks = st.builds(
    lambda seed: np.random.default_rng(seed),
    st.integers(0, 10_000),
)


def scattered(random, n_gates=6):
    """Gates on 3 of 8 bits with little noise, path norms within a factor of three: none is near the floor."""
    kinds = [(signs, bias) for signs in SIGNS for bias in (-1.0, 1.0)]
    chosen = [kinds[index] for index in random.permutation(16)[:n_gates]]
    W = 0.02 * random.standard_normal((n_gates, 8))
    W[:, :3] += np.array([signs for signs, _ in chosen])
    return W, np.array([bias for _, bias in chosen]), random.choice([-1, 1], n_gates) * random.uniform(1, 2.5, n_gates)


def as_partition(labels):
    return {frozenset(np.flatnonzero(labels == label).tolist()) for label in set(labels.tolist()) - {-1}}


@given(random=gate_networks)
@settings(max_examples=60)
def test_the_merge_does_not_depend_on_the_order_of_neurons(random):
    W, b, u = random.standard_normal((40, 3)), random.standard_normal(40), random.standard_normal(40)
    W[20:25], b[20:25], u[20:25] = W[10], b[10], u[10]  # equal neurons: a tie in every respect
    shuffled = random.permutation(40)
    found, again = elements(W, b, u), elements(W[shuffled], b[shuffled], u[shuffled])
    assert (again.labels == found.labels[shuffled]).all()
    assert (again.path_norms == found.path_norms).all()
    for first, second in zip(
        merged_network(W, b, u, found), merged_network(W[shuffled], b[shuffled], u[shuffled], again), strict=True
    ):
        assert (first == second).all()


@given(random=gate_networks)
@settings(max_examples=60)
def test_splitting_neurons_changes_no_element(random):
    W, b, u = scattered(random)
    share, scale = random.uniform(0.3, 0.7, 6), random.uniform(0.2, 5, 12)
    split = (
        np.concatenate([W, W]) * scale[:, None],
        np.concatenate([b, b]) * scale,
        np.concatenate([share * u, (1 - share) * u]) / scale,
    )
    found, again = elements(W, b, u), elements(*split)
    assert (again.labels[:6] == again.labels[6:]).all()
    assert as_partition(again.labels[:6]) == as_partition(found.labels)
    np.testing.assert_allclose(again.path_norms, found.path_norms)
    for first, second in zip(merged_network(W, b, u, found), merged_network(*split, again), strict=True):
        np.testing.assert_allclose(first, second)


@given(random=gate_networks)
@settings(max_examples=40)
def test_elements_are_the_connected_components_found_by_walking(random):
    W, b, u = random.standard_normal((30, 2)), random.standard_normal(30), random.standard_normal(30)
    rows = np.c_[W, b]
    sizes = np.linalg.norm(rows, axis=1)
    path = np.abs(u) * sizes
    cosines = (rows @ rows.T) / sizes[:, None] / sizes
    assume(np.abs(cosines - 0.9).min() > 1e-9)
    left, expected = {j for j in range(30) if path[j] > 0.02 * path.max()}, set()
    while left:
        group, edge = set(), [left.pop()]
        while edge:
            j = edge.pop()
            group.add(j)
            near = {i for i in left if cosines[i, j] > 0.9 and np.sign(u[i]) == np.sign(u[j])}
            left -= near
            edge += near
        expected.add(frozenset(group))
    found = elements(W, b, u)
    assert as_partition(found.labels) == expected
    sums = [path[found.labels == label].sum() for label in range(len(found.path_norms))]
    np.testing.assert_allclose(found.path_norms, sums)
    assert (np.diff(found.path_norms) <= 0).all()


def test_neurons_are_linked_through_others_between_them():
    angles = np.deg2rad([0, 20, 40, 60, 120])
    W = np.c_[np.cos(angles), np.sin(angles)]
    assert elements(W, np.zeros(5), np.ones(5)).labels.tolist() == [0, 0, 0, 0, 1]


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_a_diverged_network_has_no_elements(value):
    assert elements(np.array([[value]]), np.zeros(1), np.ones(1)) is None


def test_a_network_without_readout_has_no_element():
    found = elements(np.ones((3, 2)), np.ones(3), np.zeros(3))
    assert found.labels.tolist() == [-1, -1, -1]
    assert merged_network(np.ones((3, 2)), np.ones(3), np.zeros(3), found)[0].shape == (0, 2)


# ---- matches ----


@pytest.mark.slow
@pytest.mark.parametrize("construction", [*PRINTED, min_norm(2), min_norm(4)], ids=lambda one: f"{one.name}-{one.k}")
def test_a_construction_matches_itself_under_every_symmetry_with_residual_zero(construction):
    net, k = construction.arrays(), construction.k
    random = np.random.default_rng(0)
    for permutation in itertools.permutations(range(k)):
        for signs in itertools.product([-1, 1], repeat=k):
            shuffled = random.permutation(construction.n_neurons)
            scale = random.uniform(0.1, 10, construction.n_neurons)
            W = (net["W"][:, permutation] * signs * scale[:, None])[shuffled]
            b, u = (net["b"] * scale)[shuffled], (net["u"] * np.prod(signs) / scale)[shuffled]
            found = match(W, b, u, construction)
            assert found.missing == found.extra == ()
            assert found.residual.max() < 1e-7
            assert found.overlap == 1
            back = net["W"][:, found.permutation] * found.signs
            for element, neuron in enumerate(found.neuron_of):
                np.testing.assert_allclose(back[neuron] * scale[shuffled[element]], W[element])


@pytest.mark.parametrize(
    ("construction", "n_forms"),
    [(DNF, 1), (min_norm(3), 1), (min_norm(2), 1), (FOUR, 8), (TWO, 2), (SIX, 24)],
    ids=lambda one: getattr(one, "name", one),
)
def test_the_forms_of_a_construction_are_the_orbit_of_the_symmetry_group(construction, n_forms):
    """Held against all k! 2^k symmetries, written out."""
    net, k = construction.arrays(), construction.k
    brute = {
        tuple(sorted(map(tuple, np.c_[net["W"][:, order] * signs, net["b"], net["u"] * np.prod(signs)].tolist())))
        for order in itertools.permutations(range(k))
        for signs in itertools.product([-1, 1], repeat=k)
    }
    found = [tuple(sorted(map(tuple, np.c_[form].tolist()))) for _, _, form in forms(construction)]
    assert len(found) == len(set(found)) == n_forms
    assert set(found) == brute


def test_two_constructions_are_not_taken_for_each_other():
    for first, second in itertools.permutations([DNF, SIX, FOUR], 2):
        net = first.arrays()
        found = match(net["W"], net["b"], net["u"], second)
        assert found.missing or found.extra


def test_learned_and_gates_are_the_printed_ones_though_their_bias_is_larger():
    rows = patterns(2).astype(float)
    printed = Construction("dnf", tuple(map(tuple, patterns(2).tolist())), (-1,) * 4, (1, -1, -1, 1), "")
    found = match(rows, np.full(4, -0.02), np.array([1.0, -1.0, -1.0, 1.0]), printed)
    assert found.verdict == "a DNF"
    assert 0.5 < found.residual.max() < 0.65  # 35 degrees apart, and yet the same gate


def test_a_readout_of_the_wrong_sign_is_no_match():
    net = DNF.arrays()
    found = match(net["W"], net["b"], -net["u"], DNF)
    assert len(found.missing) == len(found.extra) == 8
    assert found.overlap == 0


def test_the_verdict_counts_gates_and_says_what_is_missing():
    gates = [((1, 1, 1), -1, 1), ((1, 1, -1), -1, -1), ((-1, 1, 1), -1, -1), ((1, -1, -1), 1, -1), ((-1, -1, 1), 1, -1)]
    W, b, u = (np.array(part, float) for part in zip(*gates, strict=True))
    found = read_circuit(W, b, u, range(3), {"dnf": DNF})
    assert (
        found.verdict == "3 AND gates and 2 majority gates; not a DNF: 5 of its terms are missing, 2 neurons are extra"
    )
    assert found.sign_agrees.tolist() == [1] * 5
    only = read_circuit(W[:3], b[:3], u[:3], range(3), {"dnf": DNF})
    assert only.verdict == "3 AND gates; not a DNF: 5 of its terms are missing"


def test_the_nearest_construction_comes_first():
    net = FOUR.arrays()
    found = matches(net["W"], net["b"], net["u"], {one.name: one for one in (DNF, SIX, FOUR)})
    assert next(iter(found.values())).verdict == "the four_neuron network"


def test_an_empty_circuit_is_read():
    found = read_circuit(np.zeros((0, 4)), np.zeros(0), np.zeros(0), [0, 1, 2], {"dnf": DNF})
    assert found.verdict == "no neuron; not a DNF: 8 of its terms are missing"
    assert np.isnan(found.price.per_margin)


def test_a_construction_on_other_bits_is_refused():
    with pytest.raises(ValueError, match="two_neuron has 2 bits, but the circuit has 3"):
        match(np.ones((1, 3)), np.ones(1), np.ones(1), TWO)


def test_a_diverged_network_has_no_circuit():
    with pytest.raises(ValueError, match="a diverged network has no circuit"):
        read_circuit(np.array([[np.nan, 1.0]]), np.zeros(1), np.ones(1), [0], {})
