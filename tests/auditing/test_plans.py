"""Search plans as variants: what is audited is what the index returns."""

import subprocess
import sys
from itertools import product

import numpy as np
import pytest

import nestvec as nv
from nestvec.auditing import AuditTexts, StressOptions
from nestvec.auditing.checkpoint import FILE, fingerprint
from nestvec.auditing.measures.relevance import NDCG
from nestvec.encode import ModelInfo
from nestvec.errors import InputError, PlanError
from nestvec.hits import Hits
from nestvec.metrics import overlap
from nestvec.plan import Plan
from nestvec.vectors import normalize

EXACT = "probe=all; full"
SHORTLIST = "probe=all; 32x1:20 > full"
ESTIMATES = "probe=all; 16x1:40 > 64x2:12"
FEW_CELLS = "probe=1; 64x1:50 > full"
PAIRS = list(product(("amber", "birch", "cedar", "delta", "ember", "flint", "grove"), repeat=2))


class WordSums:
    """An encoder that adds up a fixed random vector per word."""

    info = ModelInfo("word sums", "1", 64)

    def encode(self, items, progress=None):
        rows = [sum(self._word(word) for word in text.split()) for text in items]
        return normalize(np.array(rows, np.float32))

    def _word(self, word):
        return np.random.default_rng([*word.encode()]).standard_normal(64)


@pytest.fixture(scope="module")
def index(corpus, tmp_path_factory):
    ids = [f"document {row}" for row in range(len(corpus.documents))]
    path = tmp_path_factory.mktemp("plans") / "corpus.nv"
    return nv.Index.build(corpus.documents, path, ids=ids, metric="ip")


@pytest.fixture(scope="module")
def qrels(corpus):
    return {row: {f"document {row}": 1} for row in range(len(corpus.queries))}


def audit_plans(index, corpus, *plans, qrels=None, **options):
    report = nv.audit(index, corpus.queries, qrels, variants=plans, **options)
    return report, report.to_json()["variants"]


@pytest.mark.parametrize("plan", [SHORTLIST, ESTIMATES, FEW_CELLS])
def test_the_figures_of_a_plan_are_those_of_the_hits_of_the_index(index, corpus, qrels, plan):
    _, (variant,) = audit_plans(index, corpus, {"plan": plan}, qrels=qrels)
    rows = index.search(corpus.queries, 10, plan=plan).rows
    exact = index.search(corpus.queries, 10, exact=True).rows
    assert variant["name"] == f"plan {plan}"
    assert variant["metrics"]["overlap@10"]["value"] == pytest.approx(
        overlap(rows, exact, 10).mean()
    )
    assert variant["metrics"]["recall@10"]["value"] == pytest.approx(
        (rows == np.arange(len(rows))[:, None]).any(axis=1).mean()
    )


def test_the_exact_plan_retains_everything_and_passes(index, corpus, qrels):
    _, (variant,) = audit_plans(index, corpus, Plan.parse(EXACT), qrels=qrels)
    assert variant["verdict"] == "PASS"
    metrics = variant["metrics"]
    assert metrics["overlap@10"]["value"] == metrics["rbo"]["value"] == 1
    assert metrics[f"{NDCG}_retention"]["value"] == metrics["tau"]["value"] == 1
    assert metrics["net_flips"]["value"] == 0


def test_a_plan_is_audited_beside_variants_whose_figures_stay_as_they_are(index, corpus, qrels):
    _, both = audit_plans(index, corpus, {"dims": 32}, {"plan": SHORTLIST}, qrels=qrels)
    _, (separate,) = audit_plans(index, corpus, {"dims": 32}, qrels=qrels)
    assert both[0]["metrics"] == separate["metrics"]
    assert both[0]["plan"] is None
    assert (both[1]["plan"], both[1]["dims"], both[1]["bits"]) == (SHORTLIST, 32, 1)
    assert both[1]["size_bytes"] == 4


def test_perturbed_and_other_queries_are_searched_by_the_plan_too(index, corpus, qrels):
    others = np.roll(corpus.queries, 7, axis=1)[:50]
    stress = StressOptions(out_of_distribution={"others": others})
    _, (variant,) = audit_plans(index, corpus, {"plan": FEW_CELLS}, qrels=qrels, stress=stress)
    names = set(variant["metrics"])
    assert {"noise_0.95_retention", "others_retention"} <= names
    assert not names & {"effective_rank", "resolution", "shortlist_95%"}


def test_the_default_plan_is_named_by_what_it_is(index, corpus):
    _, (variant,) = audit_plans(index, corpus, {"plan": "default"})
    assert variant["plan"] == str(index.check_search(10))


def test_rows_are_found_by_id_after_deletions(corpus, tmp_path):
    index = nv.Index.build(corpus.documents, tmp_path / "i.nv", ids=range(1000, 1400), metric="ip")
    index.delete([1005, 1390])
    qrels = {row: {1000 + row: 1} for row in range(200) if row != 5}
    _, (variant,) = audit_plans(index, corpus, {"plan": EXACT}, qrels=qrels)
    assert variant["metrics"]["overlap@10"]["value"] == 1


@pytest.mark.parametrize("metric", ["cosine", "ip"])
def test_queries_go_through_the_transform_once(corpus, tmp_path, metric):
    rotation = nv.Rotation.fit(corpus.documents)
    index = nv.Index.build(
        3 * corpus.documents, tmp_path / "i.nv", transform=rotation, metric=metric
    )
    _, (variant,) = audit_plans(index, corpus, {"plan": EXACT})
    assert variant["metrics"]["overlap@10"]["value"] == 1


@pytest.mark.parametrize("metric", ["cosine", "ip"])
def test_other_queries_go_through_the_transform_too(corpus, tmp_path, metric):
    rotation = nv.Rotation.fit(corpus.documents)
    index = nv.Index.build(corpus.documents, tmp_path / "i.nv", transform=rotation, metric=metric)
    perturbed = normalize(corpus.queries + 0.02 * np.roll(corpus.queries, 7, axis=0))
    others = np.roll(corpus.queries, 7, axis=1)

    def figures(vectors, transform):
        stress = StressOptions(
            perturbed={"mixed": transform(perturbed)},
            out_of_distribution={"rolled": transform(others)},
        )
        report = nv.audit(
            vectors, transform(corpus.queries), variants=[{"dims": 8}], stress=stress, seed=1
        )
        metrics = report.to_json()["variants"][0]["metrics"]
        return [metrics[name]["value"] for name in ("mixed_retention", "rolled_retention")]

    by_hand = figures(rotation.transform(corpus.documents), rotation.transform_queries)
    assert figures(index, lambda queries: queries) == pytest.approx(by_hand, rel=1e-3)


@pytest.mark.parametrize("metric", ["cosine", "ip"])
def test_texts_are_edited_and_encoded_into_the_space_of_the_index(tmp_path, metric):
    texts = [f"The {a} of the {b} is number {i} in May" for i, (a, b) in enumerate(PAIRS)]
    encoder = WordSums()
    vectors = encoder.encode(texts)
    rotation = nv.Rotation.fit(vectors)
    scale = 2 if metric == "cosine" else 1  # lengths do not matter to it
    index = nv.Index.build(scale * vectors, tmp_path / "i.nv", transform=rotation, metric=metric)
    queries = [text.split(" in ")[0] for text in texts]
    report = nv.audit(
        index,
        encoder.encode(queries),
        {row: {row: 1} for row in range(len(texts))},
        variants=[{"dims": 64}, {"dims": 4}],
        texts=AuditTexts(texts, queries, encoder),
    ).to_json()
    full, small = (variant["metrics"] for variant in report["variants"])
    assert report["inputs"]["counterfactual_documents"] > len(texts)
    assert full["typos_interaction"]["value"] == full["triplet_accuracy:number"]["value"] == 1
    assert small["typos_retention"]["value"] < 1


def test_a_query_that_is_a_document_is_not_its_own_hit(index, corpus):
    report = nv.audit(
        index, corpus.documents[:50], variants=[{"plan": EXACT}, {"plan": "probe=all; 64x2:10"}]
    )
    exact, narrow = report.to_json()["variants"]
    assert exact["metrics"]["overlap@10"]["value"] == 1
    # The narrow plan keeps ten rows and one of them is the query, so it finds at most nine.
    assert narrow["metrics"]["overlap@10"]["high"] <= 0.9


def test_a_stopped_audit_continues_unless_the_index_has_changed(corpus, tmp_path):
    path = tmp_path / "i.nv"
    index = nv.Index.build(corpus.documents, path, metric="ip")
    first, second = (_audit_fingerprint(index, corpus, tmp_path) for _ in range(2))
    assert first == second
    other_codes = nv.Index.build(corpus.documents, path, metric="ip", bits=1, overwrite=True)
    assert _audit_fingerprint(other_codes, corpus, tmp_path) != first


def _audit_fingerprint(index, corpus, tmp_path):
    from nestvec.auditing import checkpoint

    prints = []
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(
            checkpoint, "fingerprint", lambda inputs: prints.append(fingerprint(inputs)) or "x"
        )
        audit_plans(index, corpus, {"plan": SHORTLIST}, checkpoint=tmp_path / "state")
    assert not (tmp_path / "state" / FILE).exists()
    return prints[0]


def test_reports_show_plans_by_their_text(index, corpus, qrels, tmp_path):
    report, _ = audit_plans(index, corpus, {"plan": SHORTLIST}, {"dims": 32}, qrels=qrels)
    content = report.to_json()
    assert [series["dims"] for series in content["safe_dims"]] == [32]
    assert f"plan {SHORTLIST}" in str(report)
    report.save_html(tmp_path / "report.html")
    assert "32x1:20 &gt; full" in (tmp_path / "report.html").read_text()


@pytest.mark.parametrize(
    ("variant", "error", "text"),
    [
        ({"plan": SHORTLIST, "dims": 32}, InputError, "dims"),
        ({"plan": 7}, InputError, "plan=7"),
        ({"plan": "32x1:20"}, PlanError, "probe"),
        ({"plan": "probe=all; 32x1:5 > full"}, PlanError, "k=10"),
        ({"plan": "probe=all; 320x1:50 > full"}, PlanError, "320 dimensions"),
    ],
)
def test_a_wrong_plan_is_refused_before_anything_is_ranked(index, corpus, variant, error, text):
    with pytest.raises(error, match=text):
        audit_plans(index, corpus, variant)


@pytest.mark.parametrize("variant", ["probe=all; full", 64, None])
def test_a_variant_that_is_no_mapping_is_refused_with_the_way_out(variant):
    # In a process of its own: here the types of arguments are checked before the audit sees them.
    code = (
        "import numpy as np, nestvec as nv\n"
        "rows = np.eye(32, dtype=np.float32)\n"
        f"nv.audit(rows, rows[:4] + 0.1, variants=[{variant!r}])"
    )
    command = [sys.executable, "-c", code]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert "InputError: the variant" in done.stderr
    assert "neither a mapping nor a plan" in done.stderr


def test_a_plan_needs_a_store_that_runs_it(corpus):
    with pytest.raises(InputError, match="pass the index instead"):
        nv.audit(corpus.documents, corpus.queries, variants=[{"plan": EXACT}])


class ExactStore:
    """A vector store in memory that scores every row, whatever the plan."""

    metric, transform = "ip", None

    def __init__(self, vectors, first_hit=0):
        self.vectors, self.dim = vectors, vectors.shape[1]
        self._first_hit = first_hit

    def __len__(self):
        return len(self.vectors)

    def transform_queries(self, queries, transformed_by=None):
        return np.asarray(queries, np.float32)

    def search(self, queries, k=10, **_):
        order = np.argsort(-(queries @ self.vectors.T), axis=1, kind="stable")
        rows = order[:, self._first_hit : self._first_hit + k]
        scores = np.take_along_axis(queries @ self.vectors.T, rows, axis=1)
        ids = np.char.add("row ", rows.astype(str)).astype(object)
        return Hits(ids, scores, rows, np.zeros(len(rows), bool), Plan.parse(EXACT))

    def get(self, ids):
        raise NotImplementedError

    def iter_vectors(self, block_rows=150):
        for start in range(0, len(self), block_rows):
            block = self.vectors[start : start + block_rows]
            ids = [f"row {row}" for row in range(start, start + len(block))]
            yield np.array(ids, object), block


def test_any_vector_store_is_audited_by_what_it_returns(corpus):
    exact, worse = ExactStore(corpus.documents), ExactStore(corpus.documents, first_hit=5)
    overlaps = [
        audit_plans(store, corpus, {"plan": EXACT})[1][0]["metrics"]["overlap@10"]["value"]
        for store in (exact, worse)
    ]
    assert overlaps == [1, 0.5]
