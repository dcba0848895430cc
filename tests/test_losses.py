import pytest
import torch
import torch.nn.functional as F

from circuits.config import parse
from circuits.models.linear import Linear
from circuits.training.losses import per_example, right, undecided
from circuits.training.paths.torch_stepper import outputs_on

MODULAR = {"task": {"kind": "modular", "p": 5}, "model": {"kind": "mlp"}, "loss": "cross_entropy"}
PARITY = {"task": {"kind": "parity"}, "model": {"kind": "relu"}}


def test_losses_of_classes_are_those_of_torch():
    outputs, targets = torch.randn(6, 5), torch.tensor([0, 1, 2, 3, 4, 0])
    config = parse(MODULAR)
    assert torch.allclose(per_example(outputs, targets, config), F.cross_entropy(outputs, targets, reduction="none"))
    squared = per_example(outputs, targets, config.replace(loss="mse"))
    assert torch.allclose(squared.mean(), F.mse_loss(outputs, F.one_hot(targets, 5).float()))


def test_losses_of_signs():
    outputs, targets = torch.tensor([0.5, -2.0, 3.0]), torch.tensor([1, 1, -1])
    config = parse(PARITY)
    assert per_example(outputs, targets, config).tolist() == [0.5, 3.0, 4.0]
    assert per_example(outputs, targets, config.replace(loss="mse")).tolist() == [0.25, 9.0, 16.0]
    expected = F.binary_cross_entropy_with_logits(outputs, (targets > 0).float(), reduction="none")
    assert torch.allclose(per_example(outputs, targets, config.replace(loss="cross_entropy")), expected)


def test_a_loss_in_float64_keeps_what_float32_rounds_away():
    outputs, targets = torch.tensor([[40.0, 0.0, 0.0, 0.0, 0.0]]), torch.tensor([0])
    config = parse(MODULAR)
    assert per_example(outputs, targets, config).item() == 0
    double = per_example(outputs, targets, config.replace(loss_dtype="float64"))
    assert double.dtype == torch.float64
    assert double.item() == pytest.approx(4 * torch.tensor(-40.0, dtype=torch.float64).exp().item(), rel=1e-6)


def test_a_tie_is_wrong_and_a_network_of_equal_logits_is_undecided():
    outputs = torch.tensor([[1.0, 1.0, 0.0], [2.0, 1.0, 0.0], [0.0, 0.0, 0.0], [float("nan"), 1.0, 0.0]])
    assert right(outputs, torch.tensor([0, 0, 0, 0])).tolist() == [False, True, False, False]
    assert undecided(outputs, torch.tensor([0, 0, 0, 0])).tolist() == [False, False, True, False]
    signs = torch.tensor([0.0, 1.0, -1.0])
    assert right(signs, torch.ones(3)).tolist() == [False, True, False]
    assert undecided(signs, torch.ones(3)).tolist() == [True, False, False]


def test_chunks_give_what_the_whole_gives():
    inputs, parameters = torch.arange(30.0).view(10, 3), {"w": torch.ones(3), "c": torch.zeros(())}
    assert torch.equal(outputs_on(Linear(), inputs, 4, prepares=False)(parameters), inputs.sum(dim=1))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"loss": "hinge"}, "loss 'hinge' needs targets ±1, but task 'modular' has classes: use cross_entropy or mse"),
        ({"model": {"kind": "relu"}}, "the task 'modular' has 5 classes, but model 'relu' has one output"),
        ({"model": {"kind": "lstm"}}, "the task 'modular' gives numbers, but the model 'lstm' reads tokens"),
    ],
)
def test_parts_that_do_not_fit_are_refused(changes, message):
    from circuits.errors import InputError

    with pytest.raises(InputError, match=message):
        parse({**MODULAR, **changes})
