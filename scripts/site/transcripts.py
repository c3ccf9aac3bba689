"""The page of what a new user sees: each kind of file and each mode of a server, run anew."""

import contextlib
import io
import json
import os
import re
import shlex
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from nestvec.cli import main
from scripts.site.embedding_server import Reply, serving

_LEAD = """# Transcripts

This page shows what you see for each kind of file and for each way of a server. The commands run
when this page is built, in a folder with these files and against a local server. Times are left
out.
"""
ROWS = np.random.default_rng(0).standard_normal((4, 8)).astype(np.float32)
TEXTS = ("nested dolls", "water and fire", "landing on water", "prefixes of vectors")
_TIME = re.compile(r"(?m)^time .*\n")
_FIRST_ROWS = (0, 1)


@dataclass(frozen=True)
class Transcript:
    """Commands in a folder of files, and the way of the server that they meet."""

    title: str
    commands: tuple[str, ...]
    write: Callable[[Path], None] = lambda folder: None
    behave: Callable[[dict[str, Any]], Reply | None] | None = None
    """The server's way; None where there is no server."""
    environment: tuple[tuple[str, str], ...] = ()
    fails: bool = False


def page() -> str:
    """Run every transcript, and show commands and output."""
    parts = [_LEAD]
    for heading, transcripts in (("Files", FILES), ("Servers", SERVERS)):
        parts.append(f"\n## {heading}\n")
        parts += [f"\n### {each.title}\n\n```text\n{run(each)}```\n" for each in transcripts]
    return "".join(parts)


def run(transcript: Transcript) -> str:
    """Run the commands of a transcript in a new folder, and return what a terminal shows.

    `AssertionError` for an exit status that is not as expected.
    """
    lines: list[str] = []
    with tempfile.TemporaryDirectory() as name, _folder(name), _server(transcript) as url:
        transcript.write(Path(name))
        with _environment({"COLUMNS": "100", **dict(transcript.environment)}):
            for command in transcript.commands:
                status, output = _run(shlex.split(command.replace("URL", url))[1:])
                failed = status != 0
                expected = transcript.fails and command == transcript.commands[-1]
                assert failed == expected, f"{command}: status {status}\n{output}"
                lines.append(f"$ {command}\n{_TIME.sub('', output)}")
        shown = "".join(lines).replace(f"{os.path.realpath(name)}/", "").replace(f"{name}/", "")
    return shown.replace(url, "URL") if url else shown


def _run(arguments: list[str]) -> tuple[int, str]:
    out = io.StringIO()
    status = 0
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(out):
        try:
            main(arguments)
        except SystemExit as stop:
            status = int(stop.code or 0)
    return status, out.getvalue()


@contextlib.contextmanager
def _server(transcript: Transcript) -> Iterator[str]:
    if transcript.behave is None:
        yield ""
        return
    with serving() as server:
        server.behave = transcript.behave
        yield server.url


@contextlib.contextmanager
def _folder(path: str) -> Iterator[None]:
    # contextlib.chdir came with Python 3.11.
    before = Path.cwd()
    os.chdir(path)
    try:
        yield
    finally:
        os.chdir(before)


@contextlib.contextmanager
def _environment(values: dict[str, str]) -> Iterator[None]:
    before = {name: os.environ.get(name) for name in values}
    os.environ.update(values)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value


# --- files ---


def _records() -> list[dict[str, Any]]:
    return [
        {"id": f"d{n}", "text": text, "year": 1998 + n, "embedding": row}
        for n, (text, row) in enumerate(zip(TEXTS, ROWS.tolist(), strict=True))
    ]


def _lines(path: Path, without: str = "") -> None:
    rows = [{name: row[name] for name in row if name != without} for row in _records()]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")


def _write_texts(folder: Path) -> None:
    _lines(folder / "papers.jsonl", without="embedding")


def _write_vectors(folder: Path) -> None:
    _lines(folder / "embedded.jsonl")


def _write_csv(folder: Path) -> None:
    rows = [f"{row['id']},{row['text']},{row['year']}" for row in _records()]
    (folder / "papers.csv").write_text("\n".join(["doc,abstract,year", *rows]), encoding="utf-8")


def _write_txt(folder: Path) -> None:
    (folder / "lines.txt").write_text("\n".join(TEXTS), encoding="utf-8")


def _write_npy(folder: Path) -> None:
    np.save(folder / "vectors.npy", ROWS)
    _write_texts(folder)


def _write_npz(folder: Path) -> None:
    np.savez(
        folder / "vectors.npz", vectors=ROWS, ids=np.array(["a", "b", "c", "d"]), extra=ROWS[0]
    )


def _write_int8(folder: Path) -> None:
    np.save(folder / "codes.npy", (ROWS * 40).astype(np.int8))


def _write_parquet(folder: Path) -> None:
    import pyarrow as pa
    from pyarrow import parquet

    parquet.write_table(pa.Table.from_pylist(_records()), folder / "papers.parquet")


def _write_arrow(folder: Path) -> None:
    from pyarrow import Table, feather

    feather.write_feather(Table.from_pylist(_records()), folder / "papers.arrow")


def _write_lance(folder: Path) -> None:
    import lance
    from pyarrow import Table

    lance.write_dataset(Table.from_pylist(_records()), folder / "papers.lance")


def _write_shards(folder: Path) -> None:
    (folder / "shards").mkdir()
    for number, row in enumerate(_records()):
        (folder / "shards" / f"part-{number}.jsonl").write_text(json.dumps(row), encoding="utf-8")


def _write_fvecs(folder: Path) -> None:
    width = np.full((len(ROWS), 1), ROWS.shape[1], "<i4").view("<f4")
    np.hstack([width, ROWS]).astype("<f4").tofile(folder / "base.fvecs")


def _write_hdf5(folder: Path) -> None:
    import h5py

    with h5py.File(folder / "glove.hdf5", "w") as file:
        file["train"], file["test"] = ROWS, ROWS[:2]


def _write_faiss(folder: Path) -> None:
    import faiss

    index = faiss.IndexIDMap(faiss.IndexFlatIP(ROWS.shape[1]))
    index.add_with_ids(ROWS, np.array([10, 20, 30, 40]))
    faiss.write_index(index, str(folder / "docs.faiss"))


def _write_usearch(folder: Path) -> None:
    from usearch.index import Index

    index = Index(ndim=ROWS.shape[1], metric="ip", dtype="f32")
    index.add(np.array([10, 20, 30, 40]), ROWS)
    index.save(str(folder / "docs.usearch"))


def _write_unknown_field(folder: Path) -> None:
    rows = [{"text": text, "mine": [0.5] * 32} for text in TEXTS]
    (folder / "odd.jsonl").write_text("\n".join(map(json.dumps, rows)), encoding="utf-8")


def _index(name: str, *options: str) -> str:
    return shlex.join(["nestvec", "index", name, "-o", "papers.nv", *options])


FILES = (
    Transcript(
        "Texts in JSON lines",
        (_index("papers.jsonl"), "nestvec search papers.nv 'how to land on water' -k 2"),
        _write_texts,
    ),
    Transcript(
        "A table with columns of its own names",
        (_index("papers.csv", "--text-column", "abstract", "--id-column", "doc"),),
        _write_csv,
    ),
    Transcript("A file of lines", (_index("lines.txt"),), _write_txt),
    Transcript("Records with vectors", (_index("embedded.jsonl"),), _write_vectors),
    Transcript(
        "An array, and its texts in another file",
        (_index("vectors.npy", "--texts", "papers.jsonl"),),
        _write_npy,
    ),
    Transcript("Several arrays in one file", (_index("vectors.npz"),), _write_npz),
    Transcript("Integers of 8 bits", (_index("codes.npy"),), _write_int8),
    Transcript("A Parquet file", (_index("papers.parquet"),), _write_parquet),
    Transcript("An Arrow file", (_index("papers.arrow"),), _write_arrow),
    Transcript("A data set of Lance", (_index("papers.lance"),), _write_lance),
    Transcript("A folder of shards", (_index("shards"),), _write_shards),
    Transcript("Vectors of a benchmark (.fvecs)", (_index("base.fvecs"),), _write_fvecs),
    Transcript(
        "An HDF5 file with several data sets",
        (_index("glove.hdf5", "--key", "train"), "nestvec index glove.hdf5 -o test.nv"),
        _write_hdf5,
        fails=True,
    ),
    Transcript("An index of FAISS", (_index("docs.faiss"),), _write_faiss),
    Transcript("An index of USearch", (_index("docs.usearch"),), _write_usearch),
    Transcript(
        "Numbers in a field that nestvec does not know",
        (_index("odd.jsonl"),),
        _write_unknown_field,
        fails=True,
    ),
    Transcript("A file that is not there", (_index("papres.jsonl"),), _write_texts, fails=True),
)


# --- servers ---

_API = "--model openai:toy --base-url URL"
_ENCODE = f"nestvec encode papers.jsonl -o papers.npy {_API}"


def _refusal(message: str, status: int = 400) -> Reply:
    return Reply(status, json.dumps({"error": {"message": message}}))


def _takes_two(body: dict[str, Any]) -> Reply | None:
    return _refusal("batch size > 2", 413) if len(body["input"]) > len(_FIRST_ROWS) else None


def _refuses_fire(body: dict[str, Any]) -> Reply | None:
    return _refusal("input is too long") if "water and fire" in body["input"] else None


def _ignores_dims(body: dict[str, Any]) -> None:
    body.pop("dimensions", None)


def _error_in_200(body: dict[str, Any]) -> Reply:
    return Reply(200, '{"error": {"message": "model toy is not loaded", "code": 404}}')


def _null_index(body: dict[str, Any]) -> Reply:
    def edit(reply: dict[str, Any]) -> dict[str, Any]:
        data = sorted(reply["data"], key=lambda entry: entry["index"])
        return {**reply, "data": [{**entry, "index": None} for entry in data]}

    return Reply(edit=edit)


def _nan(body: dict[str, Any]) -> Reply | None:
    if "water and fire" not in body["input"]:
        return None
    place = body["input"].index("water and fire")

    def edit(reply: dict[str, Any]) -> dict[str, Any]:
        for entry in reply["data"]:
            if entry["index"] == place:
                entry["embedding"][0] = float("nan")
        return reply

    return Reply(edit=edit)


def _redirects_away(body: dict[str, Any]) -> Reply:
    return Reply(307, "", {"Location": "https://elsewhere.example/v1/embeddings"})


def _wrong_key(body: dict[str, Any]) -> Reply:
    return _refusal("Incorrect API key provided", 401)


SERVERS = (
    Transcript("A server that does its duty", (_ENCODE,), _write_texts, lambda body: None),
    Transcript("A server that takes two texts at a time", (_ENCODE,), _write_texts, _takes_two),
    Transcript(
        "A text that the server refuses",
        (f"{_ENCODE} --on-bad-text blank", f"{_ENCODE.replace('.npy', '-2.npy')}"),
        _write_texts, _refuses_fire, fails=True,
    ),
    Transcript(
        "NaN in a vector", (_ENCODE,), _write_texts, _nan, fails=True
    ),
    Transcript("`index: null` in replies", (_ENCODE,), _write_texts, _null_index),
    Transcript(
        "A server that ignores `dimensions`", (f"{_ENCODE} --dims 4",), _write_texts, _ignores_dims
    ),
    Transcript(
        "Status 200 with an error in the body", (_ENCODE,), _write_texts, _error_in_200, fails=True
    ),
    Transcript(
        "A redirect to another server", (_ENCODE,), _write_texts, _redirects_away, fails=True
    ),
    Transcript("A wrong key", (_ENCODE,), _write_texts, _wrong_key, fails=True),
    Transcript(
        "A header that a gateway wants",
        (f"{_ENCODE} --header X-Tenant=TENANT",), _write_texts, lambda body: None,
        environment=(("TENANT", "hidden"),),
    ),
    Transcript(
        "No server", ("nestvec encode papers.jsonl -o papers.npy --model openai:toy "
        "--base-url http://127.0.0.1:9/v1",), _write_texts, fails=True,
    ),
)  # fmt: skip
