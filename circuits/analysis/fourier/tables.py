"""Tables of the Fourier analysis."""

import xarray as xr

from circuits.tabular import Titled, new_table, number

MOST_LISTED = 6  # key frequencies in a table, the strongest first


def fourier_tables(dataset: xr.Dataset, _: xr.Dataset) -> list[Titled]:
    """Tables at the last measured checkpoint: key frequencies with their shares; restricted and excluded losses."""
    attrs, last = dataset.attrs, dataset.isel(step=-1)
    table = new_table("seed", "key frequencies", "cosines", "biases", "waves", "neurons", "phases", "Gini")
    losses = new_table("seed", "loss, test", "restricted, test", "excluded, train")
    table.columns[1].justify = "left"
    for seed in dataset["seed"].values:
        at = last.sel(seed=seed)
        strongest = at["frequency"].values[at["logit_share"].where(at["key"], -1).argsort().values[::-1]]
        n_key = int(at["key"].sum())
        listed = " ".join(map(str, strongest[: min(n_key, MOST_LISTED)])) or "none"
        cells = [number(at[name], ".3f") for name in ("key_logit_share", "bias_share", "key_wave_share")]
        cells += [number(at["cluster_size"].where(at["key"], 0).sum()) if "cluster_size" in at else "–"]
        cells += [
            number(at[name].mean(), ".3f") if name in at else "–" for name in ("phase_agreement", "embedding_gini")
        ]
        table.add_row(str(seed), listed + (" …" if n_key > MOST_LISTED else ""), *cells)
        columns = (("loss", "test"), ("restricted_loss", "test"), ("excluded_loss", "train"))
        losses.add_row(str(seed), *(number(at[name].sel(set=which), ".3g") for name, which in columns))
    summed = attrs["sum"]
    title = (
        f"Fourier analysis of {attrs['operation']} on {attrs['group']}, at epoch {float(dataset['epoch'][-1]):g}.\n"
        f"Cosines, biases: shares of the logits' sum of squares on cos ω({summed} - c) of the\nkey frequencies, and in "
        f"constant class biases. Key: a cosine of at least {attrs['key_share']:.3g} of it\nat the end. Waves: share of "
        f"the logits' variance over tuples on the key frequencies\nof {summed}, in any direction of the classes. "
        "Neurons: how many are of key frequencies.\nPhases: mean cosine of the residuals. Gini: of the embedding"
    )
    loss_title = (
        f"Cross-entropy: of the network; restricted, with the biases and the key waves of\n{summed} only; excluded, "
        "without these waves. Waves in any direction of the\nclasses, not the cosines alone"
    )
    return [(title, table), (loss_title, losses)]
