"""Variants are read strictly, and do to vectors what their names say, to both sides alike."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nestvec.adapt import Rotation
from nestvec.auditing.compression.compressor import Codec, Transform, encode
from nestvec.auditing.compression.variants import default_grid, equal_bytes, product, read_variant
from nestvec.auditing.types import Variant
from nestvec.errors import DimsError, InputError
from nestvec.vectors import truncate

law = settings(deadline=None, max_examples=30)
seeds = st.integers(0, 2**32 - 1)


# Reading.


def test_only_dims_are_needed():
    assert read_variant({"dims": 8}, 64) == Variant(8, 32, "none", "both", 0)


def test_all_fields_are_read():
    given = {"dims": 8, "bits": 1, "rotation": "pca", "side": "documents", "rescore": 50}
    assert read_variant(given, 64) == Variant(8, 1, "pca", "documents", 50)


@pytest.mark.parametrize(
    ("wrong", "word"),
    [
        ({"dims": 8, "bit": 1}, "'bit'"),
        ({"bits": 1}, "no dims"),
        ({"dims": 8, "bits": 3}, "bits=3"),
        ({"dims": 8, "bits": True}, "bits=True"),
        ({"dims": 8, "rotation": "other"}, "rotation='other'"),
        ({"dims": 8, "bits": 1, "side": "left"}, "side='left'"),
        ({"dims": 8, "side": "queries"}, "does nothing"),
        ({"dims": 8, "rescore": -1}, "rescore=-1"),
        ({"dims": 8, "rescore": 1.5}, "rescore=1.5"),
    ],
    ids=str,
)
def test_what_is_wrong_is_named(wrong, word):
    with pytest.raises(InputError, match=word):
        read_variant(wrong, 64)


def test_more_dims_than_there_are():
    with pytest.raises(DimsError, match="65"):
        read_variant({"dims": 65}, 64)


def test_the_grid_halves_the_width_and_has_controls():
    grid = default_grid(128)
    plain = [v for v in grid if v.control is None and not v.rescore]
    assert [(v.dims, v.bits) for v in plain] == [
        (dims, bits) for bits in (32, 8, 1) for dims in (128, 64, 32, 16)
    ]
    assert {v.rotation for v in grid if v.control} == {"random", "pca"}
    assert len({v.name for v in grid}) == len(grid)


@pytest.mark.parametrize("width", [1, 3, 16, 100, 1024])
def test_any_width_has_a_grid_of_variants_that_can_be_read(width):
    for variant in default_grid(width):
        assert read_variant({"dims": variant.dims, "bits": variant.bits}, width)


def test_every_dims_at_every_bits():
    assert product(64, [8, 4], [1]) == [{"dims": 8, "bits": 1}, {"dims": 4, "bits": 1}]
    assert {variant["bits"] for variant in product(64, [8], None)} == {32, 8, 1}
    assert {variant["dims"] for variant in product(64, None, [1])} == {64, 32, 16}


def test_bytes_are_those_of_documents():
    assert Variant(64).size_bytes() == 256
    assert Variant(64, 1).size_bytes() == 8
    assert Variant(64, 8, side="queries").size_bytes() == 256


def test_rivals_take_the_same_bytes():
    variants = [Variant(8), Variant(32, 8), Variant(16)]
    assert equal_bytes(variants)["8 dims, 32 bits"] == ["32 dims, 8 bits"]
    assert equal_bytes(variants)["16 dims, 32 bits"] == []


# What becomes of vectors.


def test_all_dims_at_full_precision_change_nothing(corpus):
    same = encode(corpus.documents, corpus.queries, Variant(64))
    assert same.documents is corpus.documents
    assert same.queries is corpus.queries


def test_a_prefix_is_that_of_truncate(corpus):
    encoded = encode(corpus.documents, corpus.queries, Variant(8))
    assert (encoded.documents == truncate(corpus.documents, 8)).all()
    assert (encoded.queries == truncate(corpus.queries, 8)).all()


def test_vectors_of_other_lengths_are_cut_and_not_renormalised(corpus):
    encoded = encode(3 * corpus.documents, corpus.queries, Variant(8))
    assert (encoded.documents == 3 * corpus.documents[:, :8]).all()
    assert (encoded.queries == corpus.queries[:, :8]).all()


def test_a_random_subset_depends_on_the_seed_alone(corpus):
    one, same, other = (
        encode(corpus.documents, corpus.queries, Variant(8, rotation="random"), seed=seed)
        for seed in (1, 1, 2)
    )
    assert (one.documents == same.documents).all()
    assert (one.documents != other.documents).any()


def test_principal_dims_are_those_of_the_documents(corpus):
    encoded = encode(corpus.documents, corpus.queries, Variant(64, rotation="pca"))
    expected = Rotation.fit(corpus.documents).transform(corpus.queries)
    assert np.allclose(encoded.queries, expected, atol=1e-6)
    scores = corpus.queries @ corpus.documents.T
    assert np.allclose(encoded.queries @ encoded.documents.T, scores, atol=1e-5)


@pytest.mark.parametrize("bits", [8, 4, 2, 1])
def test_codes_have_no_more_levels_than_bits_allow(corpus, bits):
    encoded = encode(corpus.documents, corpus.queries, Variant(16, bits))
    for side in (encoded.documents, encoded.queries):
        assert max(len(np.unique(column)) for column in side.T) <= 2**bits


@law
@given(seeds, st.sampled_from([8, 4, 2]))
def test_decoded_values_are_within_half_a_step_or_clipped(seed, bits):
    rng = np.random.default_rng(seed)
    vectors = rng.standard_normal((50, 3)).astype(np.float32)
    codec = Codec.fit(vectors, bits)
    high = codec.low + codec.step * (2**bits - 1)
    nearest = np.clip(vectors, codec.low, high)
    assert (np.abs(codec.round(vectors) - nearest) <= 0.5001 * codec.step).all()


def test_more_bits_are_nearer(corpus):
    errors = [
        np.abs(Codec.fit(corpus.documents, bits).round(corpus.documents) - corpus.documents).mean()
        for bits in (2, 4, 8)
    ]
    assert errors[0] > 2 * errors[1] > 4 * errors[2]


def test_one_bit_is_the_sign():
    vectors = np.array([[0.5, -0.1, 0.0]], np.float32)
    assert Codec.fit(vectors, 1).round(vectors).tolist() == [[1, -1, 1]]


def test_a_constant_dimension_keeps_its_value():
    vectors = np.full((10, 2), 0.25, np.float32)
    assert (Codec.fit(vectors, 8).round(vectors) == vectors).all()


@law
@given(seeds)
def test_queries_are_coded_as_documents_are(seed):
    rng = np.random.default_rng(seed)
    documents = rng.standard_normal((60, 8)).astype(np.float32)
    shifted = documents + np.float32(3)  # a calibration of their own would undo this
    encoded = encode(documents, np.concatenate([documents, shifted]), Variant(8, 8))
    assert (encoded.queries[:60] == encoded.documents).all()
    assert (encoded.queries[60:] != encoded.documents).any()


def test_the_side_that_is_not_coded_stays_a_prefix(corpus):
    prefix = encode(corpus.documents, corpus.queries, Variant(16))
    documents = encode(corpus.documents, corpus.queries, Variant(16, 1, side="documents"))
    queries = encode(corpus.documents, corpus.queries, Variant(16, 1, side="queries"))
    assert (documents.queries == prefix.queries).all()
    assert (queries.documents == prefix.documents).all()
    assert set(np.unique(documents.documents)) == set(np.unique(queries.queries)) == {-1, 1}


def test_the_digest_tells_calibrations_apart(corpus):
    one, same, other = (
        Transform.fit_transform(documents, Variant(16, 8), unit=True)[0].digest()
        for documents in (corpus.documents, corpus.documents.copy(), corpus.documents[:100])
    )
    assert one == same != other
