"""Embedding of points in two dimensions: by PCA, which is linear, or by t-SNE, which keeps neighbors together.

PCA shows the two directions of largest variance. t-SNE (van der Maaten and Hinton 2008, "Visualizing data using t-SNE")
keeps near points near. It shows clusters, but tidier and further apart than they are; distances between clusters mean
little. As in Fuangkawinsombut 2024, Figure 2.2, t-SNE has scikit-learn's defaults: perplexity 30, start from PCA.

scikit-learn belongs to the optional extra `embed`; only functions of this module and of `clusters` import it.
"""

from importlib.util import find_spec
from typing import NamedTuple

import numpy as np
from jaxtyping import Float

from circuits.analysis.representation.clusters import centered
from circuits.config import Config

PERPLEXITY = 30.0


class Principal(NamedTuple):
    """Coordinates along the first two principal components, and the share of variance of each computed component."""

    points: Float[np.ndarray, "point axis"]
    explained: Float[np.ndarray, " component"]


def has_scikit_learn(config: Config) -> str | None:
    """None if scikit-learn is installed, otherwise the reason why representations cannot be measured."""
    if find_spec("sklearn") is None:
        return "t-SNE, PCA and silhouettes need scikit-learn. Install it: pip install 'grokking-circuits[embed]'."
    return None


def principal_components(values: Float[np.ndarray, "point coordinate"], n_components: int) -> Principal:
    """PCA of points: coordinates on the first two components, and each component's share of variance, in 0..1.

    The result has `n_components` shares. With fewer points or coordinates than that, the missing shares are 0. All
    values are NaN if a point is not finite or all points coincide.

    Examples
    --------
    >>> principal_components(np.array([[0.0, 0.0], [3.0, 4.0]]), 2).explained
    array([1., 0.])
    """
    from sklearn.decomposition import PCA

    n_points, width = values.shape
    places = centered(values)
    if places is None:
        return Principal(np.full((n_points, 2), np.nan), np.full(n_components, np.nan))
    scale = np.abs(places).max()  # prevents underflow of squares
    fitted = PCA(min(max(n_components, 2), n_points, width), svd_solver="covariance_eigh").fit(places / scale)
    points = fitted.transform(places / scale)[:, :2] * scale
    points = np.pad(points, ((0, 0), (0, 2 - points.shape[1])))
    explained = np.clip(fitted.explained_variance_ratio_[:n_components], 0, 1)
    return Principal(points, np.pad(explained, (0, n_components - len(explained))))


def neighbor_embedding(values: Float[np.ndarray, "point coordinate"], seed: int) -> Float[np.ndarray, "point axis"]:
    """t-SNE of points in two dimensions, on one thread: equal points and equal seeds give exactly the same result.

    The result is NaN if a point is not finite, all points coincide, or there are fewer than four points.

    Parameters
    ----------
    seed
        Seed of the random state. The PCA from which t-SNE starts is random only for many points in many dimensions.
    """
    from sklearn.manifold import TSNE
    from threadpoolctl import threadpool_limits

    n_points, width = values.shape
    places = centered(values)
    if places is None or n_points < 4:
        return np.full((n_points, 2), np.nan)
    places = np.pad(places / np.abs(places).max(), ((0, 0), (0, max(0, 2 - width))))  # t-SNE ignores scale
    perplexity = min(PERPLEXITY, (n_points - 1) / 3)
    with threadpool_limits(limits=1):  # several threads add the forces in another order
        embedding = TSNE(init="pca", perplexity=perplexity, random_state=seed % 2**32, n_jobs=1)
        return embedding.fit_transform(places).astype(np.float64)
