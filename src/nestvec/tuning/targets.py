"""Targets of `nestvec.tune`, of which a call names one."""

from typing import TypedDict

from nestvec.errors import InputError
from nestvec.keywords import complete


class Targets(TypedDict, total=False):
    """Keyword targets of `nestvec.tune`, between 0 and 1; name one. None: no target.

    - `recall`: the mean recall@k of queries to come is at least this.
    - `perfect_recall`: at least this share of queries to come has a recall@k of 1.
    - `shortlist_recall`: for at least this share the shortlist, to be reranked elsewhere, holds the
      exact top k.
    - `ndcg`: at most 1 − `ndcg` of nDCG@k is lost on average; needs `qrels`.
    """

    recall: float | None
    perfect_recall: float | None
    shortlist_recall: float | None
    ndcg: float | None


_DEFAULT = ("recall", 0.99)


def one_target(targets: Targets) -> tuple[str, float]:
    """Return the one measure that has a target, and the target; recall .99 where none has.

    `InputError` for a target that is not known, and where several measures have one.
    """
    complete(targets, dict.fromkeys(Targets.__annotations__), "tune")
    named = [(measure, target) for measure, target in targets.items() if target is not None]
    if not named:
        return _DEFAULT
    if len(named) > 1:
        names = " and ".join(measure for measure, _ in named)
        raise InputError(f"{names} are separate guarantees; tune for one of them at a time")
    measure, target = named[0]
    if isinstance(target, bool) or not isinstance(target, float | int):
        raise InputError(f"{measure}={target!r} is not a number; pass one between 0 and 1")
    return measure, float(target)
