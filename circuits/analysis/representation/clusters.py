"""Silhouette of a network's hidden values: one number for the clusters that are visible in a scatter plot.

The silhouette of a point is (b − a) / max(a, b) (Rousseeuw 1987, "Silhouettes: a graphical aid to the interpretation
and validation of cluster analysis"). Here a is the mean distance to the other points of the same cluster, and b is the
mean distance to the points of the nearest other cluster. The mean over points is 1 if the points of each cluster
coincide, near 0 if labels and positions are unrelated, and negative if points lie nearer to another cluster. Known
labels of the inputs define the clusters: the signs of the relevant bits, or the result mod p.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from jaxtyping import Float, Float64, Int

from circuits.checkpoints.run import Run
from circuits.constructions.patterns import patterns


class Labels(NamedTuple):
    """Label of each example, as an index into `names`; `what` is the noun for the labels, such as "relevant bits"."""

    of_example: Int[np.ndarray, " example"]
    names: Sequence[str]
    what: str


def silhouette(values: Float[np.ndarray, "point coordinate"], labels: Int[np.ndarray, " point"]) -> float:
    """Mean silhouette of labeled points by Euclidean distance, in -1..1; a higher value means clearer clusters.

    Parameters
    ----------
    values
        (point, coordinate). The result is NaN if a value is not finite or all points coincide.
    labels
        (point,) cluster of each point. The result is NaN if there is one cluster, or if no two points share a cluster.

    Examples
    --------
    >>> silhouette(np.array([[0.0], [0.0], [3.0], [3.0]]), np.array([0, 0, 1, 1]))
    1.0
    """
    from sklearn.metrics import silhouette_score

    places = centered(values)  # a large mean would cost the squared distances their digits
    if places is None or not 2 <= len(np.unique(labels)) < len(labels):
        return float("nan")
    return float(silhouette_score(places / np.abs(places).max(), labels))  # prevents underflow of squares


def centered(values: Float[np.ndarray, "point coordinate"]) -> Float64[np.ndarray, "point coordinate"] | None:
    """Points minus their mean; None if a point is not finite or all points coincide."""
    if not values.size or not np.isfinite(values).all() or (values == values[:1]).all():
        return None
    return values.astype(np.float64) - values.mean(axis=0, dtype=np.float64)


def cluster_labels(run: Run, seed: int) -> Labels:
    """Cluster labels of a seed's training examples.

    For a task with relevant bits, the label lists the signs of these bits, as + and - in the order of the bits,
    regardless of the target. For any other task, the label is the target, such as x + y mod p.
    """
    data = run.data(seed)
    bits = getattr(run.config.task, "relevant_bits", None)
    if bits is None:
        targets = data["train_targets"].values.astype(np.int64)
        least = int(targets.min())
        return Labels(targets - least, [str(least + i) for i in range(int(targets.max()) - least + 1)], "result")
    k = len(bits)
    positive = data["train_inputs"].values[:, list(bits)] > 0
    names = ["".join("+" if bit > 0 else "-" for bit in row) for row in patterns(k).tolist()]
    return Labels(positive.astype(np.int64) @ 2 ** np.arange(k)[::-1], names, "relevant bits")
