"""TransformerLens's bridge, the truth that a transformer is held against, and networks in which nothing is special."""

import numpy as np
import torch


def drawn(model, signature, seed=0):
    """Parameters in float64 of which none is special: biases and norms' weights too; frozen ones stay 0."""
    random = np.random.default_rng(seed)
    found = {name: random.normal(size=shape) * 0.5 for name, (_, shape) in model.shapes(signature).items()}
    found |= {name: np.zeros_like(found[name]) for name in model.frozen}
    return {name: torch.from_numpy(values).requires_grad_() for name, values in found.items()}


def bridge_of(model, parameters, signature):
    return model.bridge({name: values.detach().numpy() for name, values in parameters.items()}, signature)


def bridge_gradients(bridge, loss):
    """Gradients by TransformerLens's names: put where the parameters were, so that it rearranges them likewise."""
    loss.backward()
    with torch.no_grad():
        for values in bridge.original_model.parameters():
            values.copy_(values.grad)
    return dict(bridge.tl_named_parameters())
