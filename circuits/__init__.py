"""circuits: which circuit computes the answer, and when did it take over?

Train small networks that grok, keep every checkpoint, and analyze the trajectory. The names below load on first use, so
that importing `circuits` costs neither torch nor transformer-lens.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"

if TYPE_CHECKING:
    from circuits import analysis as analysis
    from circuits import constructions as constructions
    from circuits import convert as convert
    from circuits import figures as figures
    from circuits.analysis import analyze as analyze
    from circuits.analysis.store import read_json as read_json
    from circuits.checkpoints.export import export as export
    from circuits.checkpoints.repair import repair as repair
    from circuits.checkpoints.run import Run as Run
    from circuits.checkpoints.run import open_run as open  # noqa: F401  public as circuits.open
    from circuits.config import Config as Config
    from circuits.errors import InputError as InputError
    from circuits.errors import Interrupted as Interrupted
    from circuits.errors import RunError as RunError
    from circuits.figures.page.report import report as report
    from circuits.presets import preset as preset
    from circuits.presets import preset_configs as preset_configs
    from circuits.presets import preset_seconds as preset_seconds
    from circuits.training.loop import train as train
    from circuits.training.lottery_ticket import ticket as ticket
    from circuits.training.replay import replay as replay

_LAZY = {
    "Config": "circuits.config:Config",
    "InputError": "circuits.errors:InputError",
    "Interrupted": "circuits.errors:Interrupted",
    "Run": "circuits.checkpoints.run:Run",
    "RunError": "circuits.errors:RunError",
    "analysis": "circuits.analysis",
    "analyze": "circuits.analysis:analyze",
    "constructions": "circuits.constructions",
    "convert": "circuits.convert",
    "export": "circuits.checkpoints.export:export",
    "figures": "circuits.figures",
    "open": "circuits.checkpoints.run:open_run",
    "preset": "circuits.presets:preset",
    "preset_configs": "circuits.presets:preset_configs",
    "preset_seconds": "circuits.presets:preset_seconds",
    "read_json": "circuits.analysis.store:read_json",
    "repair": "circuits.checkpoints.repair:repair",
    "replay": "circuits.training.replay:replay",
    "report": "circuits.figures.page.report:report",
    "ticket": "circuits.training.lottery_ticket:ticket",
    "train": "circuits.training.loop:train",
}

__all__ = sorted(_LAZY)


def __getattr__(name: str) -> Any:
    if name not in _LAZY:
        raise AttributeError(f"module 'circuits' has no attribute {name!r}")
    module, _, attribute = _LAZY[name].partition(":")
    found = import_module(module)
    value = getattr(found, attribute) if attribute else found
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return [*globals(), *_LAZY]
