"""JSON nested too deeply for Python, wherever a file or a server may hold it."""

import pytest

from nestvec import Transform
from nestvec.data import read_qrels, read_texts
from nestvec.encode import read_vectors
from nestvec.errors import NestvecError
from nestvec.json_text import parse_json

DEEP = "[" * 100_000 + "]" * 100_000


def read_report(path):
    from nestvec.auditing.reporting.report import AuditReport

    return AuditReport.load(path)


def read_config(path):
    from nestvec.train.config import read_table

    return read_table(path)


def read_image_model(path):
    pytest.importorskip("torch")
    from nestvec.train.models.image_model import CONFIG, ImageModel

    (path.parent / CONFIG).write_text(path.read_text())
    return ImageModel.load(path.parent)


def read_head(path):
    pytest.importorskip("torch")
    from nestvec.train.recipes.image import load_head

    (path.parent / "head.json").write_text(path.read_text())
    return load_head(path.parent)


def read_transform(path):
    content = DEEP.encode()
    path.write_bytes(len(content).to_bytes(8, "little") + content)
    return Transform.load(path)


def read_safetensors(path):
    content = b'{"__metadata__": ' + DEEP.encode() + b"}"
    path = path.with_suffix(".safetensors")
    path.write_bytes(len(content).to_bytes(8, "little") + content)
    return read_vectors(path)


READERS = {
    "text.jsonl": (read_texts, f'{{"text": {DEEP}}}'),
    "texts.json": (read_texts, DEEP),
    "vectors.jsonl": (read_vectors, f'{{"vector": {DEEP}}}'),
    "qrels.jsonl": (lambda path: read_qrels(path, ["q"], ["d"]), f'{{"query-id": {DEEP}}}'),
    "report.json": (read_report, DEEP),
    "config.json": (read_config, DEEP),
    "config.toml": (read_config, f"a = {DEEP}"),
    "model.json": (read_image_model, DEEP),
    "head.json.old": (read_head, DEEP),
    "transform.safetensors": (read_transform, ""),
    "array": (read_safetensors, ""),
}


@pytest.mark.door("JSON nested 100,000 deep, in any file", "an error that names the file")
@pytest.mark.parametrize("name", READERS)
def test_deep_json_is_an_error_that_names_the_file(name, tmp_path):
    read, content = READERS[name]
    path = tmp_path / name
    path.write_text(content)
    with pytest.raises(NestvecError) as caught:
        read(path)
    assert str(tmp_path) in str(caught.value)
    assert len(str(caught.value)) < 1_000


def test_the_parser_has_one_kind_of_error():
    for text in (DEEP, "{", b"\xff"):
        with pytest.raises(ValueError):
            parse_json(text)
    assert parse_json('{"a": [1]}') == {"a": [1]}
