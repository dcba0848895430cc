"""`python benchmarks/memory.py [GIGABYTES]`: peak memory of `circuits analyze` on a run of that size (10 by default).

The run has the flagship's shape and as many checkpoints of random weights as fit; it lies in a temporary folder and is
removed. Every measurement is made and the sidecar written; the peak is that of the largest process.
"""

import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

import circuits
from circuits.checkpoints import layout
from circuits.checkpoints.writer import Writer


def large_run(path: Path, gigabytes: float) -> circuits.Config:
    """A complete run of about this size: the same few random networks again and again, at growing steps."""
    config = circuits.preset("merrill-2023").replace(epochs=0)
    per_checkpoint = layout.size_on_disk(config.replace(epochs=1000)) / 1001
    config = config.replace(epochs=int(gigabytes * 1e9 / per_checkpoint))
    layout.create(path, config, {}, {}, {})
    random = np.random.default_rng(0)
    n_seeds = len(config.seeds)
    rows = [
        {
            f"parameters/{name}": random.standard_normal((n_seeds, *size), np.float32)
            for name, (_, size) in config.shapes.items()
        }
        for _ in range(4)
    ]
    metrics = {f"metrics/{name}": np.full(n_seeds, 0.5) for name in layout.metrics_of(config)}
    with Writer(path) as writer:
        for index, step in enumerate(config.checkpoint_steps()):
            writer.append(step, step / config.steps_per_epoch, rows[index % 4] | metrics)
    return config


def main() -> None:
    gigabytes = float(sys.argv[1]) if len(sys.argv) > 1 else 10.0
    with tempfile.TemporaryDirectory(dir=".") as folder:
        path = Path(folder) / "large.h5"
        config = large_run(path, gigabytes)
        print(f"{path.stat().st_size / 1e9:.1f} GB, {len(config.checkpoint_steps())} checkpoints", file=sys.stderr)
        command = [sys.executable, "-c", "import sys; from circuits.cli.main import main; sys.exit(main())"]
        for which in (["--subnetwork"], []):
            start = time.perf_counter()
            subprocess.run([*command, "analyze", str(path), *which], check=True, stdout=subprocess.DEVNULL)
            peak = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 1e6
            what = " ".join(which) or "every measurement"
            print(f"{what}: peak {peak:.2f} GB, {time.perf_counter() - start:.0f} s")


if __name__ == "__main__":
    main()
