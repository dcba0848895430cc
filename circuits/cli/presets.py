"""`circuits presets [NAME]`: list the presets, or print one as JSON that `circuits train --config` accepts."""

from dataclasses import dataclass
from itertools import groupby
from typing import Annotated

import tyro

from circuits.cli.console import remark, result
from circuits.cli.flags import shown
from circuits.cli.parsing import parsed
from circuits.registry import PRESETS
from circuits.tabular import duration, new_table, top_aligned


@dataclass(frozen=True)
class PresetsFlags:
    """List the presets, or print one as JSON that `circuits train --config` accepts."""

    name: Annotated[str | None, tyro.conf.Positional, shown("[NAME]")] = None
    """The preset to print; by default all are listed."""


def command(words: list[str]) -> int:
    flags = parsed(PresetsFlags, words, "circuits presets")
    from circuits.presets import preset, preset_configs

    if flags.name is not None:
        configs = preset_configs(flags.name) if flags.name in PRESETS else {flags.name: preset(flags.name)}
        if len(configs) == 1:
            result(*next(iter(configs.values())).to_json().splitlines())
            return 0
        result(f"{flags.name}: {len(configs)} configs", *configs)
        remark(f"Train all: circuits train {flags.name}. Train one: circuits train {next(iter(configs))}.")
        return 0
    table = new_table("preset", "what", "where", "configs", "each")
    table.columns[1].justify = table.columns[2].justify = "left"
    top_aligned(table)
    table.columns[0].no_wrap = table.columns[4].no_wrap = True
    for paper, presets in groupby(PRESETS.items(), lambda preset: preset[1].paper):
        table.add_row(f"{paper}:")
        for name, entry in presets:
            table.add_row(name, entry.help, entry.shows, str(len(preset_configs(name))), duration(entry.seconds))
    result(table)
    remark("each: about how long one config trains on 2 cores. `circuits train NAME` trains all configs in turn.")
    remark("Train one: circuits train NAME. Print one as JSON: circuits presets NAME > my.json")
    return 0
