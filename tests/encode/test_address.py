"""Addresses without secrets, and texts that go only where the index says or the user asks."""

import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from nestvec import Index
from nestvec.encode import OpenAIEncoder, encode_to_file
from nestvec.encode.address import embeddings_url, is_loopback, public_address
from nestvec.errors import DataError, EncodeError, InputError

TEXTS = {"cat": "a cat sleeps", "bank": "rates rise", "whale": "whales sing"}
SECRET = "sk-secret"


pytestmark = pytest.mark.usefixtures("no_environment")


@pytest.fixture
def texts(tmp_path):
    path = tmp_path / "texts.jsonl"
    path.write_text("".join(json.dumps({"_id": i, "text": t}) + "\n" for i, t in TEXTS.items()))
    return path


@pytest.fixture
def index(run, server, texts, tmp_path):
    """An index whose texts the server encoded; requests are counted from then on."""
    path = tmp_path / "i.nv"
    command = ("index", texts, "-o", path, "--model", "openai:toy", "--base-url", server.url)
    assert run(*command)[0] == 0
    server.bodies.clear()
    server.keys.clear()
    return path


def set_model(index, facts):
    """Build the index again with other facts of its model, as older and foreign indexes have."""
    vectors = np.array(Index.open(index).vectors)
    rows = {"ids": list(TEXTS), "texts": list(TEXTS.values())}
    Index.build(vectors, index, **rows, model=facts, overwrite=True)


def sent(server):
    return [text for body in server.bodies for text in body["input"] if text != "width"]


# Addresses


@pytest.mark.parametrize(
    ("url", "shown", "to"),
    [
        ("http://h:8000/v1", "http://h:8000/v1", "http://h:8000/v1/embeddings"),
        ("https://U:p@Host/v1/", "https://host/v1", "https://U:p@Host/v1/embeddings"),
        ("https://h:443/v1?key=s#f", "https://h/v1", "https://h:443/v1/embeddings?key=s"),
        ("http://[::1]:80", "http://[::1]", "http://[::1]:80/embeddings"),
    ],
)
def test_an_address_is_shown_without_its_secrets(url, shown, to):
    assert public_address(url) == shown
    assert embeddings_url(url) == to
    assert public_address(shown) == shown


@given(st.text("abc:/?#@[]%", max_size=12))
def test_any_other_text_is_refused_without_its_secrets(text):
    url = f"http://user:{SECRET}@{text}"
    try:
        shown = public_address(url)
    except InputError as e:
        shown = str(e)
    assert SECRET not in shown or "/" in text or "?" in text or "#" in text


def test_a_server_on_this_machine_is_known():
    assert all(map(is_loopback, ["http://localhost/v1", "http://127.0.0.2:1", "http://[::1]/"]))
    assert not any(map(is_loopback, ["http://10.0.0.1", "https://localhost.example.com"]))


def test_no_message_repeats_the_password_of_an_address(server):
    url = server.url.replace("//", f"//user:{SECRET}@")
    server.then(status=404)
    with pytest.raises(EncodeError) as refused:
        OpenAIEncoder("toy", base_url=url)
    assert SECRET not in str(refused.value)
    encoder = OpenAIEncoder("toy", base_url=url)
    assert SECRET not in repr(encoder) + repr(encoder.info) + repr(encoder._endpoint)


# An index and its server


@pytest.mark.parametrize("credentials", [("", ""), (f"user:{SECRET}@", f"/?token={SECRET}")])
def test_an_index_records_the_address_and_no_credentials(run, server, texts, tmp_path, credentials):
    user, query = credentials
    url, index = server.url.replace("//", f"//{user}") + query, tmp_path / "i.nv"
    run("index", texts, "-o", index, "--model", "openai:toy", "--base-url", url)
    assert Index.open(index).meta["model"]["base_url"] == server.url
    stored = [path.read_bytes() for path in index.iterdir()]
    assert not any(SECRET.encode() in content for content in stored)
    assert server.url in run("info", index)[1]


def commands(index, folder):
    """Every command that encodes texts by the model of an index."""
    more = folder / "more.jsonl"
    more.write_text('{"_id": "chess", "text": "private words"}\n')
    changed = folder / "changed.jsonl"
    changed.write_text('{"_id": "cat", "text": "private words"}\n')
    return {
        "search": ("search", index, "private words", "-k", 2),
        "add": ("add", index, more),
        "update": ("update", index, changed),
        "tune": ("tune", index, more, "-k", 1),
        "audit": ("audit", index, more, "--no-edits"),
        "compare": ("adapt", "compare", index, more, "--dims", 4),
    }


NAMES = ["search", "add", "update", "tune", "audit", "compare"]


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("elsewhere", [None, "http://127.0.0.1:9/v1"])
def test_later_texts_go_to_the_recorded_address(
    run, server, index, tmp_path, monkeypatch, name, elsewhere
):
    monkeypatch.setenv("OPENAI_API_KEY", SECRET)
    if elsewhere is not None:
        monkeypatch.setenv("OPENAI_BASE_URL", elsewhere)
    _, _, error = run(*commands(index, tmp_path)[name])
    assert sent(server) == ["private words"], error
    assert set(server.keys) == {f"Bearer {SECRET}"}  # a server on this machine


@pytest.mark.parametrize("name", NAMES)
def test_another_address_is_refused_unless_the_model_is_named_too(
    run, server, index, tmp_path, name
):
    other = "http://127.0.0.1:9/v1"
    set_model(index, {"name": "openai:toy", "revision": None, "dim": 8, "base_url": other})
    command = (*commands(index, tmp_path)[name], "--base-url", server.url)
    code, _, error = run(*command)
    assert code == 1
    assert other in error
    assert "--model openai:toy" in error
    assert server.bodies == []
    _, _, error = run(*command, "--model", "openai:toy")
    assert sent(server) == ["private words"], error


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("model", [(), ("--model", "openai:toy")])
def test_an_index_without_an_address_sends_nothing_until_one_is_named(
    run, server, index, tmp_path, monkeypatch, name, model
):
    monkeypatch.setenv("OPENAI_BASE_URL", server.url)  # of another model, for all that is known
    set_model(index, {"name": "openai:toy", "revision": None, "dim": 8})
    command = (*commands(index, tmp_path)[name], *model)
    code, _, error = run(*command)
    assert code == 1
    assert "--base-url" in error
    assert "https://api.openai.com/v1" in error
    assert server.bodies == []
    _, _, error = run(*command, "--base-url", server.url)
    assert sent(server) == ["private words"], error


def test_the_same_address_in_other_words_is_no_other_address(run, server, index):
    url = server.url.replace("http://", f"HTTP://user:{SECRET}@") + "/"
    assert run("search", index, "private words", "-k", 2, "--base-url", url)[0] == 0
    assert sent(server) == ["private words"]


def test_a_model_named_for_an_index_of_another_needs_an_address(run, server, index):
    set_model(index, None)
    code, _, error = run("search", index, "private words", "-k", 2, "--model", "openai:toy")
    assert (code, server.bodies) == (1, [])
    assert "--base-url" in error


def test_a_recorded_address_of_strangers_gets_no_key(run, server, index, monkeypatch):
    stranger = "http://stranger.invalid/v1"
    monkeypatch.setenv("HTTP_PROXY", server.url)  # so that the server hears what they would
    monkeypatch.setenv("OPENAI_API_KEY", SECRET)
    set_model(index, {"name": "openai:toy", "revision": None, "dim": 8, "base_url": stranger})
    _, _, error = run("search", index, "private words", "-k", 2)
    assert f"texts are sent to {stranger}" in error
    assert "OPENAI_API_KEY" in error
    assert server.keys == [None, None]
    run("search", index, "private words", "-k", 2, "--base-url", stranger)
    monkeypatch.setenv("OPENAI_BASE_URL", f"{stranger}/")
    run("search", index, "private words", "-k", 2)
    assert server.keys[2:] == [f"Bearer {SECRET}"] * 4


def test_vectors_made_elsewhere_are_indexed_with_the_address_of_their_model(
    run, server, texts, tmp_path
):
    encoder = OpenAIEncoder("toy", base_url=server.url)
    encode_to_file(encoder, list(TEXTS.values()), tmp_path / "v.npy")
    index = tmp_path / "v.nv"
    command = ("index", tmp_path / "v.npy", "-o", index, "--texts", texts)
    code, _, error = run(*command, "--model", "minilm", "--base-url", server.url)
    assert code == 1
    assert "--base-url" in error
    run(*command, "--model", "openai:toy", "--base-url", server.url)
    server.bodies.clear()
    assert "rates rise" in run("search", index, "rates rise", "-k", 1)[1]
    assert sent(server) == ["rates rise"]


def test_a_cascade_records_the_address_too(run, server, tmp_path):
    rows = [{"text": f"{word} {n}", "label": word} for word in ("a", "b") for n in range(20)]
    path = tmp_path / "rows.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    cascade = tmp_path / "c.safetensors"
    named = ("--model", "openai:toy", "--base-url", server.url)
    code, _, error = run("classify", "fit", path, "-o", cascade, *named)
    assert code == 0, error
    server.bodies.clear()
    assert run("classify", "predict", cascade, path)[0] == 0
    assert len(sent(server)) == 40


def test_unfinished_vectors_of_one_server_are_not_continued_by_another(server, tmp_path):
    encoder = OpenAIEncoder("toy", base_url=server.url)
    rows = encoder.encode

    def stopping(texts):
        if "whales sing" in texts:
            raise KeyboardInterrupt
        return rows(texts)

    encoder.encode = stopping
    with pytest.raises(KeyboardInterrupt):
        encode_to_file(encoder, list(TEXTS.values()), tmp_path / "v.npy", chunk_rows=1)
    other = OpenAIEncoder("toy", base_url="http://localhost:9/v1", dimensions=8)
    with pytest.raises(DataError, match="begun with other model"):
        encode_to_file(other, list(TEXTS.values()), tmp_path / "v.npy", chunk_rows=1)
