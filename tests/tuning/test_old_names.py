"""Old names of tuning: arguments, functions and stored evidence of earlier versions."""

import numpy as np
import pytest

import nestvec as nv
import nestvec.tuning
from nestvec import Plan
from nestvec.errors import InputError
from nestvec.tuning import check_drift
from nestvec.tuning.evidence import with_current_names
from nestvec.tuning.guarantee import Guarantee

K = 5
FULL = Plan(None)
OLD_EVIDENCE = {
    "verdict": "CERTIFIED",
    "promise": "queries with all 5 found >= 0.9 at 0.95 confidence",
    "k": K,
    "target": 0.9,
    "confidence": 0.95,
    "loss": "all",
    "plan": "probe=all; full",
    "rows": K,
    "served": {"value": 1.0, "low": 0.99, "high": 1.0, "n": 300},
    "lower_bound": 0.99,
    "needed": None,
    "queries": 400,
    "optimistic": 0,
    "seed": 0,
    "assumptions": [],
    "evidence": [
        {"plan": "probe=all; full", "served": 1.0, "p_value": 0.0, "bytes_per_query": 9.0}
    ],
}


@pytest.mark.parametrize(
    ("old", "new"), [("all", "perfect_recall"), ("containment", "shortlist_recall")]
)
def test_old_targets_of_tune_work_with_a_note(index, queries, old, new):
    plans = ["probe=4; 48x1:40"] if old == "containment" else [FULL]
    with pytest.warns(DeprecationWarning, match=f"{old}= is now called {new}="):
        tuned = nv.tune(index, queries[:200], k=K, plans=plans, **{old: 0.8})
    assert tuned == nv.tune(index, queries[:200], k=K, plans=plans, **{new: 0.8})
    assert tuned.guarantee == Guarantee(K, 0.8, 0.95, new)


def test_an_unknown_target_of_tune_is_an_error(index, queries):
    with pytest.raises(InputError, match="precision is no option of tune"):
        nv.tune(index, queries[:20], k=K, precision=0.9)


def test_the_old_name_of_check_drift_works_with_a_note():
    with pytest.warns(DeprecationWarning, match="nestvec.tuning.check_drift"):
        assert nestvec.tuning.check is check_drift
    assert nv.check_drift is check_drift


def test_a_plan_stored_by_an_older_version_is_checked(changing, queries):
    checksum = changing.snapshot.manifest.rows_checksum()
    changing.save_plan(K, FULL, OLD_EVIDENCE, checksum)
    drift = nv.check_drift(changing, queries[:300], K)
    assert drift.guarantee == Guarantee(K, 0.9, 0.95, "perfect_recall")
    assert (drift.verdict, drift.attained.value) == ("HOLDS", 1)


def test_old_evidence_has_the_keys_of_a_tuned_plan_of_today(index, queries):
    tuned = nv.tune(index, queries[:200], k=K, perfect_recall=0.8, plans=[FULL])
    old, today = with_current_names(OLD_EVIDENCE), tuned.to_json()
    assert old.keys() == today.keys()
    assert old["evidence"][0].keys() == today["evidence"][0].keys()
    assert (old["verdict"], old["measure"]) == (today["verdict"], today["measure"])
    assert with_current_names(today) == today


def test_keys_that_are_not_renamed_stay():
    assert with_current_names({"why": "a test"}) == {"why": "a test"}
    assert np.isnan(with_current_names({"served": np.nan})["attained"])
