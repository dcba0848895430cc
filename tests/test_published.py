"""Published weights: each layout computes what the code it comes from computes, and what does not fit is said.

The forward passes here are written from the published codes, in einsum, independently of the package's models. All
files are small ones made here.
"""

import contextlib
import random

import numpy as np
import pytest
import torch

import circuits
from circuits.cli.main import main
from circuits.convert import from_weights

P = 7


def drawn(**shapes):
    """Float32 tensors of these shapes, from one stream."""
    source = torch.Generator().manual_seed(0)
    return {name.replace("__", "."): torch.randn(shape, generator=source) / 2 for name, shape in shapes.items()}


def pairs():
    x, y = np.divmod(np.arange(P * P), P)
    return torch.from_numpy(x), torch.from_numpy(y)


def attended(stream, W_Q, W_K, W_V, causal=True):
    """Mixed values (example, position, head, d_head); weights (head, d_model, d_head)."""
    q, k, v = (torch.einsum("epm,hmd->ephd", stream, W) for W in (W_Q, W_K, W_V))
    scores = torch.einsum("eqhd,ekhd->ehqk", q, k) / q.shape[-1] ** 0.5
    n = scores.shape[-1]
    scores = scores.masked_fill(torch.ones(n, n).triu(1).bool(), -1e10)
    return torch.einsum("ehqk,ekhd->eqhd", scores.softmax(-1), v)


def nanda():
    """State dict and logits of the one-layer code of Nanda et al. 2023 on x, y, =."""
    d, h, k, m = 8, 2, 3, 10
    sd = drawn(
        embed__W_E=(d, P + 1), pos_embed__W_pos=(3, d), blocks__0__attn__W_K=(h, k, d), blocks__0__attn__W_Q=(h, k, d),
        blocks__0__attn__W_V=(h, k, d), blocks__0__attn__W_O=(d, h * k), blocks__0__mlp__W_in=(m, d),
        blocks__0__mlp__b_in=(m,), blocks__0__mlp__W_out=(d, m), blocks__0__mlp__b_out=(d,), unembed__W_U=(d, P + 1),
    )  # fmt: skip
    sd["blocks.0.attn.mask"] = torch.ones(3, 3).tril()
    x, y = pairs()
    tokens = torch.stack([x, y, torch.full_like(x, P)], 1)
    stream = torch.einsum("dbp->bpd", sd["embed.W_E"][:, tokens]) + sd["pos_embed.W_pos"]
    swapped = (sd[f"blocks.0.attn.W_{w}"].transpose(1, 2) for w in "QKV")
    mixed = attended(stream, *swapped).flatten(2)
    stream = stream + mixed @ sd["blocks.0.attn.W_O"].T
    hidden = (stream @ sd["blocks.0.mlp.W_in"].T + sd["blocks.0.mlp.b_in"]).relu()
    stream = stream + hidden @ sd["blocks.0.mlp.W_out"].T + sd["blocks.0.mlp.b_out"]
    return sd, (stream @ sd["unembed.W_U"])[:, -1, :P], {}


def lens(bias=False):
    """State dict and logits in TransformerLens's layout, with buffers and copies as others save them."""
    d, h, k, m = 8, 2, 3, 10
    sd = drawn(
        embed__W_E=(P + 1, d), pos_embed__W_pos=(3, d), blocks__0__attn__W_Q=(h, d, k), blocks__0__attn__W_K=(h, d, k),
        blocks__0__attn__W_V=(h, d, k), blocks__0__attn__W_O=(h, k, d), blocks__0__mlp__W_in=(d, m),
        blocks__0__mlp__b_in=(m,), blocks__0__mlp__W_out=(m, d), blocks__0__mlp__b_out=(d,),
        unembed__W_U=(d, P), unembed__b_U=(P,),
    )  # fmt: skip
    if not bias:
        sd["unembed.b_U"].zero_()
    for w in "QKV":
        sd[f"blocks.0.attn.b_{w}"] = torch.zeros(h, k)
    sd |= {"blocks.0.attn.b_O": torch.zeros(d), "blocks.0.attn.mask": torch.ones(3, 3).tril().bool()}
    sd |= {"blocks.0.attn.IGNORE": torch.tensor(-torch.inf), "x_embed": sd["embed.W_E"].clone()}
    x, y = pairs()
    stream = sd["embed.W_E"][torch.stack([x, y, torch.full_like(x, P)], 1)] + sd["pos_embed.W_pos"]
    mixed = attended(stream, *(sd[f"blocks.0.attn.W_{w}"] for w in "QKV"))
    stream = stream + torch.einsum("eqhd,hdm->eqm", mixed, sd["blocks.0.attn.W_O"])
    hidden = (stream @ sd["blocks.0.mlp.W_in"] + sd["blocks.0.mlp.b_in"]).relu()
    stream = stream + hidden @ sd["blocks.0.mlp.W_out"] + sd["blocks.0.mlp.b_out"]
    return sd, (stream @ sd["unembed.W_U"] + sd["unembed.b_U"])[:, -1], {}


def fused():
    """A pre-LayerNorm GPT block with one projection of queries, keys and values, and GELU."""
    d, h, k, m = 8, 2, 4, 10
    sd = drawn(
        pos_emb=(3, d), tok_emb__weight=(P + 1, d), blocks__0__ln1__gamma=(d,), blocks__0__ln1__beta=(d,),
        blocks__0__attn__qkv__weight=(3 * d, d), blocks__0__attn__proj__weight=(d, d), blocks__0__ln2__gamma=(d,),
        blocks__0__ln2__beta=(d,), blocks__0__mlp__up__weight=(m, d), blocks__0__mlp__up__bias=(m,),
        blocks__0__mlp__down__weight=(d, m), blocks__0__mlp__down__bias=(d,), ln_f__gamma=(d,), ln_f__beta=(d,),
        unembed__weight=(P, d),
    )  # fmt: skip
    sd["blocks.0.attn.causal_mask"] = torch.ones(3, 3).triu(1).bool()

    def ln(name, stream):
        return torch.nn.functional.layer_norm(stream, (d,), sd[f"{name}.gamma"], sd[f"{name}.beta"], 1e-5)

    x, y = pairs()
    stream = sd["tok_emb.weight"][torch.stack([x, y, torch.full_like(x, P)], 1)] + sd["pos_emb"]
    q, kk, v = (ln("blocks.0.ln1", stream) @ sd["blocks.0.attn.qkv.weight"].T).split(d, -1)
    as_heads = [part.unflatten(-1, (h, k)).transpose(1, 2) for part in (q, kk, v)]
    mixed = torch.nn.functional.scaled_dot_product_attention(*as_heads, is_causal=True).transpose(1, 2).flatten(2)
    stream = stream + mixed @ sd["blocks.0.attn.proj.weight"].T
    up = ln("blocks.0.ln2", stream) @ sd["blocks.0.mlp.up.weight"].T + sd["blocks.0.mlp.up.bias"]
    stream = stream + torch.nn.functional.gelu(up) @ sd["blocks.0.mlp.down.weight"].T + sd["blocks.0.mlp.down.bias"]
    return sd, (ln("ln_f", stream) @ sd["unembed.weight"].T)[:, -1], {"model.n_heads": h}


def tables():
    """Two embedding tables and one hidden layer (Chughtai, Chan and Nanda 2023)."""
    sd = drawn(W_x=(P, 5), W_y=(P, 5), W=(10, 12), W_U=(12, P))
    x, y = pairs()
    return sd, (torch.cat([sd["W_x"][x], sd["W_y"][y]], 1) @ sd["W"]).relu() @ sd["W_U"], {}


def one_hot_sum():
    """A squared hidden layer on the sum of one-hot vectors."""
    sd = {**drawn(mlp__W_in=(12, P), mlp__W_out=(P, 12)), "mlp.basis": torch.eye(P)}
    x, y = pairs()
    one_hot = torch.nn.functional.one_hot(x, P) + torch.nn.functional.one_hot(y, P)
    return sd, (one_hot.float() @ sd["mlp.W_in"].T).square() @ sd["mlp.W_out"].T, {"model.activation": "square"}


def embedded(summed=True):
    """Linear layers on the sum of two embeddings, or on both in a row (Zhong et al. 2023)."""
    sd = drawn(embed__weight=(P, 6), l1__weight=(10, 6 if summed else 12), l1__bias=(10,), unembed__weight=(P, 10))
    x, y = pairs()
    e = sd["embed.weight"]
    read = e[x] + e[y] if summed else torch.cat([e[x], e[y]], 1)
    hidden = (read @ sd["l1.weight"].T + sd["l1.bias"]).relu()
    if summed:
        sd |= drawn(l2__weight=(10, 10), l2__bias=(10,))
        hidden = (hidden @ sd["l2.weight"].T + sd["l2.bias"]).relu()
    return sd, hidden @ sd["unembed.weight"].T, {}


LAYOUTS = {
    "nanda": nanda, "lens": lens, "lens, biased logits": lambda: lens(bias=True), "fused": fused, "tables": tables,
    "one-hot sum": one_hot_sum, "embedded, summed": embedded, "embedded, joined": lambda: embedded(summed=False),
}  # fmt: skip


def outputs_on_all(run):
    """Outputs of the last checkpoint on all pairs in order; without a split they are the test set."""
    with torch.no_grad():
        return run.model()(torch.from_numpy(run.data()["test_inputs"].values))[:]


@pytest.mark.parametrize(
    "wrapped",
    [lambda sd: sd, lambda sd: {"model": sd, "epoch": 40}, lambda sd: {f"module.{k}": v for k, v in sd.items()}],
    ids=["bare", "in a dictionary", "with a prefix"],
)
@pytest.mark.parametrize("layout", LAYOUTS)
def test_a_layout_computes_what_its_own_code_computes(tmp_path, layout, wrapped):
    sd, expected, fields = LAYOUTS[layout]()
    torch.save(wrapped(sd), tmp_path / "a.pth")
    run = from_weights([tmp_path / "a.pth"], tmp_path / "run.h5", fields=fields).run
    with run:
        actual = run.config.model.forward(
            run.state(), torch.from_numpy(run.data()["test_inputs"].values.astype(np.int64))
        )
        torch.testing.assert_close(actual, expected, rtol=1e-4, atol=1e-5)
        assert run.epochs.tolist() == [40 if wrapped({}) == {"model": {}, "epoch": 40} else 1]
        assert np.isnan(run.metrics["test_accuracy"].values).all()
        assert run.config.task.p == P


def saved(tmp_path, **more):
    sd, logits, _ = nanda()
    path = tmp_path / "a.pth"
    torch.save({"model": sd, **more}, path)
    return path, logits.double()


def nanda_split(seed, fraction):
    """The split of the original code, written as there."""
    every = [(i, j) for i in range(P) for j in range(P)]
    random.seed(seed)
    random.shuffle(every)
    n = int(fraction * len(every))
    return [i * P + j for i, j in every[:n]], [i * P + j for i, j in every[n:]]


def cross_entropy(logits, chosen):
    x, y = pairs()
    return torch.nn.functional.cross_entropy(logits[chosen], ((x + y) % P)[chosen]).item()


def test_the_draw_of_the_original_code_gives_its_losses(tmp_path):
    path, logits = saved(tmp_path)
    fields = {"task.draw": "nanda-code", "task.train_fraction": 0.3}
    with from_weights([path], tmp_path / "run.h5", fields=fields, seed=5).run as run:
        train, test = nanda_split(5, 0.3)
        data = run.data()
        assert (data["train_inputs"].values[:, :2] == np.stack(np.divmod(train, P), 1)).all()
        assert float(run.metrics["train_loss"][-1, 0]) == pytest.approx(cross_entropy(logits, train), rel=1e-5)
        assert float(run.metrics["test_loss"][-1, 0]) == pytest.approx(cross_entropy(logits, test), rel=1e-5)


def test_a_draw_needs_its_seed_and_is_no_second_split(tmp_path):
    path, _ = saved(tmp_path)
    with pytest.raises(circuits.InputError, match=r"nanda-code needs the seed of the draw. Pass --seed."):
        from_weights([path], tmp_path / "run.h5", fields={"task.draw": "nanda-code"})
    path, _ = saved(tmp_path, train_indices=torch.arange(9))
    with pytest.raises(circuits.InputError, match=r"train indices and --task.draw both give a split"):
        from_weights([path], tmp_path / "run.h5", fields={"task.draw": "nanda-code"}, seed=0)
    assert not (tmp_path / "run.h5").exists()


def test_examples_of_a_division_are_numbered_like_all_pairs(tmp_path):
    path, _ = saved(tmp_path)
    x, y = np.divmod(np.arange(P * P), P)
    train = np.flatnonzero(y > 0)[:20]
    fields = {"task.operation": "x/y"}
    mask = np.isin(np.arange(P * P), train)
    for name, values in (("numbers.npy", train), ("mask.npy", mask.reshape(P, P))):
        np.save(tmp_path / name, values)
        out = tmp_path / f"{name}.h5"
        with from_weights([path], out, fields=fields, train_indices=tmp_path / name).run as run:
            np.testing.assert_array_equal(run.data()["train_inputs"][:, :2], np.stack([x, y], 1)[train])
    np.save(tmp_path / "zero.npy", np.array([0, 1]))
    with pytest.raises(circuits.InputError, match="y from 1 to"):
        from_weights([path], tmp_path / "run.h5", fields=fields, train_indices=tmp_path / "zero.npy")


def test_files_of_two_splits_or_seeds_are_two_networks(tmp_path):
    paths = []
    for epoch, indices in ((1, range(9)), (2, range(8))):
        path, _ = saved(tmp_path, train_indices=torch.tensor(list(indices)))
        paths.append(path.rename(tmp_path / f"model_{epoch}.pth"))
    with pytest.raises(circuits.InputError, match=r"different training examples. Convert them apart"):
        from_weights(paths, tmp_path / "run.h5")


def test_the_permutation_of_torch_is_the_global_one_of_its_seed(tmp_path):
    path, logits = saved(tmp_path)
    fields = {"task.draw": "torch-randperm", "task.train_fraction": 0.5}
    torch.manual_seed(9)
    train = torch.randperm(P * P)[: int(0.5 * P * P)]
    with from_weights([path], tmp_path / "run.h5", fields=fields, seed=9).run as run:
        assert float(run.metrics["train_loss"][-1, 0]) == pytest.approx(cross_entropy(logits, train), rel=1e-5)


@pytest.mark.parametrize("where", ["in the file", "npy", "npz", "text", "mask"])
def test_a_split_that_is_given_is_taken(tmp_path, where):
    train = torch.randperm(P * P, generator=torch.Generator().manual_seed(3))[:20]
    path, logits = saved(tmp_path, **({"train_indices": train} if where == "in the file" else {}))
    given = tmp_path / {"npy": "i.npy", "mask": "i.npy", "npz": "i.npz", "text": "i.txt"}.get(where, "none")
    mask = np.isin(np.arange(P * P), train)
    match where:
        case "npy":
            np.save(given, train)
        case "mask":
            np.save(given, mask)
        case "npz":
            np.savez(given, train_indices=train)
        case "text":
            np.savetxt(given, train, fmt="%d")
    with from_weights([path], tmp_path / "run.h5", train_indices=None if where == "in the file" else given).run as run:
        assert float(run.metrics["train_loss"][-1, 0]) == pytest.approx(
            cross_entropy(logits, np.flatnonzero(mask)), rel=1e-5
        )
        assert float(run.metrics["test_loss"][-1, 0]) == pytest.approx(
            cross_entropy(logits, np.flatnonzero(~mask)), rel=1e-5
        )
        assert run.data().sizes["example"] == 20


def test_without_a_split_no_metric_is_that_of_another_one(tmp_path, capsys):
    path, logits = saved(tmp_path)
    assert main(["convert", "weights", str(path), "--out", str(tmp_path / "run.h5"), "--quiet"]) == 0
    err = capsys.readouterr().err
    assert "The file has no split, so metrics on training and test set are left out" in err
    assert f"the mean cross-entropy {cross_entropy(logits, np.arange(P * P)):.6g}" in err
    with circuits.open(tmp_path / "run.h5") as run:
        assert all(np.isnan(values).all() for values in run.metrics.values())
        found = circuits.analyze(run)
        assert "fourier" in found
        assert "subnetwork" not in found
        with pytest.raises(circuits.InputError, match="no training examples"):
            circuits.analyze(run, "subnetwork")
    assert main(["report", str(tmp_path / "run.h5"), "--quiet"]) == 0
    assert main(["show", str(tmp_path / "run.h5")]) == 0


@pytest.mark.parametrize("suffix", [".npz", ".safetensors", ".pt"])
def test_what_this_package_exports_comes_back(tmp_path, tiny_path, suffix):
    with circuits.open(tiny_path) as run:
        exported = circuits.export(run, tmp_path / f"a{suffix}", seed=1, checkpoint=2)
        task = (
            {}
            if suffix != ".pt"
            else {"task.kind": "parity", "task.n": 8, "task.k": 2, "task.n_train": 50, "task.n_test": 20}
        )
        back = from_weights(
            [exported], tmp_path / "back.h5", fields=task, seed=1 if suffix == ".pt" else None, epoch=2
        ).run
        with back:
            assert back.seeds == (1,)
            for name, values in run.arrays(1, 2).items():
                assert (back.arrays()[name] == values).all()
            if suffix != ".pt":
                assert back.config.task == run.config.task
                assert back.metrics["test_loss"].values[0, 0] == run.metrics["test_loss"].values[2, 1]


def two_networks():
    return nanda()[0], {name: 2 * values for name, values in nanda()[0].items()}


def test_several_checkpoints_in_one_list_or_in_several_files(tmp_path):
    first, second = two_networks()
    torch.save({"checkpoints": [first, second], "checkpoint_epochs": [10, 30]}, tmp_path / "both.pth")
    torch.save(second, tmp_path / "model_30.pt")
    torch.save(first, tmp_path / "model_10.pt")
    runs = [
        from_weights([tmp_path / "both.pth"], tmp_path / "a.h5").run,
        from_weights([tmp_path / "model_30.pt", tmp_path / "model_10.pt"], tmp_path / "b.h5").run,
    ]
    for run in runs:
        assert run.epochs.tolist() == [10, 30]
        assert run.parameters["embed.W_E"].equals(runs[0].parameters["embed.W_E"])
    for run in runs:
        run.close()


def test_what_is_expected_is_compared_and_so_are_losses_in_the_file(tmp_path, capsys):
    _, test = nanda_split(0, 0.3)
    path, logits = saved(tmp_path)
    right, wrong = cross_entropy(logits, test), 2 * cross_entropy(logits, test)
    words = ["convert", "weights", str(path), "--set", "task.draw=nanda-code", "--set", "task.train_fraction=0.3"]
    words += ["--seed", "0"]
    out = ["--out", str(tmp_path / "run.h5"), "--quiet"]
    assert main([*words, *out, "--expect", f"test_loss={wrong}"]) == 2
    assert f"test_loss is {right:.6g} here, and {wrong:.6g} expected" in capsys.readouterr().err
    assert not (tmp_path / "run.h5").exists()
    assert main([*words, *out, "--expect", f"test_loss={right}"]) == 0
    path, _ = saved(tmp_path, train_losses=[3.0, 9.0], test_losses=[wrong])
    words[2] = str(path)
    assert main([*words, "--out", str(tmp_path / "b.h5"), "--quiet"]) == 2
    assert "in the file" in capsys.readouterr().err
    assert main([*words, "--out", str(tmp_path / "b.h5"), "--quiet", "--tolerance", "10"]) == 0


def test_contradictions_are_said(tmp_path):
    groups = [{"lr": 0.001, "weight_decay": 0.1, "params": [0]}]
    path, _ = saved(tmp_path, optimizer={"state": {}, "param_groups": groups}, config={"p": P, "weight_decay": 1})
    preset = circuits.preset("nanda-2023").replace(
        task__p=P, model__d_model=8, model__n_heads=2, model__d_head=3, model__d_mlp=10
    )
    remarks = from_weights([path], tmp_path / "run.h5", preset).remarks
    assert "the file's config has weight_decay 1, and its optimizer 0.1" in remarks
    assert any("optimizer.weight_decay is 1 in the config, and 0.1 in the file" in line for line in remarks)


def test_sizes_that_contradict_the_config_are_an_error_of_the_input(tmp_path, capsys):
    path, _ = saved(tmp_path)
    words = ["convert", "weights", str(path), "--preset", "nanda-2023", "--out", str(tmp_path / "run.h5")]
    assert main(words) == 2
    line = capsys.readouterr().err
    assert "the weights have n_heads = 2, but the config has n_heads = 4" in line
    assert "bug" not in line


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ({"train_losses": [1.0], "test_losses": [2.0]}, "holds no state dict"),
        ({"a": {"W": torch.ones(2)}, "b": {"W": torch.ones(2)}}, "several state dicts: a, b. Choose one: --inside a"),
        ({"x.weight": torch.ones(2, 2)}, "no known layout has the names x.weight"),
        ([1.0, 2.0], "It holds a list"),
    ],
)
def test_a_file_without_a_network_is_said_in_one_line(tmp_path, content, said, capsys):
    torch.save(content, tmp_path / "a.pt")
    assert main(["convert", "weights", str(tmp_path / "a.pt"), "--out", str(tmp_path / "run.h5")]) == 2
    err = capsys.readouterr().err
    assert said in err
    assert len(err.strip().splitlines()) == 1


@pytest.mark.parametrize("names", ["bridge", "transformerlens"])
@pytest.mark.parametrize(
    ("suffix", "d_model", "d_head", "biased"),
    [(".pt", 8, 4, False), (".npz", 8, 8, True), (".safetensors", 12, 3, True)],
)
def test_a_transformerlens_bridge_comes_back(tmp_path, suffix, names, d_model, d_head, biased):
    """d_model = 8 is also the number of tokens, so that no shape tells the axes of W_E."""
    from safetensors.torch import save_file
    from transformer_lens.config import TransformerBridgeConfig
    from transformer_lens.model_bridge import TransformerBridge

    sizes = {"n_layers": 2, "n_heads": 2, "d_model": d_model, "d_head": d_head, "d_mlp": 8, "n_ctx": 3}
    vocabulary = {"d_vocab": P + 1, "d_vocab_out": P, "act_fn": "gelu", "normalization_type": "LN", "seed": 0}
    bridge = TransformerBridge.boot_native(TransformerBridgeConfig(**sizes, **vocabulary))
    source = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for name, view in bridge.tl_named_parameters():
            is_zero = name == "unembed.b_U" and not biased
            view.copy_(torch.zeros(view.shape) if is_zero else torch.randn(view.shape, generator=source) / 2)
        x, y = pairs()
        expected = bridge(torch.stack([x, y, torch.full_like(x, P)], 1))[:, -1]
    sd = bridge.state_dict() if names == "bridge" else dict(bridge.tl_named_parameters())
    sd = {name: values.detach().clone().contiguous() for name, values in sd.items()}
    path = tmp_path / f"a{suffix}"
    match suffix:
        case ".pt":
            torch.save(sd, path)
        case ".npz":
            np.savez_compressed(path, **{name: values.numpy() for name, values in sd.items()})
        case ".safetensors":
            save_file(sd, path)
    fields = {"model.activation": "gelu"} | ({"model.n_heads": 2} if names == "bridge" else {})
    with from_weights([path], tmp_path / "run.h5", fields=fields).run as run:
        assert run.config.model.unembedding_bias is biased
        actual = run.config.model.forward(run.state(), torch.from_numpy(run.data()["test_inputs"].values).long())
        torch.testing.assert_close(actual, expected, rtol=1e-4, atol=1e-4)


def test_axes_are_told_by_the_length_of_the_residual_stream(tmp_path):
    """TransformerLens's names with one matrix the other way round, where d_model differs from its other length."""
    sd, expected, _ = lens()
    sd["blocks.0.mlp.W_in"] = sd["blocks.0.mlp.W_in"].T.contiguous()
    sd["blocks.0.attn.W_K"] = sd["blocks.0.attn.W_K"].mT.contiguous()
    torch.save(sd, tmp_path / "a.pt")
    with from_weights([tmp_path / "a.pt"], tmp_path / "run.h5").run as run:
        actual = run.config.model.forward(run.state(), torch.from_numpy(run.data()["test_inputs"].values).long())
        torch.testing.assert_close(actual, expected, rtol=1e-4, atol=1e-5)


def test_heads_that_no_shape_tells_are_asked_for(tmp_path, capsys):
    torch.save(fused()[0], tmp_path / "a.pt")
    words = ["convert", "weights", str(tmp_path / "a.pt"), "--out", str(tmp_path / "run.h5"), "--quiet"]
    assert main(words) == 2
    assert "Pass --model.n-heads" in capsys.readouterr().err
    assert main([*words, "--model.n-heads", "2"]) == 0


@pytest.mark.parametrize(
    ("content", "epochs"),
    [
        (lambda a, b: {"model": b, "checkpoints": [a, b], "checkpoint_epochs": [0, 20]}, [0, 20]),
        (lambda a, b: {"model": b, "checkpoints": [], "checkpoint_epochs": [], "epoch": torch.tensor(7)}, [7]),
        (lambda a, b: {0: a, 100: b}, [0, 100]),
        (lambda a, b: {"weights": {"10": a, "30": b}, "optimizer": {"state": {0: a}}}, [10, 30]),
        (lambda a, b: {"run": {"model_state_dict": b}, "opt": {"state": {"0": b}}, "step": 9}, [9]),
    ],
    ids=["list beside the last", "empty list", "by epoch", "by epoch, inside", "nested"],
)  # fmt: skip
def test_state_dicts_are_found_with_their_epochs(tmp_path, content, epochs):
    torch.save(content(*two_networks()), tmp_path / "a.pt")
    with from_weights([tmp_path / "a.pt"], tmp_path / "run.h5").run as run:
        assert run.epochs.tolist() == epochs


def test_inside_chooses_one_network_of_a_list(tmp_path, capsys):
    first, second = two_networks()
    torch.save({"state_dicts": [first, second], "other": first}, tmp_path / "a.pt")
    words = ["convert", "weights", str(tmp_path / "a.pt"), "--out", str(tmp_path / "run.h5"), "--quiet"]
    assert main(words) == 2
    assert "holds 2 networks, and nothing tells their epochs" in capsys.readouterr().err
    assert main([*words, "--inside", "state_dicts.2", "--epoch", "9"]) == 2
    assert "has no 'state_dicts.2'. There are: 0 to 1." in capsys.readouterr().err
    assert main([*words, "--inside", "state_dicts.1", "--epoch", "9"]) == 0
    with circuits.open(tmp_path / "run.h5") as run:
        assert run.epochs.tolist() == [9]
        assert (run.arrays()["pos_embed.W_pos"] == second["pos_embed.W_pos"].numpy()).all()


def test_the_losses_of_a_list_are_those_of_the_last_checkpoint(tmp_path):
    first, second = two_networks()
    train, _ = nanda_split(0, 0.3)
    losses = [9.0, cross_entropy(nanda()[1].double(), train), 9.0]
    content = {"checkpoints": [second, first], "checkpoint_epochs": [0, 1], "train_losses": losses}
    torch.save(content, tmp_path / "a.pt")
    fields = {"task.draw": "nanda-code"}
    converted = from_weights([tmp_path / "a.pt"], tmp_path / "run.h5", fields=fields, seed=0)
    converted.run.close()
    assert any(line.startswith("train_loss") and line.endswith("in the file") for line in converted.remarks)


def test_seed_and_share_of_the_split_come_from_the_config_of_the_file(tmp_path):
    path, logits = saved(tmp_path, config={"seed": 3, "frac_train": 0.4, "fn_name": "subtract", "d_mlp": 11})
    converted = from_weights([path], tmp_path / "run.h5", fields={"task.draw": "nanda-code"})
    with converted.run as run:
        train, _ = nanda_split(3, 0.4)
        assert float(run.metrics["train_loss"][-1, 0]) == pytest.approx(cross_entropy(logits, train), rel=1e-5)
    assert "task.operation is x+y in the config, and x-y in the file" in converted.remarks
    assert "model.d_mlp is 10 in the config, and 11 in the file" in converted.remarks


def test_training_examples_may_be_given_as_pairs(tmp_path):
    path, logits = saved(tmp_path)
    train, _ = nanda_split(2, 0.3)
    torch.save([divmod(number, P) for number in train], tmp_path / "pairs.pt")
    with from_weights([path], tmp_path / "run.h5", train_indices=tmp_path / "pairs.pt").run as run:
        assert float(run.metrics["train_loss"][-1, 0]) == pytest.approx(cross_entropy(logits, train), rel=1e-5)


@pytest.mark.parametrize(
    ("indices", "said"),
    [
        ([[0, P]], "the operands [0, 7] are no example"),
        ([0, 0], "different whole numbers from 0 to 48, or a mask of 49"),
        ([0.5, 1.5], "different whole numbers"),
        ([P * P], "different whole numbers"),
        (list(range(P * P)), "leaves no test set"),
        (["a"], "different whole numbers"),
    ],
)
def test_training_examples_that_are_none_are_refused(tmp_path, indices, said):
    path, _ = saved(tmp_path)
    np.save(tmp_path / "i.npy", np.array(indices))
    with pytest.raises(circuits.InputError, match=r"i\.npy") as error:
        from_weights([path], tmp_path / "run.h5", train_indices=tmp_path / "i.npy")
    assert said in str(error.value)


def test_without_a_split_the_whole_loss_lies_between_the_losses_in_the_file(tmp_path):
    sd, logits, fields = one_hot_sum()
    x, y = pairs()
    whole = torch.nn.functional.cross_entropy(logits, (x + y) % P).item()
    torch.save({"model": sd, "train_loss": whole, "test_loss": whole}, tmp_path / "a.pth")
    with from_weights([tmp_path / "a.pth"], tmp_path / "run.h5", fields=fields).run as run:
        assert run.config.model.activation == "square"
    expect = {"loss": whole, "accuracy": 0.0}
    with pytest.raises(circuits.InputError, match=r"accuracy is .* here, and 0 expected"):
        from_weights([tmp_path / "a.pth"], tmp_path / "relu.h5", fields=fields, expect=expect)
    with pytest.raises(circuits.InputError, match="without a split it is unknown"):
        from_weights([tmp_path / "a.pth"], tmp_path / "relu.h5", fields=fields, expect={"train_loss": whole})
    with pytest.raises(circuits.InputError, match=r"the loss over all 49 examples is .* and between .* in the file"):
        from_weights([tmp_path / "a.pth"], tmp_path / "relu.h5")
    assert not (tmp_path / "relu.h5").exists()


def test_parity_weights_without_a_draw_have_no_training_set(tmp_path):
    sd = drawn(linear1__weight=(6, 9), linear1__bias=(6,), linear2__weight=(1, 6))
    torch.save(sd, tmp_path / "a.pt")
    with from_weights([tmp_path / "a.pt"], tmp_path / "run.h5").run as run:
        assert run.config.task.train_size == 0
        assert np.isnan(run.metrics["train_loss"].values).all()
        assert "subnetwork" not in circuits.analyze(run)
    assert main(["report", str(tmp_path / "run.h5"), "--quiet"]) == 0
    drawn_again = {"task.draw": "merrill-code", "task.n_train": 30}
    with from_weights([tmp_path / "a.pt"], tmp_path / "drawn.h5", fields=drawn_again, seed=0).run as run:
        assert np.isfinite(run.metrics["train_loss"].values).all()


def test_an_accuracy_may_differ_by_a_tenth_of_the_tolerance(tmp_path):
    path, _ = saved(tmp_path)
    fields = {"task.draw": "nanda-code"}
    with from_weights([path], tmp_path / "run.h5", fields=fields, seed=0).run as run:
        accuracy = float(run.metrics["test_accuracy"][-1, 0])
    with pytest.raises(circuits.InputError, match="test_accuracy"):
        from_weights([path], tmp_path / "b.h5", fields=fields, seed=0, expect={"test_accuracy": accuracy + 0.02})
    with pytest.raises(circuits.InputError, match="not a finite number"):
        from_weights([path], tmp_path / "b.h5", fields=fields, seed=0, expect={"test_accuracy": np.nan})


def broken(name, values):
    return {**nanda()[0], name: values}


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (broken("embed.W_E", torch.full((8, 8), torch.nan)), "'embed.W_E' has 64 numbers that are NaN or infinite"),
        (broken("embed.W_E", torch.ones(8, 8, dtype=torch.int64)), "'embed.W_E' is int64"),
        (broken("embed.W_E", torch.eye(8).to_sparse()), "'embed.W_E' has no dense values"),
        (broken("embed.W_E", torch.zeros(8, 8, device="meta")), "'embed.W_E' has no dense values"),
        (broken("embed.W_E", torch.zeros(1).expand(1000, 1000)), "declares 1,000,000 numbers but stores 1"),
        (broken("embed.W_E", torch.zeros(1).expand(10**5, 10**5)), "numbers, more than"),
        (broken("more", torch.zeros(3)), "the weights have more, which the config's model lacks"),
        (broken("blocks.0.mlp.b_in", torch.zeros(9)), "has the shape (9,), but the config needs (10,) (neuron)"),
        (broken("blocks.0.attn.W_Q", torch.zeros(6)), "its tensors have other axes: embed.W_E (8, 8)"),
        ({k: v for k, v in nanda()[0].items() if "W_K" not in k}, "the weights lack blocks.0.attn.W_K"),
        (broken("x_embed", torch.zeros(8, 8)), "the weights have x_embed"),
        ({"model": nanda()[0], "run": random.Random}, "asks for random.Random, and loading that could run code"),
        ({"checkpoints": [nanda()[0]] * 2, "checkpoint_epochs": [1, "x"]}, "not as many whole numbers"),
    ],
    ids=[
        "nan", "int", "sparse", "meta", "expanded", "huge", "surplus", "size", "axes", "missing", "not a copy", "code",
        "epochs",
    ],
)  # fmt: skip
def test_weights_that_are_no_network_are_refused_in_one_line(tmp_path, content, said, capsys):
    torch.save(content, tmp_path / "a.pt")
    (tmp_path / "runs").mkdir()
    assert main(["convert", "weights", str(tmp_path / "a.pt"), "--out", str(tmp_path / "runs" / "run.h5")]) == 2
    line = capsys.readouterr().err
    assert said in line
    assert str(tmp_path / "a.pt") in line
    assert len(line.strip().splitlines()) == 1
    assert not list((tmp_path / "runs").iterdir())


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16, torch.float64])
def test_other_precisions_and_strides_are_read_exactly(tmp_path, dtype):
    sd = {name: values.to(dtype) for name, values in nanda()[0].items()}
    sd["unembed.W_U"] = sd["unembed.W_U"].T.contiguous().T
    torch.save(sd, tmp_path / "a.pt")
    with from_weights([tmp_path / "a.pt"], tmp_path / "run.h5").run as run:
        assert run.config.dtype == ("float64" if dtype == torch.float64 else "float32")
        assert (run.arrays()["unembed.W_U"] == sd["unembed.W_U"].double().numpy()[:, :P]).all()


@pytest.mark.parametrize("suffix", [".pt", ".npz", ".safetensors"])
def test_a_damaged_file_is_refused_or_read_but_never_half_written(tmp_path, suffix):
    from safetensors.torch import save_file

    sd, path, out = nanda()[0], tmp_path / f"a{suffix}", tmp_path / "runs"
    match suffix:
        case ".pt":
            torch.save(sd, path)
        case ".npz":
            np.savez(path, **{name: values.numpy() for name, values in sd.items()})
        case ".safetensors":
            save_file(sd, path)
    content, stream = path.read_bytes(), random.Random(0)
    out.mkdir()
    for trial in range(40):
        damaged = bytearray(content[: stream.randrange(len(content))] if trial % 2 else content)
        for _ in range(3 * (not trial % 2)):
            damaged[stream.choice((1, -1)) * stream.randrange(900)] = stream.randrange(256)
        path.write_bytes(damaged)
        with contextlib.suppress(circuits.InputError):
            from_weights([path], out / "run.h5", progress=False).run.close()
            (out / "run.h5").unlink()
        assert not list(out.iterdir())


def test_fields_that_the_files_tell_cannot_be_set(tmp_path, capsys):
    path, _ = saved(tmp_path)
    words = ["convert", "weights", str(path), "--out", str(tmp_path / "run.h5"), "--set", "seeds=[1,2]"]
    assert main(words) == 2
    assert "--set seeds has no effect: the files tell it" in capsys.readouterr().err


@pytest.mark.parametrize("preset", ["nanda-2023", "merrill-2023"])
def test_a_task_without_a_training_set_is_not_trained(tmp_path, capsys, preset):
    assert main(["train", preset, "--task.draw", "unknown", "--out", str(tmp_path / "run.h5"), "--quiet"]) == 2
    assert "has no training examples here" in capsys.readouterr().err
    assert not list(tmp_path.iterdir())
