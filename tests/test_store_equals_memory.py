"""The store against one in memory with the same contract, written as plainly as it can be.

Both are driven with the same operations; a crash drops what was not committed, a reopening returns to the newest
checkpoint whose optimizer state is known. Whatever the order, both hold the same checkpoints and the same state.
"""

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import circuits
from circuits.checkpoints import layout, writer
from circuits.checkpoints.writer import Writer

SHAPE = (3, 4)
OPERATIONS = st.sampled_from(["append", "append", "append", "flush", "save state", "crash", "reopen"])


class FileStore:
    """The real store, on a file."""

    def __init__(self, folder, config, stateful):
        self.path = folder / "run.h5"
        self.path.unlink(missing_ok=True)
        config = config.replace(checkpoints__every_epochs=None, checkpoints__every_steps=1, epochs=20)  # 0, 1, 2, …
        layout.create(self.path, config, {}, {}, {"momentum": np.zeros(SHAPE, np.float32)} if stateful else {})
        self.config, self.writer = config, Writer(self.path)

    def append(self, value):
        n_seeds = len(self.config.seeds)
        parameters = {
            f"parameters/{n}": np.full((n_seeds, *s), value, np.float32) for n, (_, s) in self.config.shapes.items()
        }
        names = layout.metrics_of(self.config, some_seen=True)
        metrics = {f"metrics/{name}": np.full(n_seeds, float(value)) for name in names}
        self.writer.append(value, float(value), parameters | metrics)

    def flush(self):
        self.writer.flush()

    def save_state(self, value):
        self.writer.save_state({"momentum": np.full(SHAPE, value, np.float32)})

    def crash(self):
        self.writer._pending.clear()
        self.reopen()

    def reopen(self):
        self.writer.close()
        self.writer = Writer(self.path)

    def checkpoints(self):
        self.reopen()
        self.writer.close()
        with circuits.open(self.path) as run:
            W = run.parameters["W"].values
            assert (W[:, :1, :1, :1] == W).all()
            assert (run.steps[:, None] == run.metrics["test_loss"].values).all()
            found = W[:, 0, 0, 0].astype(int).tolist()
            assert run.steps.tolist() == found
        self.writer = Writer(self.path)
        return found

    def state(self):
        momentum = self.writer.optimizer_state.get("momentum")
        return None if momentum is None else int(momentum[0, 0])


class MemoryStore:
    """The same contract in memory: lists."""

    def __init__(self, folder, config, stateful):
        self.stateful = stateful
        self.committed, self.pending, self.saved = [], [], []

    def append(self, value):
        self.pending.append(value)
        if len(self.pending) >= writer.BUFFERED_CHECKPOINTS:
            self.flush()

    def flush(self):
        self.committed += self.pending
        self.pending = []

    def save_state(self, value):
        self.flush()
        self.saved = [*self.saved, (len(self.committed), value)][-2:]

    def crash(self):
        self.pending = []
        self.reopen()

    def reopen(self):
        self.flush()
        if self.stateful:
            self.committed = self.committed[: self.saved[-1][0]] if self.saved else []

    def checkpoints(self):
        self.reopen()
        return list(self.committed)

    def state(self):
        return self.saved[-1][1] if self.saved else None


@pytest.fixture(params=[FileStore, MemoryStore], ids=["file", "memory"])
def store(request, tmp_path, make_config, monkeypatch):
    monkeypatch.setattr(writer, "BUFFERED_SECONDS", 1e9)
    return lambda stateful=False: request.param(tmp_path, make_config(), stateful)


def test_what_was_appended_and_flushed_survives_a_crash(store):
    one = store()
    for value in range(5):
        one.append(value)
    one.flush()
    one.append(5)
    one.crash()
    assert one.checkpoints() == [0, 1, 2, 3, 4]


def test_a_full_buffer_commits_by_itself(store):
    one = store()
    for value in range(writer.BUFFERED_CHECKPOINTS + 3):
        one.append(value)
    one.crash()
    assert one.checkpoints() == list(range(writer.BUFFERED_CHECKPOINTS))


def test_closing_commits_what_is_pending(store):
    one = store()
    one.append(0)
    one.append(1)
    one.reopen()
    assert one.checkpoints() == [0, 1]


def test_with_optimizer_state_the_run_returns_to_the_newest_saved_one(store):
    one = store(stateful=True)
    for value in range(3):
        one.append(value)
    one.save_state(2)
    one.append(3)
    one.flush()
    one.reopen()
    assert one.checkpoints() == [0, 1, 2]
    assert one.state() == 2


def test_without_any_saved_state_a_stateful_run_begins_again(store):
    one = store(stateful=True)
    one.append(0)
    one.reopen()
    assert one.checkpoints() == []
    assert one.state() is None


@pytest.mark.slow
@pytest.mark.parametrize("stateful", [False, True])
@given(operations=st.lists(OPERATIONS, max_size=25))
@settings(max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_any_order_of_operations_leaves_both_alike(tmp_path_factory, make_config, stateful, operations):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(writer, "BUFFERED_SECONDS", 1e9)
        folder = tmp_path_factory.mktemp("stores")
        both = [kind(folder, make_config(), stateful) for kind in (FileStore, MemoryStore)]
        for operation in operations:
            for one in both:
                match operation:
                    case "append":
                        one.append(_next(one))
                    case "save state":
                        if stateful and _next(one):
                            one.save_state(_next(one))
                    case _:
                        getattr(one, operation)()
        assert both[0].checkpoints() == both[1].checkpoints()
        assert both[0].state() == both[1].state()
        both[0].writer.close()


def _next(store):
    """The next value to append: one more than how many checkpoints there are."""
    if isinstance(store, MemoryStore):
        return len(store.committed) + len(store.pending)
    return store.writer.n_checkpoints + len(store.writer._pending)
