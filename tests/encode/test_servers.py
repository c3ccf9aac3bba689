"""Servers as they are: their limits, their errors, and the texts that they do not take."""

import json
import random

import numpy as np
import pytest
from numpy.testing import assert_allclose

from nestvec.encode import Limits, OpenAIEncoder, Retry, encode_to_file, open_encoder
from nestvec.encode.address import public_address, redirected
from nestvec.errors import BadTextError, DataError, DimsError, EncodeError, InputError

from .conftest import Reply

TEXTS = [f"text {i}" for i in range(40)]


pytestmark = pytest.mark.usefixtures("no_environment")


def encoder_of(server, **options):
    retry = Retry(sleep=lambda seconds: None, rng=random.Random(0), attempts=3)
    options = {"limits": Limits(requests=1), "retry": retry, **options}
    return OpenAIEncoder("toy", base_url=server.url, **options)


def refusal(message, status=400):
    return Reply(status, json.dumps({"error": {"message": message}}))


def at_most(n, status):
    return lambda body: refusal(f"at most {n}", status) if len(body["input"]) > n else None


def no(*bad, status=400):
    """A server that refuses a request with one of these texts in it."""
    return lambda body: refusal("bad text", status) if set(bad) & set(body["input"]) else None


# Sizes


@pytest.mark.door("a server that takes fewer texts at a time", "halved, and the size remembered")
@pytest.mark.parametrize(
    ("limit", "status", "taken"), [(32, 413, 20), (32, 422, 20), (10, 400, 10), (1, 413, 1)]
)
def test_a_smaller_limit_is_learned_and_remembered(server, limit, status, taken):
    server.behave = at_most(limit, status)
    encoder = encoder_of(server)
    assert_allclose(encoder.encode(TEXTS), server.rows(TEXTS), atol=1e-6)
    server.bodies.clear()
    assert_allclose(encoder.encode(TEXTS), server.rows(TEXTS), atol=1e-6)
    assert {len(body["input"]) for body in server.bodies} == {taken}


def test_threads_share_what_they_learn(server):
    server.behave = at_most(4, 413)
    texts = [f"text {i}" for i in range(300)]
    encoder = encoder_of(server, limits=Limits(texts=64, requests=4))
    assert_allclose(encoder.encode(texts), server.rows(texts), atol=1e-6)
    server.bodies.clear()
    encoder.encode(texts)
    assert {len(body["input"]) for body in server.bodies} == {4}


@pytest.mark.door("a server that takes fewer characters at a time", "halved")
def test_a_limit_of_the_body_is_met_by_halves(server):
    def behave(body):
        return Reply(413, "<html>Too Large") if sum(map(len, body["input"])) > 100 else None

    server.behave = behave
    assert_allclose(encoder_of(server).encode(TEXTS), server.rows(TEXTS), atol=1e-6)


# Bad texts


@pytest.mark.door("texts that a server refuses", "each named by position, others not blamed")
@pytest.mark.parametrize("status", [400, 413, 422])
def test_bad_texts_are_found_among_good_ones(server, status):
    texts = [*TEXTS[:7], "", *TEXTS[7:30], "x" * 999, *TEXTS[30:]]
    server.behave = no("", "x" * 999, status=status)
    with pytest.raises(BadTextError, match="text 7 of 42 has no vector") as error:
        encoder_of(server).encode(texts)
    assert list(error.value.reasons) == [7, 31]
    good = [i for i in range(42) if i not in (7, 31)]
    expected = server.rows([texts[i] for i in good])
    assert_allclose(error.value.rows[good], expected, atol=1e-6)
    assert not error.value.rows[[7, 31]].any()


def test_bad_texts_do_not_make_later_batches_smaller(server):
    server.behave = no("text 3")
    encoder = encoder_of(server)
    with pytest.raises(BadTextError):
        encoder.encode(TEXTS)
    server.bodies.clear()
    encoder.encode(TEXTS[4:])
    assert [len(body["input"]) for body in server.bodies] == [36]


@pytest.mark.door("NaN in a vector of a server", "the text is named")
@pytest.mark.parametrize("number", [float("nan"), None, float("inf")])
def test_a_vector_with_nan_is_of_one_text_alone(server, number):
    def edit(reply):
        for entry in reply["data"]:
            if entry["index"] == 2:
                entry["embedding"][1] = number
        return reply

    encoder = encoder_of(server)
    server.then(edit=edit)
    with pytest.raises(BadTextError, match="text 2 of 40") as error:
        encoder.encode(TEXTS)
    assert list(error.value.reasons) == [2]
    assert_allclose(error.value.rows[3:], server.rows(TEXTS[3:]), atol=1e-6)


@pytest.mark.door("a server error (500) about one text: NaN, or too long", "the text is named")
@pytest.mark.parametrize(
    "message",
    [
        "failed to encode response: json: unsupported value: NaN",
        "input is too large to process. increase the physical batch size",
        "the input length exceeds the context length",
        "input (900 tokens) exceeds the maximum of 512 tokens",
    ],
)
def test_a_reply_that_cannot_be_written_is_of_one_text(server, message):
    server.behave = lambda body: refusal(message, 500) if "text 5" in body["input"] else None
    with pytest.raises(BadTextError) as error:
        encoder_of(server).encode(TEXTS)
    assert list(error.value.reasons) == [5]


@pytest.fixture
def corpus(tmp_path):
    """A blank line, so that line numbers are not row numbers; the fourth text is empty."""
    rows = ["one", "two", "three", "", "five", "six"]
    lines = [json.dumps({"_id": f"d{i}", "text": text, "n": i}) for i, text in enumerate(rows)]
    path = tmp_path / "corpus.jsonl"
    path.write_text("\n".join([*lines[:2], "", *lines[2:]]))
    return path


@pytest.mark.door("an empty text in a file, refused by the server", "named by line and id")
@pytest.mark.parametrize("command", ["encode", "index"])
def test_a_bad_text_is_named_by_its_line_and_id(run, server, corpus, tmp_path, command):
    server.behave = no("")
    out = tmp_path / ("v.npy" if command == "encode" else "i.nv")
    named = ("--model", "openai:toy", "--base-url", server.url)
    code, _, error = run(command, corpus, "-o", out, *named)
    assert code == 1
    assert "line 5 (id 'd3')" in error
    assert "--on-bad-text skip" in error
    assert not out.exists()
    # The three rows before it were paid for, and are not sent again once the text is mended.
    corpus.write_text(corpus.read_text().replace('"text": ""', '"text": "four"'))
    server.bodies.clear()
    assert run(command, corpus, "-o", out, *named)[0] == 0
    assert server.sent() == ["four", "five", "six"]


@pytest.mark.parametrize(
    ("choice", "ids"), [("skip", [0, 1, 2, 4, 5]), ("blank", [0, 1, 2, 3, 4, 5])]
)
def test_bad_texts_are_skipped_or_blank(run, server, corpus, tmp_path, choice, ids):
    from nestvec import Index

    server.behave = no("")
    named = ("--model", "openai:toy", "--base-url", server.url, "--on-bad-text", choice)
    code, out, error = run("encode", corpus, "-o", tmp_path / "v.npy", *named, "--json")
    assert code == 0, error
    assert "line 5 (id 'd3')" in error
    rows = np.load(tmp_path / "v.npy")
    texts = ["one", "two", "three", "", "five", "six"]
    expected = server.rows([texts[i] for i in ids])
    if choice == "blank":
        expected[3] = 0
    assert_allclose(rows, expected, atol=1e-6)
    assert json.loads(out)["rows"] == len(ids)
    assert run("index", corpus, "-o", tmp_path / "i.nv", *named)[0] == 0
    index = Index.open(tmp_path / "i.nv")
    assert list(index.ids) == [f"d{i}" for i in ids]
    assert_allclose(index.vectors, expected, atol=1e-6)
    assert [document.metadata["n"] for document in index.get(list(index.ids))] == ids


def test_what_was_paid_for_is_kept_when_a_run_goes_on_with_skip(run, server, corpus, tmp_path):
    server.behave = no("")
    named = ("--model", "openai:toy", "--base-url", server.url)
    run("encode", corpus, "-o", tmp_path / "v.npy", *named)
    server.bodies.clear()
    assert run("encode", corpus, "-o", tmp_path / "v.npy", *named, "--on-bad-text", "skip")[0] == 0
    assert "one" not in server.sent()
    assert len(np.load(tmp_path / "v.npy")) == 5


@pytest.mark.door(
    "an account that is empty, or a server that fails, at the end", "all before is kept"
)
def test_a_failure_at_the_end_keeps_what_was_paid_for(server, tmp_path):
    body = '{"error": {"message": "no credit left", "code": "insufficient_quota"}}'
    server.behave = lambda request: Reply(429, body) if "text 36" in request["input"] else None
    encoder = encoder_of(server, limits=Limits(texts=5, requests=1))
    with pytest.raises(EncodeError, match="no credit left"):
        encode_to_file(encoder, TEXTS, tmp_path / "v.npy")
    server.bodies.clear()
    server.behave = lambda request: None
    encode_to_file(encoder, TEXTS, tmp_path / "v.npy")
    assert server.sent() == TEXTS[35:]
    assert_allclose(np.load(tmp_path / "v.npy"), server.rows(TEXTS), atol=1e-6)


def test_a_failure_behind_a_bad_text_keeps_what_is_before_it(server, tmp_path):
    def behave(request):
        if "text 36" in request["input"]:
            return Reply(401, "{}")
        return no("text 12")(request)

    server.behave = behave
    encoder = encoder_of(server, limits=Limits(texts=5, requests=1))
    with pytest.raises(EncodeError, match="401"):
        encode_to_file(encoder, TEXTS, tmp_path / "v.npy")
    server.bodies.clear()
    server.behave = lambda request: None
    encode_to_file(encoder, TEXTS, tmp_path / "v.npy")
    assert server.sent() == TEXTS[12:]
    assert_allclose(np.load(tmp_path / "v.npy"), server.rows(TEXTS), atol=1e-6)


def test_rows_of_zeros_are_not_gone_on_with_as_if_all_were_well(server, tmp_path):
    server.behave = no("text 1")
    encoder = encoder_of(server)

    def stop(body):
        return Reply(401, "{}") if "text 30" in body["input"] else no("text 1")(body)

    server.behave = stop
    with pytest.raises(EncodeError, match="401"):
        encode_to_file(encoder, TEXTS, tmp_path / "v.npy", on_bad_text="blank", chunk_rows=8)
    with pytest.raises(DataError, match="rows of zeros for 1 texts"):
        encode_to_file(encoder, TEXTS, tmp_path / "v.npy", chunk_rows=8)
    server.behave = no("text 1")
    blanks = encode_to_file(encoder, TEXTS, tmp_path / "v.npy", on_bad_text="skip", chunk_rows=8)
    assert list(blanks) == [1]
    expected = server.rows([text for text in TEXTS if text != "text 1"])
    assert_allclose(np.load(tmp_path / "v.npy"), expected, atol=1e-6)


# Replies


@pytest.mark.door("index: null in a reply", "taken in order")
def test_null_as_index_is_no_index(server):
    def unnumber(reply):
        return {"data": [{**entry, "index": None} for entry in reply["data"][::-1]]}

    encoder = encoder_of(server)
    server.then(edit=unnumber)
    assert_allclose(encoder.encode(TEXTS), server.rows(TEXTS), atol=1e-6)


@pytest.mark.door("status 200 with an error in the body", "read as the error that it is")
@pytest.mark.parametrize(
    ("body", "words"),
    [
        ({"error": {"message": "no such model"}}, "no such model"),
        ({"error": "no such model"}, "no such model"),
        ({"object": "error", "message": "no such model", "code": 40301}, "no such model"),
        ({"error": {"message": "wrong key", "code": 401}}, "wrong key; check the key"),
        ({"detail": "no such model"}, "no such model"),
        ({"error": {"message": "no money", "type": "insufficient_quota"}}, "no money"),
    ],
)
def test_an_error_with_status_200_is_told_in_the_words_of_the_server(server, body, words):
    encoder = encoder_of(server)
    server.behave = lambda request: Reply(200, json.dumps(body))
    encoder = encoder_of(server, dimensions=8)
    with pytest.raises(EncodeError, match=words):
        encoder.encode(TEXTS)
    assert len(server.bodies) <= 3


@pytest.mark.parametrize(
    "error",
    [
        {"message": "slow down", "code": 429},
        {"message": "busy", "type": "overloaded_error"},
        {"message": "x", "type": "rate_limit_exceeded"},
    ],
)
def test_a_passing_error_with_status_200_is_tried_again(server, error):
    encoder = encoder_of(server)
    server.then(body=json.dumps({"error": error}))
    assert_allclose(encoder.encode(TEXTS), server.rows(TEXTS), atol=1e-6)


def test_an_error_with_status_200_about_a_text_is_bisected(server):
    body = json.dumps({"error": {"message": "too long", "type": "invalid_request_error"}})
    server.behave = lambda request: Reply(200, body) if "text 9" in request["input"] else None
    with pytest.raises(BadTextError) as error:
        encoder_of(server).encode(TEXTS)
    assert list(error.value.reasons) == [9]


@pytest.mark.door("a redirect within the server", "followed, with the key")
@pytest.mark.parametrize("status", [301, 302, 307, 308])
def test_a_redirect_within_the_server_is_followed(server, monkeypatch, status):
    monkeypatch.setenv("OPENAI_API_KEY", "secret-1")
    server.then(status=status, headers={"Location": "/other/v1/embeddings"})
    encoder = encoder_of(server)
    assert server.paths == ["/v1/embeddings", "/other/v1/embeddings"]
    assert server.keys == ["Bearer secret-1"] * 2
    assert encoder.info.dim == 8


@pytest.mark.door("a redirect to another server", "refused: the key stays")
@pytest.mark.parametrize(
    "location",
    [
        "http://127.0.0.1:9/v1/embeddings?key=secret-2",
        "https://elsewhere.invalid/v1",
        "//elsewhere.invalid/v1",
    ],
)
def test_a_redirect_elsewhere_gets_neither_texts_nor_key(server, monkeypatch, location):
    monkeypatch.setenv("OPENAI_API_KEY", "secret-1")
    server.then(status=307, headers={"Location": location})
    with pytest.raises(EncodeError, match="redirects to another server") as error:
        encoder_of(server)
    assert "secret" not in str(error.value)
    assert len(server.bodies) == 1


def test_a_circle_of_redirects_ends(server):
    server.then(times=9, status=307, headers={"Location": "/v1/embeddings"})
    with pytest.raises(EncodeError, match="redirects more than 3 times"):
        encoder_of(server)


def test_another_port_or_scheme_is_another_server():
    base = "https://host/v1/embeddings"
    assert redirected(base, "/v2/embeddings") == "https://host/v2/embeddings"
    assert redirected(base, "https://HOST:443/x") == "https://HOST:443/x"
    for elsewhere in (
        "http://host/v1",
        "https://host:8443/v1",
        "https://host.evil/v1",
        "ftp://host",
    ):
        assert redirected(base, elsewhere) is None


# Keys and headers


@pytest.mark.door("Azure: a path of its own, api-version and api-key", "sent and recorded so")
def test_azure_gets_its_version_and_its_key(run, server, corpus, tmp_path, monkeypatch):
    monkeypatch.setenv("OPENAI_API_KEY", "secret-1")
    root = server.url.removesuffix("/v1")
    url = f"{root}/openai/deployments/toy?api-version=2024-02-01"
    named = ("--model", "openai:toy", "--base-url", url)
    code, _, error = run("index", corpus, "-o", tmp_path / "i.nv", *named)
    assert code == 0, error
    server.paths.clear()
    server.headers.clear()
    assert run("search", tmp_path / "i.nv", "one", "-k", 1)[0] == 0
    assert set(server.paths) == {"/openai/deployments/toy/embeddings?api-version=2024-02-01"}
    headers = [{name.lower(): value for name, value in sent.items()} for sent in server.headers]
    assert all(sent["api-key"] == "secret-1" and "authorization" not in sent for sent in headers)


def test_only_the_version_of_a_query_is_public():
    url = "https://h/openai?api-version=2024-02-01&key=s"
    assert public_address(url) == "https://h/openai?api-version=2024-02-01"


@pytest.mark.door("a header that a gateway wants", "--header NAME=VARIABLE, the value unseen")
def test_headers_take_their_values_from_the_environment(run, server, corpus, tmp_path, monkeypatch):
    monkeypatch.setenv("GATEWAY", "secret-2")
    named = ("--model", "openai:toy", "--base-url", server.url, "--header", "X-Tenant=GATEWAY")
    assert run("index", corpus, "-o", tmp_path / "i.nv", *named)[0] == 0
    assert all(sent["X-Tenant"] == "secret-2" for sent in server.headers)
    server.headers.clear()
    header = ("--header", "X-Tenant=GATEWAY")
    assert run("search", tmp_path / "i.nv", "one", "-k", 1, *header)[0] == 0
    assert server.headers[-1]["X-Tenant"] == "secret-2"
    catalog = b"".join(path.read_bytes() for path in (tmp_path / "i.nv").iterdir())
    assert b"secret-2" not in catalog


def test_no_message_repeats_a_header(server, monkeypatch):
    monkeypatch.setenv("GATEWAY", "secret-2")
    server.behave = lambda body: Reply(403, '{"error": {"message": "secret-2 may not"}}')
    with pytest.raises(EncodeError, match=r"\*\*\* may not") as error:
        encoder_of(server, headers={"X-Tenant": "GATEWAY"})
    assert "secret-2" not in str(error.value)


@pytest.mark.parametrize(
    ("header", "problem"),
    [("X-Tenant", "is not NAME=VARIABLE"), ("X Y=GATEWAY", "is no name of a header"),
     ("X-Tenant=MISSING", "'MISSING' for the header X-Tenant is not set")],
)  # fmt: skip
def test_a_header_that_cannot_be_sent_is_refused(
    run, server, corpus, tmp_path, monkeypatch, header, problem
):
    monkeypatch.setenv("GATEWAY", "secret-2")
    named = ("--model", "openai:toy", "--base-url", server.url, "--header", header)
    code, _, error = run("encode", corpus, "-o", tmp_path / "v.npy", *named)
    assert code == 1
    assert problem in error
    assert server.bodies == []


# Widths


@pytest.mark.door("dims asked of a server that ignores or refuses them", "truncated here, and told")
@pytest.mark.parametrize("way", ["serves", "ignores", "refuses"])
def test_dims_are_a_prefix_whatever_the_server_does(server, caplog, way):
    def behave(body):
        if way == "refuses" and "dimensions" in body:
            return refusal("this model does not support dimensions")
        if way == "ignores":
            body.pop("dimensions", None)
        return None

    server.behave = behave
    encoder = open_encoder("openai:toy", base_url=server.url, dims=3)
    assert encoder.info.to_json() == {
        "name": "openai:toy", "revision": None, "dim": 3, "base_url": server.url, "dims": 3,
    }  # fmt: skip
    assert_allclose(encoder.encode(TEXTS), server.rows(TEXTS, 3), atol=1e-6)
    assert ("truncated and renormalised here" in caplog.text) == (way != "serves")


def test_dims_are_recorded_and_queries_are_truncated_too(run, server, corpus, tmp_path):
    named = ("--model", "openai:toy", "--base-url", server.url, "--dims", 4)
    server.behave = lambda body: body.pop("dimensions", None) and None
    corpus.write_text(corpus.read_text().replace('"text": ""', '"text": "four"'))
    assert run("index", corpus, "-o", tmp_path / "i.nv", *named)[0] == 0
    code, out, error = run("search", tmp_path / "i.nv", "one", "-k", 1, "--json")
    assert code == 0, error
    assert json.loads(out)["queries"][0]["hits"][0]["id"] == "d0"
    assert run("encode", corpus, "-o", tmp_path / "v.npy", *named)[0] == 0
    assert np.load(tmp_path / "v.npy").shape == (6, 4)


def test_dims_wider_than_the_model_are_refused(server):
    server.behave = lambda body: body.pop("dimensions", None) and None
    with pytest.raises(DimsError, match="dims=9 is wider"):
        encoder_of(server, dims=9)
    with pytest.raises(DimsError, match="dims=3 and dimensions=4 differ"):
        encoder_of(server, dims=3, dimensions=4)


# Before the first request


@pytest.mark.door("ids, metadata or texts that no index takes", "refused before the first request")
@pytest.mark.parametrize(
    "row",
    [
        '{"_id": "d0", "text": "again"}',
        '{"_id": "d9", "text": "half \\ud800"}',
        '{"_id": "d9", "text": "x", "n": NaN}',
        '{"_id": 9, "text": "x"}',
    ],
)
def test_rows_that_cannot_be_stored_are_refused_unpaid(run, server, corpus, tmp_path, row):
    corpus.write_text(f"{corpus.read_text()}\n{row}\n")
    named = ("--model", "openai:toy", "--base-url", server.url)
    code, _, error = run("index", corpus, "-o", tmp_path / "i.nv", *named)
    if code == 0:  # NaN may be read as null
        assert "NaN" in row
        return
    assert server.bodies == []
    assert "error" in error


def test_ids_of_changes_are_checked_before_the_first_request(run, server, corpus, tmp_path):
    corpus.write_text(corpus.read_text().replace('"text": ""', '"text": "four"'))
    named = ("--model", "openai:toy", "--base-url", server.url)
    assert run("index", corpus, "-o", tmp_path / "i.nv", *named)[0] == 0
    server.bodies.clear()
    (tmp_path / "new.jsonl").write_text('{"_id": "d9", "text": "nine"}')
    for command, data, problem in (
        ("add", corpus, "'d0', 'd1', 'd2', 'd3', 'd4' and 1 more are"),
        ("update", tmp_path / "new.jsonl", "'d9' is not in"),
    ):
        code, _, error = run(command, tmp_path / "i.nv", data)
        assert (code, server.bodies) == (1, []), error
        assert problem in error


def test_an_output_that_exists_is_refused_before_the_first_request(run, server, corpus, tmp_path):
    (tmp_path / "v.npy").write_text("precious")
    named = ("--model", "openai:toy", "--base-url", server.url)
    code, _, error = run("encode", corpus, "-o", tmp_path / "v.npy", *named)
    assert (code, server.bodies) == (1, [])
    assert "exists" in error


def test_batches_and_requests_are_options(run, server, corpus, tmp_path):
    corpus.write_text(corpus.read_text().replace('"text": ""', '"text": "four"'))
    named = ("--model", "openai:toy", "--base-url", server.url)
    options = ("--batch-size", 2, "--requests", 1)
    assert run("encode", corpus, "-o", tmp_path / "v.npy", *named, *options)[0] == 0
    assert [len(body["input"]) for body in server.bodies] == [1, 2, 2, 2]


def test_options_that_fit_no_api_are_refused(server):
    for options in ({"revision": "main"}, {"trust_remote_code": True}, {"device": "cpu"}):
        with pytest.raises(InputError, match="which runs elsewhere"):
            open_encoder("openai:toy", base_url=server.url, **options)
    for options in ({"requests": 2}, {"headers": {"x": "Y"}}):
        with pytest.raises(InputError, match="given for the local model"):
            open_encoder("minilm", **options)
    assert server.bodies == []
