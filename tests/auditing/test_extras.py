"""What is said beyond vectors and judgements: texts, slices, disturbances, strangers, classes."""

import re
from types import SimpleNamespace

import numpy as np
import pytest

import nestvec as nv
from nestvec.auditing import Stress, Texts
from nestvec.errors import InputError
from nestvec.vectors import normalize

FULL, SMALL = {"dims": 64}, {"dims": 8}


def audited(corpus, variants=(FULL, SMALL), qrels=True, **extras):
    given = corpus.qrels if qrels else None
    report = nv.audit(corpus.documents, corpus.queries, given, variants=list(variants), **extras)
    content = report.to_json()
    return SimpleNamespace(
        metrics=[one["metrics"] for one in content["variants"]],
        details=[one["details"] for one in content["variants"]],
        verdicts=[one["verdict"] for one in content["variants"]],
        content=content,
    )


# Slices.


def test_a_slice_is_told_beside_the_rest(corpus):
    half = np.arange(200) < 100
    found = audited(corpus, stress=Stress(slices={"first": half}))
    for metrics in found.metrics:
        assert metrics["slice_retention:first"]["n"] == 100
    assert found.metrics[0]["slice_interaction:first"]["value"] == 1


def test_categories_are_slices_and_small_ones_are_not_told_of(corpus):
    language = ["de"] * 100 + ["en"] * 90 + ["fr"] * 10
    found = audited(corpus, [SMALL], stress=Stress(slices={"language": language}))
    told = {name for name in found.metrics[0] if name.startswith("slice_retention")}
    assert told == {"slice_retention:language=de", "slice_retention:language=en"}


def test_a_slice_that_breaks_first_is_seen(corpus):
    """Queries of one kind that say nothing in the first dimensions, as a photograph may."""
    queries = corpus.queries.copy()
    queries[100:, :12] = 0
    found = nv.audit(
        corpus.documents,
        normalize(queries),
        corpus.qrels,
        variants=[{"dims": 16}],
        stress=Stress(slices={"photograph": np.arange(200) >= 100}),
    )
    (one,) = found.to_json()["variants"]
    assert one["metrics"]["slice_interaction:photograph"]["high"] < 1


def test_the_rarest_tenth_is_a_slice(corpus):
    found = audited(corpus, [SMALL], stress=Stress(frequencies=list(range(200))))
    assert found.metrics[0]["rarest_tenth_retention"]["n"] == 20


def test_the_size_of_an_answer_s_class_is_the_frequency_of_its_query(corpus):
    labels = np.repeat(["rare", "common"], [30, 370])
    found = audited(corpus, [SMALL], stress=Stress(labels=labels))
    assert found.metrics[0]["rarest_tenth_retention"]["n"] == 30


# Disturbed and strange queries.


def test_queries_that_nothing_disturbs_lose_nothing(corpus):
    found = audited(corpus, stress=Stress(noisy={"nothing": corpus.queries}))
    for metrics in found.metrics:
        assert metrics["nothing_interaction"]["value"] == 1


def test_strangers_like_the_queries_fare_like_them(corpus):
    found = audited(corpus, stress=Stress(strangers={"others": corpus.queries}))
    for metrics in found.metrics:
        assert metrics["others_interaction"]["value"] == 1
        kept = metrics["others_retention"]["value"]
        assert kept == pytest.approx(metrics["overlap@10"]["value"])


def test_strangers_from_far_away_lose_more(corpus):
    rng = np.random.default_rng(0)
    far = normalize(rng.standard_normal((100, 64)).astype(np.float32))
    found = audited(corpus, [{"dims": 32}], stress=Stress(strangers={"far": far}))
    assert found.metrics[0]["far_interaction"]["high"] < 1


def test_a_rescored_variant_is_stressed_as_it_answers(corpus):
    whole = {"dims": 8, "bits": 1, "rescore": 399}
    found = audited(corpus, [whole], stress=Stress(strangers={"others": corpus.queries}))
    assert found.metrics[0]["others_retention"]["value"] == 1
    assert found.metrics[0]["noise_0.95_interaction"]["value"] == 1
    assert found.metrics[0]["attack_gain"]["value"] == 0


# Classes.


def test_classes_are_told_apart_by_few_shots(corpus):
    labels = (corpus.documents[:, 0] > 0).astype(int) + 2 * (corpus.documents[:, 1] > 0)
    rescored = {"dims": 8, "bits": 1, "rescore": 50}
    found = audited(corpus, [FULL, SMALL, rescored], stress=Stress(labels=labels))
    full, small, without = found.metrics
    assert full["few_shot_difference"]["value"] == 0
    assert full["few_shot_interaction"]["value"] == 1
    assert small["few_shot_accuracy"]["value"] > 0.3
    assert "few_shot_accuracy" not in without


# Who mines.


def test_without_hard_negatives_both_sides_mine_them(corpus):
    found = audited(corpus)
    assert found.content["inputs"]["hard_negatives_by"] == "union"
    full, small = found.metrics
    assert full["net_flips:mined"]["value"] == 0
    assert small["triplet_accuracy:mined"]["n"] == 200


def test_vectors_that_are_not_under_audit_may_mine(corpus):
    other = corpus.documents[:, ::-1].copy(), corpus.queries[:, ::-1].copy()
    found = audited(corpus, [SMALL], mine=other)
    assert found.content["inputs"]["hard_negatives_by"] == "other"
    assert found.content["inputs"]["hard_negatives"] == 2000


def test_nobody_need_mine(corpus):
    assert "net_flips" not in audited(corpus, [SMALL], mine=None).metrics[0]


def test_what_was_mined_may_fail_a_size_but_need_not_be_proven(corpus):
    """200 queries do not prove flips of at most 0.02; those who give negatives ask for it."""
    hard = [(row, row, 399 - row, "far") for row in range(200)]
    thresholds = {"retention": 0.9, "net_flips": 0.001, "excess_fragility": 0.999}
    sized = {"thresholds": thresholds, "variants": [{"dims": 32}]}
    assert audited(corpus, **sized).verdicts == ["PASS"]
    assert audited(corpus, hard_negatives=hard, **sized).verdicts == ["INSUFFICIENT DATA"]


def test_near_misses_that_full_vectors_confuse_are_pointed_at(corpus):
    """A positive and a negative that are far from the query alike, in either order."""
    pairs = [(row, 399 - row, 200 + row) for row in range(200)]
    hard = [(*pair, "far") for pair in pairs]
    found = audited(corpus, [SMALL], hard_negatives=hard)
    checks = {check["name"]: check["status"] for check in found.content["variants"][0]["preflight"]}
    assert checks["above chance"] == "warning"


def test_a_rescored_variant_must_tell_near_misses_apart_too(corpus):
    hard = [(row, row, (row + 1) % 400, "next") for row in range(200)]
    shallow, whole = ({"dims": 4, "bits": 1, "rescore": depth} for depth in (10, 399))
    found = audited(corpus, [shallow, whole], hard_negatives=hard)
    assert found.metrics[0]["net_flips"]["low"] > 0.1
    assert found.verdicts[0] == "FAIL"
    assert any("net_flips" in said for said in found.content["variants"][0]["reasons"])
    assert found.metrics[1]["net_flips"]["value"] == 0
    assert found.verdicts[1] == "PASS"


def test_a_rescored_variant_is_told_how_its_shortlist_fares_in_other_corpora(corpus):
    (metrics,) = audited(corpus, [{"dims": 8, "bits": 1, "rescore": 50}]).metrics
    assert metrics["shortlist_recall@50_at_n"]["value"] < 1
    assert metrics["shortlist_recall@50_at_tenth"]["value"] == pytest.approx(1)
    assert "recall@10_at_n" not in metrics


# Sides.


def test_one_side_is_held_against_both(corpus):
    coded = {"dims": 16, "bits": 1}
    variants = [coded, {**coded, "side": "documents"}, {**coded, "side": "queries"}]
    (entry,) = audited(corpus, variants).content["asymmetry"]
    assert entry["dims"] == 16
    assert entry["documents"]["value"] > entry["both"]["value"]
    assert entry["differences"]["documents"]["value"] > 0
    assert entry["differences"].keys() == {"documents", "queries"}


def test_without_one_sided_variants_there_is_no_such_table(corpus):
    assert audited(corpus).content["asymmetry"] == []


# Texts.


class BagOfWords:
    """An encoder that adds up a fixed random vector per word."""

    info = None

    def __init__(self, width=64, seed=0):
        self.width, self.seed = width, seed

    def encode(self, items, progress=None):
        rows = [sum(self._word(word) for word in re.findall(r"\w+", text)) for text in items]
        return normalize(np.array(rows, np.float32))

    def _word(self, word):
        rng = np.random.default_rng([self.seed, *word.encode()])
        return rng.standard_normal(self.width) / np.arange(1, self.width + 1) ** 0.5


WORDS = (
    "amber", "birch", "cedar", "delta", "ember", "flint",
    "grove", "haven", "inlet", "jetty", "knoll", "lagoon",
)  # fmt: skip
TEXTS = [
    f"The {one} of the {two} is number {7 * i + 3 * j} in May"
    for i, one in enumerate(WORDS)
    for j, two in enumerate(WORDS)
]
QUERIES = [text.split(" in ")[0] for text in TEXTS]


@pytest.fixture(scope="module")
def with_texts():
    encoder = BagOfWords()
    return nv.audit(
        encoder.encode(TEXTS),
        encoder.encode(QUERIES),
        {row: {row: 1} for row in range(len(TEXTS))},
        variants=[FULL, {"dims": 4}, {"dims": 4, "bits": 1, "rescore": 20}],
        texts=Texts(TEXTS, QUERIES, encoder),
    ).to_json()


def test_answers_are_edited_and_encoded_anew(with_texts):
    assert with_texts["inputs"]["edited_documents"] == 3 * len(TEXTS)
    full, small, rescored = (one["metrics"] for one in with_texts["variants"])
    for kind in ("negation", "number", "date"):
        assert full[f"net_flips:{kind}"]["value"] == 0
    assert full["triplet_accuracy:number"]["value"] > small["triplet_accuracy:number"]["value"]
    assert small["net_flips:edited"]["low"] > 0
    assert rescored["triplet_accuracy:edited"]["value"] < full["triplet_accuracy:edited"]["value"]


def test_queries_are_mistyped(with_texts):
    full, small, _ = (one["metrics"] for one in with_texts["variants"])
    assert full["typos_interaction"]["value"] == 1
    assert 0 < small["typos_retention"]["value"] < 1


def test_worst_queries_are_shown_as_they_were_asked(with_texts):
    worst = with_texts["worst_queries"]["4 dims, 32 bits"][0]
    assert worst["text"] == QUERIES[worst["query"]]
    assert worst["relevant"] == [worst["query"]]
    for row in (*worst["full"][:3], *worst["variant"][:3], *worst["relevant"]):
        assert with_texts["texts"][str(row)] == TEXTS[row]


def test_another_model_than_that_of_the_vectors_is_refused():
    vectors = BagOfWords().encode(TEXTS)
    qrels = {row: {row: 1} for row in range(len(TEXTS))}
    for other in (BagOfWords(seed=1), BagOfWords(width=32)):
        with pytest.raises(InputError, match="other vectors"):
            nv.audit(vectors, vectors, qrels, texts=Texts(TEXTS, TEXTS, other))


def test_words_mine_by_texts():
    pytest.importorskip("bm25s")
    vectors = BagOfWords().encode(TEXTS)
    qrels = {row: {row: 1} for row in range(len(TEXTS))}
    sides = BagOfWords().encode(QUERIES)
    report = nv.audit(
        vectors, sides, qrels, variants=[FULL], mine="words", texts=Texts(TEXTS, QUERIES)
    )
    assert report.to_json()["inputs"]["hard_negatives_by"] == "words"


@pytest.mark.parametrize(
    ("changes", "word"),
    [
        ({"mine": "guess"}, "guess"),
        ({"mine": "words"}, "texts"),
        ({"mine": "words", "qrels": None}, "qrels"),
        ({"mine": "words", "hard_negatives": [(0, 1, 2)]}, "one of the two"),
        ({"hard_negatives": []}, "there are none"),
        ({"hard_negatives": [(0, 1)]}, "each is"),
        ({"hard_negatives": ["012"]}, "each is"),
        ({"mine": (np.ones((3, 2)),)}, "two, documents and queries"),
        ({"mine": (np.ones((3, 2)), np.ones((3, 2)))}, "same rows"),
        ({"texts": Texts(["a"])}, "1 texts"),
        ({"stress": Stress(slices={"x": [True]})}, "'x'"),
        ({"stress": Stress(noisy={"x": np.ones((3, 64))})}, "x are 3"),
        ({"stress": Stress(noisy={"typos": np.ones((200, 64))})}, "typos"),
        ({"stress": Stress(labels=["a"])}, "1 labels"),
        ({"stress": Stress(labels=["a"] * 400)}, "coarser"),
        ({"stress": Stress(frequencies=np.full(200, 0.5))}, "frequencies"),
    ],
    ids=str,
)
def test_what_does_not_fit_is_named(corpus, changes, word):
    given = {"vectors": corpus.documents, "queries": corpus.queries, "qrels": corpus.qrels}
    with pytest.raises(InputError, match=word):
        nv.audit(**given | {"variants": [SMALL]} | changes)
