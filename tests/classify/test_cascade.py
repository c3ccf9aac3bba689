"""The cascade: reads little, answers like full width, promises what was shown, survives a file."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

import nestvec as nv
from nestvec.classify.linear import Linear
from nestvec.classify.report import report
from nestvec.errors import DataError, DimsError, InputError, VectorsError


def test_it_answers_as_full_width_does_and_reads_less(cascade, asked):
    found = report(cascade, *asked)
    assert found.full.value > 0.8
    assert found.accuracy.value > found.full.value - 0.03
    assert found.expected_dims < 28


def test_what_is_predicted_is_what_is_reported(cascade, asked):
    vectors, labels = asked
    predicted = cascade.predict(vectors)
    found = report(cascade, vectors, labels)
    assert (predicted.labels == labels).mean() == found.accuracy.value
    assert predicted.dims.mean() == found.expected_dims
    used = [(predicted.dims == size.dims).mean() for size in found.sizes]
    assert used == [size.answered for size in found.sizes]


def test_dimensions_beyond_the_size_used_are_never_read(cascade, asked):
    vectors, _ = asked
    predicted = cascade.predict(vectors)
    beyond = np.where(np.arange(32) < predicted.dims[:, None], vectors, 1e6).astype(np.float32)
    again = cascade.predict(beyond)
    assert (again.labels == predicted.labels).all()
    assert (again.sure == predicted.sure).all()


def test_dims_summed_counts_every_size_read(cascade, asked):
    found = report(cascade, *asked)
    sums = np.cumsum(cascade.dims)
    by_hand = sum(size.answered * total for size, total in zip(found.sizes, sums, strict=True))
    assert found.expected_dims_summed == pytest.approx(by_hand)
    assert found.expected_dims_summed > found.expected_dims


def test_sizes_that_never_answer_are_not_read(learning, asked):
    few = nv.Cascade.fit(*learning, dims=[8, 16, 32], alpha=0.001)
    assert not few.certificate.shown
    assert few.read == (False, False, True)
    found = report(few, *asked)
    assert found.expected_dims == found.expected_dims_summed == 32
    assert found.accuracy == found.full
    broken = replace(few.sizes[0], temperature=1e-30)  # it would answer anything
    blind = replace(few, sizes=(broken, *few.sizes[1:]))
    assert (blind.predict(asked[0]).labels == few.predict(asked[0]).labels).all()


def test_what_is_exactly_as_sure_as_the_threshold_is_treated_alike_everywhere(learning, cascade):
    vectors, labels = learning
    sure = cascade.answers(vectors, labels).sure[0]
    for level in (sure[3], np.nextafter(sure[3], 2), np.nextafter(sure[3], 0)):
        tied = replace(cascade, thresholds=(float(level), 2.0, 2.0))
        found = report(tied, vectors, labels)
        assert (tied.predict(vectors).dims == 4).mean() == found.sizes[0].answered


def test_equal_input_and_seed_give_an_equal_cascade(learning, cascade):
    again = nv.Cascade.fit(*learning, dims=[32, 16, 8, 4], rotation="none")
    other = nv.Cascade.fit(*learning, dims=[32, 16, 8, 4], rotation="none", seed=1)
    assert again.thresholds == cascade.thresholds
    assert (again.sizes[0].weight == cascade.sizes[0].weight).all()
    assert (other.sizes[0].weight != cascade.sizes[0].weight).any()


def test_with_alpha_it_is_certified_and_keeps_to_it(learning, asked):
    cascade = nv.Cascade.fit(*learning, dims=[8, 32], alpha=0.1, confidence=0.9)
    assert cascade.certificate.shown
    assert report(cascade, *asked).lost.value < 0.1


def test_rotated_sizes_find_what_lies_behind(learning, asked):
    """The same vectors with their dimensions behind a wide blank."""
    behind = [(np.pad(vectors, ((0, 0), (32, 0))), labels) for vectors, labels in (learning, asked)]
    accuracy = {
        rotation: report(nv.Cascade.fit(*behind[0], dims=[8], rotation=rotation), *behind[1])
        for rotation in ("pca", "none")
    }
    assert accuracy["pca"].accuracy.value > 0.9
    assert accuracy["none"].accuracy.value < 0.3


def test_a_rotation_changes_nothing_at_full_width(learning, asked):
    fits = [nv.Cascade.fit(*learning, dims=[32], rotation=of) for of in ("pca", "none")]
    turned, plain = (fit.predict(asked[0]) for fit in fits)
    assert (turned.labels == plain.labels).mean() > 0.995


def test_the_nearest_mean_makes_a_cascade_too(learning, asked):
    cascade = nv.Cascade.fit(*learning, dims=[8, 32], classifier="nearest-mean")
    found = report(cascade, *asked)
    assert found.full.value > 0.8
    assert found.sizes[-1].calibration_error < 0.1


def test_calibration_halves_the_error_of_overconfident_sizes(learning, asked):
    vectors, labels = asked
    fitted = nv.Cascade.fit(*learning, dims=[32], rotation="none")
    loud = replace(fitted, sizes=tuple(replace(s, temperature=0.02) for s in fitted.sizes))
    calibrated = nv.Cascade.of(loud.sizes, loud.labels, *learning)
    errors = [report(c, vectors, labels).sizes[0].calibration_error for c in (loud, calibrated)]
    assert errors[1] < errors[0] / 2


def test_heads_that_were_trained_elsewhere_make_a_cascade(rng):
    weight = np.eye(4, dtype=np.float32)
    heads = [Linear(weight[:, :d], np.zeros(4, np.float32), unit=False) for d in (4, 2)]
    labels = rng.integers(0, 2, 100)
    vectors = (np.eye(4)[labels] * 9).astype(np.float32)
    cascade = nv.Cascade.of(heads, [0, 1, 2, 3], vectors, labels)
    assert cascade.dims == (2, 4)
    predicted = cascade.predict(vectors)
    assert (predicted.labels == labels).all()
    assert (predicted.dims == 2).all()


def test_slices_are_thirds_of_the_classes_by_their_rows(rng):
    counts = [5, 5, 40, 40, 300, 300]
    labels = np.repeat(np.arange(6), counts)
    vectors = (np.eye(8)[labels] + 0.2 * rng.standard_normal((690, 8))).astype(np.float32)
    cascade = nv.Cascade.fit(vectors, labels, dims=[2, 8], rotation="none")
    found = report(cascade, vectors, labels)
    # .3 of each class is held out: 5 → 3 (one or two rows spared), 40 → 28, 300 → 210.
    assert [(s.fewest, s.most, s.classes, s.rows) for s in found.slices] == [
        (3, 3, 2, 10), (28, 28, 2, 80), (210, 210, 2, 600),
    ]  # fmt: skip
    accuracy = sum(s.cascade * s.rows for s in found.slices) / 690
    assert accuracy == pytest.approx(found.accuracy.value)
    assert found.slices[0].by_size[0] < found.slices[0].by_size[1]


def test_a_saved_cascade_is_the_same(cascade, asked, tmp_path):
    vectors, labels = asked
    promised = nv.Cascade.of(
        cascade.sizes, cascade.labels, vectors, labels, alpha=0.2, confidence=0.8
    )
    turned = nv.Cascade.fit(vectors, labels, dims=[4, 8])
    for one in (cascade, promised, turned):
        one.save(tmp_path / "a.safetensors")
        again = nv.Cascade.load(tmp_path / "a.safetensors")
        for found, expected in zip(again.predict(vectors), one.predict(vectors), strict=True):
            np.testing.assert_array_equal(found, expected)
        assert (again.certificate, again.counts) == (one.certificate, one.counts)


def test_files_that_hold_no_cascade_are_named(tmp_path, cascade):
    from safetensors.numpy import save_file

    with pytest.raises(DataError, match="no file"):
        nv.Cascade.load(tmp_path / "none.safetensors")
    save_file({"x": np.zeros(1, np.float32)}, tmp_path / "other.safetensors")
    with pytest.raises(DataError, match="no cascade"):
        nv.Cascade.load(tmp_path / "other.safetensors")
    cascade.save(tmp_path / "a.safetensors")
    whole = (tmp_path / "a.safetensors").read_bytes()
    (tmp_path / "a.safetensors").write_bytes(whole[:-8])
    with pytest.raises(DataError, match="damaged"):
        nv.Cascade.load(tmp_path / "a.safetensors")


def test_a_save_that_fails_leaves_what_was_there(cascade, asked, tmp_path, monkeypatch):
    path = tmp_path / "new" / "a.safetensors"
    cascade.save(path)
    before = path.read_bytes()

    def full(*_):
        raise OSError("no space left")

    monkeypatch.setattr(Path, "write_bytes", full)
    with pytest.raises(OSError, match="no space"):
        replace(cascade, thresholds=(0.5, 0.5, 0.5)).save(path)
    assert path.read_bytes() == before
    with pytest.raises(DataError, match="rename"):
        cascade.save(tmp_path / "a.txt")


def test_labels_may_be_numbers(rng):
    labels = rng.integers(3, 6, 60)
    vectors = np.eye(8, dtype=np.float32)[labels]
    cascade = nv.Cascade.fit(vectors, labels, dims=[8])
    assert cascade.labels == (3, 4, 5)
    assert nv.Cascade.fit(vectors, list(labels), dims=[8]).labels == (3, 4, 5)
    assert (cascade.predict(vectors).labels == labels).all()


@pytest.mark.parametrize(
    ("change", "error", "wrong"),
    [
        ({"dims": [8, 8]}, DimsError, "once"),
        ({"dims": [64]}, DimsError, "wider"),
        ({"classifier": "forest"}, InputError, "unknown"),
        ({"rotation": "left"}, InputError, "unknown"),
        ({"chain": "daisy"}, InputError, "unknown"),
        ({"held_out": 1.0}, InputError, "held_out"),
        ({"labels": ["a"] * 900}, InputError, "nothing to tell apart"),
        ({"labels": ["a"] * 899}, InputError, "one per row"),
        ({"labels": ["a"] * 450 + [1] * 450}, InputError, "several types"),
        ({"labels": [1.5] * 900}, InputError, "texts or whole numbers"),
        ({"alpha": 1.5}, InputError, "alpha"),
        ({"alpha": 0.1, "chain": "pairwise"}, InputError, "leave one of them out"),
        ({"confidence": 7.0}, InputError, "confidence=7"),
        ({"seed": -1}, InputError, "seed=-1"),
    ],
)
def test_what_does_not_fit_is_refused(learning, change, error, wrong):
    given = {"vectors": learning[0], "labels": learning[1], "dims": [2]}
    with pytest.raises(error, match=wrong):
        nv.Cascade.fit(**(given | change))


def test_what_would_make_no_cascade_is_refused(cascade, learning):
    with pytest.raises(InputError, match="two classes"):
        replace(cascade, labels=("a", "a", "b", "c", "d", "e"))
    with pytest.raises(InputError, match="0 or more"):
        replace(cascade, thresholds=(float("nan"), 0.5, 0.5))
    with pytest.raises(VectorsError, match="reads up to 32"):
        nv.Cascade.of(cascade.sizes, cascade.labels, learning[0][:, :16], learning[1])


def test_narrower_vectors_are_refused(cascade):
    with pytest.raises(VectorsError, match="reads up to 32"):
        cascade.predict(np.ones((2, 16), np.float32))
