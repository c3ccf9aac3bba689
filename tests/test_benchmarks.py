"""The benchmarks: truth, curves and data sets are what they say; the wrappers fit where they go."""

import importlib
import sys
from inspect import signature
from pathlib import Path

import numpy as np
import pytest

import nestvec as nv

ROOT = Path(__file__).parents[1]
ALGORITHM = {
    "ann_benchmarks": ("angular", "euclidean"),
    "vibe": ("normalized", "cosine", "euclidean", "ip"),
}


@pytest.fixture(autouse=True)
def _from_the_root(monkeypatch):
    monkeypatch.syspath_prepend(str(ROOT))


def unit_rows(rows, dim, seed=0):
    vectors = np.random.default_rng(seed).standard_normal((rows, dim)).astype(np.float32)
    return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)


def supported(metric):
    if metric == "euclidean" and "metric" not in signature(nv.Index.build).parameters:
        pytest.skip("this version has no Euclidean metric")


# --- the wrappers ---------------------------------------------------------------------------------


@pytest.fixture
def wrapper(request, tmp_path, monkeypatch):
    """The module of a wrapper as the other project imports it: beside a package `base`."""
    for name, text in {
        "base/__init__.py": "",
        "base/module.py": "class BaseANN:\n    def __str__(self):\n        return self.name\n",
        "nestvec/__init__.py": "",
        "nestvec/module.py": (ROOT / "benchmarks" / request.param / "module.py").read_text(),
    }.items():
        path = tmp_path / "algorithms" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    monkeypatch.syspath_prepend(str(tmp_path))
    yield importlib.import_module("algorithms.nestvec.module")
    for name in [name for name in sys.modules if name.split(".")[0] == "algorithms"]:
        del sys.modules[name]


@pytest.mark.parametrize(
    ("wrapper", "metric"),
    [(name, metric) for name, metrics in ALGORITHM.items() for metric in metrics],
    indirect=["wrapper"],
)
def test_a_wrapper_answers_every_distance_of_its_project(wrapper, metric):
    supported(metric)
    rows = unit_rows(600, 64)
    if metric != "normalized":
        rows *= np.random.default_rng(1).uniform(0.5, 2, (len(rows), 1)).astype(np.float32)
    algorithm = wrapper.Nestvec(metric)
    algorithm.fit(rows)
    algorithm.set_query_arguments(1000, 100)
    found = algorithm.query(rows[3], 5)
    assert found.shape == (5,)
    assert found.tolist() == nearest(rows, rows[3], metric)[:5].tolist()
    assert "1000" in str(algorithm)


def nearest(rows, query, metric):
    rows, query = rows.astype(np.float64), query.astype(np.float64)
    if metric == "euclidean":
        return np.argsort(((rows - query) ** 2).sum(axis=1), kind="stable")
    lengths = np.linalg.norm(rows, axis=1) if metric in ("angular", "cosine") else 1
    return np.argsort(-(rows @ query) / lengths, kind="stable")


@pytest.mark.parametrize("wrapper", ["ann_benchmarks"], indirect=True)
def test_a_batch_gets_the_answers_of_its_queries(wrapper):
    rows = unit_rows(600, 64)
    algorithm = wrapper.Nestvec("angular")
    algorithm.fit(rows)
    algorithm.set_query_arguments(1, 1)
    algorithm.batch_query(rows[:7], 5)
    alone = [algorithm.query(row, 5).tolist() for row in rows[:7]]
    assert np.asarray(algorithm.get_batch_results()).tolist() == alone


@pytest.mark.parametrize("wrapper", list(ALGORITHM), indirect=True)
def test_a_wrapper_refuses_other_distances(wrapper):
    with pytest.raises(NotImplementedError, match="jaccard"):
        wrapper.Nestvec("jaccard")


@pytest.mark.parametrize("project", list(ALGORITHM))
def test_the_configuration_names_the_class_and_its_arguments(project):
    yaml = pytest.importorskip("yaml")
    config = yaml.safe_load((ROOT / "benchmarks" / project / "config.yml").read_text())
    (definition,) = config["float"]["any"]
    group = definition["run_groups"]["base"]
    assert definition["constructor"] == "Nestvec"
    assert definition["module"] == f"{project}.algorithms.nestvec"
    # An empty mapping would reach the constructor as one more argument.
    assert group["args"] == []
    assert len(group["query_args"]) == 2


# --- truth and recall -----------------------------------------------------------------------------


@pytest.mark.parametrize("metric", ["ip", "euclidean"])
def test_true_answers_are_those_of_a_full_sort_with_ties_to_the_smaller_row(metric, monkeypatch):
    from benchmarks.search import dataset

    monkeypatch.setattr(dataset, "_BLOCK_ROWS", 37)
    rng = np.random.default_rng(0)
    vectors = rng.integers(-2, 3, (200, 3)).astype(np.float32)  # exact in float, and full of ties
    queries = rng.integers(-2, 3, (10, 3)).astype(np.float32)
    truth = dataset.brute_force(dataset.Dataset("ties", vectors, queries, metric), 20)
    scores = dataset.score_all(queries.astype(float), vectors.astype(float), metric)
    assert (truth.ids == np.argsort(-scores, axis=1, kind="stable")[:, :20]).all()
    assert (truth.scores == np.take_along_axis(scores, truth.ids, axis=1)).all()


def test_recall_by_id_misses_a_tie_that_recall_with_ties_counts():
    from benchmarks.search.dataset import Dataset, brute_force
    from benchmarks.search.measure import recalls

    vectors = np.repeat(np.eye(4, dtype=np.float32), 2, axis=0)  # every row twice
    data = Dataset("pairs", vectors, np.eye(4, dtype=np.float32))
    twins = np.array([[1], [3], [5], [7]])
    found = recalls(twins, data, brute_force(data, 1), 1)
    assert found == {"recall": 0, "recall_with_ties": 1, "recall_ann_benchmarks": 1}


# --- curves ---------------------------------------------------------------------------------------


def test_the_front_keeps_what_nothing_beats():
    from benchmarks.search.curve import Point, front

    points = [Point(0.9, 100), Point(0.8, 90), Point(0.95, 50), Point(0.95, 40), Point(0.99, 60)]
    assert front(points) == [Point(0.9, 100), Point(0.99, 60)]


def test_speed_between_two_settings_is_read_off_a_straight_line_of_logarithms():
    from benchmarks.search.curve import Point, speed_at

    points = [Point(0.9, 400), Point(0.99, 100)]
    assert speed_at(points, 0.99, 10_000) == pytest.approx(100)
    # Half way from 0.1 missed to 0.01 missed is half way from 400 to 100, in logarithms.
    assert speed_at(points, 1 - 10**-1.5, 10_000) == pytest.approx(200)


def test_speed_is_neither_extrapolated_nor_made_up():
    from benchmarks.search.curve import Point, speed_at

    points = [Point(0.9, 400), Point(0.99, 100)]
    assert speed_at(points, 0.5, 10_000) == 400
    assert speed_at(points, 0.995, 10_000) is None
    assert speed_at([], 0.9, 10_000) is None


def test_time_that_grows_as_the_root_of_the_rows_has_exponent_one_half():
    from benchmarks.search.curve import exponent

    rows = [50_000, 100_000, 500_000]
    assert exponent(rows, [1e6 / count**0.5 for count in rows]) == pytest.approx(0.5)


# --- data sets ------------------------------------------------------------------------------------


def test_held_out_texts_are_queries_and_in_no_corpus():
    from benchmarks.search.texts import hold_out

    texts = [f"text {i % 3_000}" for i in range(4_000)]
    corpus, queries = hold_out(texts)
    assert len(queries) == 1_000
    assert sorted(corpus + queries) == sorted(set(texts))
    assert hold_out(texts) == (corpus, queries)


def test_synthetic_rows_are_unit_and_wide_and_the_same_every_time():
    from benchmarks.search import synthetic

    real = unit_rows(500, 16)
    similar = synthetic.like(real, 48, 300)
    assert similar.shape == (300, 48)
    assert similar.dtype == np.float32
    assert np.allclose(np.linalg.norm(similar, axis=1), 1, atol=1e-6)
    assert (similar == synthetic.like(real, 48, 300)).all()


def test_the_fitted_power_law_is_the_one_that_made_the_rows():
    from benchmarks.search.synthetic import power_law

    rng = np.random.default_rng(0)
    rows = rng.standard_normal((20_000, 320)) * np.arange(1, 321) ** -0.5
    assert power_law(rows) == pytest.approx(1.0, abs=0.05)


@pytest.mark.parametrize("distance", ["angular", "euclidean"])
def test_a_file_in_the_form_of_ann_benchmarks_is_read(distance, tmp_path):
    h5py = pytest.importorskip("h5py")
    from benchmarks.search.catalog import load

    rows = unit_rows(50, 8) * 3
    with h5py.File(tmp_path / "tiny.hdf5", "w") as file:
        file["train"], file["test"] = rows[:40], rows[40:]
        file.attrs["distance"] = distance
    data = load(str(tmp_path / "tiny.hdf5"))
    lengths = np.linalg.norm(data.vectors, axis=1)
    assert data.metric == ("ip" if distance == "angular" else "euclidean")
    assert np.allclose(lengths, 1 if distance == "angular" else 3)
    assert len(data.queries) == 10


# --- a whole run ----------------------------------------------------------------------------------


def slow_and_fast(k):
    """Two settings of a made-up engine over `eye(8)`: one finds half, one finds all."""
    from benchmarks.search.engines.base import Setting, do_nothing

    def setting(label, found):
        def one(query):
            best = np.argsort(-query, kind="stable")[:k]
            return np.where(np.arange(k) < found, best, -1)

        def batch(queries, threads):
            return np.array([one(query) for query in queries])

        return Setting(label, do_nothing, one, batch, label == "half")

    return [setting("half", k // 2), setting("all", k)]


def test_a_run_measures_recall_and_speed_of_every_setting():
    from benchmarks.search.dataset import Dataset, brute_force
    from benchmarks.search.measure import Effort, measure

    eye = np.eye(8, dtype=np.float32)
    data = Dataset("eye", eye, eye * np.arange(1, 9, dtype=np.float32)[:, None])
    lines = []
    found = measure(
        {"made-up": slow_and_fast(2)}, data, brute_force(data, 2), 2,
        Effort(rounds=2, seconds=0.01, least=4), lines.append,
    )  # fmt: skip
    rows = [one.as_json() for one in found]
    assert [(row["setting"], row["recall"]) for row in rows] == [("half", 0.5), ("all", 1.0)]
    assert all(len(row["rounds"]) == 2 and row["queries_per_s"] > 0 for row in rows)
    assert rows[0]["is_default"], "the default is timed however poor"
    assert lines[-1] == "round 2 of 2"


def result_of(rows, ours, peers):
    """A result file with one recall and made-up speeds."""
    speeds = {"nestvec": ours, **peers}
    best = max(peers, key=peers.get)
    at = {"queries_per_s": speeds, "best_peer": best, "times_best_peer": ours / peers[best]}
    engine = {"title": "?", "kind": "graph", "hot_bytes": rows * 100, "held_bytes": rows * 1000,
              "build": {"seconds": 100.0, "peak_bytes": 1}}  # fmt: skip
    return {
        "data": {"name": f"arxiv-sentences-{rows}", "rows": rows, "dim": 100, "queries": 10},
        "engines": {
            "nestvec": {**engine, "kind": "nestvec", "build": {"seconds": 10.0, "peak_bytes": 1}},
            **dict.fromkeys(peers, engine),
            "elsewhere": {"failed": "not on this processor"},
        },
        "summary": {"10": {"0.95": at, "0.99": at}},
        "batches": {
            "10": {
                "0.95": {
                    "nestvec": {"setting": "?", "queries_per_s": {"1": 100, "2": 190}},
                    "a": {"setting": "?", "queries_per_s": {"1": 40, "2": 90}},
                    "b": {"setting": "?", "queries_per_s": {"1": 50, "2": 60}},
                }
            }
        },
    }


def test_the_report_compares_with_the_best_peer_and_reads_off_the_growth():
    from benchmarks.search.report import report

    results = [
        result_of(rows, 2e6 / rows**0.5, {"a": 1e6 / rows**0.5, "b": 1e3})
        for rows in (10_000, 40_000, 160_000)
    ]
    summary = report(results, [])
    small, large = (
        summary["sets"]["arxiv-sentences-10000"],
        summary["sets"]["arxiv-sentences-160000"],
    )
    assert small["searches"]["10"]["0.95"]["best_peer"] == "a"
    assert small["searches"]["10"]["0.95"]["times"] == 2
    assert large["times_build_of_best_graph"] == 10
    assert large["hot_share_of_float32"] == 0.25
    assert large["two_threads"]["10"]["nestvec"] == 1.9
    assert large["batches"]["10"]["0.95"] == {"nestvec": 100, "best_peer": "b", "b": 50, "times": 2}
    assert summary["growth"]["10"]["0.99"]["nestvec"]["exponent"] == 0.5
    assert summary["growth"]["10"]["0.99"]["b"]["exponent"] == 0


# --- engines --------------------------------------------------------------------------------------


def test_the_plans_of_the_grid_hold_the_default_once_and_can_answer():
    from benchmarks.search.engines.nestvec import plan_grid

    default = nv.Plan.parse("probe=40; 256x1:300 > 384x4:35 > full")
    plans = plan_grid(default, 30)
    assert plans.count(default) == 1
    assert len(set(plans)) == len(plans)
    for plan in plans:
        plan.check(384, 30)


@pytest.mark.parametrize(
    ("name", "package"),
    [("nestvec", "numpy"), ("faiss-flat", "faiss"), ("faiss-hnsw", "faiss"),
     ("faiss-rabitq", "faiss"), ("faiss-panorama", "faiss"), ("hnswlib", "hnswlib"),
     ("usearch-f32", "usearch"), ("scann", "scann"), ("svs-f16", "svs")],
)  # fmt: skip
def test_an_engine_finds_what_brute_force_finds(name, package, tmp_path):
    pytest.importorskip(package)
    from benchmarks.search.dataset import Dataset, brute_force
    from benchmarks.search.engines import engine

    data = Dataset("tiny", unit_rows(3_000, 64), unit_rows(20, 64, seed=1))
    built = engine(name).build(data, tmp_path, 1)
    engine(name).save(built, data, tmp_path)
    opened = engine(name).open(data, tmp_path)
    best = opened.settings(10)[-1]
    best.choose()
    found = np.array([best.one(query) for query in data.queries])
    truth = brute_force(data, 10).ids
    assert np.mean([len({*a} & {*b}) / 10 for a, b in zip(found, truth, strict=True)]) > 0.8
    assert (best.batch(data.queries, 1) == found).mean() > 0.95
    assert opened.hot_bytes <= opened.held_bytes


# --- the audit ------------------------------------------------------------------------------------


def test_an_audit_is_timed_with_and_without_judgments(tmp_path):
    from benchmarks import audit

    audit.write_vectors(tmp_path, 300, 64, 30)
    documents, queries = (np.load(tmp_path / f"{name}.npy") for name in ("documents", "queries"))
    assert np.allclose(np.linalg.norm(documents, axis=1), 1, atol=1e-6)
    answers = np.load(tmp_path / "answers.npy")
    assert (queries * documents[answers]).sum(axis=1).mean() > 0.6
    for judged in (True, False):
        measured = audit.measure(tmp_path, judged)
        assert measured["wall_s"] > 0
        assert measured["peak_mb"] > 10
        assert 0 < max(measured["stages"].values()) <= 2


def test_a_stage_is_the_innermost_function_of_nestvec():
    from benchmarks import audit

    with audit.sampled_stages() as stages:
        for _ in range(30):
            nv.truncate(np.ones((200_000, 8), np.float32), 4)
    assert set(stages) <= {"vectors.truncate", "vectors.normalize", "vectors.check_finite"}
    assert stages


# --- judged collections ---------------------------------------------------------------------------


def test_no_document_is_relevant_to_queries_on_both_sides_of_a_strict_split():
    from benchmarks.judged import _half

    rng = np.random.default_rng(0)
    pairs = [(query, int(doc), 1.0) for query in range(200) for doc in rng.integers(0, 900, 2)]
    train, strict = _half(pairs, 200)
    assert strict
    assert 50 <= train.sum() <= 100
    found = [{doc for query, doc, _ in pairs if train[query] == side} for side in (True, False)]
    assert not found[0] & found[1]


def test_a_split_that_cannot_be_strict_says_so():
    from benchmarks.judged import _half

    train, strict = _half([(query, 0, 1.0) for query in range(40)], 40)
    assert not strict
    assert train.sum() == 20
