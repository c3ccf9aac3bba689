"""Rotations keep inner products and move energy to the front."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nestvec import Rotation
from nestvec.errors import DimsError, VectorsError
from nestvec.vectors import BLOCK_ROWS, MAX_ENTRY

law = settings(deadline=None, max_examples=30)
seeds = st.integers(0, 2**32 - 1)
EPS = 2.0**-24


def skewed(rng, n, dim, dtype=np.float32):
    """Correlated dimensions of very different strength, not centred."""
    mixing = rng.standard_normal((dim, dim)) * np.exp(-4 * np.arange(dim) / dim)
    return (rng.standard_normal((n, dim)) @ mixing.T + 0.3).astype(dtype)


@law
@given(seeds, st.integers(1, 70), st.integers(1, 50))
def test_inner_products_are_preserved(seed, dim, n):
    vectors = skewed(np.random.default_rng(seed), n, dim)
    rotated = Rotation.fit(vectors).transform(vectors).astype(float)
    before, after = vectors.astype(float) @ vectors.T.astype(float), rotated @ rotated.T
    lengths = np.linalg.norm(vectors.astype(float), axis=1)
    # Each rotated entry sums dim products in float32, and the matrix is rounded to float32.
    bound = 4 * (dim + 2) * np.sqrt(dim) * EPS * np.outer(lengths, lengths)
    assert (np.abs(before - after) <= bound).all()


@law
@given(seeds, st.integers(1, 70), st.integers(1, 100))
def test_the_matrix_is_orthogonal(seed, dim, n):
    matrix = Rotation.fit(skewed(np.random.default_rng(seed), n, dim)).matrix.astype(float)
    assert np.abs(matrix.T @ matrix - np.eye(dim)).max() <= 4 * dim * EPS


@law
@given(seeds, st.integers(2, 40))
def test_the_strongest_direction_comes_first(seed, dim):
    vectors = skewed(np.random.default_rng(seed), 200, dim)
    energy = np.square(Rotation.fit(vectors).transform(vectors).astype(float)).sum(axis=0)
    assert (np.diff(energy) <= 1e-5 * energy[0]).all()


@law
@given(seeds, st.integers(2, 40), st.data())
def test_no_other_prefix_holds_more_energy(seed, dim, data):
    rng = np.random.default_rng(seed)
    vectors = skewed(rng, 100, dim)
    dims = data.draw(st.integers(1, dim))
    other = np.linalg.qr(rng.standard_normal((dim, dims)))[0]
    pca_energy = np.square(Rotation.fit(vectors).transform(vectors, dims).astype(float)).sum()
    assert pca_energy >= np.square(vectors @ other).sum() * (1 - 1e-5)


def test_the_largest_entry_of_each_direction_is_positive(rng):
    matrix = Rotation.fit(skewed(rng, 100, 20)).matrix
    assert (matrix[np.abs(matrix).argmax(axis=0), np.arange(20)] > 0).all()


def test_known_directions_are_found():
    vectors = np.array([[0, 0, 5], [3, 0, 0], [0, 1, 0]], np.float32)
    expected = np.array([[0, 1, 0], [0, 0, 1], [1, 0, 0]], np.float32)
    assert (Rotation.fit(vectors).matrix == expected).all()


def test_a_memory_map_read_in_blocks_gives_the_same_rotation(tmp_path, rng):
    # Small whole numbers: sums are exact, however the rows are cut in blocks.
    vectors = rng.integers(-3, 4, (BLOCK_ROWS + 100, 3)).astype(np.float32)
    np.save(tmp_path / "vectors.npy", vectors)
    mapped = np.load(tmp_path / "vectors.npy", mmap_mode="r")
    moment = vectors.astype(float).T @ vectors.astype(float)
    whole = Rotation.from_second_moment(moment)
    assert (Rotation.fit(mapped).matrix == whole.matrix).all()
    assert (Rotation.fit(vectors).matrix == whole.matrix).all()


@pytest.mark.parametrize("dtype", [np.float16, np.float64, ">f4"])
def test_the_same_values_in_another_dtype_give_the_same_rotation(dtype, rng):
    vectors = rng.integers(-8, 9, (50, 7)).astype(np.float32)
    assert (Rotation.fit(vectors.astype(dtype)).matrix == Rotation.fit(vectors).matrix).all()


def test_strides_do_not_matter(rng):
    vectors = rng.integers(-8, 9, (50, 7)).astype(np.float32)
    assert (Rotation.fit(np.asfortranarray(vectors)).matrix == Rotation.fit(vectors).matrix).all()


def test_fitting_changes_nothing(rng):
    vectors = skewed(rng, 10, 5)
    before = vectors.copy()
    Rotation.fit(vectors)
    assert (vectors == before).all()


def test_a_prefix_of_the_rotated_is_the_rotation_of_fewer_dims(rng):
    vectors = rng.integers(-8, 9, (50, 7)).astype(np.float32)
    rotation = Rotation.identity(7)
    assert (rotation.transform(vectors, 3) == vectors[:, :3]).all()
    fitted = Rotation.fit(vectors)
    assert np.allclose(fitted.transform(vectors, 3), fitted.transform(vectors)[:, :3], atol=1e-4)


def test_the_identity_changes_nothing(rng):
    vectors = skewed(rng, 10, 5)
    rotation = Rotation.identity(5)
    assert rotation.dim == 5
    assert (rotation.transform(vectors) == vectors).all()


def test_equal_rows_and_zero_rows_can_be_fitted():
    for rows in (np.zeros((3, 4), np.float32), np.ones((3, 4), np.float32)):
        matrix = Rotation.fit(rows).matrix.astype(float)
        assert np.allclose(matrix.T @ matrix, np.eye(4), atol=1e-6)


def test_no_rows_cannot_be_fitted():
    with pytest.raises(VectorsError, match="at least one"):
        Rotation.fit(np.zeros((0, 4), np.float32))


@pytest.mark.parametrize("wrong", [np.nan, np.inf, -np.inf, 1e300])
def test_values_that_float32_cannot_hold_are_refused_by_row(wrong):
    vectors = np.ones((5, 4))
    vectors[3, 2] = wrong
    with pytest.raises(VectorsError, match=r"vectors\[3\]"):
        Rotation.fit(vectors)


def test_entries_whose_products_overflow_are_refused_by_row():
    vectors = np.ones((5, 4), np.float32)
    vectors[3, 2] = 2 * MAX_ENTRY
    with pytest.raises(VectorsError, match=r"vectors\[3\]"):
        Rotation.fit(vectors)


@pytest.mark.parametrize("wrong", [np.ones(4, np.float32), np.ones((2, 4), bool)])
def test_other_ranks_and_dtypes_are_refused(wrong):
    with pytest.raises(VectorsError, match="vectors have"):
        Rotation.fit(wrong)


def test_other_widths_are_refused_when_transforming():
    with pytest.raises(VectorsError, match="5 dimensions but 4"):
        Rotation.identity(4).transform(np.ones((2, 5), np.float32))
    with pytest.raises(DimsError, match="dims=5"):
        Rotation.identity(4).transform(np.ones((2, 4), np.float32), dims=5)
