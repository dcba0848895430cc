"""Progress bars: widgets in a notebook, lines on stderr in a terminal, nothing where stderr is a file."""

from __future__ import annotations

import sys
import warnings
from typing import Any


def in_notebook() -> bool:
    """Whether this process runs the cells of a Jupyter notebook."""
    if "ipykernel" not in sys.modules:
        return False
    from IPython import get_ipython

    shell = get_ipython()
    return shell is not None and type(shell).__name__ == "ZMQInteractiveShell"


def progress_bar(iterable: Any = None, *, shown: bool = True, **options: Any) -> Any:
    """A tqdm bar over `iterable`, or one to update by hand; `options` are tqdm's.

    Examples
    --------
    >>> list(progress_bar([1, 2], shown=False))
    [1, 2]
    """
    if in_notebook():
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # without ipywidgets the bar is text
            from tqdm.auto import tqdm
        return tqdm(iterable, disable=not shown, **options)
    from tqdm import tqdm as on_terminal

    return on_terminal(iterable, file=sys.stderr, disable=None if shown else True, **options)
