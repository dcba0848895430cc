"""circuits: which circuit computes the answer, and when did it take over?

Train small networks that grok, keep every checkpoint, and analyze the trajectory. The names below load on first use, so
that `import circuits` loads neither torch nor transformer-lens.
"""

from typing import TYPE_CHECKING

from circuits.lazy import lazy

__version__ = "0.1.0"

if TYPE_CHECKING:
    from circuits import analysis, constructions, convert, figures
    from circuits.analysis import analyze
    from circuits.analysis.register import register_measurement
    from circuits.analysis.store import read_json
    from circuits.checkpoints.export import export
    from circuits.checkpoints.repair import repair
    from circuits.checkpoints.run import Run
    from circuits.checkpoints.run import open_run as open  # public as circuits.open
    from circuits.config import Config
    from circuits.errors import InputError, Interrupted, RunError
    from circuits.figures.page.report import report
    from circuits.presets import preset, preset_configs, preset_seconds
    from circuits.presets.resolve import resolve_config
    from circuits.recording.lightning import LightningCallback
    from circuits.recording.record import log_spaced, record
    from circuits.recording.trainer import TrainerCallback
    from circuits.register import register_model, register_preset, register_task
    from circuits.tasks.arrays import arrays
    from circuits.training.loop import train
    from circuits.training.lottery_ticket import ticket
    from circuits.training.replay import replay

__getattr__, __dir__, __all__ = lazy(__name__)
