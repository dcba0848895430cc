"""`circuits verify SPEC`: does a network compute parity? Exit code 0 if it does, 4 if not."""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import tyro

from circuits.cli.console import remark, result
from circuits.cli.flags import Switch, shown
from circuits.cli.opening import opened_run
from circuits.cli.parsing import parsed
from circuits.errors import InputError, nearest
from circuits.registry import CONSTRUCTIONS, about

if TYPE_CHECKING:
    from circuits.constructions import Verification

NO_PARITY = 4
SUBNETWORKS = ("active",)
TIME_LIMIT = 60.0

Judged = tuple["Verification", dict[str, Any], Any]  # the verification, the network's W, b, u, and its test inputs


@dataclass(kw_only=True)
class VerifyFlags:
    """Evaluate a network exactly on all 2^k settings of its k relevant bits: does it compute parity?

    It does iff its output is > 0 where the parity is 1 and < 0 where the parity is -1; an output of 0 is wrong.
    Exit code 0 if it does, 4 if not.

    For a run, all inputs but the k relevant bits are set to 0, their mean.
    So the answer is about the network restricted to its relevant bits. For all 2^n inputs use --certify.
    """

    spec: Annotated[str, tyro.conf.Positional, shown("NAME|RUN.h5")]
    """A construction, from the list in `circuits construct --help`, or a run file, which is only read."""
    k: Annotated[int | None, shown("INT")] = None
    """Number of relevant bits of a construction."""
    biases: Annotated[str | None, shown("{k-1,k-2}", "(default: k-1)")] = None
    """Bias of the AND gates in the construction dnf: -(k-1) or -(k-2)."""
    seed: Annotated[int | None, shown("INT", "(default: the first)")] = None
    """The seed of a run's network."""
    checkpoint: Annotated[int | str | None, shown("INT|NAME", "(default: -1, the last)")] = None
    """Index of the checkpoint (negative: from the end), or its name: last, best, memorized, generalized."""
    subnetwork: Annotated[str | None, shown("{active}", "(default: the whole network)")] = None
    """Verify the active subnetwork: the fewest neurons, largest norm first, that keep all training predictions."""
    certify: Switch = False
    """Prove or refute that the sign of the output is the parity on all 2^n inputs; exit code 0 only if proved."""
    time_limit: Annotated[float | None, shown("SECONDS", "(default: 60 with --certify)")] = None
    """Time limit of --certify."""
    json: Switch = False
    """Print one JSON object instead of tables."""


def command(words: list[str]) -> int:
    flags = parsed(VerifyFlags, words, "circuits verify")
    if flags.time_limit is not None and not flags.certify:
        raise InputError("--time-limit is for --certify. Leave --time-limit out, or add --certify.")
    if flags.time_limit is not None and not 0 <= flags.time_limit < float("inf"):
        raise InputError(f"--time-limit {flags.time_limit:g} is not a time in seconds. Pass 0 or more.")
    parity = about(CONSTRUCTIONS, "parity")
    if flags.spec.replace("-", "_") in parity:
        _refuse(flags, ("seed", "checkpoint", "subnetwork"), f"{flags.spec} is a construction", "a run")
        verification, network, inputs = _of_a_construction(flags)
    elif flags.spec.endswith((".h5", ".hdf5")) or Path(flags.spec).exists():
        _refuse(flags, ("k", "biases"), f"{flags.spec} is a run", "a construction")
        verification, network, inputs = _of_a_run(flags)
    elif flags.spec.replace("-", "_") in CONSTRUCTIONS:
        raise InputError(f"{flags.spec} is a construction, but not for parity. {nearest(flags.spec, parity)}")
    else:
        raise InputError(f"{flags.spec} is neither a file nor a construction. {nearest(flags.spec, parity)}")

    from circuits.cli.verified import as_json, lines_and_tables

    lines: list[str] = []
    data: dict[str, Any] = {}
    right = verification.computes_parity
    if flags.certify and verification.collapsed:
        lines, data = ["", "Nothing to certify: the network has collapsed."], {"certificate": None}
    elif flags.certify:
        from circuits.cli.certified import certificate

        limit = TIME_LIMIT if flags.time_limit is None else flags.time_limit
        verdict, lines, proof = certificate(network, verification.inputs, inputs, limit)
        right, data = verdict == "certified", {"certificate": proof}
    shown = lines_and_tables(verification, scope=not flags.certify)  # a certificate is about all inputs
    result(as_json(verification, **data)) if flags.json else result(*shown, *lines)
    return 0 if right else NO_PARITY


def _of_a_construction(flags: VerifyFlags) -> Judged:
    from circuits.constructions import Construction, build, verify

    construction = build(flags.spec, flags.k, biases=flags.biases)
    if not isinstance(construction, Construction):
        raise InputError(f"{flags.spec} is a construction, but not for parity.")
    return verify(construction), construction.arrays(), None


def _of_a_run(flags: VerifyFlags) -> Judged:
    if flags.subnetwork not in (None, *SUBNETWORKS):
        raise InputError(f"There is no subnetwork '{flags.subnetwork}'. {nearest(flags.subnetwork, SUBNETWORKS)}")

    from circuits.analysis.networks.remarks import RECOMPUTED
    from circuits.analysis.subnetworks.active import active_at
    from circuits.constructions import verify_run

    with opened_run(flags.spec) as run:
        kept = active_at(run, flags.seed, flags.checkpoint) if flags.subnetwork else slice(None)
        mask = None if isinstance(kept, slice) else kept
        verification = verify_run(run, flags.seed, flags.checkpoint, kept=mask)
        if verification.collapsed and run.collapsed.attrs["recomputed"]:
            remark(RECOMPUTED)
        arrays = run.arrays(flags.seed, flags.checkpoint)
        names = run.config.model.relu_parameters or ()  # verify_run has refused a model without
        network = {short: arrays[name][kept] for short, name in zip("Wbu", names, strict=True)}
        return verification, network, run.data(flags.seed)["test_inputs"].values


def _refuse(flags: VerifyFlags, names: tuple[str, ...], what: str, whose: str) -> None:
    for name in names:  # an error is, for instance, "--k is for a construction, but a.h5 is a run. Leave the flag out."
        if getattr(flags, name) is not None:
            raise InputError(f"--{name} is for {whose}, but {what}. Leave the flag out.")
