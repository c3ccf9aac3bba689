import json
import runpy
import signal
import subprocess
import sys
import time
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from nestvec.encode import encode_to_file, read_vectors
from nestvec.errors import DataError, EncodeError, InputError

PROGRAM = Path(__file__).with_name("write_slowly.py")
module = runpy.run_path(str(PROGRAM))
TEXTS = module["TEXTS"]


class Encoder(module["SlowEncoder"]):
    """The program's encoder without its pauses; it fails at the chunk numbered `fail_at`."""

    def __init__(self, fail_at=None):
        super().__init__(pause_s=0.0)
        self.left = fail_at

    def encode(self, items, progress=None):
        if self.left == 0:
            raise KeyboardInterrupt
        self.left = None if self.left is None else self.left - 1
        return super().encode(items)


def interrupt(path, chunks=3, texts=TEXTS):
    with pytest.raises(KeyboardInterrupt):
        encode_to_file(Encoder(fail_at=chunks), texts, path, chunk_rows=4)


def files_in(folder):
    return sorted(path.name for path in folder.iterdir())


def test_the_file_holds_the_rows_of_the_texts_and_nothing_is_left_beside_it(tmp_path):
    encode_to_file(Encoder(), TEXTS, tmp_path / "new" / "v.npy", chunk_rows=7)
    rows = read_vectors(tmp_path / "new" / "v.npy").vectors
    np.testing.assert_array_equal(rows, Encoder().encode(TEXTS))
    assert rows.dtype == np.float32
    assert files_in(tmp_path / "new") == ["v.npy"]


def test_no_texts_make_a_file_without_rows(tmp_path):
    encode_to_file(Encoder(), [], tmp_path / "v.npy")
    assert np.load(tmp_path / "v.npy").shape == (0, 5)


def test_an_interrupted_run_goes_on_behind_its_last_chunk(tmp_path):
    interrupt(tmp_path / "v.npy", chunks=3)
    assert files_in(tmp_path) == ["v.npy.partial", "v.npy.partial.json"]
    encoder = Encoder()
    encode_to_file(encoder, TEXTS, tmp_path / "v.npy", chunk_rows=5)
    assert encoder.encoded == len(TEXTS) - 3 * 4
    np.testing.assert_array_equal(np.load(tmp_path / "v.npy"), Encoder().encode(TEXTS))


def test_a_killed_process_goes_on_behind_its_last_chunk(tmp_path):
    path, journal = tmp_path / "v.npy", tmp_path / "v.npy.partial.json"
    slow = subprocess.Popen([sys.executable, str(PROGRAM), str(path), "0.2"])
    give_up = time.monotonic() + 60
    while not (journal.exists() and json.loads(journal.read_text())["done"] >= 8):
        assert time.monotonic() < give_up
        assert slow.poll() is None
        time.sleep(0.01)
    slow.send_signal(signal.SIGKILL)
    assert slow.wait() == -signal.SIGKILL
    assert not path.exists()
    again = [sys.executable, str(PROGRAM), str(path), "0"]
    encoded = int(subprocess.run(again, capture_output=True, check=True, text=True).stdout)
    assert 0 < encoded <= len(TEXTS) - 8
    np.testing.assert_array_equal(np.load(path), Encoder().encode(TEXTS))


def test_rows_of_a_chunk_that_was_never_finished_are_written_again(tmp_path):
    interrupt(tmp_path / "v.npy")
    with (tmp_path / "v.npy.partial").open("ab") as file:
        file.write(b"\xff" * 33)
    encode_to_file(Encoder(), TEXTS, tmp_path / "v.npy", chunk_rows=4)
    np.testing.assert_array_equal(np.load(tmp_path / "v.npy"), Encoder().encode(TEXTS))


def test_a_run_killed_before_its_first_row_starts_again(tmp_path):
    interrupt(tmp_path / "v.npy", chunks=0)
    (tmp_path / "v.npy.partial").write_bytes(b"")
    encode_to_file(Encoder(), TEXTS, tmp_path / "v.npy")
    np.testing.assert_array_equal(np.load(tmp_path / "v.npy"), Encoder().encode(TEXTS))


def test_other_texts_do_not_go_on_with_a_file(tmp_path):
    interrupt(tmp_path / "v.npy")
    other = ["text", *TEXTS[1:]]
    with pytest.raises(DataError, match=r"was begun with other texts_sha256; .* remove"):
        encode_to_file(Encoder(), other, tmp_path / "v.npy")
    shifted = [TEXTS[0] + TEXTS[1][:1], TEXTS[1][1:], *TEXTS[2:]]
    with pytest.raises(DataError, match="other texts_sha256"):
        encode_to_file(Encoder(), shifted, tmp_path / "v.npy")


def test_another_model_does_not_go_on_with_a_file(tmp_path):
    interrupt(tmp_path / "v.npy")
    other = Encoder()
    other.info = replace(Encoder.info, revision="2")
    with pytest.raises(DataError, match="was begun with other model;"):
        encode_to_file(other, TEXTS, tmp_path / "v.npy")


@pytest.mark.parametrize("journal", [None, "", "[]", "{}", '{"done": "many"}'])
def test_a_partial_file_without_a_good_record_is_refused(tmp_path, journal):
    interrupt(tmp_path / "v.npy")
    path = tmp_path / "v.npy.partial.json"
    path.unlink() if journal is None else path.write_text(journal)
    with pytest.raises(DataError, match=r"no readable record 'v.npy.partial.json'; remove"):
        encode_to_file(Encoder(), TEXTS, tmp_path / "v.npy")


def test_a_partial_file_that_lost_rows_is_refused(tmp_path):
    interrupt(tmp_path / "v.npy")
    partial = tmp_path / "v.npy.partial"
    partial.write_bytes(partial.read_bytes()[:-1])
    with pytest.raises(DataError, match="shorter than its record says"):
        encode_to_file(Encoder(), TEXTS, tmp_path / "v.npy")


def test_a_finished_file_is_never_overwritten(tmp_path):
    (tmp_path / "v.npy").write_text("precious")
    with pytest.raises(DataError, match="exists already"):
        encode_to_file(Encoder(), TEXTS, tmp_path / "v.npy")
    assert (tmp_path / "v.npy").read_text() == "precious"


def test_an_encoder_that_gives_other_shapes_is_found_out(tmp_path):
    class Short(Encoder):
        def encode(self, items, progress=None):
            return super().encode(items)[1:]

    with pytest.raises(EncodeError, match=r"gave shape \(39, 5\) where \(40, 5\) is due"):
        encode_to_file(Short(), TEXTS, tmp_path / "v.npy")


def test_an_encoders_error_tells_the_chunk(tmp_path):
    class Failing(Encoder):
        def encode(self, items, progress=None):
            if items[0] == TEXTS[4]:
                raise EncodeError("text 0 of 4 is bad")
            return super().encode(items)

    with pytest.raises(EncodeError, match="begins at text 4: text 0 of 4 is bad"):
        encode_to_file(Failing(), TEXTS, tmp_path / "v.npy", chunk_rows=4)


def test_progress_begins_with_the_rows_done_before(tmp_path):
    interrupt(tmp_path / "v.npy", chunks=3)
    counts = []

    @contextmanager
    def progress(description, total):
        counts.append(-total)
        yield counts.append

    encode_to_file(Encoder(), TEXTS, tmp_path / "v.npy", chunk_rows=20, progress=progress)
    assert counts == [-40, 12, 20, 8]


def test_impossible_arguments_are_refused(tmp_path):
    with pytest.raises(InputError, match=r"does not end in \.npy"):
        encode_to_file(Encoder(), TEXTS, tmp_path / "v.bin")
    with pytest.raises(InputError, match="chunk_rows=0"):
        encode_to_file(Encoder(), TEXTS, tmp_path / "v.npy", chunk_rows=0)
    with pytest.raises(InputError, match="single text"):
        encode_to_file(Encoder(), "text", tmp_path / "v.npy")
