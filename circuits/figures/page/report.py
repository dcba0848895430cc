"""One page about a run: every analysis that applies, in one self-contained HTML file.

The page embeds plotly.js once, and its security policy forbids it to fetch anything. So the page works offline, as an
attachment of an email, and years later. The library and the figures are compressed, and the browser unpacks them.
"""

import base64
import gzip
import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cache
from importlib.resources import files
from pathlib import Path
from typing import Any

import plotly.graph_objects as go
import xarray as xr
from jinja2 import Environment, StrictUndefined
from plotly.offline import get_plotlyjs

import circuits
from circuits.analysis.describe import training_text
from circuits.analysis.measurements import analyze, usual
from circuits.analysis.networks.unseen import described_test_set
from circuits.analysis.options import Options, as_options
from circuits.analysis.sidecar import read_sidecar
from circuits.analysis.store import n_parameters
from circuits.atomic_write import written_whole
from circuits.checkpoints.run import Run, open_run
from circuits.config import Config
from circuits.errors import InputError
from circuits.figures.drawing.phases import with_phases
from circuits.figures.drawing.thin import thin
from circuits.figures.page.summary import cautions, definitions, headline, seed_table
from circuits.printable import printable
from circuits.registry import MEASUREMENTS, load

GENERATOR = '<meta name="generator" content="circuits '  # identifies a page of circuits
HEAD_BYTES = 4096  # first bytes of a page, which contain the generator
MOST_MEASURED = 1000  # checkpoints of a slow measurement
MOST_WORK = 2e10  # multiply-adds of a quick measurement, over all networks and training examples


@dataclass(frozen=True)
class Section:
    """A measurement's part of the page: title, introduction and figures."""

    title: str
    lead: str
    figures: list[go.Figure]


def report(
    run: Run | str | Path,
    out: str | Path | None = None,
    *,
    options: Options | Mapping[str, Any] = Options(),
    stored: Mapping[str, xr.Dataset] | None = None,
    progress: bool = False,
) -> Path:
    """Write one self-contained HTML page about a run.

    Parameters
    ----------
    run
        The run, or its file, which stays unchanged. The page shows every default measurement that applies; measurements
        that are not stored are run now.
    out
        Path of the page; by default RUN.html beside the run. An earlier page is replaced.
    options
        Options of the measurements. Without `most_checkpoints`, slow measurements use at most 1,000 checkpoints of a
        long run. Quick measurements use all: `norms` in every run, `subnetwork` and `faithfulness` in small relu runs.
    stored
        Results to show without measuring; by default, what RUN.analysis.nc holds for this run and these `options`.
    progress
        Whether to show progress bars on stderr.

    Returns
    -------
    Path of the page.

    Raises
    ------
    InputError
        The run has no checkpoint, or `out` exists and is not a page of circuits.
    """
    options = as_options(options)
    if not isinstance(run, Run):
        with open_run(run) as opened:
            return report(opened, out, options=options, stored=stored, progress=progress)
    path = run.path.with_suffix(".html") if out is None else Path(out)
    _refuse_foreign(path, run)
    run.checkpoint_index()  # raises if the run has no checkpoint
    available = dict(read_sidecar(run, options).results if stored is None else stored)
    for name in usual(run.config):
        if name not in available:
            available |= analyze(run, name, options=_for_page(run, name, options), progress=progress)
    results = {name: available[name] for name in MEASUREMENTS if name in available}
    text = page(run, results, options)
    with written_whole(path, replace=True) as temporary:
        temporary.write_text(text, encoding="utf-8")
    return path


def page(run: Run, results: Mapping[str, xr.Dataset], options: Options = Options()) -> str:
    """HTML of the page, from results of `circuits.analyze` with the same options."""
    phases = results["phases"]
    environment = Environment(autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True)
    source = files("circuits.figures.page").joinpath("report.html.j2").read_text(encoding="utf-8")
    template = environment.from_string(source)
    config = run.config.model_dump(mode="json")
    parts = [
        {
            "title": section.title,
            "lead": section.lead,
            "figures": [_placed(figure, f"{name}-{index}") for index, figure in enumerate(section.figures)],
        }
        for name, section in sections(run, results).items()
    ]
    return template.render(
        version=circuits.__version__,
        run=run,
        file_name=printable(run.path.name),
        facts=[*_facts(run.config), ("test set", described_test_set(run))],
        headline=headline(run, phases, results),
        table=seed_table(run, phases, results),
        definitions=definitions(options, results),
        cautions=cautions(run, phases, results),
        sections=parts,
        plotlyjs=_library(),
        config=json.dumps(config, indent=2),
        options=options.model_dump(),
        made=datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC"),
    )


def sections(run: Run, results: Mapping[str, xr.Dataset]) -> dict[str, Section]:
    """The page's section for each measurement, with figures that mark when each seed memorized and generalized."""
    kept = {"kept": results["subnetwork"]["kept"]} if "subnetwork" in results else {}
    parts = {}
    for name, dataset in results.items():
        entry = MEASUREMENTS[name]
        title, lead = name.replace("_", " ").capitalize(), f"{entry.help}{_measured_at(run, dataset)}"
        if name == "phases":
            name, title, dataset = "learning", "Learning curves", run.metrics
            lead = "Accuracy and loss, measured at every checkpoint before the next update."
        result = with_phases(run, dataset.assign(kept), results["phases"])
        parts[name] = Section(title, lead, load(entry.figures)(run, result))
    return parts


def packed(text: str) -> str:
    """Text compressed by gzip, in base64.

    Examples
    --------
    >>> len(packed("grok" * 1000)) < 100
    True
    """
    return base64.b64encode(gzip.compress(text.encode(), mtime=0)).decode()


@cache
def _library() -> str:
    """Source code of plotly.js, compressed by gzip, in base64; computed once per process."""
    return packed(get_plotlyjs())


def _placed(figure: go.Figure, name: str) -> dict[str, str | int]:
    """A figure for the page's template, `report.html.j2`: name, height, caption, and compressed data for plotly.js."""
    thin(figure)
    config = {
        "responsive": True,
        "displaylogo": False,
        "modeBarButtonsToRemove": ["lasso2d", "select2d"],
        "toImageButtonOptions": {"format": "svg", "filename": name},
    }
    drawn = json.dumps(json.loads(str(figure.to_json())) | {"config": config})
    layout = figure.layout
    return {"name": name, "height": layout.height, "caption": layout.meta["caption"], "packed": packed(drawn)}


def _for_page(run: Run, measurement: str, options: Options) -> Options:
    """Options of a measurement for the page: by default a slow measurement uses at most 1,000 checkpoints."""
    if options.most_checkpoints is not None or _is_quick(run, measurement):
        return options
    return Options(**options.model_dump() | {"most_checkpoints": MOST_MEASURED})


def _is_quick(run: Run, measurement: str) -> bool:
    """True if measuring all checkpoints takes seconds: `norms`, and in small relu runs `subnetwork`, `faithfulness`."""
    n_networks = run.n_checkpoints * len(run.seeds)
    work = float(n_networks) * n_parameters(run) * run.all_data.sizes["example"]
    by_formula = run.config.model.relu_parameters is not None and measurement in ("subnetwork", "faithfulness")
    return measurement == "norms" or (by_formula and work <= MOST_WORK)


def _measured_at(run: Run, result: xr.Dataset) -> str:
    """A sentence with the number of measured checkpoints; "" if all are measured."""
    n_measured = result.sizes.get("step", run.n_checkpoints)
    if n_measured == run.n_checkpoints:
        return ""
    return f" Measured at {n_measured:,} of the {run.n_checkpoints:,} checkpoints."


def _facts(config: Config) -> list[tuple[str, str]]:
    """Name and text of each part of a config: task, model, optimizer and training."""
    facts = []
    for part, values_of in (("task", config.task), ("model", config.model), ("optimizer", config.optimizer)):
        fields = values_of.summary()
        texts = (value if isinstance(value, str) else json.dumps(value, default=str) for value in fields.values())
        values = ", ".join(f"{key} = {text}" for key, text in zip(fields, texts, strict=True))
        facts.append((part, f"{values_of.kind}{': ' if values else ''}{values}"))
    return [*facts, ("training", ", ".join(training_text(config)))]


def _refuse_foreign(path: Path, run: Run) -> None:
    if not path.exists():
        if not path.parent.is_dir():
            raise InputError(f"{path}: there is no folder {path.parent}. Make it, or pass another path.")
        return
    if path.is_dir():
        raise InputError(f"{path} is a folder. Pass a file in it, such as {path / run.path.with_suffix('.html').name}.")
    if path.samefile(run.path):
        raise InputError(f"{path} exists and is the run itself, so it is not overwritten. Pass another path.")
    with path.open("rb") as file:
        if GENERATOR.encode() not in file.read(HEAD_BYTES):
            raise InputError(
                f"{path} exists and is not a page made by circuits, so it is not overwritten. Pass another path."
            )
