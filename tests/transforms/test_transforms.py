"""Rules that hold for transforms of every kind."""

import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors import safe_open
from safetensors.numpy import save_file

import nestvec.transforms.base as transforms
from nestvec import Rotation
from nestvec.adapt import Chain, Linear, MatryoshkaAdaptor, Prefix, Transform
from nestvec.adapt.whitening import within_neighbour_scatter
from nestvec.errors import DataError, DimsError, VectorsError

from .conftest import DIM, KINDS, clustered, numbers

EPS = 2.0**-24


def test_saving_and_loading_changes_no_bit(transform, vectors, tmp_path):
    transform.save(tmp_path / "a.safetensors")
    loaded = Transform.load(tmp_path / "a.safetensors")
    assert type(loaded) is type(transform)
    assert (loaded.transform(vectors) == transform.transform(vectors)).all()
    assert (loaded.transform_queries(vectors) == transform.transform_queries(vectors)).all()
    assert loaded.fingerprint == transform.fingerprint
    assert (loaded.dim, loaded.width, loaded.dims) == (
        transform.dim,
        transform.width,
        transform.dims,
    )


def test_fewer_dims_are_a_prefix_of_the_full_output(transform, vectors):
    for side in (transform.transform, transform.transform_queries):
        whole = side(vectors)
        assert whole.shape == (len(vectors), transform.width)
        assert np.allclose(side(vectors, 3), whole[:, :3], atol=1e-5)


def test_streaming_gives_the_same_bits_as_memory(transform, vectors, tmp_path, monkeypatch):
    monkeypatch.setattr(transforms, "BLOCK_ROWS", 64)
    np.save(tmp_path / "in.npy", vectors)
    mapped = np.load(tmp_path / "in.npy", mmap_mode="r")
    for side, whole in (
        ("documents", transform.transform(vectors, 4)),
        ("queries", transform.transform_queries(vectors, 4)),
    ):
        transform.transform_file(mapped, tmp_path / f"{side}.npy", 4, side)
        transform.transform_file(mapped, tmp_path / f"{side}.safetensors", 4, side)
        assert (np.load(tmp_path / f"{side}.npy") == whole).all()
        with safe_open(tmp_path / f"{side}.safetensors", framework="numpy") as file:
            assert (file.get_tensor("vectors") == whole).all()
            label = json.loads(file.metadata()["nestvec.adapted"])
        assert label == {"adapter": transform.fingerprint, "side": side}


@pytest.mark.door("queries that go through a transform one by one or together", "equal to the bit")
@pytest.mark.parametrize("name", [*KINDS, "wide rotation", "wide linear"])
def test_a_query_is_mapped_alike_in_any_batch(name, rng):
    wide = {
        "wide rotation": lambda rng: Rotation.random(384, 3),
        "wide linear": lambda rng: Linear(numbers(rng, 384, 100), numbers(rng, 100)),
    }
    transform = (KINDS | wide)[name](rng)
    queries = numbers(rng, 100, transform.dim)
    together = transform.transform_queries(queries)
    for batch in (1, 2, 7, 33):
        parts = [transform.transform_queries(queries[i : i + batch]) for i in range(0, 100, batch)]
        assert (np.concatenate(parts) == together).all()
    assert (transform.transform_queries(queries[::-1])[::-1] == together).all()
    assert transform.transform_queries(queries[:0]).shape == (0, transform.width)
    np.testing.assert_allclose(
        together, transform.apply(queries, transform.width, "queries"), rtol=1e-3, atol=1e-4
    )


def test_a_chain_applies_its_parts_in_order(transform, vectors):
    first = Rotation.random(DIM, 9)
    chained = first.compose(transform)
    assert (chained.transform(vectors) == transform.transform(first.transform(vectors))).all()
    queries = transform.transform_queries(first.transform_queries(vectors))
    assert (chained.transform_queries(vectors) == queries).all()


def test_composition_is_associative():
    a, b, c = Rotation.random(DIM, 1), Rotation.random(DIM, 2), Prefix(DIM, 4)
    assert a.compose(b).compose(c).fingerprint == a.compose(b.compose(c)).fingerprint
    assert a.compose(b).fingerprint != b.compose(a).fingerprint


def test_a_map_that_is_affine_is_its_matrix_and_offset(transform, vectors):
    for side, done in (
        ("documents", transform.transform(vectors)),
        ("queries", transform.transform_queries(vectors)),
    ):
        affine = transform.affine(side)
        if affine is not None:
            assert np.allclose(vectors @ affine.matrix + affine.offset, done, atol=1e-4)
    assert (transform.affine() is None) == (transform.kind in ("prefix", "adaptor", "chain"))


def test_fingerprints_differ_as_soon_as_a_number_does(rng):
    matrix = numbers(rng, DIM, DIM)
    changed = matrix.copy()
    changed[3, 4] = np.nextafter(changed[3, 4], np.float32(9))
    zero = np.zeros(DIM, np.float32)
    assert Linear(matrix, zero).fingerprint == Linear(matrix.copy(), zero).fingerprint
    assert Linear(matrix, zero).fingerprint != Linear(changed, zero).fingerprint


def test_no_rows_give_no_rows(transform):
    assert transform.transform(np.empty((0, DIM), np.float32)).shape == (0, transform.width)


@pytest.mark.parametrize("wrong", [np.nan, np.inf])
def test_rows_that_are_not_finite_are_named(transform, vectors, wrong):
    vectors[7, 2] = wrong
    with pytest.raises(VectorsError, match=r"\[7\]"):
        transform.transform(vectors)


def test_vectors_of_another_width_are_refused(transform):
    with pytest.raises(VectorsError, match=f"13 dimensions but {DIM}"):
        transform.transform(np.ones((2, 13), np.float32))
    with pytest.raises(DimsError, match="dims=13"):
        transform.transform(np.ones((2, DIM), np.float32), 13)


def test_transforms_whose_widths_differ_cannot_be_chained():
    with pytest.raises(VectorsError, match="gives vectors of 4 dimensions"):
        Prefix(DIM, 4).compose(Rotation.random(DIM))


# --- files ----------------------------------------------------------------------------------------


def test_a_file_of_another_kind_is_refused(tmp_path):
    Prefix(DIM, 4).save(tmp_path / "p.safetensors")
    with pytest.raises(DataError, match="of kind 'prefix', not 'adaptor'"):
        MatryoshkaAdaptor.load(tmp_path / "p.safetensors")


def test_files_without_a_transform_are_named_errors(tmp_path, vectors):
    save_file({"vectors": vectors}, tmp_path / "v.safetensors")
    (tmp_path / "text.safetensors").write_text("no")
    for name, message in (("none", "no file"), ("v", "no transform"), ("text", "cannot be read")):
        with pytest.raises(DataError, match=message):
            Transform.load(tmp_path / f"{name}.safetensors")
    with pytest.raises(DataError, match="rename"):
        Prefix(DIM, 4).save(tmp_path / "a.bin")
    (tmp_path / "folder.safetensors").mkdir()
    with pytest.raises(DataError, match="is a folder"):
        Prefix(DIM, 4).save(tmp_path / "folder.safetensors")


@pytest.mark.parametrize("header", ["{not json", "{}", '{"format": "x"}', "[1]"])
def test_an_unusable_header_is_a_named_error(tmp_path, header):
    arrays = {"matrix": np.eye(DIM, dtype=np.float32)}
    save_file(arrays, tmp_path / "a.safetensors", metadata={"nestvec.adapter": header})
    with pytest.raises(DataError, match="header cannot be read"):
        Transform.load(tmp_path / "a.safetensors")


def test_a_truncated_file_is_a_named_error(transform, tmp_path):
    path = tmp_path / "a.safetensors"
    transform.save(path)
    whole = path.read_bytes()
    for length in range(0, len(whole) - 1, max(1, len(whole) // 40)):
        path.write_bytes(whole[:length])
        with pytest.raises(DataError):
            Transform.load(path)


def test_a_matrix_that_is_not_orthogonal_is_no_rotation(tmp_path, rng):
    Rotation(numbers(rng, DIM, DIM)).save(tmp_path / "r.safetensors")
    with pytest.raises(DataError, match="not orthogonal"):
        Rotation.load(tmp_path / "r.safetensors")


def test_a_file_of_rows_is_complete_or_absent(tmp_path, vectors):
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


def test_centred_pca_has_the_principal_directions_without_the_mean(rng):
    rows = (numbers(rng, 300, 6) * np.arange(6, 0, -1) + 20).astype(np.float32)
    centred = Linear.fit_centered_pca(rows)
    whitened = centred.transform(rows).astype(float)
    assert np.allclose(whitened.mean(axis=0), 0, atol=1e-4)
    covariance = whitened.T @ whitened
    assert np.allclose(covariance, np.diag(np.diag(covariance)), atol=0.5)
    assert (np.diff(np.diag(covariance)) < 0).all()
    assert not centred.preserves_inner_products


@pytest.mark.parametrize("copies", [1, 5])
def test_rows_without_noise_among_neighbours_give_finite_directions(copies, rng):
    """A single row, equal rows, and rows that each have copies enough: nothing to even out."""
    for rows in (numbers(rng, 1, 6), np.ones((9, 6), np.float32), np.zeros((9, 6), np.float32)):
        fitted = Linear.fit_neighbour_whitening(np.repeat(rows, copies, axis=0))
        assert np.isfinite(fitted.matrix).all()
        assert np.linalg.matrix_rank(fitted.matrix) == 6
    rows = np.repeat(numbers(rng, 40, 6), 4, axis=0)
    unit = rows / np.linalg.norm(rows, axis=1, keepdims=True)
    rotated = Linear.fit_neighbour_whitening(rows).transform(unit)
    assert np.allclose(rotated @ rotated.T, unit @ unit.T, atol=1e-5)


def test_all_other_rows_are_neighbours_where_there_are_few(rng):
    rows = numbers(rng, 3, 4)
    rows /= np.linalg.norm(rows, axis=1, keepdims=True)
    away = np.stack([rows[i] - rows[j] for i in range(3) for j in range(3) if i != j]).astype(float)
    assert np.allclose(within_neighbour_scatter(rows, 9, 0), away.T @ away / 6, atol=1e-6)


def test_no_rows_have_no_neighbours():
    with pytest.raises(VectorsError, match="no rows"):
        Linear.fit_neighbour_whitening(np.empty((0, 4), np.float32))


def test_an_adaptor_keeps_the_length_of_every_row(rng, vectors):
    rows = vectors * rng.uniform(0.1, 9, (len(vectors), 1)).astype(np.float32)
    adaptor = KINDS["adaptor"](rng)
    for side in (adaptor.transform, adaptor.transform_queries):
        lengths = np.linalg.norm(side(rows), axis=1)
        assert np.allclose(lengths, np.linalg.norm(rows, axis=1), rtol=1e-5)
    assert (adaptor.transform(np.zeros((2, DIM), np.float32)) == 0).all()


def test_only_a_chain_of_rotations_preserves_inner_products():
    turned = Chain.of(Rotation.random(DIM, 1), Rotation.random(DIM, 2))
    assert turned.preserves_inner_products
    assert not turned.compose(Prefix(DIM, 4)).preserves_inner_products


def test_vectors_of_another_model_are_refused_by_their_energy(rng):
    rows = clustered(rng, 400, 64, spread=0.2)
    turned = MatryoshkaAdaptor.from_rotation(Rotation.fit(rows).matrix, (8, 16))
    from nestvec.adapt.fitting import front_energy

    fitted = MatryoshkaAdaptor(turned.documents, turned.queries, (8,), front_energy(turned, rows))
    transforms.check_same_model(fitted, clustered(rng, 100, 64, spread=0.2))
    foreign = Rotation.random(64, 5).transform(rows)
    for transform in (fitted, fitted.compose(Prefix(64, 8))):
        with pytest.raises(VectorsError, match="do not look like"):
            transforms.check_same_model(transform, foreign)
    transforms.check_same_model(fitted, foreign[:3])  # too few to tell


@pytest.mark.parametrize("kind", ["rotation", "linear", "adaptor"])
def test_files_are_loaded_as_the_classes_that_fit(kind, rng, tmp_path):
    fitting_class = {"rotation": Rotation, "linear": Linear, "adaptor": MatryoshkaAdaptor}[kind]
    KINDS[kind](rng).save(tmp_path / "a.safetensors")
    assert type(Transform.load(tmp_path / "a.safetensors")) is fitting_class
    assert type(transforms.Chain.of(KINDS[kind](rng)).parts[0]) is fitting_class


def test_a_kind_is_replaced_by_a_subclass_alone():
    class Impostor(Prefix):
        kind = "rotation"

    with pytest.raises(TypeError, match="is Rotation already"):
        transforms.register_kind(Impostor)
