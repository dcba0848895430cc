"""Representation of the inputs in the hidden layer: clusters over epochs, t-SNE and PCA, densities of the weights.

After Fuangkawinsombut 2024, Figures 2.2 and 2.3: a small panel, or a curve, for each of a few checkpoints.
"""

from typing import Any

import numpy as np
import plotly.graph_objects as go
import xarray as xr
from jaxtyping import Int

from circuits.checkpoints.run import Run
from circuits.figures.drawing.axes import INK, PALE, axis_number, frame
from circuits.figures.drawing.bands import single
from circuits.figures.drawing.curves import curves_over_epochs
from circuits.figures.drawing.palette import ALONE, MANY, between
from circuits.figures.drawing.papers import FUANGKAWINSOMBUT, as_in, with_setting
from circuits.figures.drawing.seed_menu import add_menu

COLUMNS, GAP = 3, 0.03  # panels in a row, and the share of the width between them
ROW, AROUND, LINE = 225, 130, 17  # pixels of a row of panels with captions, around all rows, of a line of a caption
MOST_DRAWN = 800  # points of a panel
DECADES = 4.5  # length of the axis of densities
FEW_LABELS = 16  # up to this number, each label has a color and an entry in the legend; more share a cyclic scale
CYCLE = ("#C2425D", "#C98A1B", "#6F9D3A", "#1F9E9E", "#3B73C8", "#8A55B5", "#C2425D")
SHAPES = ("circle", "diamond-open")
DASHES = ("solid", "dash", "dot", "dashdot", "longdash", "solid")
TITLES = {"tsne": "t-SNE of the activations", "pca": "Principal components"}
CAPTIONS = {
    "tsne": (
        "t-SNE of the hidden activations, a panel for each of a few checkpoints{paper}. t-SNE preserves neighbors; the "
        "distances between its clusters mean little."
    ),
    "pca": "The hidden activations along their two directions of largest variance; each panel has its own scale.",
}


def figures(run: Run, result: xr.Dataset) -> list[go.Figure]:
    """Every figure of the measurement `representation` of a run."""
    result = with_setting(run, result)
    panels = [activation_panels(result, picture) for picture in ("tsne", "pca")]
    return [cluster_silhouette(result), *panels, weight_densities(result)]


def cluster_silhouette(result: xr.Dataset) -> go.Figure:
    """Silhouette of the hidden activations over epochs: how well they separate the labels of the training examples.

    Parameters
    ----------
    result
        The dataset of `circuits.analyze(run, "representation")`. The figure marks `memorization_epoch` and
        `generalization_epoch` (seed) if the dataset has them.
    """
    values = result["silhouette"]
    caption = (
        f"Separation of the hidden activations of training examples by their {_labels(result)}, from distances: 1 if "
        "the examples of each label coincide, 0 if distances do not depend on the label, negative if examples of other "
        "labels are nearer."
    )
    axis = {"zeroline": True, "zerolinecolor": INK}
    return curves_over_epochs(result, values, "Clusters", caption, [(values, "silhouette", ALONE)], y_axis=axis)


def activation_panels(result: xr.Dataset, picture: str) -> go.Figure:
    """Scatter plots of the training examples by their hidden activations, a panel for each of a few checkpoints.

    Parameters
    ----------
    result
        The dataset of `circuits.analyze(run, "representation")`.
    picture
        "tsne" or "pca".
    """
    labels = [str(name).replace("-", "−") for name in result["label"].values.tolist()]
    n_points = result.sizes["point"]
    shown = np.arange(0, n_points, -(-n_points // MOST_DRAWN))
    clusters = result["point_label"].values[shown]
    panels = np.flatnonzero(np.isfinite(result["panel_epoch"].values)).tolist()
    cyclic = ", on a scale that ends where it begins" if len(labels) > FEW_LABELS else ""
    thinned = f", {len(shown)} of {n_points} drawn" if len(shown) < n_points else ""
    caption = CAPTIONS[picture].format(paper=as_in(result, "Figure 2.2", FUANGKAWINSOMBUT))
    caption += f" A point is a training example{thinned}, colored by its {_labels(result)}{cyclic}."
    subtitle = f"seed {int(result['pictured_seed'])}, colored by the {_labels(result)}"
    figure = frame(result["silhouette"], TITLES[picture], caption, subtitle=subtitle)
    n_rows = -(-len(panels) // COLUMNS)
    look = {
        "showticklabels": False, "ticks": "", "showgrid": False, "zeroline": False, "mirror": True, "title": "",
        "showline": True, "linecolor": PALE, "type": "linear", "constrain": "domain",
    }  # fmt: skip
    for place, panel in enumerate(panels):
        points = single(result[picture].values[panel][shown])
        x, y = f"x{axis_number(place)}", f"y{axis_number(place)}"
        text = _caption(result, picture, panel)
        across, up = _place(place, n_rows, text.count("<br>") + 1)
        figure.layout[f"xaxis{axis_number(place)}"] = look | {"domain": across, "anchor": y}
        figure.layout[f"yaxis{axis_number(place)}"] = look | {"domain": up, "anchor": x, "scaleanchor": x}
        figure.add_traces(_points(points, clusters, labels, {"xaxis": x, "yaxis": y}, place == 0))
        figure.add_annotation(
            text=text, x=sum(across) / 2, y=up[1], xref="paper", yref="paper",
            xanchor="center", yanchor="bottom", showarrow=False, font={"size": 12, "color": INK},
        )  # fmt: skip
    legend = figure.layout.legend.to_plotly_json() | {"title": {"text": f"{_labels(result)}  "}}
    figure.update_layout(height=AROUND + ROW * n_rows, hovermode="closest", legend=legend | {"itemsizing": "constant"})
    figure.update_layout(margin={"l": 16, "r": 16, "t": 66, "b": 60})
    return figure


def weight_densities(result: xr.Dataset) -> go.Figure:
    """Density of each parameter's weights, a curve for each of a few checkpoints; a menu chooses the parameter.

    Parameters
    ----------
    result
        The dataset of `circuits.analyze(run, "representation")`.
    """
    seed = int(result["pictured_seed"])
    caption = (
        "Kernel density of the weights of every matrix and readout, without biases, at the same checkpoints"
        f"{as_in(result, 'Figure 2.3', FUANGKAWINSOMBUT)}. The largest weights determine the width of the kernels, so "
        "a peak at 0 looks wider than it is."
    )
    figure = frame(result["silhouette"], "Density of the weights", caption, y_axis={"type": "log"})
    figure.update_xaxes(type="linear", range=None, autorange=True, title="weight", unifiedhovertitle=None)
    figure.update_yaxes(title="density (log scale)")
    panels = np.flatnonzero(np.isfinite(result["panel_epoch"].values)).tolist()
    parameters = result["parameter"].values.tolist()
    changes: dict[str, dict[str, Any]] = {}
    for parameter in parameters:
        densities = result.sel(parameter=parameter)
        density = densities["density"].values
        most = float(np.log10(density.max(initial=1e-9, where=np.isfinite(density))))
        changes[parameter] = {
            "title.subtitle.text": f"weights {parameter}, seed {seed}", "xaxis.autorange": True,
            "yaxis.range": [most - DECADES, most + 0.1],
        }  # fmt: skip
        for order, panel in enumerate(panels):
            figure.add_scatter(
                x=single(densities["weight"].values[panel]), y=single(densities["density"].values[panel]), mode="lines",
                name=f"epoch {float(result['panel_epoch'][panel]):g}", visible=parameter == parameters[0],
                line={"color": between(order / max(len(panels) - 1, 1)), "dash": DASHES[order], "width": 2},
                hovertemplate="weight %{x:.3g}: %{y:.3g}",
            )  # fmt: skip
    first = changes[parameters[0]]
    figure.update_layout(title_subtitle_text=first["title.subtitle.text"], hovermode="closest")
    figure.update_yaxes(range=first["yaxis.range"])
    add_menu(figure, [owner for owner in parameters for _ in panels], changes)
    return figure


def _labels(result: xr.Dataset) -> str:
    return "pattern of the relevant bits" if result.attrs["labels"] == "relevant bits" else str(result.attrs["labels"])


def _place(place: int, n_rows: int, n_lines: int) -> tuple[list[float], list[float]]:
    """Horizontal and vertical range of the panel with index `place`, as shares of the plot area.

    Panels fill the rows of a grid, the top row first. A caption of `n_lines` lines stands above the vertical range.
    """
    row, column = divmod(place, COLUMNS)
    width, height = 1 / COLUMNS, 1 / n_rows
    bottom = (n_rows - 1 - row) * height
    across = [column * width + GAP / 2, (column + 1) * width - GAP / 2]
    return across, [bottom, bottom + height * (1 - (n_lines + 1) * LINE / ROW)]


def _caption(result: xr.Dataset, picture: str, panel: int) -> str:
    score = float(result["panel_silhouette"].sel(space=picture)[panel])
    share = float(result["pca_explained"][panel, :2].sum())
    further = f"<br>{share:.0%} of variance" if picture == "pca" else ""
    return f"epoch {float(result['panel_epoch'][panel]):g}<br>silhouette {score:.2f}{further}"


def _points(
    points: np.ndarray, clusters: Int[np.ndarray, " point"], labels: list[str], axes: dict[str, str], first: bool
) -> list[go.Scatter]:
    look: dict[str, Any] = axes | {"mode": "markers", "hovertemplate": "%{text}<extra></extra>"}
    if len(labels) > FEW_LABELS:
        scale = [[i / (len(CYCLE) - 1), color] for i, color in enumerate(CYCLE)]
        marker = {"size": 4, "color": clusters, "colorscale": scale, "cmin": 0, "cmax": len(labels)}
        names = [labels[one] for one in clusters]
        return [go.Scatter(x=points[:, 0], y=points[:, 1], text=names, marker=marker, showlegend=False, **look)]
    traces = []
    for index, label in enumerate(labels):
        own = clusters == index
        color, shape = _style(index, len(labels))
        traces.append(
            go.Scatter(
                x=points[own, 0], y=points[own, 1], text=[label] * int(own.sum()), name=label, legendgroup=label,
                showlegend=first, marker={"size": 5, "color": color, "symbol": shape}, **look,
            )
        )  # fmt: skip
    return traces


def _style(index: int, n_labels: int) -> tuple[str, str]:
    """Color and shape of the label `index`; with over 7 labels, two labels share each color and differ in shape."""
    if n_labels <= len(MANY):
        return MANY[index], SHAPES[0]
    pair, n_pairs = index // 2, -(-n_labels // 2)
    return MANY[pair] if n_pairs <= len(MANY) else between(pair / (n_pairs - 1)), SHAPES[index % 2]
