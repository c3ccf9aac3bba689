"""Plans: text ⇄ value, and what may not be asked of an index."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nestvec.codes import Codec
from nestvec.errors import PlanError
from nestvec.plan import Plan, Stage

law = settings(deadline=None)
counts = st.integers(1, 10**6)


keeps = st.lists(counts, max_size=4).map(lambda keeps: sorted(keeps, reverse=True))


@st.composite
def parts(draw):
    """What `plan_of` makes any plan from: keeps never rise, and something scores the rows."""
    stages = [(draw(counts), draw(counts), keep) for keep in draw(keeps)]
    return draw(st.none() | counts), stages, draw(st.booleans()) or not stages


def plan_of(parts):
    # Not made inside the strategy: the type checker draws random numbers, strategies must not.
    probe, stages, full = parts
    return Plan(probe, tuple(Stage(*stage) for stage in stages), full)


@law
@given(parts())
def test_a_plan_written_and_parsed_is_the_same_plan(parts):
    assert Plan.parse(str(plan_of(parts))) == plan_of(parts)


@law
@given(parts(), st.data())
def test_spaces_around_the_signs_do_not_matter(parts, data):
    gaps = st.sampled_from(["", " ", "\t", "  "])
    text = "".join(
        data.draw(gaps) + sign + data.draw(gaps) if sign in ";>=x:" else sign
        for sign in str(plan_of(parts)).replace(" ", "")
    )
    assert Plan.parse(text) == plan_of(parts)


def test_the_text_of_a_plan_is_the_one_in_the_documentation():
    text = "probe=32; 256x1:800 > 512x4:100 > full"
    assert str(Plan.parse(text)) == text
    assert Plan.parse(text) == Plan(32, (Stage(256, 1, 800), Stage(512, 4, 100)), full=True)


def test_a_plan_without_full_ends_with_its_last_stage():
    assert Plan.parse("probe=all; 64x1:10") == Plan(None, (Stage(64, 1, 10),), full=False)


MALFORMED = {
    "": "''",
    "full": "'full' does not begin with 'probe",
    "64x1:10 > full": "does not begin with 'probe",
    "probe=3": "'probe=3' does not begin",
    "probe=; full": "'probe='",
    "probe=some; full": "'probe=some'",
    "probe=-1; full": "'probe=-1'",
    "probe=1.5; full": "'probe=1.5'",
    "probe 3; full": "'probe 3'",
    "prob=3; full": "'prob=3'",
    "PROBE=3; full": "'PROBE=3'",
    "probe=3 4; full": "'probe=3 4'",
    "probe=0; full": "probe=0",
    "probe=3;": "'' in plan",
    "probe=3; full;": "'full;'",
    "probe=3; full > 64x1:10": "'full' in plan",
    "probe=3; full > full": "'full' in plan",
    "probe=3; Full": "'Full'",
    "probe=3; > full": "'' in plan",
    "probe=3; 64x1:10 >": "'' in plan",
    "probe=3; 64x1:10 >> full": "'' in plan",
    "probe=3; 64x1 > full": "'64x1'",
    "probe=3; 64:10 > full": "'64:10'",
    "probe=3; x1:10 > full": "'x1:10'",
    "probe=3; 64x1:ten > full": "'64x1:ten'",
    "probe=3; 64×1:10 > full": "'64×1:10'",
    "probe=3; -64x1:10 > full": "'-64x1:10'",
    "probe=3; 64x1.5:10 > full": "'64x1.5:10'",
    "probe=3; 6 4x1:10 > full": "'6 4x1:10'",
    "probe=3; 64x1:10, full": "'64x1:10, full'",
    "probe=3; 0x1:10 > full": "dims=0",
    "probe=3; 64x0:10 > full": "bits=0",
    "probe=3; 64x1:0 > full": "keep=0",
    "probe=3; 64x1:10 > 64x2:11 > full": "64x2:11 keeps more than the 10 rows of stage 64x1:10",
    "probe=" + "9" * 5000 + "; full": "999",
    "probe=3; 64x1:" + "9" * 5000 + " > full": "999",
}


@pytest.mark.parametrize(("text", "part"), MALFORMED.items(), ids=[text[:30] for text in MALFORMED])
def test_malformed_text_is_refused_by_naming_the_part(text, part):
    with pytest.raises(PlanError) as refused:
        Plan.parse(text)
    assert part in str(refused.value)
    assert "\n" not in str(refused.value)


@law
@given(st.text(alphabet="probe=al;x:> full0123456789", max_size=40))
def test_no_text_raises_anything_but_a_plan_error(text):
    try:
        plan = Plan.parse(text)
    except PlanError:
        return
    assert Plan.parse(str(plan)) == plan


@pytest.mark.parametrize("wrong", [0, -1, True, 2.0, "3", None])
@pytest.mark.parametrize("field", ["dims", "bits", "keep"])
def test_a_stage_takes_whole_numbers_of_at_least_one(field, wrong):
    values = {"dims": 64, "bits": 1, "keep": 10} | {field: wrong}
    with pytest.raises((PlanError, TypeError), match=field):
        Stage(**values)


def test_a_count_beyond_any_index_is_refused():
    with pytest.raises(PlanError, match="keep="):
        Stage(64, 1, 2**63)


def test_a_plan_must_score_rows_somehow():
    with pytest.raises(PlanError, match="no stage"):
        Plan(1, (), full=False)


def test_a_stage_may_keep_all_that_the_one_before_left():
    Plan(1, (Stage(64, 1, 10), Stage(64, 2, 10)))


def test_a_stage_wider_than_the_index_is_refused():
    plan = Plan.parse("probe=1; 65x1:10 > full")
    plan.check(dim=65, k=10)
    with pytest.raises(PlanError, match="65x1:10 reads 65 dimensions but the index has 64"):
        plan.check(dim=64, k=10)


def test_a_stage_that_keeps_fewer_than_k_is_refused():
    plan = Plan.parse("probe=1; 64x1:20 > 64x2:10 > full")
    plan.check(dim=64, k=10)
    with pytest.raises(PlanError, match="64x2:10 keeps 10 candidates, fewer than k=11"):
        plan.check(dim=64, k=11)


def test_a_stage_that_reads_no_stored_bits_is_refused(rng):
    residuals = rng.standard_normal((200, 128)).astype("float32")
    residuals[:, :64] *= 1e-3  # all bits go to the second group
    codec = Codec.fit(residuals, (residuals.astype(float) ** 2).mean(axis=0), 1.0)
    assert codec.bits.tolist() == [0, 2]
    with pytest.raises(PlanError, match=r"64x1:10 reads no stored bits.*first 64 dimensions"):
        codec.funnel(Plan.parse("probe=1; 64x1:10 > full"))


def test_plans_are_values():
    plan = Plan.parse("probe=1; 64x1:10 > full")
    assert len({plan, Plan.parse(str(plan))}) == 1
    with pytest.raises(AttributeError):
        plan.probe = 2
