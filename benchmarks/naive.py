"""The experiment as the paper's text describes it, written plainly: the baseline that the ratios are against.

One network at a time, a DataLoader, autograd, `torch.optim.SGD`, accuracy and loss on both sets and a saved state dict
after every epoch; effective sparsity by masking the neurons and running the network again, for one k after the other.
"""

from pathlib import Path

import torch
from torch.utils.data import DataLoader, TensorDataset


class Net(torch.nn.Module):
    def __init__(self, n: int, width: int) -> None:
        super().__init__()
        self.linear1 = torch.nn.Linear(n, width)
        self.linear2 = torch.nn.Linear(width, 1, bias=False)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.linear2(torch.relu(self.linear1(x)))[:, 0]

    def masked(self, x: torch.Tensor, kept: torch.Tensor) -> torch.Tensor:
        return self.linear2(torch.relu(self.linear1(x)) * kept)[:, 0]


def dataset(inputs, targets) -> TensorDataset:
    return TensorDataset(torch.tensor(inputs, dtype=torch.float32), torch.tensor(targets, dtype=torch.float32))


def hinge(outputs: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
    return torch.clamp(1 - outputs * y, min=0).mean()


@torch.no_grad()
def metrics(net: Net, loader: DataLoader) -> tuple[float, float]:
    loss, right, total = 0.0, 0, 0
    for x, y in loader:
        outputs = net(x)
        loss += hinge(outputs, y).item() * len(y)
        right += (torch.sign(outputs) == y).sum().item()
        total += len(y)
    return loss / total, right / total


def train(net: Net, train_set: TensorDataset, test_set: TensorDataset, epochs: int, folder: Path) -> list[tuple]:
    loader = DataLoader(train_set, batch_size=32, shuffle=True)
    evaluation = [DataLoader(which, batch_size=32) for which in (train_set, test_set)]
    optimizer = torch.optim.SGD(net.parameters(), lr=0.1, weight_decay=0.01)
    history = []
    for epoch in range(epochs):
        history.append([metrics(net, which) for which in evaluation])
        for x, y in loader:
            optimizer.zero_grad()
            hinge(net(x), y).backward()
            optimizer.step()
        torch.save(net.state_dict(), folder / f"model_{epoch}.pt")
    return history


@torch.no_grad()
def effective_sparsity(net: Net, inputs: torch.Tensor) -> int:
    """Prune all but the k largest neurons and run the whole agreement set, for k = 1, 2, … until every sign agrees."""
    order = net.linear1.weight.norm(dim=1).argsort(descending=True)
    full = torch.sign(net(inputs))
    kept = torch.zeros(len(order))
    for k in range(1, len(order) + 1):
        kept[order[k - 1]] = 1
        if torch.equal(torch.sign(net.masked(inputs, kept)), full):
            return k
    return len(order)


@torch.no_grad()
def released_sparsity(net: Net, train_set: TensorDataset) -> int:
    """As the paper's released code does it: for each k, the masked and the full network's accuracy by batches of 32.

    (Its search stops before the last k, and its loaders shuffle: neither matters here.)
    """
    order = net.linear1.weight.norm(dim=1).argsort(descending=True)
    kept = torch.zeros(len(order))
    loader = DataLoader(train_set, batch_size=32)
    for k in range(1, len(order) + 1):
        kept[order[k - 1]] = 1
        masked, full = 0, 0
        for x, y in loader:
            masked += (torch.sign(net.masked(x, kept)) == y).sum().item()
            full += (torch.sign(net(x)) == y).sum().item()
        if masked == full:
            return k
    return len(order)


@torch.no_grad()
def norms_and_faithfulness(net: Net, test_inputs: torch.Tensor, groups: torch.Tensor) -> list[float]:
    """Norm of every neuron, and of each group its mean norm and its agreement with the network on the test set."""
    norms = net.linear1.weight.norm(dim=1)
    full = torch.sign(net(test_inputs))
    found = []
    for kept in groups:
        agreement = (torch.sign(net.masked(test_inputs, kept)) == full).float().mean().item()
        found += [(norms * kept).sum().item() / kept.sum().item(), agreement]
    return found
