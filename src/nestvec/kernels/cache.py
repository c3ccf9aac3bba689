"""Cache of compiled kernels: files that are damaged, foreign or cannot be written do no harm.

numba trusts its files, and a flipped bit in machine code crashes the process. Here each entry has a
checksum; what does not fit is compiled anew and written again.
"""

import logging
import pickle
from hashlib import sha256
from pathlib import Path
from typing import Any

from numba.core.caching import IndexDataCacheFile

FORMAT = "checksum 1"
"""Part of the stamp of a cache file, so that those of numba's own format count as out of date."""
_DIGEST_BYTES = 32

_logger = logging.getLogger("nestvec.kernels")
_warned: set[str] = set()


class CheckedCacheFile(IndexDataCacheFile):  # type: ignore[misc]  # numba ships no types
    """The files of one kernel: an index, and an entry for each signature with its SHA-256."""

    def _load_index(self) -> dict[Any, str]:
        try:
            overloads: dict[Any, str] = super()._load_index()
        except OSError:
            raise
        except Exception as e:  # a damaged pickle raises whatever its bytes happen to say
            _warn_once("damaged", f"the kernel cache {self._index_path} is damaged ({e!r})")
            return {}
        return overloads

    def _load_data(self, name: str) -> Any:
        path = Path(self._data_path(name))
        content = path.read_bytes()
        digest, data = content[:_DIGEST_BYTES], content[_DIGEST_BYTES:]
        if sha256(data).digest() != digest:
            _warn_once("damaged", f"the kernel cache {path} is damaged")
            raise OSError(f"{path} differs from its checksum")  # numba then compiles
        return pickle.loads(data)

    def _save_data(self, name: str, data: Any) -> None:
        content = self._dump(data)
        with self._open_for_write(self._data_path(name)) as file:
            file.write(sha256(content).digest() + content)

    def save(self, key: Any, data: Any) -> None:
        """Save an entry; where that fails, a warning says so and the kernel runs uncached."""
        try:
            super().save(key, data)
        except OSError as e:
            _warn_once("unwritable", f"kernels cannot be cached in {self._cache_path} ({e})")


def _warn_once(kind: str, problem: str) -> None:
    """Log a problem of this kind once in a process."""
    if kind not in _warned:
        _warned.add(kind)
        advice = (
            "it is compiled anew" if kind == "damaged" else
            "they are compiled in each process; set NUMBA_CACHE_DIR to a folder with space"
        )  # fmt: skip
        _logger.warning("%s; %s", problem, advice)
