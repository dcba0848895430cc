"""Hand-built networks: what the papers print, closed forms for every k, and their parameters on n inputs."""

from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from printed import DNF, FOUR, SIX, TWO

import circuits
from circuits import constructions
from circuits.constructions import build, dnf, four_neuron, six_neuron, thesis_dnf, threshold, two_neuron
from circuits.constructions.patterns import parities, patterns
from circuits.registry import CONSTRUCTIONS, about

PARITY = about(CONSTRUCTIONS, "parity")
ANY_K = [name for name in PARITY if name in ("dnf", "thesis_dnf", "threshold", "min_norm")]


def f(W, b, u, inputs):
    """uᵀ relu(W x + b), written out; exact for small dyadic weights."""
    return np.maximum(inputs @ np.asarray(W, float).T + np.asarray(b, float), 0) @ np.asarray(u, float)


def output(construction):
    return f(construction.W, construction.b, construction.u, patterns(construction.k))


def test_six_neuron_is_what_proposition_2_prints():
    def h(x1, x2, x3):
        relu = lambda value: max(0, value)  # noqa: E731
        return [
            relu(-x1 + -x2 + 10 * x3 - 9),
            relu(-x1 - x2 + x3 - 2),
            relu(x1 + x2 + x3 - 2),
            relu(x1 - x2 - 10 * x3 - 9),
            relu(-x1 + x2 - x3 - 2),
            relu(x1 - x2 - x3 - 2),
        ]

    expected = [np.dot([-1, 10, 10, -1, 10, 10], h(*pattern)) for pattern in patterns(3).tolist()]
    assert output(six_neuron()).tolist() == expected


def test_four_neuron_is_what_proposition_3_prints():
    for pattern, found in zip(patterns(3).tolist(), output(four_neuron()), strict=True):
        X = sum(pattern)
        assert found == 1 + 2 * max(0, X - 1) - max(0, X + 1) - max(0, -X - 1)


def test_two_neuron_is_what_the_thesis_prints():
    assert output(two_neuron()).tolist() == [
        max(0, (a + b) / 2) + max(0, -(a + b) / 2) for a, b in patterns(2).tolist()
    ]


def test_the_constant_neuron_of_proposition_3_is_a_bias_without_weights():
    net = four_neuron()
    assert (net.W[0], net.b[0], net.u[0]) == ((0, 0, 0), 1, 1)


@pytest.mark.parametrize("k", range(1, 9))
@pytest.mark.parametrize(("biases", "height"), [("k-1", 1), ("k-2", 2)])
def test_each_gate_of_a_dnf_fires_on_its_own_pattern_alone(k, biases, height):
    net = dnf(k, biases=biases)
    hidden = np.maximum(patterns(k) @ np.array(net.W).T + np.array(net.b), 0)
    assert (hidden == height * np.eye(2**k)).all()
    assert (output(net) == height * parities(k)).all()


@pytest.mark.parametrize("k", [1, 2, 3, 5])
def test_no_larger_bias_than_k_minus_2_keeps_the_gates_apart(k):
    net = dnf(k, biases="k-2")
    hidden = np.maximum(patterns(k) @ np.array(net.W).T + np.array(net.b, float) + 0.01, 0)
    assert np.count_nonzero(hidden) > 2**k


def test_a_dnf_of_three_has_the_bias_of_proposition_2s_gates():
    assert set(dnf(3).b) == {six_neuron().b[2]}


@pytest.mark.parametrize("k", range(1, 9))
def test_the_thesis_dnf_outputs_one_and_zero(k):
    assert (output(thesis_dnf(k)) == (parities(k) == 1)).all()
    assert thesis_dnf(k).n_neurons == 2**k


@pytest.mark.parametrize("k", range(1, 13))
def test_threshold_has_k_plus_one_neurons_and_outputs_the_parity(k):
    net = threshold(k)
    assert net.n_neurons == k + 1
    assert (output(net) == parities(k)).all()
    assert {len(set(row)) for row in net.W} == {1}, "a neuron sees more than the sum of the bits"


def test_threshold_of_three_is_the_four_neuron_network_neuron_for_neuron():
    made, printed = threshold(3), four_neuron()
    assert (made.W, made.b, made.u) == (printed.W, printed.b, printed.u)


def test_threshold_of_two_is_the_thesis_network_and_a_constant():
    made, thesis = threshold(2), two_neuron()
    assert made.u[0] * max(0, made.b[0]) == -1
    assert (output(made) == 2 * output(thesis) - 1).all()


@given(name=st.sampled_from([*PARITY]), k=st.integers(1, 6), extra=st.integers(0, 6), data=st.data())
@settings(max_examples=80)
def test_on_any_bits_of_any_n_inputs_the_output_is_that_on_the_relevant_bits(name, k, extra, data):
    net = build(name, k) if name in ANY_K else build(name)
    n = net.k + extra
    relevant_bits = data.draw(st.permutations(range(n)))[: net.k]
    arrays = net.arrays(n, relevant_bits)
    assert {which: values.shape for which, values in arrays.items()} == {
        "W": (net.n_neurons, n),
        "b": (net.n_neurons,),
        "u": (net.n_neurons,),
    }
    inputs = np.random.default_rng(0).choice([-1, 1], (40, n))
    expected = f(net.W, net.b, net.u, inputs[:, relevant_bits])
    assert (f(**arrays, inputs=inputs) == expected).all()


@pytest.mark.parametrize("name", PARITY)
def test_weights_are_rationals_and_the_source_is_named(name):
    net = build(name, 3) if name in ANY_K else build(name)
    assert net.name == name
    assert net.source
    assert all(isinstance(value, int | Fraction) for row in (*net.W, net.b, net.u) for value in row)


@pytest.mark.parametrize("name", CONSTRUCTIONS)
def test_every_construction_is_a_function_of_the_package_also_after_its_module_was_imported(name):
    made = CONSTRUCTIONS[name].load()
    assert getattr(constructions, name) is made
    assert getattr(circuits.constructions, name) is made
    module = CONSTRUCTIONS[name].path.partition(":")[0]
    assert module.rpartition(".")[2] not in CONSTRUCTIONS, "a module of that name would hide the function"


def test_a_name_that_is_not_there_is_an_attribute_error():
    with pytest.raises(AttributeError, match=r"module 'circuits.constructions' has no attribute 'xor'"):
        _ = constructions.xor


def test_every_public_name_is_there():
    assert set(constructions.__all__) <= set(dir(constructions))
    assert all(getattr(constructions, name) is not None for name in constructions.__all__)


@pytest.mark.parametrize(
    ("name", "k", "options", "message"),
    [
        ("dnff", 3, {}, r"There is no construction 'dnff'\. Did you mean 'dnf'\?"),
        ("dnf", None, {}, r"dnf needs k, the number of relevant bits: pass k=3\."),
        ("dnf", 0, {}, r"k = 0 is not possible: 2\^k AND gates are built for k in 1\.\.16\."),
        ("dnf", 17, {}, r"k = 17 is not possible"),
        ("threshold", 0, {}, r"k = 0 is not possible: threshold\(k\) is built for k in 1\.\.1000\."),
        ("thesis_dnf", -1, {}, r"k = -1 is not possible"),
        ("six-neuron", 4, {}, r"six_neuron is for k = 3 bits, so k = 4 is not possible\. k is an option of dnf, "),
        ("four_neuron", None, {"biases": "k-2"}, r"four_neuron takes no biases\. biases is an option of dnf\."),
        ("dnf", 3, {"biases": "k-3"}, r"biases cannot be 'k-3'\. Pass k-1 for the bias -\(k-1\), or k-2 for the bias"),
    ],
)
def test_what_cannot_be_built_is_refused_in_a_sentence(name, k, options, message):
    with pytest.raises(circuits.InputError, match=message):
        build(name, k, **options)


def test_bits_that_do_not_fit_is_refused():
    with pytest.raises(ValueError, match=r"relevant_bits \[0, 0, 1\] must name k = 3 different bits of 0\.\.4"):
        dnf(3).arrays(5, [0, 0, 1])


@pytest.mark.parametrize("printed", [DNF, SIX, FOUR, TWO], ids=lambda one: one.name)
def test_weights_are_those_on_paper(printed):
    built = build(printed.name, 3 if printed.name == "dnf" else None)
    assert (built.W, built.b, built.u) == (printed.W, printed.b, printed.u)
