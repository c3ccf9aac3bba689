"""`nestvec tune`: finds, keeps, checks; its exit code says whether the promise is shown."""

import numpy as np
import pytest

from nestvec import Index


@pytest.fixture
def queries_path(tmp_path):
    rng = np.random.default_rng(5)
    raw = rng.standard_normal((250, 128)) / np.arange(1, 129) ** 0.5
    path = tmp_path / "queries.npy"
    np.save(path, (raw / np.linalg.norm(raw, axis=1, keepdims=True)).astype(np.float32))
    return path


def test_a_plan_is_found_kept_and_shown(run, built, queries_path):
    outcome = run("tune", built, queries_path, "--recall", "0.9", "-k", "5", "--json")
    assert outcome.code == 0
    told = outcome.json
    assert (told["verdict"], told["saved"], told["k"]) == ("CERTIFIED", True, 5)
    shown = run("info", built, "--json").json["tuned"]
    assert [(one["k"], one["plan"], one["current"]) for one in shown] == [(5, told["plan"], True)]
    assert "recall@5 >= 0.9 at 0.95 confidence" in run("info", built).out
    used = run("search", built, "--vectors", queries_path, "-k", "5", "--json").json
    assert used["plan"] == told["plan"]


def test_people_read_what_was_found_what_was_tested_and_what_voids_it(run, built, queries_path):
    out = run("tune", built, queries_path, "--recall", "0.9", "-k", "5").out
    assert out.startswith("CERTIFIED: 'probe=")
    assert "It holds if" in out
    assert "bytes/query" in out
    assert "kept: searches of" in out


def test_it_is_not_kept_when_told_not_to(run, built, queries_path):
    outcome = run("tune", built, queries_path, "--recall", "0.9", "-k", "5", "--no-save")
    assert outcome.code == 0
    assert run("info", built, "--json").json["tuned"] == []


def test_too_few_queries_exit_with_1_and_keep_nothing(run, built, queries_path):
    outcome = run("tune", built, queries_path, "--recall", "0.99", "-k", "5", "--json")
    assert outcome.code == 1
    assert outcome.json["verdict"] == "INSUFFICIENT DATA"
    assert outcome.json["needed"] > 250
    assert run("info", built, "--json").json["tuned"] == []


def test_the_kept_plan_is_checked_on_new_queries(run, built, queries_path):
    run("tune", built, queries_path, "--plan", "probe=all; full", "--recall", "0.9", "-k", "5")
    outcome = run("tune", built, queries_path, "--check", "-k", "5", "--json")
    assert (outcome.code, outcome.json["verdict"]) == (0, "HOLDS")
    assert run("tune", built, queries_path, "--check", "-k", "5").out.startswith("HOLDS: ")


def test_after_a_change_info_says_that_the_plan_is_stale(run, built, queries_path):
    run("tune", built, queries_path, "--recall", "0.9", "-k", "5")
    run("delete", built, "0")
    assert "stale: rows have changed" in run("info", built).out


def test_a_shortlist_is_kept_and_checked_under_its_length(run, built, queries_path):
    promised = ("--shortlist-recall", "0.9", "-k", "5", "--plan", "probe=all; 128x2:40")
    outcome = run("tune", built, queries_path, *promised)
    assert "queries with all 5 in the shortlist >= 0.9" in outcome.out
    assert "for k=40 use it" in outcome.out
    assert "tuned for k=40" in run("info", built).out
    assert run("tune", built, queries_path, "--check", "-k", "40").out.startswith("HOLDS: ")


def test_ndcg_is_promised_by_judgements_from_a_file(run, refuse, built, queries_path, tmp_path):
    best = Index.open(built).search(np.load(queries_path), 1, exact=True).ids[:, 0]
    rows = [f"{query}\t{id_}\t1" for query, id_ in enumerate(best)]
    qrels = tmp_path / "test.tsv"
    qrels.write_text("\n".join(["query-id\tcorpus-id\tscore", *rows]))
    promised = ("--ndcg", "0.9", "-k", "5", "--qrels", qrels)
    assert "mean loss of nDCG@5 <= 0.1" in run("tune", built, queries_path, *promised).out
    assert "mean loss of nDCG@5 <= 0.1" in run("info", built).out
    outcome = run("tune", built, queries_path, "--check", "-k", "5", "--qrels", qrels)
    assert outcome.out.startswith("HOLDS: ")
    assert "give qrels" in refuse("tune", built, queries_path, "--check", "-k", "5")


def test_texts_become_queries_by_the_model_of_the_index(run, answering, texts):
    outcome = run("tune", answering, texts, "-k", "2", "--no-save", "--json")
    assert outcome.code == 1  # six texts, which are the rows themselves
    assert outcome.json["optimistic"] == 6


def test_options_that_would_do_nothing_are_refused(refuse, built, queries_path):
    assert "--plan" in refuse("tune", built, queries_path, "--check", "--plan", "probe=1; full")
    assert "--perfect-recall" in refuse("tune", built, queries_path, "--check", "--all", "0.9")
    assert "--model" in refuse("tune", built, queries_path, "--model", "minilm")


def test_two_promises_at_once_are_refused(refuse, built, queries_path):
    said = refuse("tune", built, queries_path, "--recall", "0.9", "--perfect-recall", "0.9")
    assert "recall and all" in said


def test_a_promise_that_no_sample_shows_is_refused(refuse, built, queries_path):
    assert "exact=True" in refuse("tune", built, queries_path, "--recall", "1")


def test_no_queries_and_few_are_told_as_json_that_any_reader_takes(
    run, refuse, built, queries_path, tmp_path
):
    run("tune", built, queries_path, "--plan", "probe=all; full", "--recall", "0.9", "-k", "5")
    np.save(tmp_path / "none.npy", np.empty((0, 128), np.float32))
    assert "no queries" in refuse("tune", built, tmp_path / "none.npy", "--check", "-k", "5")
    shuffled = np.load(queries_path)[:1, ::-1]
    np.save(tmp_path / "one.npy", np.ascontiguousarray(shuffled))
    told = run("tune", built, tmp_path / "one.npy", "--check", "-k", "5", "--json")
    assert told.json["verdict"] == "INSUFFICIENT DATA"
    assert "Infinity" not in told.out


@pytest.mark.parametrize("option", [("--confidence", 0.9), ("--recall", 0.9), ("--no-save",)])
def test_what_a_check_does_not_ask_is_refused(refuse, built, queries_path, option):
    told = refuse("tune", built, queries_path, "--check", *option)
    assert f"{option[0]} given with --check" in told


def test_a_seed_below_0_is_wrong_usage(run, built, queries_path):
    assert run("tune", built, queries_path, "--seed", "-1").code == 2


def test_the_plan_that_is_told_is_the_one_that_was_used(run, built, queries_path):
    tuned = run("tune", built, queries_path, "--recall", "0.9", "-k", "5", "--json").json["plan"]
    asked = ("search", built, "--vectors", queries_path, "-k", "5", "--json")
    assert run(*asked).json["plan"] == tuned
    assert run(*asked, "--exact").json["plan"] != tuned


def test_old_option_names_work_with_a_note():
    from nestvec.cli.renamed import with_new_names

    line = ["tune", "corpus.nv", "--all=0.9", "--no-keep", "--recall", "--all"]
    assert with_new_names(line)[2:4] == ["--perfect-recall=0.9", "--no-save"]
    assert with_new_names(["search", "corpus.nv", "--all"]) == ["search", "corpus.nv", "--all"]
