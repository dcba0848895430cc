"""One page about a run: every analysis that applies, in one HTML file that needs nothing else.

plotly.js is embedded once and nothing is fetched, which the page's own security policy enforces: it works offline, from
a mail, and years later.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib.resources import files
from pathlib import Path

import plotly.graph_objects as go
import xarray as xr
from jinja2 import Environment, StrictUndefined
from plotly.io import to_html
from plotly.offline import get_plotlyjs

import circuits
from circuits.analysis.in_words import training_in_words
from circuits.analysis.measurements import analyze, usual
from circuits.analysis.phases import phases
from circuits.analysis.sidecar import read_sidecar
from circuits.analysis.unseen import described_test_set
from circuits.checkpoints.run import Run
from circuits.config import Config
from circuits.errors import InputError
from circuits.figures import learning
from circuits.figures.phases import CENSORED, PHASES
from circuits.figures.summary import cautions, definitions, headline, seed_table
from circuits.options import Options
from circuits.registry import MEASUREMENTS, load
from circuits.whole import written_whole

GENERATOR = '<meta name="generator" content="circuits '  # how a page of ours is known
FALLBACK = "circuits.figures.generic:figures"
HEAD_BYTES = 4096


@dataclass(frozen=True)
class Section:
    """A measurement's part of the page."""

    title: str
    lead: str
    figures: list[go.Figure]


def report(
    run: Run,
    out: str | Path | None = None,
    *,
    options: Options = Options(),
    stored: Mapping[str, xr.Dataset] | None = None,
    progress: bool = False,
) -> Path:
    """Write one self-contained HTML page about a run.

    Parameters
    ----------
    run
        The run; it is only read. Every usual measurement that applies to it is made anew. Others, such as those on
        request only, are drawn if its sidecar RUN.analysis.nc holds them, of the run as it is and under these options.
    out
        Where to write; by default beside the run, RUN.html. A page that this made before is replaced.
    options
        How to measure.
    stored
        Results that are drawn if they are not made anew; by default what the sidecar holds.
    progress
        Progress bars on stderr.

    Returns
    -------
    Where it was written.

    Raises
    ------
    InputError
        The run has no checkpoint, or `out` is something else than such a page.
    """
    path = run.path.with_suffix(".html") if out is None else Path(out)
    _refuse_foreign(path, run)
    if run.n_checkpoints == 0:
        raise InputError(f"{run.path} has no checkpoint yet. Train it: circuits train --resume --out {run.path}")
    names = usual(run)
    anew = analyze(run, *names, options=options, progress=progress) if names else {}
    known = dict(read_sidecar(run, options).results if stored is None else stored) | anew
    results = {name: known[name] for name in MEASUREMENTS if name in known}
    text = page(run, results, options)
    with written_whole(path, replace=True) as temporary:
        temporary.write_text(text, encoding="utf-8")
    return path


def page(run: Run, results: Mapping[str, xr.Dataset], options: Options = Options()) -> str:
    """The page's HTML, from what `circuits.analyze` gave for the same options."""
    found = phases(run, options)
    environment = Environment(autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True)
    template = environment.from_string(files("circuits.figures").joinpath("report.html.j2").read_text(encoding="utf-8"))
    config = run.config.model_dump(mode="json")
    parts = [
        {
            "title": section.title,
            "lead": section.lead,
            "figures": [(embedded(figure, f"{name}-{index}"), figure) for index, figure in enumerate(section.figures)],
        }
        for name, section in sections(run, results, found).items()
    ]
    return template.render(
        version=circuits.__version__,
        run=run,
        facts=[*_facts(run.config), ("test set", described_test_set(run))],
        headline=headline(run, found, results),
        table=seed_table(run, found, results),
        definitions=definitions(options, results),
        cautions=cautions(run, found, results),
        sections=parts,
        plotlyjs=get_plotlyjs(),
        config=json.dumps(config, indent=2),
        options=options.model_dump(),
        made=datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC"),
    )


def sections(run: Run, results: Mapping[str, xr.Dataset], found: xr.Dataset) -> dict[str, Section]:
    """The figures of the learning curves and of every measurement, told the phases and the generalizing subnetwork."""
    when = {name: found[name] for name in (*PHASES, *CENSORED.values())}
    known = when | ({"kept": results["subnetwork"]["kept"]} if "subnetwork" in results else {})
    lead = "Accuracy and loss, measured at every checkpoint before the next update."
    parts = {"learning": Section("Learning curves", lead, learning.figures(run, run.metrics.assign(when)))}
    for name, dataset in results.items():
        entry = MEASUREMENTS[name]
        drawn = load(entry.figures or FALLBACK)(run, dataset.assign(known))
        parts[name] = Section(name.replace("_", " ").capitalize(), entry.help, drawn)
    return parts


def embedded(figure: go.Figure, name: str) -> str:
    """A figure as HTML without the library, that fits its place and whose pictures are saved under `name`."""
    config = {
        "responsive": True,
        "displaylogo": False,
        "modeBarButtonsToRemove": ["lasso2d", "select2d"],
        "toImageButtonOptions": {"format": "svg", "filename": name},
    }
    return to_html(figure, config=config, full_html=False, include_plotlyjs=False, div_id=f"figure-{name}")


def _facts(config: Config) -> list[tuple[str, str]]:
    """The config's parts in a line each."""
    said = []
    data = config.model_dump(mode="json")
    for part in ("task", "model", "optimizer"):
        fields = {key: value for key, value in data[part].items() if key != "kind" and value is not None}
        values = ", ".join(f"{key} = {_plain(value)}" for key, value in fields.items())
        said.append((part, f"{data[part]['kind']}{': ' if values else ''}{values}"))
    return [*said, ("training", ", ".join(training_in_words(config)))]


def _plain(value: object) -> str:
    return value if isinstance(value, str) else json.dumps(value)


def _refuse_foreign(path: Path, run: Run) -> None:
    if not path.exists():
        if not path.parent.is_dir():
            raise InputError(f"{path}: there is no folder {path.parent}. Make it, or pass another --out.")
        return
    if path.is_dir():
        raise InputError(
            f"{path} is a folder. Pass the page in it, such as {path / run.path.with_suffix('.html').name}."
        )
    same = path.samefile(run.path)
    if not same:
        with path.open("rb") as file:
            same_kind = GENERATOR.encode() in file.read(HEAD_BYTES)
        if same_kind:
            return
    what = "the run itself" if same else "not a page made by circuits"
    raise InputError(f"{path} exists and is {what}, so it is not overwritten. Pass another --out.")
