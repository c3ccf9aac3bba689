"""Prefixes, checks and shapes of plain vectors."""

import subprocess
import sys

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from jaxtyping import TypeCheckError

import nestvec
from nestvec.errors import DimsError, VectorsError
from nestvec.vectors import (
    MAX_ENTRY,
    as_array,
    as_float32,
    as_queries,
    check_dims,
    check_finite,
    check_magnitude,
    check_vectors,
    normalize,
    truncate,
)

FLOATS = (np.float16, np.float32, np.float64)
law = settings(deadline=None)


def whole_numbers(dtype=np.float64):
    """Small matrices of small integers: zero rows and equal rows are common."""
    shape = hnp.array_shapes(min_dims=2, max_dims=2, max_side=8)
    return hnp.arrays(dtype, shape, elements=st.integers(-4, 4).map(float))


def lengths(vectors):
    return np.sqrt(np.square(vectors.astype(np.longdouble)).sum(axis=1))


def rounding(vectors):
    """Rounding every entry of a unit row by half a unit in the last place moves its length less."""
    return vectors.shape[1] * np.finfo(vectors.dtype).eps


@law
@given(whole_numbers(), st.data())
def test_truncate_is_the_plain_prefix_divided_by_its_length(vectors, data):
    dims = data.draw(st.integers(1, vectors.shape[1]))
    prefix = vectors[:, :dims]
    length = lengths(prefix)[:, None]
    expected = np.divide(
        prefix, length, out=np.zeros(prefix.shape, np.longdouble), where=length > 0
    )
    got = truncate(vectors, dims)
    assert got.shape == prefix.shape
    np.testing.assert_allclose(got, expected.astype(float), rtol=4 * np.finfo(float).eps, atol=0)


@law
@given(st.sampled_from(FLOATS), st.data())
def test_truncated_rows_have_unit_length_and_the_dtype_they_came_in(dtype, data):
    vectors = data.draw(whole_numbers(dtype))
    got = truncate(vectors, data.draw(st.integers(1, vectors.shape[1])))
    assert got.dtype == dtype
    nonzero = got.any(axis=1)
    np.testing.assert_allclose(lengths(got[nonzero]).astype(float), 1, atol=rounding(got))


@law
@given(whole_numbers(), st.data())
def test_truncating_twice_is_truncating_once(vectors, data):
    narrow = data.draw(st.integers(1, vectors.shape[1]))
    wide = data.draw(st.integers(narrow, vectors.shape[1]))
    twice = truncate(truncate(vectors, wide), narrow)
    np.testing.assert_allclose(twice, truncate(vectors, narrow), rtol=8 * np.finfo(float).eps)


@law
@given(whole_numbers(), st.sampled_from([2.0**-40, 0.5, 2.0**40]))
def test_the_length_of_the_input_does_not_matter(vectors, power_of_two):
    dims = vectors.shape[1]
    np.testing.assert_array_equal(truncate(vectors * power_of_two, dims), truncate(vectors, dims))


def test_the_input_is_left_as_it_was():
    vectors = np.array([[3.0, 4.0, 12.0]])
    truncate(vectors, 2)
    np.testing.assert_array_equal(vectors, [[3.0, 4.0, 12.0]])


def test_a_row_whose_prefix_is_zero_stays_zero():
    np.testing.assert_array_equal(truncate(np.array([[0.0, 0.0, 5.0]]), 2), [[0.0, 0.0]])


def test_no_rows_give_no_rows():
    assert truncate(np.empty((0, 3)), 2).shape == (0, 2)


@pytest.mark.parametrize("dtype", FLOATS)
@pytest.mark.parametrize("extreme", ["max", "smallest_subnormal"])
def test_huge_and_denormal_rows_come_out_with_unit_length(dtype, extreme):
    entry = getattr(np.finfo(dtype), extreme)
    got = truncate(np.full((2, 4), entry, dtype), 4)
    np.testing.assert_array_equal(got, np.full((2, 4), 0.5))


def test_truncate_is_at_the_public_door():
    assert nestvec.truncate is truncate


def test_a_list_of_lists_of_floats_is_taken():
    np.testing.assert_array_equal(truncate([[3.0, 4.0]], 1), [[1.0]])


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("dtype", FLOATS)
def test_nan_and_infinity_are_refused_and_their_row_is_named(bad, dtype):
    vectors = np.ones((5, 3), dtype)
    vectors[3, 1] = bad
    with pytest.raises(VectorsError, match=r"vectors\[3\] holds NaN or infinity"):
        truncate(vectors, 2)


def test_infinities_that_cancel_are_refused_too():
    with pytest.raises(VectorsError, match=r"vectors\[0\]"):
        truncate(np.array([[np.inf, -np.inf], [1.0, 1.0]]), 1)


def test_nan_beyond_the_prefix_is_refused_too():
    with pytest.raises(VectorsError, match="NaN"):
        truncate(np.array([[1.0, np.nan]]), 1)


def test_rows_are_counted_from_the_first_row_of_the_block():
    with pytest.raises(VectorsError, match=r"queries\[102\] .*2 such rows"):
        check_finite(np.array([[1.0], [2.0], [np.nan], [np.inf]]), "queries", first_row=100)


@pytest.mark.parametrize("shape", [(3,), (2, 3, 4), ()])
def test_any_rank_but_two_is_refused(shape):
    with pytest.raises(VectorsError, match="2-D"):
        truncate(np.ones(shape), 1)


@pytest.mark.parametrize("dtype", [np.bool_, np.complex128, np.longdouble, "U3", "M8[s]"])
def test_anything_but_numbers_is_refused(dtype):
    with pytest.raises(VectorsError, match="takes integers, float16, float32 and float64: use"):
        truncate(np.ones((2, 3), np.int64).astype(dtype), 1)


def test_vectors_without_dimensions_are_refused():
    with pytest.raises(VectorsError, match="at least 1 dimension"):
        check_vectors(np.empty((3, 0)))


def test_another_width_than_needed_is_refused():
    with pytest.raises(VectorsError, match="queries have 3 dimensions but 4 are needed"):
        check_vectors(np.ones((2, 3)), "queries", dim=4)


@pytest.mark.parametrize(
    ("dims", "message"),
    [(0, "below 1"), (-2, "below 1"), (4, "wider than the vectors"), (True, "not a whole number")],
)
def test_dims_out_of_range_are_refused_with_the_range(dims, message):
    with pytest.raises(DimsError, match=rf"dims={dims} .*{message}.*dims <= 3"):
        truncate(np.ones((2, 3)), dims)


@pytest.mark.parametrize("dims", [1, 3])
def test_the_ends_of_the_range_of_dims_are_allowed(dims):
    assert check_dims(dims, 3) == dims


def test_float32_vectors_are_not_copied():
    vectors = np.ones((2, 3), np.float32)
    assert np.shares_memory(as_float32(vectors), vectors)


@pytest.mark.parametrize("dtype", FLOATS)
def test_other_floats_become_contiguous_float32(dtype):
    got = as_float32(np.asfortranarray(np.arange(6, dtype=dtype).reshape(2, 3)))
    assert got.dtype == np.float32
    assert got.flags.c_contiguous
    np.testing.assert_array_equal(got, [[0, 1, 2], [3, 4, 5]])


def test_numbers_too_large_for_float32_are_refused():
    with pytest.raises(VectorsError, match=r"vectors as float32\[1\]"):
        as_float32(np.array([[1.0], [1e300]]))


@pytest.mark.parametrize("sign", [1, -1])
def test_entries_too_large_to_search_are_refused_and_their_row_is_named(sign):
    allowed = np.full((3, 2), sign * MAX_ENTRY, np.float64)
    check_magnitude(allowed, "vectors")
    allowed[2, 1] *= 2
    with pytest.raises(VectorsError, match=r"vectors\[12\] has an entry beyond"):
        check_magnitude(allowed, "vectors", first_row=10)


def test_queries_that_are_right_are_taken_as_they_are():
    queries = np.full((2, 3), MAX_ENTRY, np.float32)
    assert as_queries(queries, 3) is queries


@pytest.mark.parametrize("queries", [np.ones((3, 2)).T, np.ones((2, 3), ">f4"), np.ones((0, 3))])
def test_queries_become_what_kernels_read(queries):
    got = as_queries(queries, 3)
    assert got.dtype == np.float32
    assert got.flags.carray
    np.testing.assert_array_equal(got, queries)


def test_read_only_queries_are_copied():
    queries = np.ones((2, 3), np.float32)
    queries.flags.writeable = False
    assert as_queries(queries, 3).flags.writeable


@pytest.mark.parametrize("place", range(6))
@pytest.mark.parametrize("wrong", [np.nan, np.inf, -np.inf, 1.1 * MAX_ENTRY, -3e38])
def test_one_wrong_entry_of_the_queries_is_refused_by_its_row(place, wrong):
    queries = np.ones((2, 3), np.float32)
    queries.flat[place] = wrong
    with pytest.raises(VectorsError, match=rf"queries\[{place // 3}\]"):
        as_queries(queries, 3)


@pytest.mark.parametrize("shape", [(), (2,), (1, 2), (1, 1, 3), (2, 0)])
def test_queries_of_another_shape_are_refused(shape):
    with pytest.raises(VectorsError):
        as_queries(np.ones(shape, np.float32), 3)


def test_products_of_allowed_entries_stay_within_float32():
    widest = np.full(65_536, MAX_ENTRY, np.float32)
    assert np.isfinite(widest @ widest)


@law
@given(whole_numbers(np.float32))
def test_normalising_a_row_does_not_depend_on_the_rows_beside_it(vectors):
    alone = [normalize(row[None, :])[0] for row in vectors]
    np.testing.assert_array_equal(normalize(vectors), alone)


def test_shapes_are_checked_while_testing():
    with pytest.raises(TypeCheckError):
        normalize(np.ones(3))


def test_shapes_cost_nothing_outside_tests():
    code = (
        "import sys, numpy as np, nestvec\n"
        "from nestvec.shapes import Float32\n"
        "assert Float32[np.ndarray, 'n dim'] is np.ndarray\n"
        "assert 'jaxtyping' not in sys.modules\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


VALUES = [[1.0, 2.0, 3.0], [4.0, 5.0, 6.0]]


class _DlpackAlone:
    def __dlpack__(self, **options):
        return np.array(VALUES, np.float32).__dlpack__(**options)

    def __dlpack_device__(self):
        return np.array(VALUES, np.float32).__dlpack_device__()


class _StreamAlone:
    def __arrow_c_stream__(self, requested_schema=None):
        pa = pytest.importorskip("pyarrow")
        lists = pa.array(VALUES, pa.list_(pa.float32(), 3))
        return pa.table({"vector": lists}).__arrow_c_stream__(requested_schema)


def _of_library(kind):
    library, _, form = kind.partition(" ")
    module = pytest.importorskip(library)
    if library == "torch":
        if form == "list":
            return [module.tensor(row, requires_grad=True) for row in VALUES]
        tensor = module.tensor(VALUES, requires_grad=form == "requires_grad")
        return tensor if form == "requires_grad" else tensor.to(getattr(module, form))
    if library == "pandas":
        series = module.Series(VALUES, index=[7, 3])
        return {"series": series, "frame": module.DataFrame(VALUES, columns=list("abc")),
                "column": series.to_frame()}[form]  # fmt: skip
    if library == "polars":
        fixed = module.Series("v", VALUES, dtype=module.Array(module.Float32, 3))
        return {"list": module.Series("v", VALUES), "array": fixed, "column": fixed.to_frame(),
                "frame": module.DataFrame(VALUES, orient="row")}[form]  # fmt: skip
    lists = module.array(VALUES)
    return {"list": lists, "fixed": module.array(VALUES, module.list_(module.float32(), 3)),
            "chunks": module.chunked_array([lists, lists[:0]]),
            "table": module.table({"v": lists})}[form]  # fmt: skip


@pytest.mark.door("vectors of torch, pandas, Polars or Arrow", "the same as in NumPy")
@pytest.mark.parametrize(
    "kind",
    [
        "torch float32", "torch bfloat16", "torch half", "torch requires_grad", "torch list",
        "pandas series", "pandas frame", "pandas column",
        "polars list", "polars array", "polars column", "polars frame",
        "pyarrow list", "pyarrow fixed", "pyarrow chunks", "pyarrow table",
    ],
)  # fmt: skip
def test_vectors_of_other_libraries(kind):
    vectors = _of_library(kind)
    assert check_vectors(vectors).tolist() == VALUES
    assert as_queries(vectors, 3).tolist() == VALUES


@pytest.mark.door("an object with `__dlpack__` or `__arrow_c_stream__` alone", "the same vectors")
@pytest.mark.parametrize("kind", [_DlpackAlone, _StreamAlone])
def test_objects_with_one_protocol(kind):
    assert as_array(kind()).tolist() == VALUES


@pytest.mark.door("integer vectors", "read as floats")
@pytest.mark.parametrize("dtype", ["int8", "uint8", "int16", "int32", "int64", object])
def test_integers_become_floats(dtype):
    vectors = check_vectors(np.array(VALUES).astype(dtype))
    assert vectors.dtype.kind == "f"
    assert vectors.tolist() == VALUES


@pytest.mark.door("ragged or missing rows", "refused by row")
@pytest.mark.parametrize("wrong", [[1.0], None, [1.0, None, 2.0], "abc"])
@pytest.mark.parametrize("kind", ["list", "pandas", "polars", "pyarrow"])
def test_ragged_and_missing_rows_are_named(kind, wrong):
    rows = [*VALUES, wrong]
    if kind == "pandas":
        rows = pytest.importorskip("pandas").Series(rows)
    elif kind != "list":
        if wrong == "abc":
            pytest.skip("a column of lists has no strings")
        rows = (
            pytest.importorskip("polars").Series("v", rows)
            if kind == "polars"
            else pytest.importorskip("pyarrow").array(rows)
        )
    with pytest.raises(VectorsError, match=r"vectors\[2\]"):
        check_finite(check_vectors(rows), "vectors")


@pytest.mark.door("one vector as the query", "one query")
def test_one_vector_is_one_query():
    assert as_queries([1.0, 2.0, 3.0], 3).shape == (1, 3)
    with pytest.raises(VectorsError, match="2 dimensions but 3"):
        as_queries(np.ones(2), 3)


def test_what_is_no_array_is_refused():
    with pytest.raises(VectorsError, match="generator"):
        as_array(row for row in VALUES)
