"""The measurements of the package, for tests that list them, whatever a contributor has registered beside them."""

import pytest

from circuits.registry import MEASUREMENTS

OWN = {
    "phases", "subnetwork", "norms", "faithfulness", "progress", "constructions", "walsh", "certify", "representation",
    "exact", "fourier", "ablation",
}  # fmt: skip


QUICK = {"phases", "subnetwork", "norms", "faithfulness"}


def only_own(patch: pytest.MonkeyPatch) -> None:
    """Leave out of the registry, for as long as the patch holds, what is not the package's own."""
    only(OWN, patch)


def only(names: set[str], patch: pytest.MonkeyPatch) -> None:
    """Leave only these measurements in the registry, for as long as the patch holds."""
    for name in set(MEASUREMENTS) - names:
        patch.delitem(MEASUREMENTS, name)
