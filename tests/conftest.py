"""Small runs that many tests share, and the one full-size run of the slow tests."""

import fcntl
import os
import shutil
from collections.abc import Callable
from pathlib import Path

import jaxtyping
import pytest
import shapes
import tyro  # noqa: F401  before any doctest runs: importing it fails while `_` is an array
from hypothesis import settings

jaxtyping.jaxtyped = shapes.jaxtyped  # before the package is imported
if "PYTEST_XDIST_WORKER" in os.environ:  # torch's threads would wait for those of the other workers; BLAS keeps its own
    os.environ |= {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": str(os.cpu_count())}

from registered import only_own  # noqa: E402

import circuits  # noqa: E402

LONGEST = [
    f"test_{name}.py" for name in ("studies", "report", "kills", "torn", "full_disk", "collapse", "repair", "digests")
]

settings.register_profile("patient", deadline=None)  # the first example may wait for a compiler
settings.load_profile("patient")


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Start the files that take longest first, so that no worker is left alone with one of them at the end."""
    place = {name: index for index, name in enumerate(LONGEST)}
    items.sort(key=lambda item: place.get(item.path.name, len(LONGEST)))


@pytest.fixture(scope="session", autouse=True)
def kernels_compiled_once(tmp_path_factory) -> None:
    """Let the workers of a test session wait for each other's compilations, instead of making the same ones."""
    if "PYTEST_XDIST_WORKER" in os.environ:
        from compiled_once import lock_kernels

        lock_kernels(tmp_path_factory.getbasetemp().parent)


def tiny(**changes) -> circuits.Config:
    """A config that trains in milliseconds: (8,2) parity, width 16, 4 epochs of 7 updates with a partial last batch."""
    small = {
        "name": "tiny", "task__n": 8, "task__k": 2, "task__n_train": 50, "task__n_test": 20, "model__width": 16,
        "batch_size": 8, "epochs": 4, "seeds": [0, 1, 2],
    }  # fmt: skip
    return circuits.preset("merrill-2023").replace(**(small | changes))


@pytest.fixture
def make_config():
    return tiny


@pytest.fixture(scope="session")
def tiny_path(tmp_path_factory) -> Path:
    path = tmp_path_factory.mktemp("runs") / "tiny.h5"
    circuits.train(tiny(), path, progress=False).close()
    return path


@pytest.fixture
def tiny_run(tiny_path):
    with circuits.open(tiny_path) as run:
        yield run


@pytest.fixture
def cut_short(monkeypatch):
    """Trains a config into a file as if Ctrl-C came when a checkpoint at or beyond a step was to be kept."""
    from circuits.checkpoints.writer import Writer

    append = Writer.append
    monkeypatch.setattr("circuits.training.loop.STATE_SECONDS", 0.0)  # the optimizer's state with every checkpoint

    def train(config, path, step, **options):
        def failing(self, at, epoch, values):
            if at >= step:
                raise KeyboardInterrupt
            append(self, at, epoch, values)

        with monkeypatch.context() as patch:
            patch.setattr(Writer, "append", failing)
            with pytest.raises(circuits.Interrupted):
                circuits.train(config, path, progress=False, **options)

    return train


@pytest.fixture(scope="session")
def made_once(tmp_path_factory) -> Callable[[str, Callable[[Path], object]], Path]:
    """Makes a file in a folder of its own by a function of its path, once for all workers of the test session."""
    base = tmp_path_factory.getbasetemp()
    base = base.parent if "PYTEST_XDIST_WORKER" in os.environ else base

    def path_of(name: str, make: Callable[[Path], object]) -> Path:
        folder = base / f"made-{Path(name).stem}"
        with (base / f"{name}.lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            if not folder.exists():
                (making := base / f"making-{Path(name).stem}").mkdir()
                make(making / name)
                making.rename(folder)
        return folder / name

    return path_of


@pytest.fixture(scope="session")
def grokked_path(made_once) -> Path:
    """(40,2) parity from 150 examples at width 100: memorizes around epoch 6, generalizes around epoch 100."""
    config = tiny(
        task__n=40, task__n_train=150, task__n_test=100, model__width=100, epochs=200, seeds=[0, 1],
        checkpoints__every_epochs=2,
    )  # fmt: skip
    return made_once("grokked.h5", lambda path: circuits.train(config, path, progress=False).close())


@pytest.fixture(scope="session")
def analyzed_path(grokked_path, made_once) -> Path:
    """A copy of the run of `grokked_path` with its sidecar, which has every default measurement."""

    def make(path: Path) -> None:
        from circuits.analysis.results import results_of

        shutil.copy(grokked_path, path)
        with circuits.open(path) as run, pytest.MonkeyPatch.context() as patch:
            only_own(patch)  # tests count what the results hold
            results_of(run)

    return made_once("analyzed.h5", make)


@pytest.fixture
def grokked_run(grokked_path):
    with circuits.open(grokked_path) as run:
        yield run


@pytest.fixture(scope="session")
def flagship_path(made_once) -> Path:
    """The preset merrill-2023 at full size: five seeds, 300 epochs, a checkpoint each (250 MB)."""
    config = circuits.preset("merrill-2023")
    return made_once("merrill-2023.h5", lambda path: circuits.train(config, path, progress=False).close())
