import numpy as np
import pytest
import torch

import circuits
from circuits.interfaces import Signature
from circuits.models.linear import Linear
from circuits.models.network import Network
from circuits.models.relu import Relu


def test_relu_computes_its_formula():
    model = Relu(width=7)
    net = model.initial(Signature(5), seed=0)
    inputs = np.random.default_rng(0).standard_normal((11, 5))
    outputs = Network(model, net)(torch.from_numpy(inputs)).detach().numpy()
    np.testing.assert_allclose(outputs, np.maximum(inputs @ net["W"].T + net["b"], 0) @ net["u"], rtol=1e-12)


def test_relu_starts_as_torchs_linear_layers_do():
    net = Relu(width=4000).initial(Signature(40), seed=0)
    hidden, output = torch.nn.Linear(40, 4000), torch.nn.Linear(4000, 1, bias=False)
    theirs = {"W": hidden.weight, "b": hidden.bias, "u": output.weight[0]}
    for name, values in theirs.items():
        values = values.detach().numpy()
        assert net[name].shape == values.shape
        assert np.abs(net[name]).max() == pytest.approx(np.abs(values).max(), rel=0.01)
        assert net[name].std() == pytest.approx(values.std(), rel=0.05)


def test_linear_computes_its_formula():
    net = {"w": np.array([1.0, -2.0]), "c": np.array(3.0)}
    outputs = Network(Linear(), net)(torch.tensor([[1.0, 1.0], [0.0, 2.0]]))
    assert outputs.tolist() == [2.0, -1.0]


@pytest.mark.parametrize("model", [Relu(width=6), Linear()])
def test_shapes_are_those_of_the_initial_parameters(model):
    net = model.initial(Signature(3), seed=1)
    assert {name: values.shape for name, values in net.items()} == {
        n: s for n, (_, s) in model.shapes(Signature(3)).items()
    }
    assert all(len(dims) == len(shape) for dims, shape in model.shapes(Signature(3)).values())


def test_seeds_start_differently_and_a_seed_always_alike():
    first, second, again = (Relu(width=6).initial(Signature(3), seed)["W"] for seed in (0, 1, 0))
    assert (first == again).all()
    assert (first != second).any()


def test_a_network_is_an_ordinary_torch_module():
    network = Network(Relu(width=6), Relu(width=6).initial(Signature(3), 0))
    assert set(network.state_dict()) == {"W", "b", "u"}
    network(torch.ones(2, 3)).sum().backward()
    assert network.W.grad.shape == (6, 3)


def test_the_embedding_table_of_numbers_is_by_what_each_of_them_enters():
    relu = circuits.preset("merrill-2023").replace(task__n=5, task__k=2, model__width=4)
    for chosen in (relu, relu.replace(model={"kind": "linear"}), relu.replace(model={"kind": "mlp", "widths": [6, 5]})):
        model, signature = chosen.model, chosen.task.signature
        net = model.initial(signature, 0)
        before = []

        def tap(name, value, before=before):
            if name in ("hook_pre", "hidden.0.hook_pre"):
                before.append(value)
            return value

        ones = {name: torch.from_numpy(values) for name, values in net.items()}
        inputs = torch.cat([torch.eye(signature.n_inputs), torch.zeros(1, signature.n_inputs)]).double()
        outputs = model.forward(ones, inputs, tap)
        entered = (before[0] if before else outputs[:, None]).numpy()
        np.testing.assert_allclose(model.embedding_table(net), entered[:-1] - entered[-1], atol=1e-12)
    assert relu.model.unembedding_table(relu.model.initial(relu.task.signature, 0)).shape == (4, 1)
