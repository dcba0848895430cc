"""The page: one file that needs nothing else, replaces only its own kind, and draws without an error in a browser."""

import json
import os
import re
import shutil
import subprocess
from html.parser import HTMLParser

import numpy as np
import pages
import pytest
import xarray as xr
from plotly.offline import get_plotlyjs
from registered import only_own

import circuits
from circuits.analysis.measurement import Measurement
from circuits.analysis.measurements import analyze, usual
from circuits.analysis.networks.phases import phase_checkpoints
from circuits.analysis.options import Options
from circuits.analysis.results import results_of
from circuits.analysis.sidecar import write_sidecar
from circuits.checkpoints.writer import Writer
from circuits.figures.page import report as module
from circuits.figures.page.report import page, report, sections
from circuits.registry import MEASUREMENTS, MeasurementEntry, load

ADDRESSES = {"src", "href", "srcset", "data", "action", "poster", "background", "xlink:href"}


class Page(HTMLParser):
    """Elements by tag, with their attributes and text."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.elements: dict[str, list[tuple[dict, str]]] = {}
        self.open: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        self.elements.setdefault(tag, []).append((dict(attrs), ""))
        self.open.append(tag)

    def handle_endtag(self, tag):
        while self.open and self.open.pop() != tag:
            pass

    def handle_data(self, data):
        if self.open:
            attributes, text = self.elements[self.open[-1]].pop()
            self.elements[self.open[-1]].append((attributes, text + data))

    def texts(self, tag: str) -> list[str]:
        return [" ".join(text.split()) for _, text in self.elements.get(tag, [])]

    def attributes(self, tag: str) -> list[dict]:
        return [attributes for attributes, _ in self.elements.get(tag, [])]


@pytest.fixture(scope="module")
def grokked_page(analyzed_path, tmp_path_factory):
    with circuits.open(analyzed_path) as run, pytest.MonkeyPatch.context() as patch:
        only_own(patch)
        path = report(run, tmp_path_factory.mktemp("pages") / "grokked.html")
    return path.read_text()


# ---- what is in it ----


@pytest.mark.slow
def test_the_page_embeds_plotly_once_and_refers_to_nothing_outside(grokked_page):
    assert pages.library(grokked_page) == get_plotlyjs()
    rest = pages.readable(grokked_page)
    assert "http:" not in rest
    assert "https:" not in rest
    found = Page(grokked_page)
    assert not [tag for tag in ("link", "img", "iframe", "object", "embed", "base") if tag in found.elements]
    for tag in found.elements:
        for attributes in found.attributes(tag):
            assert not ADDRESSES & set(attributes), f"<{tag}> refers to something: {attributes}"
    for css in found.texts("style"):
        assert "url(" not in css
        assert "@import" not in css
    (policy,) = [meta["content"] for meta in found.attributes("meta") if "http-equiv" in meta]
    assert "default-src 'none'" in policy


def test_the_page_names_the_run_its_source_and_each_section_in_order(grokked_page):
    found = Page(grokked_page)
    assert found.texts("h1") == ["tiny"]
    assert "Merrill et al. 2023, section 2" in found.texts("p")
    headings = [text for text in found.texts("h2") if text != "Caveats"]
    assert headings == [
        "Seed by seed",
        "Learning curves",
        "Subnetwork",
        "Norms",
        "Faithfulness",
        "Progress",
        "Constructions",
        "Walsh",
        "How this was made",
    ]
    assert found.attributes("html") == [{"lang": "en"}]


def test_the_page_has_every_figure_with_a_caption(grokked_page, grokked_run):
    found = Page(grokked_page)
    n_figures = grokked_page.count('class="plotly-graph-div"')
    assert n_figures == len(found.attributes("figure")) == 29
    assert len(found.texts("figcaption")) == 29
    assert all(text.endswith(".") for text in found.texts("figcaption"))
    for figure in ("2 (left)", "2 (middle)", "2 (right)", "3 (left)", "3 (right)", "5 (left)", "5 (right)"):
        assert any(f"Figure {figure} of Merrill et al. 2023" in text for text in found.texts("figcaption"))


def test_the_table_holds_what_the_analysis_found(grokked_page, grokked_run):
    found = analyze(grokked_run, "subnetwork")["subnetwork"]
    rows = re.findall(r"<tr>(<th scope=\"row\">.*?)</tr>", grokked_page)
    for index, row in enumerate(rows):
        cells = re.findall(r">([^<]*)</t[hd]>", row)
        at = found.isel(seed=index)
        late = [f"{value:g}" for value in at["late_sparsity"].values]
        assert cells == [
            str(grokked_run.seeds[index]),
            f"{float(at['memorization_epoch']):g}",
            f"{float(at['generalization_epoch']):g}",
            f"{float(at['grokking_delay']):g}",
            f"{float(grokked_run.metrics['train_accuracy'][-1, index]):.3f}",
            f"{float(grokked_run.metrics['test_accuracy'][-1, index]):.3f}",
            f"{float(at['memorizing_sparsity']):g}",
            f"{float(at['final_sparsity']):g}",
            *late,
            f"{float(at['overlap']):.3f}",
            f"{float(at['overlap_expected']):.3f}",
        ]
    assert len(rows) == 2


def test_every_header_cell_says_what_it_heads_and_the_columns_add_up(grokked_page):
    found = Page(grokked_page)
    headers = found.attributes("th")
    assert {header["scope"] for header in headers if "scope" in header} == {"colgroup", "col", "row"}
    spans = sum(int(header["colspan"]) for header in headers if "colspan" in header)
    assert spans == sum(header.get("scope") == "col" for header in headers)


def test_the_foot_holds_the_config_that_makes_the_run_again(grokked_page, grokked_run):
    (text,) = [text for _, text in Page(grokked_page).elements["pre"]]
    assert circuits.Config.model_validate(json.loads(text)) == grokked_run.config
    assert grokked_run.fingerprint in grokked_page
    assert grokked_run.versions["torch"] in grokked_page


@pytest.mark.slow
def test_the_words_say_under_which_options_they_were_measured(tiny_run):
    options = Options(
        criterion="accuracy", agreement_set="test", norm="path", final="median", memorization_threshold=0.6
    )
    results = analyze(tiny_run, options=options)
    text = " ".join(Page(page(tiny_run, results, options)).texts("dd"))
    late = "median size among the last 5 checkpoints (all there are)"
    for said in ("above 0.6,", "|u|·‖(w, b)‖", "the same accuracy", "agreement set (test)", late):
        assert said in text


@pytest.mark.slow
def test_a_name_that_is_markup_is_shown_as_it_is(tmp_path, make_config):
    name = "</title><script>alert(1)</script>"
    with circuits.train(make_config(name=name, source=name), tmp_path / "a.h5", progress=False) as run:
        text = report(run).read_text()
    assert name not in text
    assert Page(text).texts("h1") == [name]


# ---- runs that did not go well ----


@pytest.mark.slow
def test_a_run_without_a_hidden_layer_still_gets_its_curves(tmp_path, make_config):
    with circuits.train(make_config().replace(model__kind="linear"), tmp_path / "a.h5", progress=False) as run:
        found = Page(report(run).read_text())
    wary = "Caveats"  # of a test set that repeats training inputs
    assert found.texts("h2") == [wary, "Seed by seed", "Learning curves", "Progress", "Walsh", "How this was made"]
    assert len(found.attributes("figure")) == 10


@pytest.mark.parametrize("seeds", [[0], pytest.param([0, 1], marks=pytest.mark.slow)])
@pytest.mark.parametrize(
    "epochs", [0, pytest.param(1, marks=pytest.mark.slow), pytest.param(2, marks=pytest.mark.long)]
)
def test_a_run_with_few_checkpoints_or_seeds_still_gets_a_page(tmp_path, make_config, epochs, seeds, monkeypatch):
    only_own(monkeypatch)
    with circuits.train(make_config(epochs=epochs, seeds=seeds), tmp_path / "a.h5", progress=False) as run:
        found = Page(report(run).read_text())
        nearest = circuits.analyze(run, "constructions")["constructions"]["nearest"].values.tolist()
    assert len(found.attributes("figure")) == 25 + len(set(nearest))  # a diagram for each construction


@pytest.mark.slow
def test_an_interrupted_run_is_said_to_be_one(tmp_path, make_config):
    circuits.train(make_config(), tmp_path / "a.h5", progress=False).close()
    with Writer(tmp_path / "a.h5") as writer:
        writer.amend(make_config(epochs=9))
    with circuits.open(tmp_path / "a.h5") as run:
        found = Page(report(run).read_text())
    assert any("The run holds 5 of 10 planned checkpoints" in text for text in found.texts("li"))


@pytest.mark.slow
def test_seeds_that_never_memorized_are_said_once_and_the_table_says_never(tiny_run):
    text = page(tiny_run, analyze(tiny_run))
    assert "seeds 0, 1, 2 never memorized" in text
    assert text.count(">never</td>") == 6
    assert "0 of 3 seeds memorized; 0 of 3 seeds generalized." in text


DIVERGING, COLLAPSING = {"optimizer__lr": 1e9, "epochs": 20}, {"optimizer__weight_decay": 10.0}


@pytest.mark.slow
@pytest.mark.parametrize(
    ("model", "changes", "fate"),
    [
        ("relu", DIVERGING, "diverged"),
        ("linear", DIVERGING, "diverged"),
        ("relu", COLLAPSING, "collapsed"),
    ],
)
def test_diverged_and_collapsed_seeds_are_said_in_the_warnings_and_the_table(
    tmp_path, make_config, model, changes, fate
):
    config = make_config(**changes).replace(model__kind=model)
    with circuits.train(config, tmp_path / "a.h5", progress=False) as run:
        found = Page(report(run).read_text())
    assert any(text.startswith(f"seeds 0, 1, 2 {fate}: ") for text in found.texts("li"))
    remarks = [text for text in found.texts("td") if fate in text.split(", ")]
    assert len(remarks) == 3
    assert all(text.startswith(f"{fate}, ") and text.endswith(" % of the test set seen") for text in remarks)


def test_a_run_without_a_checkpoint_is_an_input_error(tiny_run, tmp_path, monkeypatch):
    monkeypatch.setattr(tiny_run, "n_checkpoints", 0)
    for act in (
        lambda: report(tiny_run, tmp_path / "a.html"),
        lambda: circuits.replay(tiny_run, tmp_path / "b.h5", from_step=0, to_step=0),
        lambda: circuits.analyze(tiny_run),
        lambda: circuits.figures.curves([tiny_run]),
    ):
        with pytest.raises(circuits.InputError, match=r"has no checkpoint yet\. Train it: circuits train --resume"):
            act()


def test_a_measurement_without_figures_of_its_own_is_drawn_all_the_same(tiny_run, tmp_path, monkeypatch):
    def measure(run, options, *, progress=False):
        return xr.Dataset({"doubt": run.metrics["test_loss"]})

    monkeypatch.setattr(f"{__name__}.DOUBT", Measurement(measure), raising=False)
    monkeypatch.setattr(module, "usual", lambda config: ["phases", "doubt"])
    monkeypatch.setitem(MEASUREMENTS, "doubt", MeasurementEntry("How sure it is.", f"{__name__}:DOUBT"))
    found = Page(report(tiny_run, tmp_path / "a.html").read_text())
    assert "Doubt" in found.texts("h2")
    assert "How sure it is." in found.texts("p")
    assert "Doubt over epochs." in found.texts("figcaption")
    assert len(found.attributes("figure")) == 3


@pytest.mark.slow
def test_the_page_draws_what_the_sidecar_holds_of_measurements_on_request(tiny_path, tmp_path):
    path, sidecar, usual_ones = tmp_path / "a.h5", tmp_path / "a.analysis.nc", tmp_path / "usual.nc"
    shutil.copy(tiny_path, path)
    with circuits.open(path) as run:
        results_of(run)
        shutil.copy(sidecar, usual_ones)
        names, brief = ("certify", "representation", "exact"), Options(time_limit=0.2)
        found = circuits.analyze(run, *names, options=brief)
        write_sidecar(run, found, brief)
        here = Page(report(run, options=brief).read_text())
        other = Page(report(run, options=Options(norm="path", time_limit=0.2)).read_text())
        shutil.copy(usual_ones, sidecar)
        without = Page(report(run).read_text())
    usual = [name for name in without.texts("h2") if name != "Caveats"]
    shown = [name for name in here.texts("h2") if name != "Caveats"]
    assert set(shown) - set(usual) == {"Certify", "Representation", "Exact"}
    assert [name for name in shown if name in usual] == usual
    assert other.texts("h2") == without.texts("h2")
    captions = [
        figure.layout.meta["caption"]
        for name in ("certify", "representation")
        for figure in load(MEASUREMENTS[name].figures)(run, found[name])
    ]
    assert set(captions) <= set(here.texts("figcaption"))


@pytest.mark.slow
def test_the_page_draws_what_the_sidecar_holds_and_measures_the_rest(tiny_path, tmp_path, monkeypatch):
    path = tmp_path / "a.h5"
    shutil.copy(tiny_path, path)
    drawn, made = {}, []
    monkeypatch.setattr(module, "page", lambda run, results, options: drawn.update(results) or module.GENERATOR)
    monkeypatch.setattr(module, "analyze", lambda run, *names, **more: made.extend(names) or analyze(run, *names))
    with circuits.open(path) as run:
        found = circuits.analyze(run, "norms", "walsh")
        write_sidecar(run, found)
        report(run)
        assert made == [name for name in usual(run.config) if name not in found]
        for name, dataset in found.items():
            assert drawn[name].equals(dataset)
        made.clear()
        report(run, options=Options(norm="path"))
        assert made == usual(run.config)[1:], "what was measured with other options is not drawn"


@pytest.mark.slow
def test_a_page_from_the_sidecar_is_the_page_measured_anew(tiny_path, tmp_path):
    assert pages.from_sidecar(tiny_path, tmp_path) == pages.measured(tiny_path, tmp_path)


@pytest.mark.slow
def test_a_page_of_a_long_run_measures_some_checkpoints_and_says_how_many(grokked_run, tmp_path, monkeypatch):
    monkeypatch.setattr(module, "MOST_MEASURED", 6)
    monkeypatch.setattr(module, "MOST_WORK", 0.0)
    all_steps, results = grokked_run.steps, {}
    whole = sections(grokked_run, circuits.analyze(grokked_run, "phases"))
    write = module.page
    monkeypatch.setattr(module, "page", lambda run, made, options: results.update(made) or write(run, made, options))
    found = Page(report(grokked_run, tmp_path / "few.html").read_text())
    assert len(whole) == 1
    assert results["norms"].sizes["step"] == len(all_steps)
    reached = phase_checkpoints(grokked_run, Options())
    for name in set(results) - {"phases", "norms"}:
        steps = results[name]["step"].values
        assert 6 <= len(steps) <= 6 + sum(np.isfinite(of).sum() for of in reached)
        assert {all_steps[0], all_steps[-1]} <= set(steps)
        for of in reached:
            assert set(all_steps[of[np.isfinite(of)].astype(int)]) <= set(steps)
        said = f"{MEASUREMENTS[name].help} Measured at {len(steps)} of the {len(all_steps)} checkpoints."
        assert said in found.texts("p")
    assert MEASUREMENTS["norms"].help in found.texts("p")
    made = report(grokked_run, tmp_path / "asked.html", options=Options(most_checkpoints=4))
    assert made.exists()
    assert results["norms"].sizes["step"] < 4 + 2 * len(grokked_run.seeds) + 1


# ---- where it is written ----


@pytest.mark.slow
def test_the_page_lies_beside_the_run_by_default_and_replaces_the_one_before(tmp_path, make_config):
    with circuits.train(make_config(), tmp_path / "a.h5", progress=False) as run:
        first = circuits.report(run)
        assert first == tmp_path / "a.html"
        first.write_text(first.read_text().replace("</body>", "<p>the page before</p></body>"))
        assert circuits.report(run) == first
    assert "the page before" not in first.read_text()
    assert sorted(path.name for path in tmp_path.glob("*.html*")) == ["a.html"]


def test_a_page_shows_the_escapes_in_the_name_of_its_file(tiny_run, tmp_path):
    copy = shutil.copy(tiny_run.path, tmp_path / "a\x1b[31m\x07.h5")
    with circuits.open(copy) as run:
        text = page(run, circuits.analyze(run, "norms"))
    assert not {"\x1b", "\x07"} & set(text)
    assert r"<code>a\x1b[31m\x07.h5</code>" in text


def test_only_a_page_of_its_own_is_replaced(tiny_run, tmp_path):
    foreign = tmp_path / "notes.html"
    foreign.write_text("<!doctype html><p>mine</p>")
    with pytest.raises(circuits.InputError, match=r"exists and is not a page made by circuits.*Pass another path\."):
        report(tiny_run, foreign)
    assert foreign.read_text() == "<!doctype html><p>mine</p>"
    before = tiny_run.path.read_bytes()
    with pytest.raises(circuits.InputError, match="exists and is the run itself"):
        report(tiny_run, tiny_run.path)
    assert tiny_run.path.read_bytes() == before
    with pytest.raises(circuits.InputError, match=r"is a folder\. Pass a file in it, such as"):
        report(tiny_run, tmp_path)
    with pytest.raises(circuits.InputError, match="there is no folder"):
        report(tiny_run, tmp_path / "none" / "a.html")


@pytest.mark.slow
def test_a_failure_leaves_the_old_page_and_nothing_else(tiny_run, tmp_path, monkeypatch):
    path = report(tiny_run, tmp_path / "a.html")
    before = path.read_bytes()

    def refuse(*_):
        raise OSError("no space left on device")

    monkeypatch.setattr(os, "replace", refuse)
    with pytest.raises(OSError, match="no space left"):
        report(tiny_run, path)
    assert path.read_bytes() == before
    assert [entry.name for entry in tmp_path.iterdir()] == ["a.html"]


# ---- in a browser ----

LISTEN = """<script>
const seen = [];
console.error = (...words) => seen.push("console.error: " + words.join(" "));
addEventListener("error", (event) => seen.push("error: " + event.message), true);
addEventListener("unhandledrejection", (event) => seen.push("rejection: " + event.reason));
addEventListener("securitypolicyviolation", (event) => seen.push("blocked: " + event.blockedURI));
</script>"""

PROBE = """<script>
addEventListener("load", function probe() {
  if (!document.documentElement.dataset.drawn)
    return setTimeout(probe, 100);
  const size = (element) => { const box = element.getBoundingClientRect(); return [box.width, box.height]; };
  const figures = [...document.querySelectorAll(".plotly-graph-div")].map((figure) => ({
    id: figure.id,
    drawn: figure.classList.contains("js-plotly-plot"),
    size: size(figure),
    plot: [...figure.querySelectorAll(".nsewdrag")].map(size)[0] || [0, 0],
    marks: figure.querySelectorAll(".scatterlayer .js-line, .scatterlayer .point").length,
    inside: figure.getBoundingClientRect().right <= document.documentElement.clientWidth,
  }));
  const result = document.createElement("pre");
  result.id = "probe";
  result.textContent = JSON.stringify({seen, figures, undrawn: !document.getElementById("undrawn").hidden});
  document.body.append(result);
});
</script>"""


@pytest.fixture(scope="session")
def chromium():
    names = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "chrome")
    found = next(filter(None, map(shutil.which, names)), None)
    if found is None:
        assert os.environ.get("CI") != "true", "CI must render the page, but there is no Chromium"
        pytest.skip("no Chromium to render the page in")
    return found


def rendered(chromium: str, text: str, folder, width: int) -> dict:
    """What the page looks like to a browser: errors seen, and the figures' sizes."""
    head, first, rest = text.partition('<meta charset="utf-8">')
    body, last, tail = rest.rpartition("</body>")
    copy = folder / "probed.html"
    copy.write_text(head + first + LISTEN + body + PROBE + last + tail)
    flags = [
        "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-dev-shm-usage",
        "--disable-background-networking", "--disable-component-update", "--disable-sync",
        f"--user-data-dir={folder / 'profile'}", "--virtual-time-budget=20000", f"--window-size={width},2000",
    ]  # fmt: skip
    done = subprocess.run(
        [chromium, *flags, "--dump-dom", copy.as_uri()], capture_output=True, text=True, timeout=240, check=False
    )
    found = re.search(r'<pre id="probe">(.*?)</pre>', done.stdout, re.DOTALL)
    assert found, f"the page did not come to its end in {chromium}: {done.stderr[-2000:]}"
    return json.loads(found[1].replace("&quot;", '"').replace("&lt;", "<").replace("&gt;", ">").replace("&amp;", "&"))


@pytest.mark.slow
@pytest.mark.parametrize("width", [1200, 500])
def test_a_browser_draws_every_figure_without_an_error(chromium, grokked_page, tmp_path, width):
    found = rendered(chromium, grokked_page, tmp_path, width)
    assert found["seen"] == []
    assert not found["undrawn"]
    assert len(found["figures"]) == 29
    for figure in found["figures"]:
        assert figure["drawn"], figure
        assert min(figure["size"]) > 200, figure
        assert min(figure["plot"]) > 100, figure
        assert figure["marks"] >= 1, figure
        assert figure["inside"], figure


@pytest.mark.slow
def test_a_browser_draws_the_page_of_a_diverged_run_without_an_error(chromium, tmp_path, make_config):
    config = make_config(**DIVERGING)
    with circuits.train(config, tmp_path / "a.h5", progress=False) as run:
        assert np.isnan(run.metrics["train_loss"].values).any()
        found = rendered(chromium, report(run).read_text(), tmp_path, 1200)
    assert found["seen"] == []
    assert all(min(figure["size"]) > 200 for figure in found["figures"])


@pytest.mark.slow
def test_a_browser_that_cannot_unpack_the_figures_says_so(chromium, grokked_page, tmp_path):
    old = grokked_page.replace("<main>", "<main><script>delete window.DecompressionStream</script>")
    found = rendered(chromium, old, tmp_path, 1200)
    assert found["undrawn"]
    assert not any(figure["drawn"] for figure in found["figures"])


@pytest.mark.slow
def test_the_probe_notices_an_error_and_a_request(chromium, grokked_page, tmp_path):
    broken = grokked_page.replace(
        "<main>", '<main><img src="https://example.invalid/x.png"><script>nothing.at.all</script>'
    )
    seen = " ".join(rendered(chromium, broken, tmp_path, 1200)["seen"])
    assert "nothing is not defined" in seen
    assert "blocked: https://example.invalid/x.png" in seen
