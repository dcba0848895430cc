import pytest
import torch

import circuits
from circuits.config import parse

CONFIGS = {
    "mlp": ({"kind": "mlp", "widths": [6, 5]}, "one-hot"),
    "embedded_mlp": ({"kind": "embedded_mlp", "widths": [6], "d_embed": 4}, "tokens"),
    "lstm": ({"kind": "lstm", "d_embed": 4, "hidden": 5}, "tokens"),
}


def run_of(kind, path):
    if kind == "relu":
        config = circuits.preset("merrill-2023").replace(model__width=8, task__n_train=32)
    else:
        model, encoding = CONFIGS[kind]
        task = {"kind": "modular", "p": 7, "encoding": encoding}
        config = parse({"task": task, "model": model, "loss": "cross_entropy"})
    return circuits.train(config.replace(epochs=1, seeds=[0]), path, progress=False)


@pytest.mark.slow  # importing TransformerLens takes seconds
@pytest.mark.parametrize("kind", ["relu", *CONFIGS])
def test_any_model_is_a_hooked_root_module(tmp_path, kind):
    from transformer_lens import HookedRootModule

    with run_of(kind, tmp_path / "run.h5") as run:
        hooked, plain = run.hooked_model(), run.model()
        inputs = torch.from_numpy(run.data()["test_inputs"].values)
        assert isinstance(hooked, HookedRootModule)
        outputs, cache = hooked.run_with_cache(inputs)
        assert torch.equal(outputs, plain(inputs))
        layer = list(run.config.prunable_layers)[-1]
        assert cache[layer].shape == (len(inputs), run.config.prunable_layers[layer].width)
        assert {"hook_input", "hook_embed"} & set(cache)
        cut = hooked.run_with_hooks(inputs, fwd_hooks=[(layer, lambda value, hook: torch.zeros_like(value))])
        assert (cut == cut[0]).all()  # what is left is the bias
        assert (outputs != outputs[0]).any()
