"""One colour and one dash per thing that is drawn, the same in every figure.

The colours are Okabe and Ito's, told apart by colour-blind readers; the dashes tell the same lines apart in black and
white. Memorizing and generalizing have one colour each, as a group of neurons and as a phase of training.
"""

from typing import NamedTuple

BLACK, BLUE, GREEN, GREY = "#000000", "#0072B2", "#009E73", "#7A7A7A"
ORANGE, PURPLE, SKY, VERMILLION, YELLOW = "#E69F00", "#CC79A7", "#56B4E9", "#D55E00", "#F0E442"


class Style(NamedTuple):
    """How a line looks."""

    colour: str
    dash: str = "solid"


TRAIN, TEST = Style(BLUE), Style(PURPLE)
ALONE = Style(BLACK)
MEMORIZATION, GENERALIZATION = Style(VERMILLION, "dot"), Style(GREEN, "dash")

STYLES = {
    "train": TRAIN,
    "test": TEST,
    "generalizing": Style(GREEN),
    "memorizing": Style(VERMILLION, "dash"),
    "complementary": Style(BLUE, "dashdot"),
    "control": Style(GREY, "dot"),
}

_SPARE = [Style(colour, dash) for dash in ("solid", "dash", "dot") for colour in (BLUE, VERMILLION, GREEN, PURPLE, SKY)]


def style_of(name: str, index: int = 0) -> Style:
    """The style of a name that has one, or the `index`-th of a cycle.

    Examples
    --------
    >>> style_of("generalizing")
    Style(colour='#009E73', dash='solid')
    """
    return STYLES.get(name, _SPARE[index % len(_SPARE)])


def faint(colour: str, opacity: float) -> str:
    """The same colour, see-through.

    Examples
    --------
    >>> faint("#009E73", 0.2)
    'rgba(0,158,115,0.2)'
    """
    red, green, blue = (int(colour[start : start + 2], 16) for start in (1, 3, 5))
    return f"rgba({red},{green},{blue},{opacity})"
