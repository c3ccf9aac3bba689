"""`TextIndex`: an index with its encoder, so that texts go in and texts are searched."""

import os
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from typing_extensions import Unpack

from nestvec.collections.checks import check_new, check_present, check_records
from nestvec.collections.encoders import (
    EncoderChoice,
    encode_beside,
    encode_queries,
    match_sides,
    model_record,
    open_recorded,
    warn_of_other_revision,
)
from nestvec.documents import Document
from nestvec.encode import Encoder
from nestvec.encode.encoder import check_texts
from nestvec.errors import InputError
from nestvec.hits import Hits
from nestvec.index import Index
from nestvec.index.options import IndexOptions
from nestvec.index.storage.row_records import check_ids, check_length
from nestvec.index.storage.target import check_target
from nestvec.plan import Plan
from nestvec.plurals import count_of
from nestvec.progress import Progress, silent
from nestvec.shapes import Float32


class TextIndex:
    """An index of texts with their encoder.

    The encoder is opened when the first text is encoded. `index` is the index itself, for all that
    is not about texts. Any number of threads may search at the same time.
    """

    def __init__(self, index: Index, encoder: Encoder | EncoderChoice | None = None) -> None:
        self._index = index
        self._choice = encoder if isinstance(encoder, EncoderChoice) else EncoderChoice()
        self._encoder = None if isinstance(encoder, EncoderChoice) else encoder
        self._is_named = self._encoder is None
        self._opening = threading.Lock()
        self._matched = False

    @classmethod
    def build(
        cls,
        texts: Sequence[str],
        path: str | os.PathLike[str],
        *,
        model: str | Encoder = "minilm",
        base_url: str | None = None,
        ids: Sequence[Any] | np.ndarray | None = None,
        metadata: Sequence[Mapping[str, Any]] | None = None,
        overwrite: bool = False,
        progress: Progress = silent,
        **options: Unpack[IndexOptions],
    ) -> "TextIndex":
        """Encode `texts` and write an index of them to the folder `path`.

        `model` is a name that `open_encoder` takes ("minilm" is packaged and needs no network), or
        an encoder; `base_url` is the address of an embedding API. `ids` are unique ints or texts
        (None: 0 … n − 1), and `metadata` one mapping per text. The `options` are those
        of `IndexOptions`: metric, rotation, bits and seed.

        After an interruption the same call resumes the encoding. The index
        appears whole or not at all. Raises `InputError` for inputs that do not fit together and
        `EncodeError` where the model fails.
        """
        checked = check_texts(texts)
        # Checked before an hour of encoding.
        target = check_target(Path(path), overwrite)
        check_length(metadata, len(checked), "metadata records")
        if ids is not None:
            ids = check_ids(ids, len(checked))
        check_records(ids, checked, metadata)
        if base_url is not None and not isinstance(model, str):
            raise InputError("base_url= goes with the name of a model; leave it out")
        named = EncoderChoice(model, base_url) if isinstance(model, str) else None
        encoder = EncoderChoice(model, base_url).open() if isinstance(model, str) else model
        record = model_record(encoder)
        with _encoded(encoder, record, checked, target, progress) as vectors:
            index = Index.build(
                vectors, path, ids=ids, texts=checked, metadata=metadata, model=record,
                overwrite=overwrite, progress=progress, **options,
            )  # fmt: skip
        text_index = cls(index, named or encoder)
        text_index._encoder = encoder
        return text_index

    @classmethod
    def open(
        cls,
        path: str | os.PathLike[str],
        *,
        model: str | Encoder | None = None,
        base_url: str | None = None,
    ) -> "TextIndex":
        """Open an index; its encoder is the recorded one, or `model` in its place.

        Texts are sent to the recorded address of an embedding API, or to `base_url` if that is the
        same or `model` is named too; never to a public default.
        """
        index = Index.open(path)
        if model is None or isinstance(model, str):
            return cls(index, EncoderChoice(model, base_url))
        return cls(index, model)

    @property
    def index(self) -> Index:
        """The index of the vectors."""
        return self._index

    @property
    def encoder(self) -> Encoder:
        """The encoder, opened when first used."""
        with self._opening:
            record = self._index.meta["model"]
            if self._encoder is not None and not self._matched:
                self._encoder = match_sides(self._encoder, record or {"prompts": "own"})
            if self._encoder is None:
                self._encoder = open_recorded(record, self._choice)
                if self._choice.name is None:
                    warn_of_other_revision(record, self._encoder, self._index.path)
            self._matched = True
            return self._encoder

    def __len__(self) -> int:
        """The number of live rows."""
        return len(self._index)

    def __contains__(self, id_: object) -> bool:
        return id_ in self._index

    def __repr__(self) -> str:
        model = (self._index.meta["model"] or {}).get("name")
        return (
            f"<TextIndex: {count_of(len(self), 'text')} at {self._index.path}, encoded by {model}>"
        )

    def __reduce__(self) -> tuple[Any, ...]:
        """Pickle by path: the copy opens the index anew.

        It opens a model by name when first used; an encoder that was passed is pickled itself.
        """
        return TextIndex, (self._index, self._choice if self._is_named else self._encoder)

    def get(self, ids: Any) -> list[Document | None]:
        """Return the documents with these ids, in their order; see `Index.get`."""
        return self._index.get(ids)

    def encode(self, texts: str | Sequence[str]) -> Float32[np.ndarray, "n dim"]:
        """Encode texts, or one text, to unit vectors as the index's model makes them of queries."""
        checked = [texts] if isinstance(texts, str) else check_texts(texts)
        return encode_queries(self.encoder, checked)

    def search(
        self,
        queries: str | Sequence[str],
        k: int = 10,
        *,
        plan: str | Plan | None = None,
        where: str | None = None,
        exact: bool = False,
        certify: bool = False,
        threads: int | None = None,
    ) -> Hits:
        """Search the `k` best rows for each query text; one text is one query.

        The options are those of `Index.search`.
        """
        vectors = self.encode(queries)
        return self._index.search(
            vectors, k, plan=plan, where=where, exact=exact, certify=certify, threads=threads
        )

    def add(
        self,
        texts: str | Sequence[str],
        *,
        ids: Any = None,
        metadata: Sequence[Mapping[str, Any]] | None = None,
        progress: Progress = silent,
    ) -> None:
        """Encode texts and add them, all or none; ids must be new (None: the row numbers)."""
        checked = [texts] if isinstance(texts, str) else check_texts(texts)
        check_records(ids, checked, metadata)
        if ids is not None:
            ids = check_ids(ids)
            check_new(self._index, ids)
        encoder = self.encoder
        record = model_record(encoder)
        with _encoded(encoder, record, checked, self._index.path, progress) as vectors:
            self._index.add(vectors, ids=ids, texts=checked, metadata=metadata, progress=progress)

    def update(
        self,
        texts: str | Sequence[str],
        *,
        ids: Any,
        metadata: Sequence[Mapping[str, Any]] | None = None,
        progress: Progress = silent,
    ) -> None:
        """Replace the texts of the rows with these ids, and their vectors, all or none.

        Metadata stays as it is where `metadata` is None.
        """
        checked = [texts] if isinstance(texts, str) else check_texts(texts)
        ids = check_ids(ids)
        check_records(ids, checked, metadata)
        check_present(self._index, ids)
        encoder = self.encoder
        record = model_record(encoder)
        with _encoded(encoder, record, checked, self._index.path, progress) as vectors:
            self._index.update(
                vectors, ids=ids, texts=checked, metadata=metadata, progress=progress
            )

    def delete(self, ids: Any) -> None:
        """Delete the rows with these ids, all or none."""
        self._index.delete(ids)

    def compact(self, *, progress: Progress = silent) -> None:
        """Merge all segments into one; deleted rows are gone for good."""
        self._index.compact(progress=progress)

    def refresh(self) -> bool:
        """Show the newest generation; return whether there was a newer one."""
        return self._index.refresh()


@contextmanager
def _encoded(
    encoder: Encoder,
    record: Mapping[str, Any],
    texts: Sequence[str],
    target: Path,
    progress: Progress,
) -> Iterator[np.ndarray]:
    """Encode into a file beside `target`, and remove it once the vectors are stored."""
    path, _ = encode_beside(encoder, record, texts, target, progress)
    yield np.load(path, mmap_mode="r")
    path.unlink(missing_ok=True)
