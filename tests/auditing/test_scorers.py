"""Who wins where a shortlist decides."""

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from nestvec.auditing.ranking.scorers import ByShortlist, ByVectors
from nestvec.auditing.types import Encoded, Triplets

law = settings(deadline=None, max_examples=30)
Q, N = 4, 9


def drawn(seed, t=15):
    rng = np.random.default_rng(seed)
    full = Encoded(
        rng.integers(-2, 3, (Q, 3)).astype(np.float32),
        rng.integers(-2, 3, (N, 3)).astype(np.float32),
    )
    columns = rng.integers(0, [Q, N, N], (t, 3))
    shortlist = np.stack([rng.permutation(N)[:4] for _ in range(Q)])
    return full, Triplets(*columns.T.copy(), ("any",) * t), shortlist


@law
@given(st.integers(0, 2**32 - 1))
def test_a_shortlist_of_everything_leaves_it_to_full_vectors(seed):
    full, triplets, _ = drawn(seed)
    whole = ByShortlist(full, np.tile(np.arange(N), (Q, 1)))
    np.testing.assert_array_equal(whole.margins(triplets), ByVectors(full).margins(triplets))


@law
@given(st.integers(0, 2**32 - 1))
def test_what_is_not_in_the_shortlist_loses(seed):
    full, triplets, shortlist = drawn(seed)
    margins, by_full = (
        scorer.margins(triplets) for scorer in (ByShortlist(full, shortlist), ByVectors(full))
    )
    for i, (query, positive, negative) in enumerate(
        zip(triplets.queries, triplets.positives, triplets.negatives, strict=True)
    ):
        if positive not in shortlist[query]:
            assert margins[i] == -np.inf
        elif negative not in shortlist[query]:
            assert margins[i] == np.inf
        else:
            assert margins[i] == by_full[i]


@law
@given(st.integers(0, 2**32 - 1))
def test_what_is_of_no_corpus_is_in_every_shortlist(seed):
    full, triplets, shortlist = drawn(seed)
    strangers = np.full(N, -1)
    scorer = ByShortlist(full, shortlist, strangers)
    np.testing.assert_array_equal(scorer.margins(triplets), ByVectors(full).margins(triplets))


def test_a_shortlist_s_margins_have_no_scale():
    full, _, shortlist = drawn(0)
    assert ByShortlist(full, shortlist).spread(np.random.default_rng(0)) is None
