"""`nestvec train`: from a configuration file to a model that other commands take."""

import json

import numpy as np
import pytest

pytest.importorskip("torch")
pytest.importorskip("sentence_transformers")
pytest.importorskip("tensorboardX")

TINY = """
dims = [4, 16]
[model]
{model}
[data]
{data}
held_out = 8
[loop]
steps = 6
batch_size = 8
evaluate_every = 3
learning_rate = 0.01
"""
BERT = "hidden = 16\nlayers = 1\nheads = 2\nvocabulary = 150\nmax_tokens = 8"


@pytest.fixture
def configure(tmp_path):
    def configure(name, data, model):
        path = tmp_path / f"{name}.toml"
        path.write_text(TINY.format(data=data, model=model))
        return path

    return configure


@pytest.fixture
def image_config(tmp_path, configure):
    rng = np.random.default_rng(0)
    pixels, labels = rng.integers(0, 255, (40, 8, 8), dtype=np.uint8), np.arange(40) % 3
    np.savez(tmp_path / "images.npz", images=pixels, labels=labels)
    return configure("image", f"images = '{tmp_path / 'images.npz'}'", "hidden = 16")


@pytest.fixture
def words(tmp_path):
    path = tmp_path / "words.tsv"
    rows = [f"ba{a}l de{b}n\tde{b}n ba{a}l" for a in "bdfgk" for b in "lmnopq"]
    path.write_text("\n".join(["left\tright", *rows]))
    return path


def test_a_model_is_trained_and_reported_again_by_the_same_command(run, tmp_path, image_config):
    result = run("train", "image", "--config", image_config, "-o", tmp_path / "run")
    assert result.code == 0
    assert result.out.split()[:3] == ["size", "held", "out"]
    assert [line.split()[0] for line in result.out.splitlines()[1:3]] == ["4", "16"]
    assert "step 3 of 6: loss" in result.err
    again = run("train", "image", "--config", image_config, "-o", tmp_path / "run")
    assert (again.out, again.err) == (result.out, "")  # the run has ended: reported, not trained


def test_images_are_encoded_by_a_model_trained_on_images(run, refuse, tmp_path, image_config):
    run("train", "image", "--config", image_config, "-o", tmp_path / "run")
    command = ("encode", tmp_path / "images.npz", "--model", tmp_path / "run" / "model")
    result = run(*command, "-o", tmp_path / "rows.npy", "--json").json
    rows = np.load(tmp_path / "rows.npy")
    assert (result["rows"], result["dim"]) == rows.shape == (40, 16)
    np.testing.assert_allclose(np.linalg.norm(rows, axis=1), 1, atol=1e-6)
    assert "new file" in refuse(*command, "-o", tmp_path / "rows.npy")
    assert "--limit" in refuse(*command, "-o", tmp_path / "new.npy", "--limit", 3)


def test_logs_have_every_prefix(run, tmp_path, image_config):
    from tensorboardX.proto.event_pb2 import Event

    run("train", "image", "--config", image_config, "-o", tmp_path / "run")
    (path,) = (tmp_path / "run" / "logs").iterdir()
    data, tags, position = path.read_bytes(), [], 0
    while position < len(data):  # length, its checksum, an event, its checksum
        length = int.from_bytes(data[position : position + 8], "little")
        event = Event.FromString(data[position + 12 : position + 12 + length])
        tags.extend((event.step, value.tag) for value in event.summary.value)
        position += 16 + length
    assert tags.count((6, "train/loss")) == 1
    assert {(3, "held_out/4"), (3, "held_out/16"), (6, "held_out/4")} <= set(tags)


def test_settings_on_the_command_line_come_first(run, tmp_path, image_config):
    command = ("train", "image", "--config", image_config, "-o", tmp_path / "run", "--json")
    result = run(*command, "--set", "loop.steps=2", "--set", "dims=[16]").json
    assert result["best"]["step"] == 2
    assert list(result["best"]["scores"]) == ["16"]
    assert result["metric"] == "accuracy"
    assert json.dumps(result)


def test_another_configuration_is_refused_until_the_run_is_overwritten(
    run, refuse, tmp_path, image_config
):
    command = ("train", "image", "--config", image_config, "-o", tmp_path / "run")
    run(*command)
    assert run(*command, "--set", "loop.seed=1").code == 1
    assert "loop.seed is 1 and was 0" in run(*command, "--set", "loop.seed=1").err
    assert run(*command, "--set", "loop.seed=1", "--overwrite").code == 0
    assert "not a whole number" in refuse(*command, "--set", "loop.steps=x")


def test_texts_are_tuned_and_encoded(run, tmp_path, words, configure):
    data = f"pairs = '{words}'\nquery_column = 'left'\ndocument_column = 'right'"
    config = configure("text", data, f"kind = 'bert'\n{BERT}")
    result = run("train", "text", "-c", config, "-o", tmp_path / "run", "--json").json
    out = tmp_path / "rows.npy"
    columns = ("--text-column", "left")
    encoded = run("encode", words, "-o", out, *columns, "--model", result["model"])
    assert encoded.code == 0
    assert np.load(out).shape == (30, 16)


def test_masked_words_are_learned_and_encoded(run, tmp_path, words, configure):
    config = configure("mlm", f"texts = '{words}'\ncolumn = 'left'", BERT)
    result = run("train", "mlm", "-c", config, "-o", tmp_path / "run", "--json").json
    assert list(result["best"]["scores"]) == ["4", "16"]
    encoded = run("encode", words, "-o", tmp_path / "rows.npy", "--text-column", "left",
                  "--model", result["model"])  # fmt: skip
    assert encoded.code == 0


def test_two_towers_are_trained(run, tmp_path, words):
    config = tmp_path / "clip.json"
    tower = {"hidden": 16, "layers": 1, "heads": 2, "vocabulary": 150, "max_tokens": 8}
    loop = {"steps": 4, "batch_size": 8, "evaluate_every": 2}
    data = {"pairs": str(words), "query_column": "left", "document_column": "right"}
    data["held_out"] = 6
    table = {
        "dims": [4, 8],
        "query_tower": tower,
        "document_tower": tower,
        "loop": loop,
        "data": data,
    }
    config.write_text(json.dumps(table))
    result = run("train", "clip", "-c", config, "-o", tmp_path / "run", "--json").json
    assert list(result["best"]["scores"]) == ["4", "4 x 8", "8 x 4", "8"]
    encoded = run("encode", words, "-o", tmp_path / "rows.npy", "--text-column", "right",
                  "--model", f"{result['model']}/right")  # fmt: skip
    assert encoded.code == 0
    assert np.load(tmp_path / "rows.npy").shape == (30, 8)
