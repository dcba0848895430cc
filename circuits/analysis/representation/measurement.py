"""Hidden representations of the inputs, from memorization to generalization.

Source: Fuangkawinsombut 2024, sections 2.2.1 and 2.2.2, Figures 2.2 and 2.3, appendix. In its t-SNE of the training
examples' hidden activations, examples do not cluster by their k relevant bits at memorization, but form 2^k clean
clusters at the end. Meanwhile, the weights concentrate at 0. Here, the silhouette of the activations measures the
clusters during training. A few checkpoints also have silhouettes of PCA and t-SNE; t-SNE may exaggerate clusters.

A network that computes parity from the sum of its bits, such as `constructions.threshold`, has k + 1 clusters instead
of 2^k. So a low silhouette after generalization is not a failure, but shows another circuit.
"""

from concurrent.futures import ThreadPoolExecutor
from typing import Any, NamedTuple

import numpy as np
import xarray as xr
from jaxtyping import Float, Int, Shaped

from circuits.analysis.measurement import Measurement
from circuits.analysis.networks.applies import all_of, has_prunable_layer
from circuits.analysis.networks.evaluator import evaluator
from circuits.analysis.networks.labels import trajectory_coords, without_collapsed
from circuits.analysis.networks.layers import Layer, layer_of
from circuits.analysis.networks.options import PruningOptions
from circuits.analysis.networks.walk import Network, walk
from circuits.analysis.representation.clusters import Labels, cluster_labels, silhouette
from circuits.analysis.representation.density import weight_density, weights_of
from circuits.analysis.representation.embedding import has_scikit_learn, neighbor_embedding, principal_components
from circuits.analysis.representation.snapshots import N_PANELS, along_the_run, panels_of_seeds, pictured_seed
from circuits.analysis.representation.tables import representation_tables
from circuits.analysis.subnetworks.active import examples_of
from circuits.bars import progress_bar
from circuits.checkpoints.run import Run
from circuits.randomness import generator
from circuits.threads import one_blas_thread, one_torch_thread, usable_cores

MOST_POINTS = 2000  # training examples whose activations are measured; a sample if there are more
N_COMPONENTS = 10
SPACES = ("activations", "pca", "tsne")


class Points(NamedTuple):
    """Training examples of one seed: their indices, their inputs, and labels (signs of relevant bits, or target)."""

    examples: Int[np.ndarray, " point"]
    inputs: Shaped[np.ndarray, "point input"]
    labels: Labels


class Picture(NamedTuple):
    """What figures show of one network: scatter plots of its hidden activations, and the distribution of its weights.

    `pca`, `tsne`: points of two scatter plots. `silhouettes`, in -1..1: how clear the clusters of labeled points are in
    the activations, in `pca` and in `tsne`. `explained`: each principal component's share of the activations' variance.
    `density`: for each parameter, the density of its weights at `places`, evenly spaced points of the weight axis.
    """

    pca: Float[np.ndarray, "point axis"]
    tsne: Float[np.ndarray, "point axis"]
    silhouettes: Float[np.ndarray, " space"]
    explained: Float[np.ndarray, " component"]
    places: Float[np.ndarray, "parameter place"]
    density: Float[np.ndarray, "parameter place"]


def points_of(run: Run, seed: int) -> Points:
    """Up to 2,000 random training examples, sorted by index, labeled by relevant bits, or by target if none exist."""
    inputs, _ = examples_of(run, run.seed_index(seed), "train")
    labels = cluster_labels(run, seed)
    n_points = min(len(inputs), MOST_POINTS)
    chosen = np.sort(generator("representation", seed).permutation(len(inputs))[:n_points])
    return Points(chosen, inputs[chosen], labels._replace(of_example=labels.of_example[chosen]))


def picture(layer: Layer, arrays: Network, points: Points, seed: int) -> Picture:
    """`Picture` (PCA, t-SNE, silhouettes, densities) of a network with the parameters `arrays`; `seed` is for t-SNE."""
    with np.errstate(over="ignore", invalid="ignore"):  # a diverging network has inf and NaN
        values = evaluator(layer.config, points.inputs, layer).hidden(arrays)
    pca = principal_components(values, N_COMPONENTS)
    tsne = neighbor_embedding(values, seed)
    clusters = points.labels.of_example
    densities = [weight_density(arrays[name].ravel()) for name in weights_of(list(arrays))]
    return Picture(
        pca.points,
        tsne,
        np.array([silhouette(where, clusters) for where in (values, pca.points, tsne)]),
        pca.explained,
        np.array([one.places for one in densities]),
        np.array([one.density for one in densities]),
    )


def measure(run: Run, options: PruningOptions, *, progress: bool = False) -> xr.Dataset:
    """Silhouettes along the run, and six panels: pictures of one seed at up to six checkpoints; other panels are empty.

    Returns
    -------
    silhouette
        (step, seed) silhouette of the hidden activations, clustered by the relevant bits or the target; in -1..1, NaN
        if all outputs are nearly 0. `options` selects the steps; by default about 40 steps and those of the panels.
    panel_epoch, panel_step
        (panel,) epoch and step of each picture. For an empty panel, the epoch is NaN and the step is -1.
    panel_silhouette
        (space, panel) silhouette of the activations, of their first two principal components, and of their t-SNE.
    pca_explained
        (panel, component) each principal component's share of the activations' variance, in 0..1.
    pca, tsne
        (panel, point, axis) coordinates of the points, float32.
    point_example
        (point,) index of the example in the training set.
    point_label
        (point,) cluster of the example, as an index into the coordinate `label`, which lists the clusters' names:
        signs of the relevant bits, such as "+-", or targets if the task has no relevant bits.
    weight, density
        (parameter, panel, place) `weight`: evenly spaced values. `density`: density of the parameter's weights there.
    pictured_seed
        The seed that the pictures show: the seed with the longest grokking delay.
    """
    layer = layer_of(run, options)
    panels = panels_of_seeds(run, options)
    checkpoints = along_the_run(run, options, panels)
    points = [points_of(run, seed) for seed in run.seeds]

    networks = [evaluator(run.config, of_seed.inputs, layer) for of_seed in points]

    def one(index: int, net: Network) -> dict[str, float]:
        return {"silhouette": silhouette(networks[index].hidden(net), points[index].labels.of_example)}

    curve = walk(run, checkpoints, one, what="silhouette", progress=progress)["silhouette"]
    shown = pictured_seed(run, options)
    panel, shown_points = panels[run.seed_index(shown)], points[run.seed_index(shown)]
    what = shown_points.labels.what
    score = {"long_name": f"silhouette of the hidden activations by {what}, -1 to 1"}
    variables: dict[str, Any] = {
        "silhouette": (("step", "seed"), curve, score),
        "panel_epoch": ("panel", np.where(panel < 0, np.nan, run.epochs[panel])),
        "panel_step": ("panel", np.where(panel < 0, -1, run.steps[panel])),
        **_pictures(run, layer, shown, panel, shown_points, progress),
        "point_example": ("point", shown_points.examples),
        "point_label": ("point", shown_points.labels.of_example),
        "pictured_seed": ((), shown),
    }
    coords = {
        **trajectory_coords(run, checkpoints),
        "label": list(shown_points.labels.names),
        "space": list(SPACES),
        "parameter": weights_of(list(run.config.shapes)),
    }
    result = xr.Dataset(variables, coords, {"layer": layer.hook, "labels": what})
    return without_collapsed(run, result, lambda name: name == "silhouette")


def _pictures(
    run: Run, layer: Layer, seed: int, panels: Int[np.ndarray, " panel"], points: Points, progress: bool
) -> dict[str, Any]:
    """Dataset variables of the pictures: one panel for each checkpoint in `panels`, NaN where the checkpoint is -1."""
    existing = [int(checkpoint) for checkpoint in panels if checkpoint >= 0]

    def one(checkpoint: int) -> Picture:
        return picture(layer, run.arrays(seed, checkpoint), points, seed)

    with one_blas_thread(), one_torch_thread(), ThreadPoolExecutor(usable_cores()) as pool:
        in_turn = pool.map(one, existing)
        pictures = list(progress_bar(in_turn, total=len(existing), desc="t-SNE", unit="picture", shown=progress))

    def of_panels(name: str, axis: int = 0, dtype: type = np.float64) -> np.ndarray:
        values = np.stack([getattr(each, name) for each in pictures], axis=axis)
        missing = [(0, N_PANELS - len(existing) if place == axis else 0) for place in range(values.ndim)]
        return np.pad(values, missing, constant_values=np.nan).astype(dtype)

    scatter, curve = ("panel", "point", "axis"), ("parameter", "panel", "place")
    share = {"long_name": "share of the variance of the hidden activations"}
    return {
        "panel_silhouette": (("space", "panel"), of_panels("silhouettes", 1), {"long_name": "silhouette, -1 to 1"}),
        "pca_explained": (("panel", "component"), of_panels("explained"), share),
        "pca": (scatter, of_panels("pca", dtype=np.float32)),
        "tsne": (scatter, of_panels("tsne", dtype=np.float32)),
        "weight": (curve, of_panels("places", 1), {"long_name": "weight"}),
        "density": (curve, of_panels("density", 1), {"long_name": "density of the weights"}),
    }


REPRESENTATION = Measurement(
    measure, all_of(has_prunable_layer, has_scikit_learn), representation_tables, on_request=lambda config: True
)
