"""Lines of UTF-8 files: plain, gzipped or compressed by Zstandard, by their first bytes."""

import gzip
import sys
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from io import BufferedIOBase
from pathlib import Path
from typing import Any

from nestvec.errors import DataError
from nestvec.extras import require

COMPRESSED = (".gz", ".zst")
"""Suffixes that follow the one of the format."""

_GZIP = b"\x1f\x8b"
_ZSTANDARD = b"\x28\xb5\x2f\xfd"


def read_lines(path: Path) -> Iterator[tuple[int, str]]:
    """Line numbers from 1 and decoded lines with their ends; every failure is a `DataError`.

    A byte order mark is dropped. Lines are cut at the byte `\\n` only: texts may hold other
    separators, such as U+2028.
    """
    line = 0
    try:
        with _readable(path), open_decompressed(path) as file:
            for line, raw in enumerate(file, 1):
                # Spreadsheets begin their files with a byte order mark.
                yield line, raw.decode("utf-8-sig" if line == 1 else "utf-8")
    except UnicodeDecodeError as e:
        raise DataError(
            f"{path}, line {line} is not UTF-8 ({e.reason}); save it as UTF-8"
        ) from None


def read_head(path: Path, size: int) -> bytes:
    """The first `size` bytes, decompressed; `DataError` if they cannot be read."""
    with _readable(path), open_decompressed(path) as file:
        return file.read(size)


def open_decompressed(path: Path) -> BufferedIOBase:
    """The bytes that a file holds, decompressed.

    The first bytes decide. A name in .gz or .zst whose content is not so compressed is left to the
    decompressor, which says what is wrong.
    """
    with path.open("rb") as file:
        magic = file.read(len(_ZSTANDARD))
    suffix = path.suffix.lower()
    if magic.startswith(_GZIP):
        return gzip.open(path)
    if magic == _ZSTANDARD:
        return _open_zstandard(path)
    if suffix == ".gz":
        return gzip.open(path)
    return _open_zstandard(path) if suffix == ".zst" else path.open("rb")


def is_compressed(path: Path) -> bool:
    """True for gzip and Zstandard, by content; `OSError` for a file that cannot be opened."""
    with path.open("rb") as file:
        magic = file.read(len(_ZSTANDARD))
    return magic.startswith(_GZIP) or magic == _ZSTANDARD


def _open_zstandard(path: Path) -> BufferedIOBase:
    opened: BufferedIOBase = _zstandard().open(path)
    return opened


def _zstandard() -> Any:
    """The module of Python 3.14, or its backport."""
    return require("compression.zstd" if sys.version_info >= (3, 14) else "backports.zstd", "zst")


@contextmanager
def _readable(path: Path) -> Iterator[None]:
    """Turn the errors of decompressors and of the disk into `DataError`."""
    try:
        yield
    except (EOFError, gzip.BadGzipFile, zlib.error) as e:
        kind = "Zstandard" if path.suffix.lower() == ".zst" else "gzip"
        raise DataError(
            f"{path} is no whole {kind} file ({e}); copy or download it again"
        ) from None
    except OSError as e:
        raise DataError(f"{path} cannot be read: {e.strerror or e}; check the path") from None
    except Exception as e:
        if type(e).__name__ != "ZstdError":  # its class is that of an optional package
            raise
        raise DataError(f"{path} is no whole Zstandard file ({e}); copy it again") from None
