"""Which test of a mean shows more? Shares of samples in which it is shown to be below α.

    python -m benchmarks.means

Losses are drawn at random, three kinds of them with the same mean, so that neither test can be
chosen by the vectors it is judged on later. Prints the table of docs/explanation/decisions/0032.
"""

from collections.abc import Callable

import numpy as np

from nestvec.statistics import betting_p, hoeffding_bentkus

SAMPLES = 1000
CONFIDENCE = 0.95
SETTINGS = ((0.05, 300, 0.02), (0.05, 300, 0.03), (0.01, 750, 0.002), (0.01, 750, 0.004),
            (0.01, 2000, 0.006))  # fmt: skip
"""α, how many losses, and their true mean."""


def tenths(rng: np.random.Generator, mean: float, n: int) -> np.ndarray:
    """As recall@10 has them: .1, .2 or .3 of a query is lost, of most nothing."""
    return (rng.random(n) < mean / 0.15) * rng.choice([0.1, 0.2, 0.3], n, p=[0.6, 0.3, 0.1])


def some_whole(rng: np.random.Generator, mean: float, n: int) -> np.ndarray:
    """The same, but of 1 in 20 queries that lose something all is lost."""
    sizes, shares = [0.1, 0.2, 0.3, 1.0], [0.65, 0.2, 0.1, 0.05]
    return (rng.random(n) < mean / np.dot(sizes, shares)) * rng.choice(sizes, n, p=shares)


def whole(rng: np.random.Generator, mean: float, n: int) -> np.ndarray:
    """All or nothing."""
    return (rng.random(n) < mean).astype(float)


def main() -> None:
    rng = np.random.default_rng(0)
    print("| losses | α | n | true mean | Hoeffding–Bentkus | bets |\n|---|---|---|---|---|---|")
    for name, draw in (("tenths", tenths), ("some whole", some_whole), ("all or nothing", whole)):
        for alpha, n, mean in SETTINGS:
            shown = shares(draw, alpha, n, mean, rng)
            print(f"| {name} | {alpha} | {n:,} | {mean} | {shown[0]:.2f} | {shown[1]:.2f} |")


def shares(
    draw: Callable[..., np.ndarray], alpha: float, n: int, mean: float, rng: np.random.Generator
) -> tuple[float, float]:
    """Of samples that each test shows to be below α."""
    drawn = [draw(rng, mean, n) for _ in range(SAMPLES)]
    left = 1 - CONFIDENCE
    by_mean = [hoeffding_bentkus(float(one.mean()), n, alpha) <= left for one in drawn]
    by_bets = [betting_p(one, alpha, CONFIDENCE) <= left for one in drawn]
    return float(np.mean(by_mean)), float(np.mean(by_bets))


if __name__ == "__main__":
    main()
