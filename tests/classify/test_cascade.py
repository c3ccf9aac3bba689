"""Cascades: they read little, lose little accuracy, hold their guarantee, and survive a file."""

import importlib
import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

import nestvec as nv
from nestvec.classify.linear import LinearClassifier
from nestvec.classify.report import report
from nestvec.errors import DataError, DimsError, InputError, VectorsError


def test_accuracy_is_near_that_of_full_width_with_fewer_dims_read(cascade, held_out):
    result = report(cascade, *held_out)
    assert result.full_width.value > 0.8
    assert result.accuracy.value > result.full_width.value - 0.03
    assert result.expected_dims < 28


def test_predictions_agree_with_the_report(cascade, held_out):
    vectors, labels = held_out
    predicted = cascade.predict(vectors)
    result = report(cascade, vectors, labels)
    assert (predicted.labels == labels).mean() == result.accuracy.value
    assert predicted.dims_read.mean() == result.expected_dims
    exit_shares = [(predicted.dims_read == prefix.dims).mean() for prefix in result.prefixes]
    assert exit_shares == [prefix.exit_share for prefix in result.prefixes]


def test_dimensions_beyond_the_prefix_of_the_exit_are_never_read(cascade, held_out):
    vectors, _ = held_out
    predicted = cascade.predict(vectors)
    beyond = np.where(np.arange(32) < predicted.dims_read[:, None], vectors, 1e6).astype(np.float32)
    again = cascade.predict(beyond)
    assert (again.labels == predicted.labels).all()
    assert (again.probability == predicted.probability).all()


def test_dims_computed_count_every_prefix_read(cascade, held_out):
    result = report(cascade, *held_out)
    sums = np.cumsum(cascade.dims)
    expected = sum(p.exit_share * total for p, total in zip(result.prefixes, sums, strict=True))
    assert result.expected_dims_computed == pytest.approx(expected)
    assert result.expected_dims_computed > result.expected_dims


def test_classifiers_that_never_answer_are_not_read(train, held_out):
    few = nv.Cascade.fit(*train, dims=[8, 16, 32], alpha=0.001)
    assert not few.guarantee.is_shown
    assert few.is_read == (False, False, True)
    result = report(few, *held_out)
    assert result.expected_dims == result.expected_dims_computed == 32
    assert result.accuracy == result.full_width
    overconfident = replace(few.classifiers[0], temperature=1e-30)  # it would answer every row
    changed = replace(few, classifiers=(overconfident, *few.classifiers[1:]))
    assert (changed.predict(held_out[0]).labels == few.predict(held_out[0]).labels).all()


def test_a_probability_equal_to_the_threshold_is_treated_alike_everywhere(train, cascade):
    vectors, labels = train
    probability = cascade.predict_prefixes(vectors, labels).probability[0]
    p = probability[3]
    for level in (p, np.nextafter(p, 2), np.nextafter(p, 0)):
        tied = replace(cascade, thresholds=(float(level), 2.0, 2.0))
        result = report(tied, vectors, labels)
        assert (tied.predict(vectors).dims_read == 4).mean() == result.prefixes[0].exit_share


def test_equal_input_and_seed_give_an_equal_cascade(train, cascade):
    again = nv.Cascade.fit(*train, dims=[32, 16, 8, 4], rotation="none")
    reseeded = nv.Cascade.fit(*train, dims=[32, 16, 8, 4], rotation="none", seed=1)
    assert again.thresholds == cascade.thresholds
    assert (again.classifiers[0].weight == cascade.classifiers[0].weight).all()
    assert (reseeded.classifiers[0].weight != cascade.classifiers[0].weight).any()


def test_with_alpha_the_guarantee_is_shown_and_holds(train, held_out):
    cascade = nv.Cascade.fit(*train, dims=[8, 32], alpha=0.1, confidence=0.9)
    assert cascade.guarantee.is_shown
    assert report(cascade, *held_out).lost.value < 0.1


def test_rotated_prefixes_hold_signal_from_the_last_dimensions(train, held_out):
    """The same vectors with their dimensions behind a wide blank."""
    behind = [(np.pad(vectors, ((0, 0), (32, 0))), labels) for vectors, labels in (train, held_out)]
    accuracy = {
        rotation: report(nv.Cascade.fit(*behind[0], dims=[8], rotation=rotation), *behind[1])
        for rotation in ("pca", "none")
    }
    assert accuracy["pca"].accuracy.value > 0.9
    assert accuracy["none"].accuracy.value < 0.3


def test_a_rotation_changes_nothing_at_full_width(train, held_out):
    fits = [nv.Cascade.fit(*train, dims=[32], rotation=rotation) for rotation in ("pca", "none")]
    rotated, plain = (fit.predict(held_out[0]) for fit in fits)
    assert (rotated.labels == plain.labels).mean() > 0.995


def test_the_nearest_mean_makes_a_cascade_too(train, held_out):
    cascade = nv.Cascade.fit(*train, dims=[8, 32], classifier="nearest-mean")
    result = report(cascade, *held_out)
    assert result.full_width.value > 0.8
    assert result.prefixes[-1].calibration_error < 0.1


def test_calibration_halves_the_error_of_an_overconfident_classifier(train, held_out):
    vectors, labels = held_out
    fitted = nv.Cascade.fit(*train, dims=[32], rotation="none")
    classifiers = tuple(replace(c, temperature=0.02) for c in fitted.classifiers)
    overconfident = replace(fitted, classifiers=classifiers)
    calibrated = nv.Cascade.from_classifiers(classifiers, fitted.labels, *train)
    errors = [
        report(cascade, vectors, labels).prefixes[0].calibration_error
        for cascade in (overconfident, calibrated)
    ]
    assert errors[1] < errors[0] / 2


def test_heads_that_were_trained_elsewhere_make_a_cascade(rng):
    weight = np.eye(4, dtype=np.float32)
    heads = [LinearClassifier(weight[:, :d], np.zeros(4, np.float32), unit=False) for d in (4, 2)]
    labels = rng.integers(0, 2, 100)
    vectors = (np.eye(4)[labels] * 9).astype(np.float32)
    cascade = nv.Cascade.from_classifiers(heads, [0, 1, 2, 3], vectors, labels)
    assert cascade.dims == (2, 4)
    predicted = cascade.predict(vectors)
    assert (predicted.labels == labels).all()
    assert (predicted.dims_read == 2).all()


def test_slices_are_thirds_of_the_classes_by_their_number_of_rows(rng):
    counts = [5, 5, 40, 40, 300, 300]
    labels = np.repeat(np.arange(6), counts)
    vectors = (np.eye(8)[labels] + 0.2 * rng.standard_normal((690, 8))).astype(np.float32)
    cascade = nv.Cascade.fit(vectors, labels, dims=[2, 8], rotation="none")
    result = report(cascade, vectors, labels)
    # .3 of each class is held out: 5 → 3 (one or two rows spared), 40 → 28, 300 → 210.
    assert [(s.min_class_rows, s.max_class_rows, s.classes, s.rows) for s in result.slices] == [
        (3, 3, 2, 10), (28, 28, 2, 80), (210, 210, 2, 600),
    ]  # fmt: skip
    accuracy = sum(s.cascade * s.rows for s in result.slices) / 690
    assert accuracy == pytest.approx(result.accuracy.value)
    assert result.slices[0].by_dims[0] < result.slices[0].by_dims[1]


def test_a_saved_cascade_is_the_same(cascade, held_out, tmp_path):
    vectors, labels = held_out
    guaranteed = nv.Cascade.from_classifiers(
        cascade.classifiers, cascade.labels, vectors, labels, alpha=0.2, confidence=0.8
    )
    rotated = nv.Cascade.fit(vectors, labels, dims=[4, 8])
    for saved in (cascade, guaranteed, rotated):
        saved.save(tmp_path / "a.safetensors")
        again = nv.Cascade.load(tmp_path / "a.safetensors")
        for values, expected in zip(again.predict(vectors), saved.predict(vectors), strict=True):
            np.testing.assert_array_equal(values, expected)
        assert again.guarantee == saved.guarantee
        assert again.class_counts == saved.class_counts


def test_files_that_hold_no_cascade_are_an_error(tmp_path, cascade):
    from safetensors.numpy import save_file

    with pytest.raises(DataError, match="no file"):
        nv.Cascade.load(tmp_path / "none.safetensors")
    save_file({"x": np.zeros(1, np.float32)}, tmp_path / "other.safetensors")
    with pytest.raises(DataError, match="no cascade"):
        nv.Cascade.load(tmp_path / "other.safetensors")
    cascade.save(tmp_path / "a.safetensors")
    intact = (tmp_path / "a.safetensors").read_bytes()
    (tmp_path / "a.safetensors").write_bytes(intact[:-8])
    with pytest.raises(DataError, match="damaged"):
        nv.Cascade.load(tmp_path / "a.safetensors")


def test_a_failed_save_leaves_the_previous_file(cascade, held_out, tmp_path, monkeypatch):
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
    ("change", "error", "message"),
    [
        ({"dims": [8, 8]}, DimsError, "once"),
        ({"dims": [64]}, DimsError, "wider"),
        ({"classifier": "forest"}, InputError, "unknown"),
        ({"rotation": "left"}, InputError, "unknown"),
        ({"threshold_search": "daisy"}, InputError, "unknown"),
        ({"held_out": 1.0}, InputError, "held_out"),
        ({"labels": ["a"] * 900}, InputError, "nothing to classify"),
        ({"labels": ["a"] * 899}, InputError, "one per row"),
        ({"labels": ["a"] * 450 + [1] * 450}, InputError, "several types"),
        ({"labels": [1.5] * 900}, InputError, "texts or whole numbers"),
        ({"alpha": 1.5}, InputError, "alpha"),
        ({"alpha": 0.1, "threshold_search": "pairwise"}, InputError, "leave one of them out"),
        ({"confidence": 7.0}, InputError, "confidence=7"),
        ({"seed": -1}, InputError, "seed=-1"),
    ],
)
def test_options_and_labels_that_do_not_fit_are_errors(train, change, error, message):
    arguments = {"vectors": train[0], "labels": train[1], "dims": [2]}
    with pytest.raises(error, match=message):
        nv.Cascade.fit(**(arguments | change))


def test_fields_that_make_no_cascade_are_errors(cascade, train):
    with pytest.raises(InputError, match="two classes"):
        replace(cascade, labels=("a", "a", "b", "c", "d", "e"))
    with pytest.raises(InputError, match="0 or more"):
        replace(cascade, thresholds=(float("nan"), 0.5, 0.5))
    with pytest.raises(VectorsError, match="reads up to 32"):
        nv.Cascade.from_classifiers(cascade.classifiers, cascade.labels, train[0][:, :16], train[1])


def test_narrower_vectors_are_an_error(cascade):
    with pytest.raises(VectorsError, match="reads up to 32"):
        cascade.predict(np.ones((2, 16), np.float32))


def test_old_names_of_a_cascade_work_with_a_note(cascade, train, held_out):
    for old, new in (
        ("sizes", "classifiers"), ("counts", "class_counts"), ("certificate", "guarantee"),
        ("read", "is_read"),
    ):  # fmt: skip
        with pytest.warns(DeprecationWarning, match=f"Cascade.{new}"):
            assert getattr(cascade, old) == getattr(cascade, new)
    with pytest.warns(DeprecationWarning, match="Cascade.from_classifiers"):
        old_way = nv.Cascade.of(cascade.classifiers, cascade.labels, *train, alpha=0.2)
    expected = nv.Cascade.from_classifiers(cascade.classifiers, cascade.labels, *train, alpha=0.2)
    assert (old_way.thresholds, old_way.guarantee) == (expected.thresholds, expected.guarantee)
    with pytest.warns(DeprecationWarning, match="threshold_search="):
        old_search = nv.Cascade.fit(*train, [8, 32], chain="pairwise")
    new_search = nv.Cascade.fit(*train, [8, 32], threshold_search="pairwise")
    assert old_search.thresholds == new_search.thresholds
    with pytest.warns(DeprecationWarning, match="Cascade.predict_prefixes"):
        predictions = cascade.answers(*held_out)
    assert (predictions.correct == cascade.predict_prefixes(*held_out).correct).all()
    predicted = cascade.predict(held_out[0])
    with pytest.warns(DeprecationWarning, match="Predictions.probability"):
        assert predicted.sure is predicted.probability
    with pytest.warns(DeprecationWarning, match="Predictions.dims_read"):
        assert predicted.dims is predicted.dims_read
    with pytest.warns(DeprecationWarning, match="CascadeReport.full_width"):
        assert report(cascade, *held_out).full.value > 0.8


@pytest.mark.parametrize(
    ("module", "old", "new"),
    [
        ("linear", "Linear", "LinearClassifier"),
        ("thresholds", "Certificate", "AccuracyGuarantee"),
        ("thresholds", "Answers", "PrefixPredictions"),
        ("report", "SizeReport", "PrefixReport"),
        ("few_shot", "few_shots", "few_shot_accuracy"),
        ("few_shot", "Shots", "FewShotAccuracy"),
    ],
)
def test_old_names_of_modules_work_with_a_note(module, old, new):
    module = importlib.import_module(f"nestvec.classify.{module}")
    with pytest.warns(DeprecationWarning, match=new):
        assert getattr(module, old) is getattr(module, new)


def test_the_report_is_json_with_a_schema(cascade, held_out):
    values = json.loads(json.dumps(report(cascade, *held_out).to_json()))
    assert values["schema"] == "nestvec.classify-report/2"
    assert values["prefixes"][-1]["threshold"] is None
    assert values["full_width"].keys() == {"value", "low", "high", "n"}
