"""Each numba kernel is compiled by one test worker; the others wait for it and read the machine code from the cache.

Workers start together and need the same kernels, so each of them would compile for half a minute.
"""

from fcntl import LOCK_EX, flock
from functools import wraps
from pathlib import Path

from numba.core.caching import NullCache
from numba.core.compiler_lock import global_compiler_lock
from numba.core.dispatcher import Dispatcher

HELD = set()  # the kernel that this process compiles now; those that it calls are compiled under its lock


def lock_kernels(folder: Path) -> None:
    """Compile a kernel, or read it from the cache, only while holding a lock in `folder` that is named after it."""
    compile_plainly = Dispatcher.compile

    @wraps(compile_plainly)
    def compile_alone(self, signature):
        name = f"{self.py_func.__module__}.{self.py_func.__qualname__}"
        with global_compiler_lock:  # before the file's lock, or two threads could wait for each other
            if HELD or isinstance(self._cache, NullCache):
                return compile_plainly(self, signature)
            with (folder / f"{name}.lock").open("w") as file:
                flock(file, LOCK_EX)
                HELD.add(name)
                try:
                    return compile_plainly(self, signature)
                finally:
                    HELD.remove(name)

    Dispatcher.compile = compile_alone
