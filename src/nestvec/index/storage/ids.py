"""The ids of a segment's rows: whole numbers, or strings that are decoded at each access."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from nestvec.shapes import Bool, Int64, UInt8


@dataclass(frozen=True, eq=False)
class Ids:
    """Ids as `numbers`, or as strings: UTF-8 `data` that `offsets` divide. `ids[rows]` is an array.

    Strings are decoded at each access, because decoding half a million takes longer than an index
    may take to open.
    """

    numbers: Int64[np.ndarray, " n"] | None
    offsets: Int64[np.ndarray, " ends"] | None = None
    data: UInt8[np.ndarray, " bytes"] | None = None

    @classmethod
    def of(cls, ids: np.ndarray) -> "Ids":
        """Store an array of ints or of str objects."""
        if ids.dtype.kind == "i":
            return cls(ids.astype(np.int64, copy=False))
        texts = [text.encode() for text in ids]
        lengths = np.array([len(text) for text in texts], np.int64)
        return cls(None, _ends(lengths), np.frombuffer(b"".join(texts), np.uint8))

    @classmethod
    def from_arrays(cls, arrays: Mapping[str, np.ndarray]) -> "Ids":
        """Read ids from the arrays of a file; `ValueError` if damaged, `KeyError` if missing."""
        if "ids" in arrays:
            return cls(arrays["ids"])
        ids = cls(None, arrays["id_offsets"], arrays["id_bytes"])
        offsets = arrays["id_offsets"]
        if not len(offsets) or offsets[0] != 0 or offsets[-1] != len(arrays["id_bytes"]):
            raise ValueError("its ids are cut off")
        if (np.diff(offsets) < 0).any():
            raise ValueError("its ids overlap")
        return ids

    @property
    def dtype(self) -> "np.dtype[Any]":
        """The dtype of arrays of these ids."""
        return np.dtype(np.int64 if self.numbers is not None else object)

    @classmethod
    def join(cls, parts: Sequence["Ids"]) -> "Ids":
        """Concatenate ids, which are all numbers or all strings."""
        if all(part.numbers is not None for part in parts):
            return cls(np.concatenate([part.arrays()["ids"] for part in parts]))
        joined = [part.arrays() for part in parts]
        lengths = np.concatenate([np.diff(arrays["id_offsets"]) for arrays in joined])
        data = np.concatenate([arrays["id_bytes"] for arrays in joined])
        return cls(None, _ends(lengths), data)

    def keep(self, mask: Bool[np.ndarray, " n"]) -> "Ids":
        """Select the ids of the rows in a mask, in their order."""
        if self.numbers is not None:
            return Ids(self.numbers[mask])
        assert self.offsets is not None
        assert self.data is not None
        lengths = np.diff(self.offsets)
        return Ids(None, _ends(lengths[mask]), self.data[np.repeat(mask, lengths)])

    def arrays(self) -> dict[str, np.ndarray]:
        """Return the arrays of a file, the widest numbers first."""
        if self.numbers is not None:
            return {"ids": self.numbers}
        assert self.offsets is not None
        assert self.data is not None
        return {"id_offsets": self.offsets, "id_bytes": self.data}

    def __len__(self) -> int:
        if self.numbers is not None:
            return len(self.numbers)
        assert self.offsets is not None
        return len(self.offsets) - 1

    def __getitem__(self, rows: Int64[np.ndarray, "*any"]) -> np.ndarray:
        """Look up the ids of rows, in the shape of `rows`: int64, or str objects."""
        if self.numbers is not None:
            return np.asarray(self.numbers[rows])
        assert self.offsets is not None
        assert self.data is not None
        texts = np.empty(rows.shape, object)
        starts, ends = self.offsets[rows].ravel(), self.offsets[rows + 1].ravel()
        texts.reshape(-1)[:] = [
            self.data[a:b].tobytes().decode()
            for a, b in zip(starts.tolist(), ends.tolist(), strict=True)
        ]
        return texts


def _ends(lengths: Int64[np.ndarray, " n"]) -> Int64[np.ndarray, " ends"]:
    return np.concatenate([np.zeros(1, np.int64), np.cumsum(lengths)])
