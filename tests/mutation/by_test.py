"""A pytest plugin: which tests execute which lines, and how long each takes. Used once, on unmutated code.

coverage.py follows Python, one context per test. It does not see into functions that numba compiles, so the calls of
those from Python are noted here: such a call executes the lines of the function, and of the compiled ones it names.
"""

import json
import types
from collections import defaultdict
from pathlib import Path

import coverage
import pytest
from numba.core.registry import CPUDispatcher


class ByTest:
    """Measures the tests of one pytest run and writes `target` at its end."""

    def __init__(self, root: Path, target: Path) -> None:
        self.root, self.target = root, target
        self.coverage = coverage.Coverage(data_file=None, source=[str(root / "circuits")], config_file=False)
        self.seconds: dict[str, float] = defaultdict(float)
        self.failed: list[str] = []
        self.compiled: dict[str, set[CPUDispatcher]] = defaultdict(set)
        self.now = ""

    def pytest_sessionstart(self) -> None:
        plugin, plain = self, CPUDispatcher.__call__

        def noted(dispatcher: CPUDispatcher, *args: object, **named: object) -> object:
            plugin.compiled[plugin.now].add(dispatcher)
            return plain(dispatcher, *args, **named)

        CPUDispatcher.__call__ = noted
        self.coverage.start()

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_protocol(self, item: pytest.Item) -> object:
        self.now = item.nodeid
        self.coverage.switch_context(item.nodeid)
        return (yield)

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        self.seconds[report.nodeid] += report.duration
        if report.failed:
            self.failed.append(report.nodeid)

    def pytest_sessionfinish(self) -> None:
        self.coverage.stop()
        data = self.coverage.get_data()
        lines: dict[str, dict[int, set[str]]] = {}
        for file in data.measured_files():
            of_file = lines.setdefault(self._name(file), {})
            for line, tests in data.contexts_by_lineno(file).items():
                of_file.setdefault(line, set()).update(test for test in tests if test)
        for test, called in self.compiled.items():
            for function in _with_callees(called):
                code = function.py_func.__code__
                if Path(code.co_filename).is_relative_to(self.root):
                    of_file = lines.setdefault(self._name(code.co_filename), {})
                    for line in range(code.co_firstlineno, max(at or 0 for *_, at in code.co_lines()) + 1):
                        of_file.setdefault(line, set()).add(test)
        found = {file: {line: sorted(tests) for line, tests in lines[file].items()} for file in lines}
        self.target.write_text(json.dumps({"lines": found, "seconds": self.seconds, "failed": self.failed}))

    def _name(self, file: str) -> str:
        return str(Path(file).relative_to(self.root))


def _with_callees(called: set[CPUDispatcher]) -> set[CPUDispatcher]:
    """These compiled functions and all that they call."""
    reached, waiting = set(), list(called)
    while waiting:
        function = waiting.pop()
        if function not in reached and isinstance(function.py_func, types.FunctionType):
            reached.add(function)
            named = (function.py_func.__globals__.get(name) for name in function.py_func.__code__.co_names)
            waiting.extend(one for one in named if isinstance(one, CPUDispatcher))
    return reached
