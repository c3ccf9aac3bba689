"""Index files of FAISS (`faiss.write_index`): their vectors, and ids where they have some."""

import logging
import struct
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from nestvec.errors import DataError
from nestvec.extras import require
from nestvec.inputs.stored_vectors import StoredVectors, integer_ids

FAISS_HEAD_BYTES = 32
"""Bytes at the start of a file that tell an index of FAISS."""

_HEADER = struct.Struct("<4sIq8s8s")  # kind, dimension, rows, and two numbers without a meaning
_FILLER = struct.pack("<q", 1 << 20)
_BINARY_HEADER = struct.Struct("<4sIIq")  # kind, bits, bytes, rows
_PARTS = ("index", "refine_index", "storage", "quantizer", "pq", "sq")
_log = logging.getLogger(__name__)


def is_faiss(head: bytes) -> bool:
    """Tell by its first `FAISS_HEAD_BYTES` whether a file is an index of FAISS, also a binary one.

    Kinds are named by four letters that begin with I, as texts may; the numbers after them decide.
    """
    if len(head) < FAISS_HEAD_BYTES or not head.startswith(b"I"):
        return False
    *_, filler, more_filler = _HEADER.unpack_from(head)
    return filler == more_filler == _FILLER or _is_binary(head)


def _is_binary(head: bytes) -> bool:
    _, bits, size_bytes, _ = _BINARY_HEADER.unpack_from(head)
    return head.startswith(b"IB") and bits > 0 and bits == 8 * size_bytes


def read_faiss(path: Path) -> StoredVectors:
    """Read the vectors of an index, or its bits, and its ids where it has some.

    Rows are in the order in which they were added; those of an inverted file (IVF), by rising id.
    Of a compressed index they are what its codes stand for, with a warning. `DataError` for a
    damaged file, and for a kind that FAISS cannot take vectors out of.
    """
    with path.open("rb") as file:
        head = file.read(FAISS_HEAD_BYTES)
    if not is_faiss(head):
        raise DataError(f"'{path}' is no index of FAISS, or is cut short; write it again")
    faiss = require("faiss", "faiss")
    is_binary = _is_binary(head)
    index = (faiss.read_index_binary if is_binary else faiss.read_index)(str(path))
    if not index.ntotal:
        raise DataError(f"'{path}' is an index without rows; add vectors before you write it")
    try:
        contents = (_bits if is_binary else _vectors)(faiss, index)
    except DataError as e:
        raise DataError(f"'{path}': {e}") from None
    except RuntimeError as e:
        raise DataError(
            f"'{path}' holds an {type(index).__name__}, which FAISS cannot take vectors out of; "
            "pass the vectors that it was built from"
        ) from e
    if not contents.exact:
        _log.warning(
            "'%s' holds an %s: its vectors are approximations of those that were added",
            path,
            type(index).__name__,
        )
    ids = None if contents.ids is None else integer_ids(path, contents.ids)
    return StoredVectors(contents.rows, ids, packed_bits=is_binary)


@dataclass(frozen=True, slots=True, eq=False)
class _Contents:
    """Rows of an index with their ids, None if these are row numbers."""

    rows: np.ndarray
    ids: np.ndarray | None
    exact: bool
    """True if the rows are those that were added."""

    def mapped(self, id_map: np.ndarray) -> "_Contents":
        """The contents under ids of an outer index."""
        return replace(self, ids=id_map if self.ids is None else id_map[self.ids])


def _vectors(faiss: Any, index: Any) -> _Contents:
    """Take the vectors out of an index; it may be built around another.

    `RuntimeError` of FAISS where it cannot do this.
    """
    index = faiss.downcast_index(index)
    _check_dims(faiss, index)
    if isinstance(index, faiss.IndexIDMap):
        return _vectors(faiss, index.index).mapped(faiss.vector_to_array(index.id_map))
    if isinstance(index, faiss.IndexPreTransform):
        inner = _vectors(faiss, index.index)
        rows = np.empty((len(inner.rows), index.d), np.float32)
        index.reverse_chain(len(rows), faiss.swig_ptr(inner.rows), faiss.swig_ptr(rows))
        return _Contents(rows, inner.ids, exact=False)
    if isinstance(index, faiss.IndexRefine):
        return _vectors(faiss, index.refine_index)
    if isinstance(index, faiss.IndexHNSW | faiss.IndexNSG):
        return _vectors(faiss, index.storage)
    if isinstance(index, faiss.IndexIVF):
        if isinstance(index, faiss.IndexIVFFastScan):
            # FAISS 1.15.1 reads outside its memory here, which ends the process.
            raise RuntimeError("no vectors out of fast-scan codes in an inverted file")
        ids = np.concatenate([ids for ids, _ in _inverted_lists(faiss, index.invlists)])
        ids.sort()
        _check_unique(ids)
        index.set_direct_map_type(faiss.DirectMap.Hashtable)
        exact = isinstance(index, faiss.IndexIVFFlat)
        return _Contents(index.reconstruct_batch(ids), ids, exact)
    rows = index.reconstruct_n(0, index.ntotal)
    return _Contents(rows, None, isinstance(index, faiss.IndexFlat))


def _check_dims(faiss: Any, index: Any) -> None:
    """Raise `DataError` unless an index and its parts agree in dimension.

    FAISS does not check that, and writes beyond its arrays where a damaged file lies about it.
    """
    width = index.d
    pairs = [(width, max(width, 1))]
    if isinstance(index, faiss.IndexPreTransform):
        for number in range(index.chain.size()):
            transform = index.chain.at(number)
            pairs.append((width, transform.d_in))
            width = transform.d_out
    parts = (getattr(index, name, None) for name in _PARTS)
    pairs += [(width, part.d) for part in parts if part is not None]
    if any(first != second for first, second in pairs):
        raise DataError("its parts differ in dimension; write the index again")


def _bits(faiss: Any, index: Any) -> _Contents:
    """Take the bytes of bits out of a binary index, as `_vectors` does."""
    index = faiss.downcast_IndexBinary(index)
    if isinstance(index, faiss.IndexBinaryIDMap):
        return _bits(faiss, index.index).mapped(faiss.vector_to_array(index.id_map))
    if isinstance(index, faiss.IndexBinaryHNSW | faiss.IndexBinaryMultiHash):
        return _bits(faiss, index.storage)
    if isinstance(index, faiss.IndexBinaryIVF):
        lists = list(_inverted_lists(faiss, index.invlists))
        ids, rows = (np.concatenate(parts) for parts in zip(*lists, strict=True))
        order = np.argsort(ids)
        return _Contents(rows[order], ids[order], exact=True)
    if not isinstance(index, faiss.IndexBinaryFlat):
        raise RuntimeError("no bits out of this kind")
    rows = faiss.vector_to_array(index.xb).reshape(-1, index.code_size)
    return _Contents(rows, None, exact=True)


def _inverted_lists(faiss: Any, lists: Any) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Views of the ids [m] and codes [m, bytes] of each inverted list that is not empty."""
    for number in range(lists.nlist):
        if size := lists.list_size(number):
            codes = faiss.rev_swig_ptr(lists.get_codes(number), size * lists.code_size)
            ids = faiss.rev_swig_ptr(lists.get_ids(number), size)
            yield ids, codes.reshape(size, lists.code_size)


def _check_unique(ids: np.ndarray) -> None:
    """Raise `DataError` for an id that comes twice in a row: FAISS finds one vector for it."""
    repeated = ids[1:][ids[1:] == ids[:-1]]
    if len(repeated):
        raise DataError(
            f"the id {repeated[0]} comes more than once; give each vector of an inverted file an "
            "id of its own"
        )
