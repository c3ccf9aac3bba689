"""What every adapter promises, whatever kind it is."""

import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors import safe_open
from safetensors.numpy import save_file

import nestvec.transforms.base as adapters
from nestvec import Rotation
from nestvec.adapt import Adapter, Chain, Linear, MatryoshkaAdaptor, Prefix
from nestvec.adapt.initialization import neighbour_noise
from nestvec.errors import DataError, DimsError, VectorsError

from .conftest import DIM, KINDS, clustered, numbers

EPS = 2.0**-24


def test_what_is_saved_and_loaded_is_equal_to_the_last_bit(adapter, vectors, tmp_path):
    adapter.save(tmp_path / "a.safetensors")
    loaded = Adapter.load(tmp_path / "a.safetensors")
    assert type(loaded) is type(adapter)
    assert (loaded.transform(vectors) == adapter.transform(vectors)).all()
    assert (loaded.transform_queries(vectors) == adapter.transform_queries(vectors)).all()
    assert loaded.fingerprint == adapter.fingerprint
    assert (loaded.dim, loaded.width, loaded.dims) == (adapter.dim, adapter.width, adapter.dims)


def test_fewer_dims_are_a_prefix_of_all_of_them(adapter, vectors):
    for side in (adapter.transform, adapter.transform_queries):
        whole = side(vectors)
        assert whole.shape == (len(vectors), adapter.width)
        assert np.allclose(side(vectors, 3), whole[:, :3], atol=1e-5)


def test_streamed_is_equal_to_in_memory_to_the_last_bit(adapter, vectors, tmp_path, monkeypatch):
    monkeypatch.setattr(adapters, "BLOCK_ROWS", 64)
    np.save(tmp_path / "in.npy", vectors)
    mapped = np.load(tmp_path / "in.npy", mmap_mode="r")
    for side, whole in (
        ("documents", adapter.transform(vectors, 4)),
        ("queries", adapter.transform_queries(vectors, 4)),
    ):
        adapter.transform_file(mapped, tmp_path / f"{side}.npy", 4, side)
        adapter.transform_file(mapped, tmp_path / f"{side}.safetensors", 4, side)
        assert (np.load(tmp_path / f"{side}.npy") == whole).all()
        with safe_open(tmp_path / f"{side}.safetensors", framework="numpy") as file:
            assert (file.get_tensor("vectors") == whole).all()
            label = json.loads(file.metadata()["nestvec.adapted"])
        assert label == {"adapter": adapter.fingerprint, "side": side}


def test_a_chain_does_one_after_the_other(adapter, vectors):
    first = Rotation.random(DIM, 9)
    chained = first.then(adapter)
    assert (chained.transform(vectors) == adapter.transform(first.transform(vectors))).all()
    queries = adapter.transform_queries(first.transform_queries(vectors))
    assert (chained.transform_queries(vectors) == queries).all()


def test_how_a_chain_is_bracketed_does_not_matter():
    a, b, c = Rotation.random(DIM, 1), Rotation.random(DIM, 2), Prefix(DIM, 4)
    assert a.then(b).then(c).fingerprint == a.then(b.then(c)).fingerprint
    assert a.then(b).fingerprint != b.then(a).fingerprint


def test_a_map_that_is_affine_is_its_matrix_and_offset(adapter, vectors):
    for side, done in (
        ("documents", adapter.transform(vectors)),
        ("queries", adapter.transform_queries(vectors)),
    ):
        affine = adapter.affine(side)
        if affine is not None:
            assert np.allclose(vectors @ affine.matrix + affine.offset, done, atol=1e-4)
    assert (adapter.affine() is None) == (adapter.kind in ("prefix", "adaptor", "chain"))


def test_fingerprints_differ_as_soon_as_a_number_does(rng):
    matrix = numbers(rng, DIM, DIM)
    changed = matrix.copy()
    changed[3, 4] = np.nextafter(changed[3, 4], np.float32(9))
    zero = np.zeros(DIM, np.float32)
    assert Linear(matrix, zero).fingerprint == Linear(matrix.copy(), zero).fingerprint
    assert Linear(matrix, zero).fingerprint != Linear(changed, zero).fingerprint


def test_no_rows_give_no_rows(adapter):
    assert adapter.transform(np.empty((0, DIM), np.float32)).shape == (0, adapter.width)


@pytest.mark.parametrize("wrong", [np.nan, np.inf])
def test_rows_that_are_not_finite_are_named(adapter, vectors, wrong):
    vectors[7, 2] = wrong
    with pytest.raises(VectorsError, match=r"\[7\]"):
        adapter.transform(vectors)


def test_other_widths_are_refused(adapter):
    with pytest.raises(VectorsError, match=f"13 dimensions but {DIM}"):
        adapter.transform(np.ones((2, 13), np.float32))
    with pytest.raises(DimsError, match="dims=13"):
        adapter.transform(np.ones((2, DIM), np.float32), 13)


def test_adapters_whose_widths_do_not_meet_cannot_be_chained():
    with pytest.raises(VectorsError, match="gives vectors of 4 dimensions"):
        Prefix(DIM, 4).then(Rotation.random(DIM))


# --- files ----------------------------------------------------------------------------------------


def test_a_file_of_another_kind_is_refused(tmp_path):
    Prefix(DIM, 4).save(tmp_path / "p.safetensors")
    with pytest.raises(DataError, match="holds a prefix, not a adaptor"):
        MatryoshkaAdaptor.load(tmp_path / "p.safetensors")


def test_files_that_hold_no_adapter_are_named_errors(tmp_path, vectors):
    save_file({"vectors": vectors}, tmp_path / "v.safetensors")
    (tmp_path / "text.safetensors").write_text("no")
    for name, said in (("none", "no file"), ("v", "no adapter"), ("text", "cannot be read")):
        with pytest.raises(DataError, match=said):
            Adapter.load(tmp_path / f"{name}.safetensors")
    with pytest.raises(DataError, match="rename"):
        Prefix(DIM, 4).save(tmp_path / "a.bin")
    (tmp_path / "folder.safetensors").mkdir()
    with pytest.raises(DataError, match="is a folder"):
        Prefix(DIM, 4).save(tmp_path / "folder.safetensors")


@pytest.mark.parametrize("header", ["{not json", "{}", '{"format": "x"}', "[1]"])
def test_a_header_that_says_nothing_is_a_named_error(tmp_path, header):
    arrays = {"matrix": np.eye(DIM, dtype=np.float32)}
    save_file(arrays, tmp_path / "a.safetensors", metadata={"nestvec.adapter": header})
    with pytest.raises(DataError, match="header cannot be read"):
        Adapter.load(tmp_path / "a.safetensors")


def test_every_cut_of_a_file_is_a_named_error(adapter, tmp_path):
    path = tmp_path / "a.safetensors"
    adapter.save(path)
    whole = path.read_bytes()
    for length in range(0, len(whole) - 1, max(1, len(whole) // 40)):
        path.write_bytes(whole[:length])
        with pytest.raises(DataError):
            Adapter.load(path)


def test_a_matrix_that_is_not_orthogonal_is_no_rotation(tmp_path, rng):
    Rotation(numbers(rng, DIM, DIM)).save(tmp_path / "r.safetensors")
    with pytest.raises(DataError, match="not orthogonal"):
        Rotation.load(tmp_path / "r.safetensors")


def test_a_file_of_rows_appears_whole_or_not_at_all(tmp_path, vectors):
    vectors[-1, 0] = np.nan
    with pytest.raises(VectorsError):
        Rotation.random(DIM).transform_file(vectors, tmp_path / "out.npy")
    assert list(tmp_path.iterdir()) == []
    (tmp_path / "there.npy").touch()
    with pytest.raises(DataError, match="exists already"):
        Rotation.random(DIM).transform_file(vectors, tmp_path / "there.npy")


# --- kinds ----------------------------------------------------------------------------------------


@settings(deadline=None, max_examples=20)
@given(st.integers(0, 2**32 - 1), st.integers(1, 40))
def test_a_random_rotation_keeps_inner_products(seed, dim):
    rows = np.random.default_rng(seed).standard_normal((20, dim)).astype(np.float32)
    turned = Rotation.random(dim, seed).transform(rows).astype(float)
    lengths = np.linalg.norm(rows.astype(float), axis=1)
    bound = 4 * (dim + 2) * np.sqrt(dim) * EPS * np.outer(lengths, lengths)
    assert (np.abs(turned @ turned.T - rows.astype(float) @ rows.T) <= bound).all()


def test_equal_seeds_give_equal_rotations_and_others_do_not():
    assert (Rotation.random(5, 1).matrix == Rotation.random(5, 1).matrix).all()
    assert (Rotation.random(5, 1).matrix != Rotation.random(5, 2).matrix).any()


def test_centred_pca_is_the_principal_directions_of_what_is_left_without_the_mean(rng):
    rows = (numbers(rng, 300, 6) * np.arange(6, 0, -1) + 20).astype(np.float32)
    centred = Linear.fit_centred(rows)
    given = centred.transform(rows).astype(float)
    assert np.allclose(given.mean(axis=0), 0, atol=1e-4)
    covariance = given.T @ given
    assert np.allclose(covariance, np.diag(np.diag(covariance)), atol=0.5)
    assert (np.diff(np.diag(covariance)) < 0).all()
    assert not centred.lossless


@pytest.mark.parametrize("copies", [1, 5])
def test_rows_without_noise_among_neighbours_give_finite_directions(copies, rng):
    """A single row, equal rows, and rows that each have copies enough: nothing to even out."""
    for rows in (numbers(rng, 1, 6), np.ones((9, 6), np.float32), np.zeros((9, 6), np.float32)):
        fitted = Linear.fit_neighbours(np.repeat(rows, copies, axis=0))
        assert np.isfinite(fitted.matrix).all()
        assert np.linalg.matrix_rank(fitted.matrix) == 6
    rows = np.repeat(numbers(rng, 40, 6), 4, axis=0)
    unit = rows / np.linalg.norm(rows, axis=1, keepdims=True)
    given = Linear.fit_neighbours(rows).transform(unit)
    assert np.allclose(given @ given.T, unit @ unit.T, atol=1e-5)


def test_of_few_rows_each_has_the_others_for_neighbours(rng):
    rows = numbers(rng, 3, 4)
    rows /= np.linalg.norm(rows, axis=1, keepdims=True)
    away = np.stack([rows[i] - rows[j] for i in range(3) for j in range(3) if i != j]).astype(float)
    assert np.allclose(neighbour_noise(rows, 9, 0), away.T @ away / 6, atol=1e-6)


def test_no_rows_have_no_neighbours():
    with pytest.raises(VectorsError, match="no rows"):
        Linear.fit_neighbours(np.empty((0, 4), np.float32))


def test_an_adaptor_keeps_the_length_of_every_row(rng, vectors):
    rows = vectors * rng.uniform(0.1, 9, (len(vectors), 1)).astype(np.float32)
    given = KINDS["adaptor"](rng)
    for side in (given.transform, given.transform_queries):
        lengths = np.linalg.norm(side(rows), axis=1)
        assert np.allclose(lengths, np.linalg.norm(rows, axis=1), rtol=1e-5)
    assert (given.transform(np.zeros((2, DIM), np.float32)) == 0).all()


def test_a_chain_of_rotations_is_lossless_and_with_anything_else_it_is_not():
    turned = Chain.of(Rotation.random(DIM, 1), Rotation.random(DIM, 2))
    assert turned.lossless
    assert not turned.then(Prefix(DIM, 4)).lossless


def test_vectors_of_another_model_are_told_by_where_their_energy_lies(rng):
    rows = clustered(rng, 400, 64, spread=0.2)
    turned = MatryoshkaAdaptor.rotation(Rotation.fit(rows).matrix, (8, 16))
    from nestvec.adapt.fitting import front_energy

    fitted = MatryoshkaAdaptor(turned.documents, turned.queries, (8,), front_energy(turned, rows))
    adapters.check_kind(fitted, clustered(rng, 100, 64, spread=0.2))
    foreign = Rotation.random(64, 5).transform(rows)
    for adapter in (fitted, fitted.then(Prefix(64, 8))):
        with pytest.raises(VectorsError, match="do not look like"):
            adapters.check_kind(adapter, foreign)
    adapters.check_kind(fitted, foreign[:3])  # too few to tell
