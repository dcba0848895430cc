"""What the studies of several runs share: which runs there are, what the paper says beside what they show, the page.

Some runs take hours. A study first says which runs are missing and how long they would take. It trains those that take
at most two minutes each, with `--train` all, and judges what can be judged from complete runs. `--fast` takes a few of
them, much reduced, into files of their own: that every step works is all they show.
"""

import html
import sys
from pathlib import Path

import numpy as np
from rich import box
from rich.console import Console
from rich.table import Table

import circuits

BRIEF = 120  # seconds that a run may take to be trained unasked
RUNS = next(
    (folder for folder in (Path("checkpoints"), Path("../checkpoints")) if folder.is_dir()), Path("checkpoints")
)


class MissingRunError(LookupError):
    """A run that a statement is about is missing or unfinished."""


class Runs(dict):
    """Complete runs by the last part of their names."""

    def __missing__(self, name):
        raise MissingRunError(name)


class Study:
    """A paper's statements, figure by figure, beside what the runs show.

    Parameters
    ----------
    title
        Of the study, and of its page.
    presets
        Whose runs it is about.
    reduced
        A config's version for `--fast`, or None to leave it out.
    """

    def __init__(self, title, presets, reduced):
        self.title, self.presets = title, presets
        self.fast, self.train_all = "--fast" in sys.argv, "--train" in sys.argv
        self.configs = {preset: circuits.preset_configs(preset) for preset in presets}
        if self.fast:
            self.configs = {
                preset: {name: small for name, config in configs.items() if (small := reduced(config)) is not None}
                for preset, configs in self.configs.items()
            }
        self.page = RUNS / f"{title}{'-fast' if self.fast else ''}.study.html"
        self.figures, self.claims = {}, []
        self.unfinished = {}  # name -> why
        self._say_plan()

    def runs(self, preset):
        """The complete runs of a preset, trained if they are brief or training was asked for."""
        found = Runs()
        for name, config in self.configs[preset].items():
            path = self._path(name)
            if self.fast or self.train_all or circuits.preset_seconds(preset) <= BRIEF:
                found[_last(name)] = circuits.train(self._renamed(name, config), path, resume=path.exists())
            elif (why := self._why_not(name, config)) is None:
                found[_last(name)] = circuits.open(path)
            else:
                self.unfinished[name] = why
        return found

    @staticmethod
    def missing(name):
        """Say, while a statement is measured, that it needs a run that is not there."""
        raise MissingRunError(name)

    def claim(self, figure, statement, paper, measure):
        """Note a statement of the paper.

        `measure()` gives what was measured, and whether the statement holds, None if that is no yes or no.
        """
        try:
            here, holds = measure()
        except MissingRunError as missing:
            here, holds = f"not run: {missing}", "not run"
        self.claims.append((figure, statement, paper, here, holds))

    def show(self, figure, *drawn):
        """Keep figures for the page."""
        self.figures.setdefault(figure, []).extend(drawn)

    def curves(self, figure, runs, metrics, title, **further):
        """Overlay runs, if there are any."""
        if runs:
            self.show(figure, circuits.figures.curves(runs, metrics, title=f"{figure}: {title}", **further))

    def finish(self):
        """Print the statements and the verdict on every figure; write the page."""
        table = Table(box=box.SIMPLE_HEAD, title=self.title, title_justify="left")
        for column in ("figure", "statement", "paper", "here", "holds"):
            table.add_column(column, overflow="fold")
        for *said, holds in self.claims:
            table.add_row(*said, {True: "yes", False: "NO", None: ""}.get(holds, "?"))
        Console(width=150).print(table)
        if self.fast:
            print("These runs are much reduced: that every step works is all they show.")
        for verdict in self.verdicts().values():
            print(verdict)
        for name, why in self.unfinished.items():
            how = f"--resume --out {self._path(name)}" if "unfinished" in why else name
            print(f"{name}: {why}. Train it: circuits train {how}{' --overwrite' * ('another' in why)}")
        self.page.parent.mkdir(exist_ok=True)
        self.page.write_text(self._html(), encoding="utf-8")
        print(f"The figures are in {self.page}.")

    def verdicts(self):
        """One sentence per figure, from its statements."""
        return {figure: _verdict(figure, [c for c in self.claims if c[0] == figure]) for figure in self._titles()}

    def _titles(self):
        return list(dict.fromkeys([*(claim[0] for claim in self.claims), *self.figures]))

    def _html(self):
        parts, drawn, verdicts = [], 0, self.verdicts()
        for title in self._titles():
            parts.append(f"<h2>{html.escape(title)}</h2><p>{html.escape(verdicts[title])}</p>")
            rows = [claim for claim in self.claims if claim[0] == title]
            cells = "".join(
                "<tr>" + "".join(f"<td>{html.escape(text)}</td>" for text in claim[1:4]) + "</tr>" for claim in rows
            )
            if rows:
                parts.append(f"<table><tr><th>statement</th><th>paper</th><th>here</th></tr>{cells}</table>")
            for figure in self.figures.get(title, []):
                parts.append(figure.to_html(full_html=False, include_plotlyjs=drawn == 0))
                parts.append(f"<p class='caption'>{html.escape(str(figure.layout.meta['caption']))}</p>")
                drawn += 1
        style = "body{font-family:sans-serif;max-width:1000px;margin:auto}td,th{text-align:left;padding:2px 14px 2px 0}"
        style += ".caption{color:#555}"
        head = f"<!doctype html><meta charset='utf-8'><title>{self.title}</title><style>{style}</style>"
        return head + f"<h1>{self.title}</h1>" + "".join(parts)

    def _say_plan(self):
        if self.fast:
            return
        table = Table(box=box.SIMPLE_HEAD, title=f"{self.title}: runs", title_justify="left")
        for column in ("preset", "configs", "there", "each", "the rest takes"):
            table.add_column(column, justify="left" if column == "preset" else "right")
        rest = {}
        for preset, configs in self.configs.items():
            there = sum(self._why_not(name, config) is None for name, config in configs.items())
            each = circuits.preset_seconds(preset)
            rest[preset] = each * (len(configs) - there)
            table.add_row(preset, str(len(configs)), str(there), _time(each), _time(rest[preset]))
        Console(width=150).print(table)
        brief = [preset for preset in rest if self.train_all or circuits.preset_seconds(preset) <= BRIEF]
        now = sum(rest[preset] for preset in brief)
        later = sum(rest.values()) - now
        print(f"Trains {_time(now)} now." + (f" With --train, {_time(later)} more." if later else ""))

    def _path(self, name):
        return RUNS / f"{name}{'-fast' if self.fast else ''}.h5"

    def _renamed(self, name, config):
        return config.replace(name=f"{name}-fast") if self.fast else config

    def _why_not(self, name, config):
        """Why a run cannot be judged; None if it can."""
        path = self._path(name)
        if not path.exists():
            return "not run"
        with circuits.open(path) as run:
            if run.config != self._renamed(name, config).replace(source=run.config.source):
                return f"{path} was run with another config"
            if not run.is_complete:
                at = run.epochs[-1] if run.n_checkpoints else 0
                return f"at epoch {at:g}, unfinished"
        return None


def _verdict(figure, claims):
    judged = [claim for claim in claims if isinstance(claim[4], (bool, np.bool_))]
    held = [claim for claim in judged if claim[4]]
    n_missing = sum(claim[4] == "not run" for claim in claims if isinstance(claim[4], str))
    left = f" {n_missing} cannot be judged yet." if n_missing else ""
    if not judged:
        return f"{figure}: " + ("no run to judge it by." if n_missing else "shown only.")
    if len(held) == len(judged):
        return f"{figure}: reproduced, {len(held)} of {len(judged)} statements.{left}"
    failed = "; ".join(claim[1] for claim in judged if not claim[4])
    how = "reproduced in part" if held else "not reproduced"
    return f"{figure}: {how}, {len(held)} of {len(judged)} statements. Not: {failed}.{left}"


def _last(name):
    return name.rpartition("/")[2]


def _time(seconds):
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"


def median(values):
    """Median of the seeds that have a value; NaN if there is none."""
    known = np.asarray(values, float)[np.isfinite(values)]
    return float(np.median(known)) if known.size else float("nan")


def epochs(values):
    """The median epoch of some seeds, and how many of them got there."""
    values = np.asarray(values, float)
    got, middle = int(np.isfinite(values).sum()), median(values)
    seeds = "" if values.size == 1 else f" ({got} of {values.size} seeds)"
    return "never" if not got else f"{middle:g}{seeds}"


def later(first, second):
    """Whether the first median epoch is after the second; never is last of all, and not after itself."""
    first, second = (np.inf if np.isnan(median(values)) else median(values) for values in (first, second))
    return first > second
