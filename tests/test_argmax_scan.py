import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from circuits.analysis import active_subnetwork
from circuits.analysis.subnetworks.argmax_scan import smallest_agreeing_argmax
from circuits.analysis.subnetworks.pruning import incoming_norms, pruning_order

few = st.sampled_from([-2.0, -1.0, -0.5, 0.0, 0.5, 1.0, 2.0])


def brute_force(activations, readout, order, offset):
    """For each k in turn: keep k neurons, sum their contributions one by one, compare every argmax."""

    def answers(n_kept):
        logits = np.tile(offset, (activations.shape[1], 1))
        for neuron in order[:n_kept]:
            logits = logits + np.outer(activations[neuron].astype(float), readout[neuron])
        return logits.argmax(axis=1)

    whole = answers(len(order))
    return next(n_kept for n_kept in range(len(order) + 1) if (answers(n_kept) == whole).all())


@st.composite
def layers(draw, values):
    width, n_examples, n_outputs = draw(st.integers(1, 8)), draw(st.integers(1, 9)), draw(st.integers(1, 5))
    array = lambda *shape: draw(hnp.arrays(np.float64, shape, elements=values))  # noqa: E731
    order = np.array(draw(st.permutations(range(width))))
    return array(width, n_examples), array(width, n_outputs), order, array(n_outputs)


@given(case=st.one_of(layers(few), layers(st.floats(-4, 4, width=32))))
@settings(max_examples=400)
def test_the_smallest_k_equals_brute_force(case):
    assert smallest_agreeing_argmax(*case) == brute_force(*case)


def test_a_wide_layer_equals_brute_force():
    random = np.random.default_rng(0)
    for scale in (1.0, 0.05):
        activations = np.maximum(random.standard_normal((60, 200)), 0).astype(np.float32)
        readout = random.standard_normal((60, 11)).astype(np.float32) * np.geomspace(1, scale**3, 60)[:, None]
        case = (activations, readout, np.arange(60), random.standard_normal(11))
        assert smallest_agreeing_argmax(*case) == brute_force(*case)


def test_agreement_need_not_be_monotone():
    # The logit difference runs 1, -1, 1: k = 1 and k = 3 agree with the whole, k = 0 and k = 2 do not.
    activations, readout = np.ones((3, 1)), np.array([[0.0, 1.0], [0.0, -2.0], [0.0, 2.0]])
    assert smallest_agreeing_argmax(activations, readout, np.arange(3), np.array([0.0, 0.0])) == 1


def test_a_nan_logit_has_no_answer():
    assert smallest_agreeing_argmax(np.array([[np.nan]]), np.ones((1, 2)), np.array([0])) is None


def test_two_outputs_give_the_subnetwork_of_their_difference():
    """argmax of (0, f) is the sign of f: both ways must keep the same neurons."""
    random = np.random.default_rng(1)
    inputs = random.choice([-1, 1], (80, 7))
    for _ in range(10):
        W, b, u = random.standard_normal((25, 7)), random.standard_normal(25), random.standard_normal(25)
        both = np.stack([np.zeros(25), u], axis=1)
        assert (active_subnetwork(W, b, both, inputs) == active_subnetwork(W, b, u, inputs)).all()


def test_a_path_norm_takes_all_outputs_of_a_neuron():
    W, b, u = np.array([[3.0, 0.0], [1.0, 0.0]]), np.zeros(2), np.array([[3.0, 4.0], [0.0, 1.0]])
    assert incoming_norms(W, b, u, "path").tolist() == [15.0, 1.0]
    assert pruning_order(incoming_norms(W, b, u, "path")).tolist() == [0, 1]


@st.composite
def scans(draw, values):
    """A layer with an offset for each example, one output or several, and targets."""
    width, n_examples, n_outputs = draw(st.integers(1, 8)), draw(st.integers(1, 9)), draw(st.integers(0, 4))
    array = lambda *shape: draw(hnp.arrays(np.float64, shape, elements=values))  # noqa: E731
    order = np.array(draw(st.permutations(range(width))))
    outputs = (n_outputs,) if n_outputs else ()
    classes = st.integers(0, n_outputs - 1) if n_outputs else st.sampled_from([-1, 1])
    targets = draw(hnp.arrays(np.int16, n_examples, elements=classes))
    return array(width, n_examples), array(width, *outputs), order, array(n_examples, *outputs), targets


def slow(activations, readout, order, offset, targets, criterion):
    """For each k in turn: add up k neurons, example by example, and compare."""

    def answers(n_kept):
        found = []
        for x, target in enumerate(targets):
            outputs = offset[x]
            for neuron in order[:n_kept]:
                outputs = outputs + activations[neuron, x] * readout[neuron]
            if readout.ndim == 1:
                found.append(np.sign(outputs) if criterion == "prediction" else np.sign(outputs) == target)
            elif criterion == "prediction":
                found.append(outputs.argmax())
            else:
                found.append(all(outputs[target] > other for c, other in enumerate(outputs) if c != target))
        return found if criterion == "prediction" else sum(found)

    whole = answers(len(order))
    return next(n_kept for n_kept in range(len(order) + 1) if answers(n_kept) == whole)


@pytest.mark.slow
@pytest.mark.parametrize("criterion", ["prediction", "accuracy"])
@given(case=st.one_of(scans(few), scans(st.floats(-4, 4, width=32))))
@settings(max_examples=300)
def test_an_offset_for_each_example_signs_and_accuracy_equal_brute_force(case, criterion):
    assert smallest_agreeing_argmax(*case, criterion) == slow(*case, criterion)


def test_one_offset_for_all_examples_is_the_same_offset_for_each():
    random = np.random.default_rng(2)
    activations, readout, offset = random.random((20, 50)), random.standard_normal((20, 4)), random.standard_normal(4)
    alike = np.tile(offset, (50, 1))
    order = np.arange(20)
    found = smallest_agreeing_argmax(activations, readout, order, offset)
    assert found == smallest_agreeing_argmax(activations, readout, order, alike)
    assert (alike == offset).all()  # the running sums have memory of their own


def test_a_tie_is_no_right_answer_for_the_criterion_accuracy():
    # Without neurons both outputs are 0: class 0 by argmax, but no right answer; one neuron gives it.
    case = np.ones((1, 1)), np.array([[1.0, 0.0]]), np.array([0]), np.zeros(2), np.array([0])
    assert smallest_agreeing_argmax(*case, "prediction") == 0
    assert smallest_agreeing_argmax(*case, "accuracy") == 1


def test_accuracy_asks_for_targets():
    with pytest.raises(ValueError, match="compares the numbers of right answers: pass targets"):
        smallest_agreeing_argmax(np.ones((1, 1)), np.ones((1, 2)), np.array([0]), criterion="accuracy")


def test_the_active_subnetwork_by_accuracy_of_several_outputs_gives_as_many_right_answers():
    random = np.random.default_rng(4)
    W, b, u = random.standard_normal((12, 5)), random.standard_normal(12), random.standard_normal((12, 3))
    inputs, targets = random.choice([-1, 1], (40, 5)), random.integers(0, 3, 40)
    hidden = np.maximum(W @ inputs.T + b[:, None], 0)
    order = pruning_order(incoming_norms(W, b, u))
    counts = []
    for k in range(13):
        outputs = hidden[order[:k]].T @ u[order[:k]]
        own = outputs[np.arange(40), targets]
        counts.append(((outputs >= own[:, None]).sum(axis=1) == 1).sum())  # without any neuron all are 0: none is right
    kept = active_subnetwork(W, b, u, inputs, targets, criterion="accuracy")
    assert kept.sum() == counts.index(counts[-1]) == 3
