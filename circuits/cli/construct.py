"""`circuits construct NAME`: write a hand-built network as a run file, which every analysis can read."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import tyro

from circuits.cli.console import remark, result
from circuits.cli.flags import Switch, shown
from circuits.cli.parsing import parsed
from circuits.errors import InputError
from circuits.registry import CONSTRUCTIONS
from circuits.tabular import count, size

OF_MODULAR = ("train_fraction",)
TASK = ("n", "support", "n_train", "n_test", *OF_MODULAR)  # flags that are fields of the run's task
ABOUT = """Write a hand-built network as a run file with one checkpoint.

{constructions}

Example: circuits construct dnf --k 3 --n 40 --out dnf.h5

Example: circuits construct modular_addition --p 31 --frequencies 1 5 9 --out m.h5
"""


@dataclass(kw_only=True)
class ConstructFlags:
    name: Annotated[str, tyro.conf.Positional, shown("NAME")]
    """Name of the construction to write, such as dnf."""
    k: Annotated[int | None, shown("INT", "(required unless the construction fixes it)")] = None
    """Number of relevant bits."""
    n: Annotated[int | None, shown("INT", "(default: 40)")] = None
    """Number of input bits."""
    support: Annotated[tuple[int, ...], shown("INT …", "(default: the first k)")] = ()
    """Indices (from 0) of the k relevant inputs. The construction reads its bit 0 from the first of them, and so on."""
    biases: Annotated[str | None, shown("{k-1,k-2}", "(default: k-1, as in Merrill et al. 2023)")] = None
    """Every AND gate of the construction dnf has the bias -(k-1) or -(k-2). k-2 gives a lower path cost: the sum over
    neurons of |outgoing weight| times the norm of the vector (incoming weights, bias)."""
    n_train: Annotated[int | None, shown("INT", "(default: 1000)")] = None
    """Number of training examples that the run file stores for the analyses."""
    n_test: Annotated[int | None, shown("INT", "(default: 100)")] = None
    """Number of test examples that the run file stores for the analyses."""
    p: Annotated[int | None, shown("INT", "(required by modular_addition)")] = None
    """Modulus of modular_addition."""
    frequencies: Annotated[tuple[int, ...], shown("INT …", "(required by modular_addition)")] = ()
    """Frequencies of modular_addition: distinct, in 1..p/2."""
    amplitude: Annotated[float | None, shown("FLOAT", "(default: large enough for a loss below 1e-6)")] = None
    """Amplitude of each frequency in the logits of modular_addition."""
    train_fraction: Annotated[float | None, shown("FLOAT", "(default: 0.5)")] = None
    """Share of the pairs x, y in the training set of modular_addition."""
    out: Annotated[Path | None, shown("RUN.h5", "(default: checkpoints/NAME-K-N.h5 or NAME-P.h5)")] = None
    """The run file to write. In its default, NAME is the construction; K, N and P are the values of --k, --n, --p."""
    overwrite: Switch = False
    """Replace the run in --out."""


ConstructFlags.__doc__ = ABOUT.format(
    constructions="\n\n".join(f"{name:<17}{entry.help}" for name, entry in CONSTRUCTIONS.items())
)


def command(words: list[str]) -> int:
    flags = parsed(ConstructFlags, words, "circuits construct")

    from circuits.constructions import build

    options = {name: getattr(flags, name) for name in ("p", "amplitude", "biases")}
    construction = build(flags.name, flags.k, frequencies=flags.frequencies or None, **options)
    task = {name: value for name in TASK if (value := getattr(flags, name)) not in (None, ())}
    modular = CONSTRUCTIONS[construction.name].task == "modular"
    if foreign := [name for name in task if (name in OF_MODULAR) != modular]:
        raise InputError(f"{construction.name} takes no --{foreign[0].replace('_', '-')}. Leave it out.")

    from circuits.convert import from_construction

    with from_construction(construction, flags.out, overwrite=flags.overwrite, **task) as run:
        result(f"{run.path}: {construction.name}, {count(construction.n_neurons, 'neuron')}, {size(run.nbytes)}")
        verify = "" if modular else f"circuits verify {run.path}, or "
        remark(f"Next: {verify}circuits analyze {run.path}")
    return 0
