"""What a number from a sample says of the whole: estimates with intervals, tests, sample sizes.

Everything is one-sided or two-sided at a stated confidence; nothing is rounded. Randomness takes a
`numpy.random.Generator`. A sample is of *units* that were drawn independently: queries, or, where
queries come in clusters (users, sessions), whole groups of them.
"""

from nestvec.statistics.betting import betting_p, largest_mean_loss
from nestvec.statistics.bootstrap import bootstrap_mean, bootstrap_ratio, lower_bound_of_ratio
from nestvec.statistics.estimate import Estimate
from nestvec.statistics.exact import (
    binomial_p,
    hoeffding_bentkus,
    holm,
    mcnemar,
    proportion,
)
from nestvec.statistics.sizes import fewest, needed_for_difference, queries_needed

__all__ = [
    "Estimate",
    "betting_p",
    "binomial_p",
    "bootstrap_mean",
    "bootstrap_ratio",
    "fewest",
    "hoeffding_bentkus",
    "holm",
    "largest_mean_loss",
    "lower_bound_of_ratio",
    "mcnemar",
    "needed_for_difference",
    "proportion",
    "queries_needed",
]
