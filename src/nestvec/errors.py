"""Every error that nestvec raises on purpose, in one tree.

    NestvecError
    ├── InputError (ValueError)        the caller's value breaks a rule
    │   ├── VectorsError               wrong rank, dtype or width; NaN or infinity
    │   ├── DimsError                  a prefix width out of range
    │   ├── PlanError                  plan text or plan that does not fit the index
    │   ├── FilterError                filter text that cannot be understood
    │   ├── IdsError                   ids repeated, missing or of the wrong type
    │   └── DataError                  a text or vector file that is not what its name says
    ├── EncodeError                    a model or an embedding API did not answer usefully
    │   └── BadTextError               it refuses some of the texts, or has no vector for them
    ├── StorageError                   an index directory cannot be read or written
    │   ├── DamagedIndexError          truncated, altered or missing files
    │   ├── NewerFormatError           written by a newer nestvec
    │   └── LockedError                another process is writing
    ├── TrainError                     training cannot go on
    │   ├── NonFiniteLossError         a loss or gradient is NaN or infinite
    │   └── CheckpointError            a run's folder is of another configuration, or damaged
    └── MissingExtraError (ImportError)  an optional package is not installed

Each message is one sentence with the value that was passed, the rule, and the way out.
"""

from collections.abc import Mapping
from typing import Any


class NestvecError(Exception):
    """The root of the tree: `except NestvecError` catches all that nestvec raises on purpose."""


class InputError(NestvecError, ValueError):
    """The caller's value breaks a rule."""


class VectorsError(InputError):
    """Vectors of the wrong rank, dtype or width, or with NaN or infinity in them."""


class DimsError(InputError):
    """A prefix width out of range."""


class PlanError(InputError):
    """A plan that cannot be parsed, or that does not fit the index."""


class FilterError(InputError):
    """A filter (`where`) that cannot be parsed; the message says at which character."""


class IdsError(InputError):
    """Ids that are repeated, missing or of the wrong type."""


class DataError(InputError):
    """A file of texts or vectors that is damaged, or of another kind than its name says."""


class EncodeError(NestvecError):
    """A model or an embedding API did not give usable vectors.

    `rows_before` [m, dim] holds the vectors of the first texts of the call, where there are some:
    what was computed, or paid for, before the failure.
    """

    rows_before: Any = None


class BadTextError(EncodeError):
    """A model refuses some texts, or gives no usable vector for them.

    `reasons` says why, by the position of each such text. `rows` [n, dim] holds the vectors of all
    texts of the call, with zeros at these positions: what was computed, or paid for, is not lost.
    """

    def __init__(
        self, message: str, reasons: Mapping[int, str] | None = None, rows: Any = None
    ) -> None:
        super().__init__(message)
        self.reasons = dict(reasons or {})
        self.rows = rows


class StorageError(NestvecError):
    """An index directory cannot be read or written."""


class DamagedIndexError(StorageError):
    """A file of the index is truncated, altered or missing."""


class NewerFormatError(StorageError):
    """The index was written by a newer nestvec."""


class LockedError(StorageError):
    """Another process is writing to the index."""


class TrainError(NestvecError):
    """Training cannot go on."""


class NonFiniteLossError(TrainError):
    """A loss or a gradient is NaN or infinite; the message says where, and where it is saved."""


class CheckpointError(TrainError):
    """A run's checkpoint is of another configuration, of other data, or damaged."""


class MissingExtraError(NestvecError, ImportError):
    """An optional package is not installed."""
