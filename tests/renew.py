"""Run files that a test has changed on purpose: as if the changed values had been written."""

from pathlib import Path

import h5py
import numpy as np

from circuits.checkpoints.digests import METRICS, digest, metrics_as_rows, row_digests
from circuits.checkpoints.layout import COMMIT, N_UPDATES


def renew_digests(path: Path) -> None:
    """Write the digests of what the file holds now."""
    with h5py.File(path, "r+") as file:
        metrics = {name: item[()] for name, item in file["metrics"].items() if name not in COMMIT}
        for place, name in enumerate(file["digests/digested"][:].tolist()):
            rows = metrics_as_rows(metrics) if name.decode() == METRICS else file["parameters"][name.decode()][()]
            found = file["digests/checkpoint"][()]
            found[:, :, place] = row_digests(rows)
            file["digests/checkpoint"][...] = found
        for item in file["data"].values():
            if "digest" in item.attrs:
                item.attrs["digest"] = np.uint64(digest(item[()]))


def as_version_1(path: Path) -> None:
    """Take what version 1 did not have out of the file."""
    with h5py.File(path, "r+") as file:
        del file["digests"]
        for name in ("config_digest", "facts_digest"):
            del file.attrs[name]
        for item in file["data"].values():
            item.attrs.pop("digest", None)
        for group in ("resume/slot0/state", "resume/slot1/state", "optimizer"):
            if group in file and N_UPDATES in file[group]:
                file[group].move(N_UPDATES, "step")
        file.attrs["format_version"] = np.int64(1)
