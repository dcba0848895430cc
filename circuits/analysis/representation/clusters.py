"""How far a network's values fall into clusters: what the eye looks for in a scatter plot, as one number.

The silhouette of a point is (b − a) / max(a, b), with a its mean distance to the other points of its own cluster and b
that to the points of the nearest other cluster (Rousseeuw 1987). The mean over points is 1 where clusters are points,
near 0 where labels have nothing to do with place, negative where points lie nearer to another label's. The clusters
are not searched for: they are the labels that matter, the pattern of the relevant bits, or the result mod p.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from jaxtyping import Float, Float64, Int

from circuits.checkpoints.run import Run
from circuits.constructions.patterns import patterns


class Labels(NamedTuple):
    """A label for each example, as an index, and what each index stands for."""

    of_example: Int[np.ndarray, " example"]
    names: Sequence[str]
    what: str


def silhouette(values: Float[np.ndarray, "point coordinate"], labels: Int[np.ndarray, " point"]) -> float:
    """Mean silhouette of labeled points, in -1..1, higher is better separated; Euclidean.

    Parameters
    ----------
    values
        Where each point is; NaN or infinity gives NaN.
    labels
        Its cluster. Fewer than two clusters, or a cluster for every point, give NaN; so do points all in one place.

    References
    ----------
    Rousseeuw 1987, "Silhouettes: a graphical aid to the interpretation and validation of cluster analysis".

    Examples
    --------
    >>> silhouette(np.array([[0.0], [0.0], [3.0], [3.0]]), np.array([0, 0, 1, 1]))
    1.0
    """
    from sklearn.metrics import silhouette_score

    places = centered(values)  # distances are found from squares, which a large mean would cost their digits
    if places is None or not 2 <= len(np.unique(labels)) < len(labels):
        return float("nan")
    return float(silhouette_score(places / np.abs(places).max(), labels))  # squares of very small values would be 0


def centered(values: Float[np.ndarray, "point coordinate"]) -> Float64[np.ndarray, "point coordinate"] | None:
    """Points around their mean; None if they are not finite, or all in one place."""
    if not values.size or not np.isfinite(values).all() or (values == values[:1]).all():
        return None
    return values.astype(np.float64) - values.mean(axis=0, dtype=np.float64)


def cluster_labels(run: Run, seed: int) -> Labels:
    """The clusters into which a seed's training examples should fall.

    Returns
    -------
    Of a task with relevant bits their pattern, as + and - in the order of the bits, whatever the target says; of other
    tasks the target: x + y mod p.
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
