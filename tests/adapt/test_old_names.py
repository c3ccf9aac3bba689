"""Old names of this package still work, with a note that names the new ones."""

import numpy as np
import pytest

import nestvec.adapt
from nestvec import MatryoshkaAdaptor, Rotation
from nestvec.adapt import AdaptorConfig, Linear, Prefix, Transform
from nestvec.adapt.compare import ComparisonCell
from nestvec.adapt.config import with_new_names
from nestvec.adapt.report import FitReport, ScoresAtDims
from nestvec.statistics import Estimate
from nestvec.transforms.residual import Map

from .conftest import DIM


@pytest.mark.parametrize(("old", "new"), [("Adapter", Transform), ("Recipe", AdaptorConfig)])
def test_old_names_of_classes(old, new):
    with pytest.warns(DeprecationWarning, match=new.__name__):
        assert getattr(nestvec.adapt, old) is new


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ({"start": "neighbours"}, {"initialization": "neighbour_whitening"}),
        ({"teacher": "both"}, {"teacher": "average"}),
        ({"batch": 7, "candidates": 9}, {"batch_size": 7, "n_candidates": 9}),
        ({"labels": 0.25, "noise": 0.5}, {"label_share": 0.25, "query_noise": 0.5}),
    ],
)
def test_old_settings(old, new):
    with pytest.warns(DeprecationWarning, match="is now called"):
        config = AdaptorConfig(**old)
    assert config == AdaptorConfig(**new)
    assert with_new_names(old) == new
    for name in set(old) - set(new):
        with pytest.warns(DeprecationWarning, match="is now called"):
            assert getattr(config, name) in new.values()


def test_the_old_name_of_unsupervised():
    with pytest.warns(DeprecationWarning, match="unsupervised"):
        assert AdaptorConfig.keeping() == AdaptorConfig.unsupervised()


def test_old_names_of_methods(vectors):
    rotation = Rotation.random(DIM)
    with pytest.warns(DeprecationWarning, match="preserves_inner_products"):
        assert rotation.lossless
    with pytest.warns(DeprecationWarning, match="compose"):
        assert rotation.then(Prefix(DIM, 4)).width == 4
    with pytest.warns(DeprecationWarning, match="fit_centered_pca"):
        old = Linear.fit_centred(vectors)
    assert old.fingerprint == Linear.fit_centered_pca(vectors).fingerprint
    with pytest.warns(DeprecationWarning, match="fit_neighbour_whitening"):
        old = Linear.fit_neighbours(vectors)
    assert old.fingerprint == Linear.fit_neighbour_whitening(vectors).fingerprint


def test_old_arguments_of_fit(vectors):
    pytest.importorskip("torch")
    steps = []
    config = AdaptorConfig(teacher="vectors", steps=2)
    with pytest.warns(DeprecationWarning, match="is now called"):
        MatryoshkaAdaptor.fit(
            vectors, [3], recipe=config, told=lambda step, score: steps.append(step)
        )
    assert steps == [1, 2]


def test_old_fields():
    estimate = Estimate(0.5, 0.25, 0.75, 9)
    scores = ScoresAtDims(2, estimate, estimate, estimate)
    report = FitReport(
        "ADAPTED", "overlap@10", estimate, 0.25, 0.95, (scores,), scores, 7, 9, 3, 5, 0.5, 1,
        {}, ((1, 0.5),),
    )  # fmt: skip
    adaptor = MatryoshkaAdaptor.from_rotation(np.eye(DIM, dtype=np.float32), (3,))
    cell = ComparisonCell("pca", 2, 8, {}, {})
    for value, old, new in (
        (report, "said", "summary"),
        (report, "sizes", "at_dims"),
        (report, "full", "at_full_width"),
        (report, "bound", "gain_lower_bound"),
        (report, "rows", "n_documents"),
        (report, "seconds", "duration_s"),
        (report, "recipe", "config"),
        (scores, "rotation", "pca"),
        (adaptor, "sizes", "nesting_dims"),
        (adaptor, "front", "fitted_front_energy"),
        (Prefix(DIM, 4), "kept", "prefix_dims"),
        (cell, "bytes", "size_bytes"),
    ):
        with pytest.warns(DeprecationWarning, match=new):
            assert getattr(value, old) == getattr(value, new)


def test_a_report_in_a_file_has_the_keys_of_older_files_and_reads_their_settings(tmp_path):
    estimate = Estimate(0.5, 0.25, 0.75, 9)
    scores = ScoresAtDims(2, estimate, estimate, estimate)
    settings = {"start": "rotation", "teacher": "chosen", "steps": 5}
    report = FitReport(
        "ADAPTED", "overlap@10", estimate, 0.25, 0.95, (scores,), scores, 7, 9, 3, 5, 0.5, 1,
        settings, ((1, 0.5),),
    )  # fmt: skip
    shared = Map(np.eye(DIM, dtype=np.float32))
    adaptor = MatryoshkaAdaptor(shared, shared, (3,), 0.5, report)
    notes = adaptor.notes()["report"]
    old_keys = {"sizes", "full", "bound", "rows", "queries", "pairs", "seconds", "recipe"}
    assert old_keys <= notes.keys()
    assert notes["full"].keys() == {"dims", "rotation", "adaptor", "gain"}
    adaptor.save(tmp_path / "a.safetensors")
    loaded = Transform.load(tmp_path / "a.safetensors")
    assert isinstance(loaded, MatryoshkaAdaptor)
    assert loaded.report.config == {"initialization": "pca", "teacher": "auto", "steps": 5}
    assert loaded.report.at_dims == (scores,)
