"""The policy on files from any source: such a file may contain only plain local arrays whose data are all stored.

HDF5 files can point at other files (external links and storage, virtual datasets), at plugins (filters) and at
themselves (soft links, references, cycles), and can declare sizes without stored data. A run needs none of these, so
the policy refuses all of them before any data is read, and the error names the refused contents. The check also reads
every block of metadata that reading the run needs later, so it finds damaged blocks. `sandbox_worker.py` runs the check
in the sandbox process, because on damaged metadata HDF5 may crash, or wait for years. Only h5py and numpy are imported,
so that the sandbox process starts quickly.
"""

from __future__ import annotations

import errno
import os
import time
from collections.abc import Callable
from dataclasses import dataclass
from math import prod
from pathlib import Path
from typing import Any

import h5py

from circuits.checkpoints.lock import writer_pid
from circuits.checkpoints.unflagged import is_flagged, open_for_reading, opened_for_verdict
from circuits.errors import error_number

MAX_OBJECTS = 10_000
MAX_DATASET_BYTES = 1 << 44
MAX_CHUNK_BYTES = 1 << 30
MAX_ELEMENT_BYTES = 1 << 20
MAX_ATTRIBUTE_BYTES = 1 << 20
MAX_ATTRIBUTES = 500  # of one group or array
FILTERS = {h5py.h5z.FILTER_DEFLATE, h5py.h5z.FILTER_SHUFFLE, h5py.h5z.FILTER_FLETCHER32, h5py.h5z.FILTER_LZF}
FILTER_NAMES = {h5py.h5z.FILTER_SZIP: "szip", h5py.h5z.FILTER_NBIT: "nbit", h5py.h5z.FILTER_SCALEOFFSET: "scaleoffset"}
COMMITS = ("step", "state_step")  # the written entries of these arrays give the committed length of the others
ATTEMPTS = 5  # for a file that is being written
TRANSIENT = (errno.EIO, errno.ESTALE, errno.EMFILE, errno.ENFILE, errno.ENOMEM)  # no evidence about the file
MoreTime = Callable[[int], None]


@dataclass(frozen=True)
class Policy:
    """Rules for the check of HDF5 files of one format. Every format allows plain arrays with their data in the file.

    `called` names a file of this format in error messages. `filters` are the HDF5 filters, such as compression, that
    arrays may have. `unstored_chunks` is the largest number of chunks that an array may declare but not store; a writer
    fills such chunks later. `valueless_dimensions` allows netCDF dimensions with a name and a length but no values.
    `live` says whether processes may read a file while another process writes it. If so, and if the file
    is open for writing, the check also reads the file in HDF5's single-writer-multiple-reader mode. `read_values` says
    whether the check reads the values of all arrays, to find values that HDF5 cannot read. If False, the check reads
    only the values of the arrays `step` and `state_step`, and of arrays with a filter.
    """

    called: str
    filters: frozenset[int] = frozenset()
    unstored_chunks: int = 0
    valueless_dimensions: bool = False
    live: bool = False
    read_values: bool = False


POLICIES = {
    "circuits-run": Policy("run", frozenset(FILTERS), unstored_chunks=256, live=True),
    "circuits-analysis": Policy("sidecar", valueless_dimensions=True, read_values=True),
}


class Refused(Exception):
    """The file is undamaged but has contents that its format excludes."""


class Damaged(Exception):
    """Parts of the file contradict each other."""


def inspect(
    path: str, file_format: str, format_version: int, more_time: MoreTime | None = None, undone: bool = False
) -> tuple[str, str]:
    """The verdict on a file, and one line that explains the verdict.

    Parameters
    ----------
    path, file_format, format_version
        The file at `path` begins with HDF5's signature. Its attributes should name the format `file_format`, with a
        version of at most `format_version`.
    more_time
        Function that allows the check more time. The check calls it, with the file's size in bytes, before it reads the
        values of an array. If None, the check reads only the values of the arrays `step` and `state_step`.
    undone
        Whether to inspect the file as recovery from a kill would leave it. If a file PATH.undo exists, recovery takes
        the metadata from PATH.undo (`undo.py`). Otherwise recovery completes a partly written superblock.

    Returns
    -------
    The verdict ("sound", "refused", "damaged", "newer", or "foreign": another format), and the explanation.
    """
    for attempt in range(ATTEMPTS):
        before = os.stat(path)
        verdict, text = _verdict(path, file_format, format_version, more_time, undone)
        after = os.stat(path)
        changed = (before.st_size, before.st_mtime_ns) != (after.st_size, after.st_mtime_ns)
        if undone or verdict != "damaged" or not (changed or writer_pid(Path(path))):
            break
        time.sleep(0.05 * (attempt + 1))  # a write may have been in progress
    return verdict, text


def _verdict(
    path: str, file_format: str, format_version: int, more_time: MoreTime | None, undone: bool
) -> tuple[str, str]:
    try:
        with opened_for_verdict(path, undone=undone) as file:
            stated = _root_attribute(file, "format")
            if stated != file_format:
                return "foreign", stated if isinstance(stated, str) else ""
            version = _root_attribute(file, "format_version")
            if isinstance(version, int) and version > format_version:
                return "newer", str(version)
            _Walk(file, path, POLICIES[file_format], more_time).check()
        if POLICIES[file_format].live and not undone:
            with open_for_reading(path, swmr=True, rdcc_nbytes=0) as file:  # the mode in which it is read later
                if is_flagged(path):  # otherwise both modes read the same bytes
                    _Walk(file, path, POLICIES[file_format]).check()
    except Refused as error:
        return "refused", f"{error}. A {POLICIES[file_format].called} holds plain local arrays only."
    except MemoryError:
        raise
    except Exception as error:  # any error of h5py on a damaged file
        return "unknown" if error_number(error) in TRANSIENT else "damaged", one_line(error)
    return "sound", ""


class _Walk:
    """Visits every object of a file; raises `Refused` or `Damaged` at the first fault."""

    def __init__(self, file: h5py.File, path: str, policy: Policy, more_time: MoreTime | None = None) -> None:
        self._file, self._path, self._policy, self._more_time = file, path, policy, more_time
        self._size = os.path.getsize(path)
        self._groups: dict[int, str] = {}  # address -> path
        self._datasets: dict[int, h5py.Dataset] = {}
        self._named: set[int] = set()  # addresses of the dimension scales whose name was read
        self._n_links = 0
        self._committed: dict[str, int] = {}

    def check(self) -> None:
        for name in COMMITS:  # first: a live writer extends these last
            links = self._file.id.links
            if links.exists(name.encode()) and links.get_info(name.encode()).type == h5py.h5l.TYPE_HARD:
                self._committed[name] = self._n_committed(name)
        self._group(self._file.id, "")
        for dataset in self._datasets.values():
            self._scales(dataset)

    def _n_committed(self, name: str) -> int:
        identifier = h5py.h5o.open(self._file.id, name.encode())
        if not isinstance(identifier, h5py.h5d.DatasetID):
            raise Damaged(f"/{name} is not an array")
        self._dataset(identifier, f"/{name}")
        if identifier.rank != 1 or identifier.dtype.kind != "i":
            raise Damaged(f"/{name} is not a list of whole numbers")
        values = h5py.Dataset(identifier)[:]
        unwritten = (values < 0).nonzero()[0]
        return int(unwritten[0]) if unwritten.size else len(values)

    def _group(self, group: h5py.h5g.GroupID, path: str) -> None:
        address = h5py.h5o.get_info(group).addr
        if address in self._groups:
            raise Refused(f"{path or '/'} is the same group as {self._groups[address] or '/'}")
        self._groups[address] = path
        self._attributes(group, path or "/")
        if group.get_num_objs() > MAX_OBJECTS:
            raise Refused(f"{path or '/'} has {group.get_num_objs()} members, more than {MAX_OBJECTS}")
        names: list[bytes] = []
        group.links.iterate(names.append)
        for name in names:
            self._member(group, name, f"{path}/{shown(name)}")

    def _member(self, group: h5py.h5g.GroupID, name: bytes, path: str) -> None:
        self._n_links += 1
        if self._n_links > MAX_OBJECTS:
            raise Refused(f"the file has more than {MAX_OBJECTS} objects")
        kind = group.links.get_info(name).type
        if kind == h5py.h5l.TYPE_EXTERNAL:
            raise Refused(f"{path} is an external link to {shown(group.links.get_val(name)[0])!r}")
        if kind == h5py.h5l.TYPE_SOFT:
            raise Refused(f"{path} is a soft link to {shown(group.links.get_val(name))!r}")
        if kind != h5py.h5l.TYPE_HARD:
            raise Refused(f"{path} is a link of unknown type {kind}")
        item = h5py.h5o.open(group, name)
        if isinstance(item, h5py.h5g.GroupID):
            self._group(item, path)
        elif not isinstance(item, h5py.h5d.DatasetID):
            raise Refused(f"{path} is a data type without values (HDF5's committed datatype), not an array or group")
        elif (address := h5py.h5o.get_info(item).addr) not in self._datasets:  # scales have several names
            self._dataset(item, path)
            self._attributes(item, path)
            self._datasets[address] = h5py.Dataset(item)

    def _attributes(self, owner: Any, path: str) -> None:
        n_attributes = h5py.h5a.get_num_attrs(owner)
        if n_attributes > MAX_ATTRIBUTES:
            raise Refused(f"{path} has {n_attributes} attributes, more than {MAX_ATTRIBUTES}")
        for index in range(n_attributes):
            attribute = h5py.h5a.open(owner, index=index)
            where = f"attribute '{shown(attribute.name)}' of {path}"
            size = attribute.get_storage_size()
            if size > MAX_ATTRIBUTE_BYTES:
                raise Refused(f"{where} has {size} bytes, more than {MAX_ATTRIBUTE_BYTES}")
            if isinstance(owner, h5py.h5d.DatasetID) and _is_scale_reference(attribute):
                continue
            _plain_type(attribute.get_type(), where)
            value = h5py.AttributeManager(_Owner(owner))[attribute.name]
            if isinstance(value, str | bytes) and len(value) > MAX_ATTRIBUTE_BYTES:
                raise Refused(f"{where} has {len(value)} bytes, more than {MAX_ATTRIBUTE_BYTES}")

    def _dataset(self, dataset: h5py.h5d.DatasetID, path: str) -> None:
        created = dataset.get_create_plist()  # read first: the shape of a virtual dataset lies in other files
        layout = created.get_layout()
        if layout == h5py.h5d.VIRTUAL:
            raise Refused(f"{path} is a virtual dataset, made of parts of other files")
        if created.get_external_count():
            raise Refused(f"{path} has its data in another file, {shown(created.get_external(0)[0])!r}")
        _plain_type(dataset.get_type(), path)
        filters = [created.get_filter(index)[0] for index in range(created.get_nfilters())]
        for code in filters:
            if code not in self._policy.filters:
                raise Refused(f"{path} is stored through the filter {FILTER_NAMES.get(code, code)}")
        shape, itemsize = dataset.shape, dataset.dtype.itemsize
        if shape is None:
            return
        declared = prod(shape) * itemsize
        if declared > MAX_DATASET_BYTES:
            raise Refused(f"{path} declares {declared} bytes, more than {MAX_DATASET_BYTES}")
        if layout == h5py.h5d.CHUNKED:
            self._chunks(dataset, path, created.get_chunk(), bool(filters))
        elif layout == h5py.h5d.CONTIGUOUS and declared:
            if self._policy.valueless_dimensions and _is_valueless_dimension(dataset):
                return
            address, stored = dataset.get_offset(), dataset.get_storage_size()
            if address is None or stored < declared:
                raise Refused(f"{path} declares {declared} bytes, but stores {0 if address is None else stored}")
            self._reaches(address + stored, path)
        if layout != h5py.h5d.CHUNKED and self._policy.read_values and self._more_time is not None:
            self._more_time(self._size)
            h5py.Dataset(dataset)[()]

    def _chunks(self, dataset: h5py.h5d.DatasetID, path: str, chunk: tuple[int, ...], filtered: bool) -> None:
        shape, nbytes = dataset.shape, prod(chunk) * dataset.dtype.itemsize
        if nbytes > MAX_CHUNK_BYTES:
            raise Refused(f"{path} has chunks of {nbytes} bytes, more than {MAX_CHUNK_BYTES}")
        stored: list[tuple[tuple[int, ...], int, int]] = []  # where in the array, where in the file, bytes
        dataset.chunk_iter(lambda info: stored.append((info.chunk_offset, info.byte_offset, info.size)))
        n_declared = prod(-(-length // step) for length, step in zip(shape, chunk, strict=True))
        if n_declared - len(stored) > self._policy.unstored_chunks:
            raise Refused(f"{path} declares {n_declared} chunks of {nbytes} bytes, but stores {len(stored)}")

        length = self._committed.get(_commit_of(dataset, path))
        if length is not None:
            if shape[0] < length:
                raise Damaged(f"{path} has {shape[0]} entries for {length} committed checkpoints")
            shape = (length, *shape[1:])
        inside = {where for where, _, _ in stored if all(map(int.__lt__, where, shape))}
        n_needed = prod(-(-length // step) for length, step in zip(shape, chunk, strict=True))
        if length is not None and len(inside) < n_needed:
            raise Damaged(f"{path} lacks {n_needed - len(inside)} of its {n_needed} chunks")
        per_row = nbytes // chunk[0]
        for where, address, size in stored:
            rows = min(chunk[0], max(0, shape[0] - where[0]))
            self._reaches(address + (size if filtered else rows * per_row), path)
        if (filtered or self._policy.read_values) and self._more_time is not None and 0 not in dataset.shape:
            self._more_time(self._size)
            unpacked = h5py.Dataset(dataset)
            for selection in unpacked.iter_chunks():
                unpacked[selection]

    def _reaches(self, end: int, path: str) -> None:
        if end > self._size:
            self._size = os.path.getsize(self._path)  # it may have grown
        if end > self._size:
            raise Damaged(f"the data of {path} extend to byte {end}, but the file has only {self._size} bytes")

    def _scales(self, dataset: h5py.Dataset) -> None:
        """Raise an error if an axis refers to a dimension scale that is in no group of the file or cannot be read."""
        for axis, dimension in enumerate(dataset.dims):
            for index in range(min(len(dimension), 2)):
                scale = dimension[index]
                address = h5py.h5o.get_info(scale.id).addr
                if address not in self._datasets:
                    raise Refused(f"axis {axis} of {shown(dataset.name)} refers to an array that is in no group")
                if address not in self._named:
                    scale.name  # noqa: B018  fails if damaged; HDF5 searches the whole file for a name
                    self._named.add(address)


class _Owner:
    """Stand-in for an HDF5 object: it has only `id`, the one field that h5py's attribute manager needs."""

    def __init__(self, identifier: Any) -> None:
        self.id = identifier


def _commit_of(dataset: h5py.h5d.DatasetID, path: str) -> str:
    """Name of the array, "step" or "state_step", that says how many rows `dataset` must store; "" if neither does."""
    folder = path.rsplit("/", 1)[0]
    if dataset.rank and folder == "/optimizer" and path != "/optimizer/state_step":
        return "state_step"
    inside = folder in ("/parameters", "/metrics") and dataset.rank >= 2
    return "step" if inside or path == "/epoch" else ""


def _is_valueless_dimension(dataset: h5py.h5d.DatasetID) -> bool:
    """Whether the dataset is netCDF's placeholder for a dimension with a name and a length but without values."""
    if not h5py.h5a.exists(dataset, b"NAME") or dataset.get_offset() is not None:
        return False
    attribute = h5py.h5a.open(dataset, b"NAME")
    kind = attribute.get_type()
    if not isinstance(kind, h5py.h5t.TypeStringID) or kind.is_variable_str() or attribute.get_storage_size() > 1000:
        return False
    name = h5py.AttributeManager(_Owner(dataset))["NAME"]
    return isinstance(name, bytes) and name.startswith(b"This is a netCDF dimension but not a netCDF variable")


def _plain_type(kind: Any, where: str) -> None:
    """Refuse a type other than number, boolean or string, and elements larger than MAX_ELEMENT_BYTES (1 MiB)."""
    allowed = (h5py.h5t.TypeIntegerID, h5py.h5t.TypeFloatID, h5py.h5t.TypeStringID)
    if isinstance(kind, h5py.h5t.TypeEnumID) and kind.dtype.kind == "b":
        return
    if not isinstance(kind, allowed):
        raise Refused(f"{where} has the type {_type_name(kind)}, neither number, boolean nor string")
    if kind.get_size() > MAX_ELEMENT_BYTES:
        raise Refused(f"{where} has elements of {kind.get_size()} bytes, more than {MAX_ELEMENT_BYTES}")
    kind.dtype  # noqa: B018  fails for a type that numpy lacks


def _type_name(kind: Any) -> str:
    return type(kind).__name__.removeprefix("Type").removesuffix("ID").lower() or "unknown"


def _is_scale_reference(attribute: h5py.h5a.AttrID) -> bool:
    """Whether the attribute is a valid link from an array to its dimension scales, or from a scale to its arrays."""
    kind = attribute.get_type()
    if attribute.name == b"DIMENSION_LIST":
        return isinstance(kind, h5py.h5t.TypeVlenID) and kind.get_super().equal(h5py.h5t.STD_REF_OBJ)
    if attribute.name == b"REFERENCE_LIST":
        return (
            isinstance(kind, h5py.h5t.TypeCompoundID)
            and kind.get_nmembers() == 2
            and kind.get_member_type(0).equal(h5py.h5t.STD_REF_OBJ)
            and isinstance(kind.get_member_type(1), h5py.h5t.TypeIntegerID)
        )
    return False


def _root_attribute(file: h5py.File, name: str) -> str | int | None:
    """A short attribute of the root; None if it is missing or is neither a short text nor a number."""
    if not h5py.h5a.exists(file.id, name.encode()):
        return None
    attribute = h5py.h5a.open(file.id, name.encode())
    kind = attribute.get_type()
    if attribute.shape != () or not isinstance(kind, h5py.h5t.TypeIntegerID | h5py.h5t.TypeStringID):
        return None
    if attribute.get_storage_size() > 1000:
        return None
    value = file.attrs[name]
    return shown(value) if isinstance(value, str | bytes) else int(value)


def shown(text: str | bytes, most: int = 80) -> str:
    r"""Text from a foreign file, safe to print in one line: no control characters, at most `most` characters.

    Examples
    --------
    >>> shown("W"), shown("a\nb")
    ('W', 'a\\nb')
    """
    if isinstance(text, bytes):
        text = text.decode(errors="backslashreplace")
    if not text.isprintable():
        text = text.encode("unicode_escape", errors="backslashreplace").decode()
    return text if len(text) <= most else f"{text[: most - 3]}..."


def one_line(error: BaseException) -> str:
    """The message of an error in one line, safe to print and at most 400 characters long."""
    text = " ".join(str(error).split()) or type(error).__name__
    return shown(text, 400)
