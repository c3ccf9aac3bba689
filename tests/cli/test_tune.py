"""`nestvec tune`: finds, saves and checks a plan; exit code 1 where no guarantee is shown."""

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


def test_a_plan_is_tuned_saved_and_shown(run, built, queries_path):
    outcome = run("tune", built, queries_path, "--recall", "0.9", "-k", "5", "--json")
    assert outcome.code == 0
    result = outcome.json
    assert (result["verdict"], result["saved"], result["k"]) == ("GUARANTEED", True, 5)
    stored = run("info", built, "--json").json["tuned"]
    assert [(p["k"], p["plan"], p["current"]) for p in stored] == [(5, result["plan"], True)]
    assert "recall@5 >= 0.9 at 0.95 confidence" in run("info", built).out
    hits = run("search", built, "--vectors", queries_path, "-k", "5", "--json").json
    assert hits["plan"] == result["plan"]


def test_the_output_has_the_plan_the_tests_and_the_assumptions(run, built, queries_path):
    out = run("tune", built, queries_path, "--recall", "0.9", "-k", "5").out
    assert out.startswith("GUARANTEED: 'probe=")
    assert "It holds if" in out
    assert "bytes/query" in out
    assert "saved: searches of" in out


def test_no_save_leaves_the_index_as_it_is(run, built, queries_path):
    outcome = run("tune", built, queries_path, "--recall", "0.9", "-k", "5", "--no-save")
    assert outcome.code == 0
    assert run("info", built, "--json").json["tuned"] == []


def test_too_few_queries_exit_with_1_and_save_nothing(run, built, queries_path):
    outcome = run("tune", built, queries_path, "--recall", "0.99", "-k", "5", "--json")
    assert outcome.code == 1
    assert outcome.json["verdict"] == "INSUFFICIENT DATA"
    assert outcome.json["queries_needed"] > 250
    assert run("info", built, "--json").json["tuned"] == []


@pytest.fixture
def new_queries_path(queries_path, tmp_path):
    """Other vectors than those that tune a plan, of the same directions."""
    path = tmp_path / "new-queries.npy"
    np.save(path, 1.5 * np.load(queries_path))
    return path


def test_queries_that_tuned_the_plan_cannot_check_it(run, refuse, built, queries_path):
    run("tune", built, queries_path, "--plan", "probe=all; full", "--recall", "0.9", "-k", "5")
    assert "pass new queries" in refuse("tune", built, queries_path, "--check-drift", "-k", "5")


def test_the_saved_plan_is_checked_on_new_queries(run, built, queries_path, new_queries_path):
    run("tune", built, queries_path, "--plan", "probe=all; full", "--recall", "0.9", "-k", "5")
    outcome = run("tune", built, new_queries_path, "--check-drift", "-k", "5", "--json")
    assert (outcome.code, outcome.json["verdict"]) == (0, "HOLDS")
    assert run("tune", built, new_queries_path, "--check-drift", "-k", "5").out.startswith(
        "HOLDS: "
    )


def test_after_a_change_info_says_that_the_plan_is_stale(run, built, queries_path):
    run("tune", built, queries_path, "--recall", "0.9", "-k", "5")
    run("delete", built, "0")
    assert "stale: rows have changed" in run("info", built).out


def test_a_shortlist_is_saved_and_checked_under_its_length(
    run, built, queries_path, new_queries_path
):
    options = ("--shortlist-recall", "0.9", "-k", "5", "--plan", "probe=all; 128x2:40")
    outcome = run("tune", built, queries_path, *options)
    assert "queries with all 5 in the shortlist >= 0.9" in outcome.out
    assert "for k=40 use it" in outcome.out
    assert "tuned for k=40" in run("info", built).out
    assert run("tune", built, new_queries_path, "--check-drift", "-k", "40").out.startswith(
        "HOLDS: "
    )


def test_a_guarantee_of_ndcg_uses_judgments_from_a_file(
    run, refuse, built, queries_path, new_queries_path, tmp_path
):
    best = Index.open(built).search(np.load(queries_path), 1, exact=True).ids[:, 0]
    rows = [f"{query}\t{id_}\t1" for query, id_ in enumerate(best)]
    qrels = tmp_path / "test.tsv"
    qrels.write_text("\n".join(["query-id\tcorpus-id\tscore", *rows]))
    options = ("--ndcg", "0.9", "-k", "5", "--qrels", qrels)
    assert "mean loss of nDCG@5 <= 0.1" in run("tune", built, queries_path, *options).out
    assert "mean loss of nDCG@5 <= 0.1" in run("info", built).out
    outcome = run("tune", built, new_queries_path, "--check-drift", "-k", "5", "--qrels", qrels)
    assert outcome.out.startswith("HOLDS: ")
    assert "pass qrels" in refuse("tune", built, new_queries_path, "--check-drift", "-k", "5")


def test_texts_become_queries_by_the_model_of_the_index(run, answering, texts):
    outcome = run("tune", answering, texts, "-k", "2", "--no-save", "--json")
    assert outcome.code == 1  # six texts, which are the rows themselves
    assert outcome.json["n_self_matches"] == 6


def test_unused_options_are_an_error(refuse, built, queries_path):
    assert "--plan" in refuse(
        "tune", built, queries_path, "--check-drift", "--plan", "probe=1; full"
    )
    assert "--perfect-recall" in refuse(
        "tune", built, queries_path, "--check-drift", "--perfect-recall", "0.9"
    )
    assert "--model" in refuse("tune", built, queries_path, "--model", "minilm")


def test_two_targets_at_once_are_an_error(refuse, built, queries_path):
    message = refuse("tune", built, queries_path, "--recall", "0.9", "--perfect-recall", "0.9")
    assert "recall and perfect_recall" in message


def test_a_target_that_no_sample_can_show_is_an_error(refuse, built, queries_path):
    assert "exact=True" in refuse("tune", built, queries_path, "--recall", "1")


def test_too_few_queries_are_reported_as_strict_json(run, refuse, built, queries_path, tmp_path):
    run("tune", built, queries_path, "--plan", "probe=all; full", "--recall", "0.9", "-k", "5")
    np.save(tmp_path / "none.npy", np.empty((0, 128), np.float32))
    assert "no queries" in refuse("tune", built, tmp_path / "none.npy", "--check-drift", "-k", "5")
    shuffled = np.load(queries_path)[:1, ::-1]
    np.save(tmp_path / "one.npy", np.ascontiguousarray(shuffled))
    outcome = run("tune", built, tmp_path / "one.npy", "--check-drift", "-k", "5", "--json")
    assert outcome.json["verdict"] == "INSUFFICIENT DATA"
    assert "Infinity" not in outcome.out


@pytest.mark.parametrize("option", [("--confidence", 0.9), ("--recall", 0.9), ("--no-save",)])
def test_options_that_a_drift_check_does_not_use_are_an_error(refuse, built, queries_path, option):
    message = refuse("tune", built, queries_path, "--check-drift", *option)
    assert f"{option[0]}" in message
    assert "with --check-drift" in message


def test_a_seed_below_0_is_wrong_usage(run, built, queries_path):
    assert run("tune", built, queries_path, "--seed", "-1").code == 2


def test_the_plan_in_the_output_of_search_is_the_one_used(run, built, queries_path):
    tuned = run("tune", built, queries_path, "--recall", "0.9", "-k", "5", "--json").json["plan"]
    search = ("search", built, "--vectors", queries_path, "-k", "5", "--json")
    assert run(*search).json["plan"] == tuned
    assert run(*search, "--exact").json["plan"] != tuned


def test_old_option_names_work_with_a_note():
    from nestvec.cli.renamed import with_new_names

    line = ["tune", "corpus.nv", "--all=0.9", "--no-keep", "--check"]
    assert with_new_names(line)[2:] == ["--perfect-recall=0.9", "--no-save", "--check-drift"]
    assert with_new_names(["search", "corpus.nv", "--all"]) == ["search", "corpus.nv", "--all"]
