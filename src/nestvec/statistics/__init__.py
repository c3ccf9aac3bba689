"""Estimates with intervals, hypothesis tests and sample sizes.

Bounds are one-sided or two-sided at a stated confidence; nothing is rounded. Functions that draw
random numbers take a `numpy.random.Generator`. A sample consists of *units* that were drawn
independently: queries, or, where queries come in clusters (users, sessions), whole clusters.
"""

from nestvec.deprecation import renamed_attributes
from nestvec.statistics.betting import betting_p, mean_loss_upper_bound
from nestvec.statistics.bootstrap import bootstrap_mean, bootstrap_ratio, lower_bound_of_ratio
from nestvec.statistics.estimate import Estimate
from nestvec.statistics.hypothesis_tests import (
    binomial_p,
    hoeffding_bentkus,
    holm,
    mcnemar,
    proportion,
)
from nestvec.statistics.power import queries_needed, smallest_true, units_needed

__all__ = [
    "Estimate",
    "betting_p",
    "binomial_p",
    "bootstrap_mean",
    "bootstrap_ratio",
    "hoeffding_bentkus",
    "holm",
    "lower_bound_of_ratio",
    "mcnemar",
    "mean_loss_upper_bound",
    "proportion",
    "queries_needed",
    "smallest_true",
    "units_needed",
]

__getattr__ = renamed_attributes(
    __name__,
    {
        "fewest": ("smallest_true", smallest_true),
        "largest_mean_loss": ("mean_loss_upper_bound", mean_loss_upper_bound),
        "needed_for_difference": ("units_needed", units_needed),
    },
)
