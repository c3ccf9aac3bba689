"""Stress options: texts, slices, perturbed and out-of-distribution queries, classes."""

import re
from types import SimpleNamespace

import numpy as np
import pytest

import nestvec as nv
from nestvec import auditing
from nestvec.auditing import AuditTexts, StressOptions
from nestvec.errors import InputError
from nestvec.vectors import normalize

FULL, SMALL = {"dims": 64}, {"dims": 8}


def audited(corpus, variants=(FULL, SMALL), **options):
    report = nv.audit(
        corpus.documents, corpus.queries, corpus.qrels, variants=list(variants), **options
    )
    content = report.to_json()
    return SimpleNamespace(
        metrics=[variant["metrics"] for variant in content["variants"]],
        details=[variant["details"] for variant in content["variants"]],
        verdicts=[variant["verdict"] for variant in content["variants"]],
        content=content,
    )


# Slices.


def test_a_slice_is_measured_beside_the_other_queries(corpus):
    half = np.arange(200) < 100
    result = audited(corpus, stress=StressOptions(slices={"first": half}))
    for metrics in result.metrics:
        assert metrics["slice_retention:first"]["n"] == 100
    assert result.metrics[0]["slice_interaction:first"]["value"] == 1


def test_categories_are_slices_and_small_ones_are_left_out(corpus):
    language = ["de"] * 100 + ["en"] * 90 + ["fr"] * 10
    result = audited(corpus, [SMALL], stress=StressOptions(slices={"language": language}))
    slices = {name for name in result.metrics[0] if name.startswith("slice_retention")}
    assert slices == {"slice_retention:language=de", "slice_retention:language=en"}


def test_a_slice_that_breaks_first_is_detected(corpus):
    """Queries of one kind that say nothing in the first dimensions, as a photograph may."""
    queries = corpus.queries.copy()
    queries[100:, :12] = 0
    result = nv.audit(
        corpus.documents,
        normalize(queries),
        corpus.qrels,
        variants=[{"dims": 16}],
        stress=StressOptions(slices={"photograph": np.arange(200) >= 100}),
    )
    (one,) = result.to_json()["variants"]
    assert one["metrics"]["slice_interaction:photograph"]["high"] < 1


def test_the_rarest_tenth_is_a_slice(corpus):
    result = audited(corpus, [SMALL], stress=StressOptions(frequencies=list(range(200))))
    assert result.metrics[0]["rarest_tenth_retention"]["n"] == 20


def test_the_class_size_of_the_positive_is_the_frequency_of_its_query(corpus):
    labels = np.repeat(["rare", "common"], [30, 370])
    result = audited(corpus, [SMALL], stress=StressOptions(labels=labels))
    assert result.metrics[0]["rarest_tenth_retention"]["n"] == 30


# Perturbed and out-of-distribution queries.


def test_unperturbed_queries_lose_nothing(corpus):
    result = audited(corpus, stress=StressOptions(perturbed={"nothing": corpus.queries}))
    for metrics in result.metrics:
        assert metrics["nothing_interaction"]["value"] == 1


def test_in_distribution_queries_score_like_the_audited_ones(corpus):
    result = audited(corpus, stress=StressOptions(out_of_distribution={"others": corpus.queries}))
    for metrics in result.metrics:
        assert metrics["others_interaction"]["value"] == 1
        retained = metrics["others_retention"]["value"]
        assert retained == pytest.approx(metrics["overlap@10"]["value"])


def test_out_of_distribution_queries_lose_more(corpus):
    rng = np.random.default_rng(0)
    far = normalize(rng.standard_normal((100, 64)).astype(np.float32))
    result = audited(corpus, [{"dims": 32}], stress=StressOptions(out_of_distribution={"far": far}))
    assert result.metrics[0]["far_interaction"]["high"] < 1


def test_a_reranked_variant_is_stressed_with_its_rerank(corpus):
    whole_corpus = {"dims": 8, "bits": 1, "rerank": 399}
    result = audited(
        corpus, [whole_corpus], stress=StressOptions(out_of_distribution={"others": corpus.queries})
    )
    assert result.metrics[0]["others_retention"]["value"] == 1
    assert result.metrics[0]["noise_0.95_interaction"]["value"] == 1
    assert result.metrics[0]["attack_gain"]["value"] == 0


# Classes.


def test_few_shot_accuracy_is_measured_where_there_are_labels(corpus):
    labels = (corpus.documents[:, 0] > 0).astype(int) + 2 * (corpus.documents[:, 1] > 0)
    reranked = {"dims": 8, "bits": 1, "rerank": 50}
    result = audited(corpus, [FULL, SMALL, reranked], stress=StressOptions(labels=labels))
    full, small, without_classes = result.metrics
    assert full["few_shot_difference"]["value"] == 0
    assert full["few_shot_interaction"]["value"] == 1
    assert small["few_shot_accuracy"]["value"] > 0.3
    assert "few_shot_accuracy" not in without_classes


# Mining of hard negatives.


def test_without_hard_negatives_they_are_mined_from_both_rankings(corpus):
    result = audited(corpus)
    assert result.content["inputs"]["hard_negative_source"] == "union"
    full, small = result.metrics
    assert full["net_flips:mined"]["value"] == 0
    assert small["triplet_accuracy:mined"]["n"] == 200


def test_external_vectors_mine_hard_negatives(corpus):
    external = corpus.documents[:, ::-1].copy(), corpus.queries[:, ::-1].copy()
    result = audited(corpus, [SMALL], mine_hard_negatives=external)
    assert result.content["inputs"]["hard_negative_source"] == "external"
    assert result.content["inputs"]["hard_negatives"] == 2000


def test_mining_can_be_switched_off(corpus):
    assert "net_flips" not in audited(corpus, [SMALL], mine_hard_negatives=None).metrics[0]


def test_mined_negatives_may_fail_a_variant_but_need_no_proof(corpus):
    """200 queries cannot prove flips of at most 0.02; hard negatives of the caller need proof."""
    hard = [(row, row, 399 - row, "far") for row in range(200)]
    thresholds = {"retention": 0.9, "net_flips": 0.001, "excess_fragility": 0.999}
    sized = {"thresholds": thresholds, "variants": [{"dims": 32}]}
    assert audited(corpus, **sized).verdicts == ["PASS"]
    assert audited(corpus, hard_negatives=hard, **sized).verdicts == ["INSUFFICIENT DATA"]


def test_hard_negatives_that_full_vectors_confuse_give_a_warning(corpus):
    """A positive and a negative that are far from the query alike, in either order."""
    pairs = [(row, 399 - row, 200 + row) for row in range(200)]
    hard = [(*pair, "far") for pair in pairs]
    result = audited(corpus, [SMALL], hard_negatives=hard)
    checks = {
        check["name"]: check["status"] for check in result.content["variants"][0]["preflight"]
    }
    assert checks["above chance"] == "warning"


def test_a_reranked_variant_must_rank_positives_before_hard_negatives_too(corpus):
    hard = [(row, row, (row + 1) % 400, "next") for row in range(200)]
    shallow, whole_corpus = ({"dims": 4, "bits": 1, "rerank": depth} for depth in (10, 399))
    result = audited(corpus, [shallow, whole_corpus], hard_negatives=hard)
    assert result.metrics[0]["net_flips"]["low"] > 0.1
    assert result.verdicts[0] == "FAIL"
    assert any("net_flips" in reason for reason in result.content["variants"][0]["reasons"])
    assert result.metrics[1]["net_flips"]["value"] == 0
    assert result.verdicts[1] == "PASS"


def test_corpus_growth_of_a_reranked_variant_is_that_of_its_shortlist(corpus):
    (metrics,) = audited(corpus, [{"dims": 8, "bits": 1, "rerank": 50}]).metrics
    assert metrics["shortlist_recall@50_at_n"]["value"] < 1
    assert metrics["shortlist_recall@50_at_tenth"]["value"] == pytest.approx(1)
    assert "recall@10_at_n" not in metrics


# Sides.


def test_one_coded_side_is_compared_with_both(corpus):
    coded = {"dims": 16, "bits": 1}
    variants = [coded, {**coded, "side": "documents"}, {**coded, "side": "queries"}]
    (entry,) = audited(corpus, variants).content["asymmetry"]
    assert entry["dims"] == 16
    assert entry["documents"]["value"] > entry["both"]["value"]
    assert entry["differences"]["documents"]["value"] > 0
    assert entry["differences"].keys() == {"documents", "queries"}


def test_without_one_sided_variants_the_asymmetry_table_is_empty(corpus):
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
    f"The {a} of the {b} is number {7 * i + 3 * j} in May"
    for i, a in enumerate(WORDS)
    for j, b in enumerate(WORDS)
]
QUERIES = [text.split(" in ")[0] for text in TEXTS]


@pytest.fixture(scope="module")
def with_texts():
    encoder = BagOfWords()
    return nv.audit(
        encoder.encode(TEXTS),
        encoder.encode(QUERIES),
        {row: {row: 1} for row in range(len(TEXTS))},
        variants=[FULL, {"dims": 4}, {"dims": 4, "bits": 1, "rerank": 20}],
        texts=AuditTexts(TEXTS, QUERIES, encoder),
    ).to_json()


def test_positives_are_edited_and_encoded(with_texts):
    assert with_texts["inputs"]["counterfactual_documents"] == 3 * len(TEXTS)
    full, small, reranked = (one["metrics"] for one in with_texts["variants"])
    for kind in ("negation", "number", "date"):
        assert full[f"net_flips:{kind}"]["value"] == 0
    assert full["triplet_accuracy:number"]["value"] > small["triplet_accuracy:number"]["value"]
    assert small["net_flips:counterfactual"]["low"] > 0
    assert (
        reranked["triplet_accuracy:counterfactual"]["value"]
        < full["triplet_accuracy:counterfactual"]["value"]
    )


def test_queries_are_mistyped(with_texts):
    full, small, _ = (one["metrics"] for one in with_texts["variants"])
    assert full["typos_interaction"]["value"] == 1
    assert 0 < small["typos_retention"]["value"] < 1


def test_worst_queries_have_their_texts(with_texts):
    worst = with_texts["worst_queries"]["4 dims, 32 bits"][0]
    assert worst["text"] == QUERIES[worst["query"]]
    assert worst["relevant"] == [worst["query"]]
    for row in (*worst["baseline_top"][:3], *worst["variant_top"][:3], *worst["relevant"]):
        assert with_texts["texts"][str(row)] == TEXTS[row]


def test_an_encoder_that_did_not_make_the_vectors_is_refused():
    vectors = BagOfWords().encode(TEXTS)
    qrels = {row: {row: 1} for row in range(len(TEXTS))}
    for external in (BagOfWords(seed=1), BagOfWords(width=32)):
        with pytest.raises(InputError, match="other vectors"):
            nv.audit(vectors, vectors, qrels, texts=AuditTexts(TEXTS, TEXTS, external))


def test_bm25_mines_hard_negatives_from_texts():
    pytest.importorskip("bm25s")
    vectors = BagOfWords().encode(TEXTS)
    qrels = {row: {row: 1} for row in range(len(TEXTS))}
    queries = BagOfWords().encode(QUERIES)
    report = nv.audit(
        vectors,
        queries,
        qrels,
        variants=[FULL],
        mine_hard_negatives="bm25",
        texts=AuditTexts(TEXTS, QUERIES),
    )
    assert report.to_json()["inputs"]["hard_negative_source"] == "bm25"


@pytest.mark.parametrize(
    ("changes", "word"),
    [
        ({"mine_hard_negatives": "guess"}, "guess"),
        ({"mine_hard_negatives": "bm25"}, "texts"),
        ({"mine_hard_negatives": "bm25", "qrels": None}, "qrels"),
        ({"mine_hard_negatives": "bm25", "hard_negatives": [(0, 1, 2)]}, "one of the two"),
        ({"hard_negatives": []}, "is empty"),
        ({"hard_negatives": [(0, 1)]}, "each is"),
        ({"hard_negatives": ["012"]}, "each is"),
        ({"mine_hard_negatives": (np.ones((3, 2)),)}, "two, documents and queries"),
        ({"mine_hard_negatives": (np.ones((3, 2)), np.ones((3, 2)))}, "same rows"),
        ({"texts": AuditTexts(["a"])}, "1 texts"),
        ({"stress": StressOptions(slices={"x": [True]})}, "'x'"),
        ({"stress": StressOptions(perturbed={"x": np.ones((3, 64))})}, "x are 3"),
        ({"stress": StressOptions(perturbed={"typos": np.ones((200, 64))})}, "typos"),
        ({"stress": StressOptions(labels=["a"])}, "1 labels"),
        ({"stress": StressOptions(labels=["a"] * 400)}, "coarser"),
        ({"stress": StressOptions(frequencies=np.full(200, 0.5))}, "frequencies"),
    ],
    ids=str,
)
def test_the_error_names_what_does_not_fit(corpus, changes, word):
    options = {"vectors": corpus.documents, "queries": corpus.queries, "qrels": corpus.qrels}
    with pytest.raises(InputError, match=word):
        nv.audit(**options | {"variants": [SMALL]} | changes)


# Old names.


def test_old_names_of_arguments_work_with_a_note(corpus):
    sides = {"vectors": corpus.documents, "queries": corpus.queries, "variants": [SMALL]}
    new = nv.audit(**sides, self_match=np.arange(200), mine_hard_negatives=None).to_json()
    with pytest.warns(DeprecationWarning, match="own_rows= is now called self_match="):
        old = nv.audit(**sides, own_rows=np.arange(200), mine_hard_negatives=None).to_json()
    assert old == new
    with pytest.warns(DeprecationWarning, match="mine= is now called mine_hard_negatives="):
        assert nv.audit(**sides, self_match=np.arange(200), mine=None).to_json() == new


def test_the_checkpoint_may_still_be_called_resume(corpus, tmp_path):
    with pytest.warns(DeprecationWarning, match="resume= is now called checkpoint="):
        nv.audit(corpus.documents, corpus.queries, variants=[SMALL], resume=tmp_path / "new")
    assert (tmp_path / "new").is_dir()


def test_mining_by_words_is_bm25_with_a_note(corpus):
    with (
        pytest.warns(DeprecationWarning, match='"words" is now called "bm25"'),
        pytest.raises(InputError, match="reads the texts"),
    ):
        audited(corpus, [SMALL], mine_hard_negatives="words")


def test_old_names_of_stress_options_work_with_a_note(corpus):
    with pytest.warns(DeprecationWarning, match="noisy= is now called perturbed="):
        options = StressOptions(noisy={"n": corpus.queries})
    assert options.perturbed.keys() == {"n"}
    with pytest.warns(DeprecationWarning, match="strangers"):
        options = StressOptions(strangers={"s": corpus.queries})
    with pytest.warns(DeprecationWarning, match="StressOptions.strangers"):
        assert options.strangers.keys() == {"s"}


@pytest.mark.parametrize(("old", "new"), [("Texts", AuditTexts), ("Stress", StressOptions)])
def test_old_names_of_classes_work_with_a_note(old, new):
    with pytest.warns(DeprecationWarning, match=f"nestvec.auditing.{old}"):
        assert getattr(auditing, old) is new
