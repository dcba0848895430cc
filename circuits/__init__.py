"""circuits: which circuit computes the answer, and when did it take over?

Train small networks that grok, keep every checkpoint, and analyze the trajectory. The names below load on first use, so
that `import circuits` loads neither torch nor transformer-lens.
"""

from typing import TYPE_CHECKING

from circuits.lazy import lazy

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
    from circuits.presets.resolve import resolve_config as resolve_config
    from circuits.training.loop import train as train
    from circuits.training.lottery_ticket import ticket as ticket
    from circuits.training.replay import replay as replay

__getattr__, __dir__, __all__ = lazy(__name__)
