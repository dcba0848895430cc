"""Tables of the silhouettes of hidden activations, and of their PCA and t-SNE."""

import math

import xarray as xr

from circuits.tabular import Titled, new_table, number


def representation_tables(dataset: xr.Dataset, phases: xr.Dataset) -> list[Titled]:
    """Two tables of silhouettes, which say how clearly points form clusters, from -1 to 1.

    The first table has the silhouette of the hidden activations of each seed at memorization, at generalization and at
    the end. The second table has a row for each of a few checkpoints of one seed: silhouettes of the activations, of
    their first two principal components and of their t-SNE, and the share of the variance in the two components.
    """
    epochs = dataset["epoch"].values.tolist()
    table = new_table("seed", "at memorization", "at generalization", "at the end")
    for seed in dataset["seed"].values.tolist():
        at = dataset["silhouette"].sel(seed=seed)
        when = [float(phases[f"{phase}_epoch"].sel(seed=seed)) for phase in ("memorization", "generalization")]
        silhouettes = [float(at[epochs.index(epoch)]) if epoch in epochs else math.nan for epoch in (*when, epochs[-1])]
        table.add_row(str(seed), *(number(value, ".3f") for value in silhouettes))
    pictured = new_table("epoch", "activations", "two components", "t-SNE", "variance of the two")
    for panel in range(dataset.sizes["panel"]):
        scores = (number(value, ".3f") for value in dataset["panel_silhouette"][:, panel])
        share = number(dataset["pca_explained"][panel, :2].sum(skipna=False), ".3f")
        pictured.add_row(number(dataset["panel_epoch"][panel]), *scores, share)
    what = f"by {dataset.attrs['labels']}, -1 to 1"
    return [
        (f"Silhouette of the hidden activations {what}", table),
        (f"Seed {int(dataset['pictured_seed'])}, pictured: silhouettes {what}", pictured),
    ]
