"""The losses of an adaptor, compared with their definitions."""

import math

import pytest

torch = pytest.importorskip("torch")

from nestvec.adapt.training import losses  # noqa: E402  after the skip


@pytest.fixture
def scores():
    return torch.randn((5, 9), generator=torch.Generator().manual_seed(1))


NONE = torch.zeros((5, 9), dtype=torch.bool)


def test_nested_scores_are_the_cosines_of_prefixes():
    rows = torch.randn((6, 8), generator=torch.Generator().manual_seed(2), dtype=torch.float64)
    for dims, cosines in zip((2, 8), losses.nested_scores(rows[:2], rows, (2, 8)), strict=True):
        for i in range(2):
            for j in range(6):
                a, b = rows[i, :dims], rows[j, :dims]
                cosine = a @ b / (a.norm() * b.norm())
                assert float(cosines[i, j]) == pytest.approx(float(cosine))


def test_distillation_is_smallest_where_the_ranking_is_the_same(scores):
    target = losses.ranking_to_keep(scores, NONE, 1.0)
    same = losses.distillation(scores, target, NONE, torch.tensor(1.0))
    entropy = -(target * target.log()).sum(dim=1).mean()
    assert float(same) == pytest.approx(float(entropy), rel=1e-5)
    reversed_loss = losses.distillation(scores.flip(1), target, NONE, torch.tensor(1.0))
    assert reversed_loss > same


def test_a_masked_document_counts_for_nothing(scores):
    mask = NONE.clone()
    mask[:, 4] = True
    changed = scores.clone()
    changed[:, 4] = 50
    for loss in (
        lambda s: losses.distillation(
            s, losses.ranking_to_keep(s, mask, 1.0), mask, torch.tensor(1.0)
        ),
        lambda s: losses.pairwise(s, torch.zeros_like(s), mask),
        lambda s: losses.ranking(s, torch.eye(5, 9), mask),
    ):
        assert float(loss(scores)) == pytest.approx(float(loss(changed)))


def test_topk_uses_only_the_nearest_at_full_width(scores):
    far = scores.clone()
    far[scores < scores.topk(3, dim=1).values[:, -1:]] += 9
    assert float(losses.topk(far, scores, NONE, 3)) == 0
    assert float(losses.pairwise(far, scores, NONE)) > 0


def test_ranking_is_the_papers_formula(scores):
    grades = torch.tensor([[2.0, 1, 0, 0, 0, 0, 0, 0, 0]] + [[0.0] * 9] * 4)
    s, total, pairs = scores[0].tolist(), 0.0, 0
    for j, y in enumerate(grades[0].tolist()):
        for k, z in enumerate(grades[0].tolist()):
            if y > z:
                total += (y - z) * math.log1p(math.exp(s[k] - s[j]))
                pairs += 1
    assert float(losses.ranking(scores, grades, NONE)) == pytest.approx(total / pairs, rel=1e-5)
    assert float(losses.ranking(scores, torch.zeros_like(grades), NONE)) == 0


def test_reconstruction_is_zero_without_any_change(scores):
    assert float(losses.reconstruction(scores, scores)) == 0
    assert float(losses.reconstruction(scores + 1, scores)) == pytest.approx(9)
