"""Colors and dashes of lines: a quantity has the same color and dash in every figure.

The colors are Okabe and Ito's, which color-blind readers can distinguish. Dashes distinguish lines in black and white.
Memorization epochs and memorizing neurons are vermillion. Generalization epochs and generalizing neurons are green.
"""

import re
from collections.abc import Sequence
from typing import NamedTuple

BLACK, BLUE, GREEN, GREY = "#000000", "#0072B2", "#009E73", "#7A7A7A"
ORANGE, PURPLE, SKY, VERMILLION, YELLOW = "#E69F00", "#CC79A7", "#56B4E9", "#D55E00", "#F0E442"


class Style(NamedTuple):
    """Color and dash of a line."""

    color: str
    dash: str = "solid"


TRAIN, TEST, UNSEEN = Style(BLUE), Style(PURPLE), Style(PURPLE, "dash")
ALONE = Style(BLACK)
MEMORIZATION, GENERALIZATION = Style(VERMILLION, "dot"), Style(GREEN, "dash")

STYLES = {
    "train": TRAIN, "test": TEST, "flipped": Style(VERMILLION, "dash"), "clean": TRAIN,
    "generalizing": Style(GREEN), "memorizing": Style(VERMILLION, "dash"),
    "complementary": Style(BLUE, "dashdot"), "control": Style(GREY, "dot"),
}  # fmt: skip

_SPARE = [Style(color, dash) for dash in ("solid", "dash", "dot") for color in (BLUE, VERMILLION, GREEN, PURPLE, SKY)]

SCALE = ("#440154", "#3B528B", "#21908C", "#5DC863", "#D8C01C")  # viridis, with a yellow dark enough for white paper
COLORS = [[i / (len(SCALE) - 1), color] for i, color in enumerate(SCALE)]
MANY = (BLUE, VERMILLION, GREEN, PURPLE, ORANGE, SKY, BLACK)
NUMBER = re.compile(r"(-?\d+(?:\.\d+)?(?:e[-+]?\d+)?)")
MARKERS = (None, "circle", "square-open", "diamond")


def shades(labels: Sequence[str]) -> list[tuple[str, str | None]]:
    """A color for each of several labels, and a marker if there are more labels than colors.

    Labels that differ in one number have shades of one scale, from dark (smallest number) to light; a black-and-white
    print preserves this order. Other labels have one of seven colors; after seven, the colors repeat with a marker.

    Examples
    --------
    >>> shades(["0.1", "0.01"])
    [('#D8C01C', None), ('#440154', None)]
    >>> shades(["adam", "sgd"])
    [('#0072B2', None), ('#D55E00', None)]
    """
    numbers = varying_numbers(labels)
    if numbers is None or len(set(numbers)) < len(labels) or len(labels) < 2:
        return [(MANY[i % len(MANY)], MARKERS[i // len(MANY) % len(MARKERS)]) for i in range(len(labels))]
    ranks = sorted(numbers)
    return [(between(ranks.index(number) / (len(ranks) - 1)), None) for number in numbers]


def varying_numbers(labels: Sequence[str]) -> list[float] | None:
    """For labels that differ in one number only, this number of each label; None for other labels.

    Examples
    --------
    >>> varying_numbers(["0 from epoch 60", "0 from epoch 200"])
    [60.0, 200.0]
    >>> varying_numbers(["none", "0 from epoch 200"])
    """
    parts = [NUMBER.split(label) for label in labels]
    if len({len(part) for part in parts}) != 1 or len({tuple(part[::2]) for part in parts}) != 1:
        return None
    varying = [place for place in range(1, len(parts[0]), 2) if len({part[place] for part in parts}) > 1]
    return [float(part[varying[0]]) for part in parts] if len(varying) == 1 else None


def between(share: float) -> str:
    """The color at a position on the color scale: 0 is its dark end, 1 its light end.

    Examples
    --------
    >>> between(0.0), between(0.125)
    ('#440154', '#402A70')
    """
    place = min(max(share, 0.0), 1.0) * (len(SCALE) - 1)
    index = min(int(place), len(SCALE) - 2)
    low, high = (
        [int(color[start : start + 2], 16) for start in (1, 3, 5)] for color in (SCALE[index], SCALE[index + 1])
    )
    mixed = [round(a + (b - a) * (place - index)) for a, b in zip(low, high, strict=True)]
    return "#" + "".join(f"{channel:02X}" for channel in mixed)


def style_of(name: str, index: int = 0) -> Style:
    """The style of a name in `STYLES`. Any other name gets spare style number `index`; the 15 spare styles repeat.

    Examples
    --------
    >>> style_of("generalizing")
    Style(color='#009E73', dash='solid')
    """
    return STYLES.get(name, _SPARE[index % len(_SPARE)])


def faint(color: str, opacity: float) -> str:
    """The color with an opacity in 0..1, as CSS text.

    Examples
    --------
    >>> faint("#009E73", 0.2)
    'rgba(0,158,115,0.2)'
    """
    red, green, blue = (int(color[start : start + 2], 16) for start in (1, 3, 5))
    return f"rgba({red},{green},{blue},{opacity})"
