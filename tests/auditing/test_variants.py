"""Variants are read strictly, and compress both sides as their names say."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nestvec.adapt import Rotation
from nestvec.auditing.compression.scalar_quantizer import ScalarQuantizer
from nestvec.auditing.compression.variant_encoder import VariantEncoder, encode_variant
from nestvec.auditing.compression.variants import default_grid, equal_bytes, product, read_variant
from nestvec.auditing.types import Variant
from nestvec.errors import DimsError, InputError
from nestvec.vectors import truncate

law = settings(deadline=None, max_examples=30)
seeds = st.integers(0, 2**32 - 1)


# Reading.


def test_only_dims_are_needed():
    assert read_variant({"dims": 8}, 64) == Variant(8, 32, "none", False, "both", 0)


def test_all_fields_are_read():
    fields = {"dims": 8, "bits": 1, "rotation": "pca", "side": "documents", "rerank": 50}
    assert read_variant(fields, 64) == Variant(8, 1, "pca", False, "documents", 50)
    assert read_variant({"dims": 8, "random_dims": True}, 64) == Variant(8, random_dims=True)


@pytest.mark.parametrize(
    ("wrong", "word"),
    [
        ({"dims": 8, "bit": 1}, "'bit'"),
        ({"bits": 1}, "no dims"),
        ({"dims": 8, "bits": 3}, "bits=3"),
        ({"dims": 8, "bits": True}, "bits=True"),
        ({"dims": 8, "rotation": "other"}, "rotation='other'"),
        ({"dims": 8, "bits": 1, "side": "corpus"}, "side='corpus'"),
        ({"dims": 8, "side": "queries"}, "does nothing"),
        ({"dims": 8, "rerank": -1}, "rerank=-1"),
        ({"dims": 8, "rerank": 1.5}, "rerank=1.5"),
        ({"dims": 8, "random_dims": 1}, "random_dims=1"),
        ({"dims": 8, "random_dims": True, "rotation": "pca"}, "leave one of the two out"),
    ],
    ids=str,
)
def test_the_error_names_the_wrong_field(wrong, word):
    with pytest.raises(InputError, match=word):
        read_variant(wrong, 64)


def test_old_field_names_are_read_with_a_note():
    with pytest.warns(DeprecationWarning, match="'rescore' in a variant is now called 'rerank'"):
        assert read_variant({"dims": 8, "rescore": 50}, 64) == Variant(8, rerank=50)
    with pytest.warns(DeprecationWarning, match="random_dims=True"):
        assert read_variant({"dims": 8, "rotation": "random"}, 64) == Variant(8, random_dims=True)


def test_names_say_what_a_variant_does():
    variant = Variant(8, 1, "pca", side="documents", rerank=50, label="ours")
    assert variant.name == "ours, 8 dims, 1 bit, pca, documents only, reranked 50"
    assert Variant(8, random_dims=True).name == "8 random dims, 32 bits"


def test_seed_keys_never_change():
    """Every interval of every report follows from these texts."""
    variant = Variant(8, 1, "pca", side="documents", rerank=50, label="ours")
    assert variant.seed_key == "ours, 8 dims, 1 bit, pca, documents only, rescored 50"
    assert Variant(8, random_dims=True).seed_key == "8 dims, 32 bits, random"
    assert Variant(64, 8).seed_key == Variant(64, 8).name == "64 dims, 8 bits"
    external = Variant(64, 8, label="external")
    assert (external.name, external.seed_key) == (
        "external, 64 dims, 8 bits",
        "given, 64 dims, 8 bits",
    )


def test_more_dims_than_the_width_are_refused():
    with pytest.raises(DimsError, match="65"):
        read_variant({"dims": 65}, 64)


def test_the_grid_halves_the_width_and_has_controls():
    grid = default_grid(128)
    plain = [v for v in grid if v.control is None and not v.rerank]
    assert [(v.dims, v.bits) for v in plain] == [
        (dims, bits) for bits in (32, 8, 1) for dims in (128, 64, 32, 16)
    ]
    kinds = {(v.rotation, v.random_dims) for v in grid if v.control}
    assert kinds == {("none", True), ("pca", False)}
    assert len({v.name for v in grid}) == len(grid)


@pytest.mark.parametrize("width", [1, 3, 16, 100, 1024])
def test_any_width_has_a_grid_of_variants_that_can_be_read(width):
    for variant in default_grid(width):
        assert read_variant({"dims": variant.dims, "bits": variant.bits}, width)


def test_product_combines_every_dims_with_every_bits():
    assert product(64, [8, 4], [1]) == [{"dims": 8, "bits": 1}, {"dims": 4, "bits": 1}]
    assert {variant["bits"] for variant in product(64, [8], None)} == {32, 8, 1}
    assert {variant["dims"] for variant in product(64, None, [1])} == {64, 32, 16}


def test_size_bytes_is_that_of_a_document():
    assert Variant(64).size_bytes() == 256
    assert Variant(64, 1).size_bytes() == 8
    assert Variant(64, 8, side="queries").size_bytes() == 256


def test_rivals_take_the_same_bytes():
    variants = [Variant(8), Variant(32, 8), Variant(16)]
    assert equal_bytes(variants)["8 dims, 32 bits"] == ["32 dims, 8 bits"]
    assert equal_bytes(variants)["16 dims, 32 bits"] == []


# Compression.


def test_all_dims_at_full_precision_change_nothing(corpus):
    same = encode_variant(corpus.documents, corpus.queries, Variant(64))
    assert same.documents is corpus.documents
    assert same.queries is corpus.queries


def test_a_prefix_is_that_of_truncate(corpus):
    embeddings = encode_variant(corpus.documents, corpus.queries, Variant(8))
    assert (embeddings.documents == truncate(corpus.documents, 8)).all()
    assert (embeddings.queries == truncate(corpus.queries, 8)).all()


def test_prefixes_of_vectors_without_unit_length_are_not_renormalised(corpus):
    embeddings = encode_variant(3 * corpus.documents, corpus.queries, Variant(8))
    assert (embeddings.documents == 3 * corpus.documents[:, :8]).all()
    assert (embeddings.queries == corpus.queries[:, :8]).all()


def test_a_random_subset_depends_on_the_seed_alone(corpus):
    one, same, other = (
        encode_variant(corpus.documents, corpus.queries, Variant(8, random_dims=True), seed=seed)
        for seed in (1, 1, 2)
    )
    assert (one.documents == same.documents).all()
    assert (one.documents != other.documents).any()


def test_the_pca_rotation_is_that_of_the_documents(corpus):
    embeddings = encode_variant(corpus.documents, corpus.queries, Variant(64, rotation="pca"))
    expected = Rotation.fit(corpus.documents).transform(corpus.queries)
    assert np.allclose(embeddings.queries, expected, atol=1e-6)
    scores = corpus.queries @ corpus.documents.T
    assert np.allclose(embeddings.queries @ embeddings.documents.T, scores, atol=1e-5)


@pytest.mark.parametrize("bits", [8, 4, 2, 1])
def test_codes_have_no_more_levels_than_bits_allow(corpus, bits):
    embeddings = encode_variant(corpus.documents, corpus.queries, Variant(16, bits))
    for side in (embeddings.documents, embeddings.queries):
        assert max(len(np.unique(column)) for column in side.T) <= 2**bits


@law
@given(seeds, st.sampled_from([8, 4, 2]))
def test_decoded_values_are_within_half_a_step_or_clipped(seed, bits):
    rng = np.random.default_rng(seed)
    vectors = rng.standard_normal((50, 3)).astype(np.float32)
    quantizer = ScalarQuantizer.fit(vectors, bits)
    high = quantizer.minimum + quantizer.step * (2**bits - 1)
    nearest = np.clip(vectors, quantizer.minimum, high)
    assert (np.abs(quantizer.round(vectors) - nearest) <= 0.5001 * quantizer.step).all()


def test_more_bits_have_smaller_errors(corpus):
    errors = [
        np.abs(
            ScalarQuantizer.fit(corpus.documents, bits).round(corpus.documents) - corpus.documents
        ).mean()
        for bits in (2, 4, 8)
    ]
    assert errors[0] > 2 * errors[1] > 4 * errors[2]


def test_one_bit_is_the_sign():
    vectors = np.array([[0.5, -0.1, 0.0]], np.float32)
    assert ScalarQuantizer.fit(vectors, 1).round(vectors).tolist() == [[1, -1, 1]]


def test_a_constant_dimension_keeps_its_value():
    vectors = np.full((10, 2), 0.25, np.float32)
    assert (ScalarQuantizer.fit(vectors, 8).round(vectors) == vectors).all()


@law
@given(seeds)
def test_queries_are_coded_as_documents_are(seed):
    rng = np.random.default_rng(seed)
    documents = rng.standard_normal((60, 8)).astype(np.float32)
    shifted = documents + np.float32(3)  # a calibration of their own would undo this
    embeddings = encode_variant(documents, np.concatenate([documents, shifted]), Variant(8, 8))
    assert (embeddings.queries[:60] == embeddings.documents).all()
    assert (embeddings.queries[60:] != embeddings.documents).any()


def test_the_side_that_is_not_coded_stays_a_prefix(corpus):
    prefix = encode_variant(corpus.documents, corpus.queries, Variant(16))
    documents = encode_variant(corpus.documents, corpus.queries, Variant(16, 1, side="documents"))
    queries = encode_variant(corpus.documents, corpus.queries, Variant(16, 1, side="queries"))
    assert (documents.queries == prefix.queries).all()
    assert (queries.documents == prefix.documents).all()
    assert set(np.unique(documents.documents)) == set(np.unique(queries.queries)) == {-1, 1}


def test_the_fingerprint_tells_calibrations_apart(corpus):
    one, same, other = (
        VariantEncoder.fit_transform(documents, Variant(16, 8), unit=True)[0].fingerprint()
        for documents in (corpus.documents, corpus.documents.copy(), corpus.documents[:100])
    )
    assert one == same != other
