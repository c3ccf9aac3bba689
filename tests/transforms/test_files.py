"""Files of transforms and cascades: read as they were saved, or refused with the damage named."""

import json
from dataclasses import fields
from pathlib import Path

import numpy as np
import pytest

from nestvec import Cascade
from nestvec.adapt import Transform
from nestvec.classify.files import CASCADE, pack
from nestvec.errors import DataError
from nestvec.transforms.files import TRANSFORM, read_file, write_file

OLD = Path(__file__).parents[1] / "golden" / "files_without_checksum"
TRANSFORMS = ["rotation", "linear", "prefix", "adaptor", "chain"]
CASCADES = ["cascade", "cascade_plain"]
ROWS = np.array(
    [[0, -2, 1, -1], [2, -1, -2, 0], [-2, 1, -2, 2], [-1, 2, 0, -2], [1, -1, 1, 0], [2, 0, -2, 1],
     [-1, 2, -1, -2], [0, -2, 1, -2], [2, -1, 2, 0]],
    np.float32,
)  # fmt: skip


def load(path, name):
    return Cascade.load(path) if name in CASCADES else Transform.load(path)


@pytest.fixture(params=TRANSFORMS + CASCADES)
def saved(request, tmp_path):
    """A name, and a new file of what the golden file of that name holds."""
    path = tmp_path / "saved.safetensors"
    load(OLD / f"{request.param}.safetensors", request.param).save(path)
    return request.param, path


@pytest.mark.parametrize("name", TRANSFORMS)
def test_a_transform_without_a_checksum_opens_as_before(name):
    expected = json.loads((OLD / "expected.json").read_text(encoding="utf-8"))[name]
    transform = Transform.load(OLD / f"{name}.safetensors")
    assert transform.fingerprint == expected["fingerprint"]
    assert json.loads(json.dumps(transform.notes())) == expected["notes"]
    assert transform.transform(ROWS) == pytest.approx(np.array(expected["documents"]))
    assert transform.transform_queries(ROWS) == pytest.approx(np.array(expected["queries"]))


@pytest.mark.parametrize("name", CASCADES)
def test_a_cascade_without_a_checksum_opens_as_before(name):
    expected = json.loads((OLD / "expected.json").read_text(encoding="utf-8"))[name]
    cascade = Cascade.load(OLD / f"{name}.safetensors")
    labels, probability, dims_read = cascade.predict(ROWS)
    assert labels.tolist() == expected["labels"]
    assert probability == pytest.approx(np.array(expected["sure"]))
    assert dims_read.tolist() == expected["dims"]
    assert list(cascade.thresholds) == expected["thresholds"]
    assert list(cascade.class_counts) == expected["counts"]
    assert cascade.model == expected["model"]
    _, header = pack({field.name: getattr(cascade, field.name) for field in fields(cascade)})
    assert header["certificate"] == expected["certificate"]


def test_equal_contents_make_equal_files(saved):
    name, path = saved
    again = path.with_name("again.safetensors")
    load(path, name).save(again)
    assert again.read_bytes() == path.read_bytes()


def places(whole, soak):
    """Places of bytes: the framing, some of the header, its padding, some of every array."""
    end = 8 + int.from_bytes(whole[:8], "little")
    some = {*range(8), *range(8, end, 13), *range(end - 8, end), *range(end, len(whole), 7)}
    return range(len(whole)) if soak else sorted(some)


def test_a_flipped_bit_is_an_error_or_means_nothing(saved, soak):
    name, path = saved
    whole = path.read_bytes()
    again = path.with_name("again.safetensors")
    for place in places(whole, soak):
        for bit in range(8):
            damaged = bytearray(whole)
            damaged[place] ^= 1 << bit
            path.write_bytes(damaged)
            try:
                found = load(path, name)
            except DataError as error:
                assert str(path) in str(error)
                continue
            found.save(again)
            assert again.read_bytes() == whole, f"bit {bit} of byte {place}: {bytes(damaged)!r}"


def test_damage_to_the_numbers_names_the_file_and_the_way_out(saved):
    name, path = saved
    whole = bytearray(path.read_bytes())
    if name == "prefix":  # no numbers but those in its header
        whole[whole.index(b'\\"given\\": 4') + 11] = ord("5")
    else:
        whole[-1] ^= 1
    path.write_bytes(whole)
    with pytest.raises(DataError, match=r"saved\.safetensors' is damaged.*checksum.*restore"):
        load(path, name)


HEADERS = [
    None, True, 1, 2**70, 0.1, -0.0, 5e-324, 1e22, float("inf"), "é\u2028\0😀", "", [], {},
    [[1.5]], {"b": {"": 1}, "a": [None, {"é": "😀"}]},
]  # fmt: skip


@pytest.mark.parametrize("value", HEADERS, ids=range(len(HEADERS)))
def test_any_header_is_read_as_it_was_written(tmp_path, value):
    write_file(tmp_path / "a.safetensors", {}, {"facts": value})
    read = read_file(tmp_path / "a.safetensors")[1]
    expected = {"facts": value, "format": 1}
    assert json.dumps(read, sort_keys=True) == json.dumps(expected, sort_keys=True)


@pytest.mark.parametrize("kind", [TRANSFORM, CASCADE], ids=["transform", "cascade"])
@pytest.mark.parametrize(("version", "message"), [(0, "header cannot be read"), (2, "upgrade")])
def test_a_format_that_never_was_and_a_newer_one_are_refused(tmp_path, kind, version, message):
    path = tmp_path / "a.safetensors"
    write_file(path, {}, {"format": version}, kind)
    with pytest.raises(DataError, match=message):
        read_file(path, kind)


def test_a_cascade_whose_parts_do_not_fit_is_a_data_error(tmp_path):
    path = tmp_path / "a.safetensors"
    arrays, header = read_file(OLD / "cascade.safetensors", CASCADE)
    for change in ({"labels": ["a", "a", "b"]}, {"thresholds": [-1.0]}, {"sizes": [{}]}):
        write_file(path, arrays, header | change, CASCADE)
        with pytest.raises(DataError, match="no usable cascade"):
            Cascade.load(path)


def test_numbers_as_keys_become_texts_and_are_no_damage(tmp_path):
    write_file(tmp_path / "a.safetensors", {}, {"facts": {10: "ten", 9: "nine"}})
    assert read_file(tmp_path / "a.safetensors")[1]["facts"] == {"10": "ten", "9": "nine"}


@pytest.mark.parametrize(
    "array",
    [np.zeros((0, 3), np.float32), np.array([True, False]), np.arange(6, dtype=">i4"),
     np.arange(6.0).reshape(2, 3).T, np.array(2.5, np.float16)],
    ids=["empty", "bool", "big-endian", "transposed", "scalar"],
)  # fmt: skip
def test_any_array_is_read_as_it_was_written(tmp_path, array):
    write_file(tmp_path / "a.safetensors", {"x": array}, {})
    read = read_file(tmp_path / "a.safetensors")[0]["x"]
    assert read.tolist() == np.atleast_1d(array).tolist()
