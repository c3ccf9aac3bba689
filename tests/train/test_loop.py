"""The training loop, on a task small enough to know everything about it."""

import math
from dataclasses import dataclass, replace

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from torch import nn  # noqa: E402
from torch.nn.functional import cross_entropy  # noqa: E402

from nestvec.deprecation import renamed_fields  # noqa: E402
from nestvec.engine.checkpoint import CheckpointFile, RunFolder  # noqa: E402
from nestvec.engine.loop import optimize, train_task  # noqa: E402
from nestvec.engine.schedule import Step, epoch_steps  # noqa: E402
from nestvec.engine.seeding import derive_seed, generator  # noqa: E402
from nestvec.engine.task import EpochTask  # noqa: E402
from nestvec.errors import CheckpointError, InputError, NonFiniteLossError  # noqa: E402
from nestvec.train import Loop, NestedHead  # noqa: E402

LOOP = Loop(steps=13, batch_size=4, learning_rate=0.05, evaluate_every=5)


class Points(EpochTask):
    """Random points of 6 numbers, in 3 classes by a plane; logits of 2, 4 and 8 hidden units."""

    metric = "accuracy"
    rows = 22

    def __init__(self, dims=(2, 4, 8), dropout=0.2, noise=0.1):
        super().__init__()
        self.noise = noise
        generator = torch.Generator().manual_seed(0)
        self.points = torch.randn(self.rows, 6, generator=generator)
        self.labels = (self.points @ torch.randn(6, 3, generator=generator)).argmax(1)
        with torch.random.fork_rng():
            torch.manual_seed(1)
            self.body = nn.Sequential(nn.Linear(6, max(dims)), nn.Tanh(), nn.Dropout(dropout))
            self.head = NestedHead(dims, 3)
        self.epochs = []

    def start_epoch(self, epoch):
        self.epochs.append(epoch)

    def row_batch(self, rows, generator):
        noise = self.noise * torch.randn(len(rows), 6, generator=generator)
        return self.points[rows] + noise, self.labels[rows]

    def forward(self, batch):
        return self.body(batch[0])

    def loss(self, outputs, batch):
        return self.head.loss(outputs.float(), batch[1])

    def evaluate(self):
        logits = self.head(self.body(self.points))
        return {
            str(dim): float((prefix_logits.argmax(1) == self.labels).double().mean())
            for dim, prefix_logits in zip(self.head.dims, logits, strict=True)
        }

    def save(self, folder):
        torch.save(self.state_dict(), folder / "points.pt")


def folder(path, loop=LOOP, data="points"):
    return RunFolder.for_run(path, "points", loop, data)


def train(path, loop=LOOP, task=None, **listening):
    return train_task(task or Points(), loop, folder(path, loop), **listening)


LOOPS = {
    "adamw": LOOP,
    "sgd": replace(LOOP, optimizer="sgd", decay="linear"),
    "bfloat16": replace(LOOP, precision="bfloat16", clip=None),
    "float16": replace(LOOP, precision="float16"),
    "accumulated": replace(LOOP, batch_size=2, accumulate=3, decay="constant"),
}


@pytest.mark.parametrize("after", [5, 7, 11])
@pytest.mark.parametrize("loop", LOOPS.values(), ids=LOOPS)
def test_a_resumed_run_ends_with_the_bits_of_one_never_stopped(
    tmp_path, stopped, same_bits, loop, after
):
    full = train(tmp_path / "full", loop)
    stopped(lambda listen: train(tmp_path / "resumed", loop, listener=listen), after)
    resumed = train(tmp_path / "resumed", loop)
    assert resumed.history == full.history
    same_bits(tmp_path / "full", tmp_path / "resumed")
    best = [torch.load(run.model / "points.pt") for run in (full, resumed)]
    assert all(torch.equal(best[0][name], best[1][name]) for name in best[0])


def test_evaluating_more_often_changes_no_bit_of_the_training(tmp_path, same_bits):
    train(tmp_path / "seldom", replace(LOOP, evaluate_every=13))
    train(tmp_path / "often", replace(LOOP, evaluate_every=1))
    same_bits(tmp_path / "seldom", tmp_path / "often", parts=("task", "optimizer"))


def test_another_seed_changes_the_result(tmp_path):
    tasks = Points(), Points()
    for seed, task in enumerate(tasks):
        train(tmp_path / str(seed), replace(LOOP, seed=seed), task=task)
    assert not torch.equal(tasks[0].body[0].weight, tasks[1].body[0].weight)


def test_accumulated_half_batches_equal_the_full_batch(tmp_path):
    halves = replace(LOOP, batch_size=2, accumulate=2)
    tasks = [Points(dropout=0, noise=0) for _ in range(2)]
    for task, loop in zip(tasks, (LOOP, halves), strict=True):
        train(tmp_path / str(loop.batch_size), loop, task)
    for a, b in zip(tasks[0].parameters(), tasks[1].parameters(), strict=True):
        torch.testing.assert_close(a, b)


def test_a_single_prefix_is_a_plain_loop(tmp_path):
    loop = replace(LOOP, weight_decay=0.0, clip=None, evaluate_every=13)
    task, plain = (Points(dims=(8,), dropout=0, noise=0) for _ in range(2))
    train(tmp_path / "run", loop, task)
    optimizer = torch.optim.AdamW(plain.parameters(), weight_decay=0)
    for step in epoch_steps(loop, plain.rows):
        (rows,) = step.batches
        optimizer.param_groups[0]["lr"] = loop.rate(step.number)
        optimizer.zero_grad()
        weight, bias = plain.head.classifier(8)
        logits = plain.body(plain.points[rows]) @ weight.T + bias
        cross_entropy(logits, plain.labels[rows]).backward()
        optimizer.step()
    for a, b in zip(task.parameters(), plain.parameters(), strict=True):
        torch.testing.assert_close(a, b)


def test_every_prefix_is_measured_at_every_evaluation(tmp_path):
    trained = train(tmp_path / "run")
    assert [evaluation.step for evaluation in trained.history] == [5, 10, 13]
    assert all(list(evaluation.scores) == ["2", "4", "8"] for evaluation in trained.history)


def test_it_learns(tmp_path):
    trained = train(tmp_path / "run", replace(LOOP, steps=100, evaluate_every=20))
    assert trained.best.scores["8"] > 0.8
    assert trained.history[-1].loss < trained.history[0].loss / 2


def test_the_parameters_of_the_best_evaluation_are_saved_and_not_the_last_ones(tmp_path):
    unstable = replace(
        LOOP, steps=30, learning_rate=3.0, decay="constant", evaluate_every=1, clip=None
    )
    task = Points()
    trained = train(tmp_path / "run", unstable, task)
    assert trained.best.mean > trained.history[-1].mean
    assert task.evaluate() == trained.best.scores
    saved = torch.load(trained.model / "points.pt")
    assert all(torch.equal(saved[name], value) for name, value in task.state_dict().items())


def test_patience_stops_a_run_that_does_not_get_better(tmp_path):
    loop = replace(LOOP, steps=200, learning_rate=1e-9, evaluate_every=1, patience=3)
    trained = train(tmp_path / "run", loop)
    assert trained.stopped_early
    assert trained.best.step == 1
    assert [evaluation.step for evaluation in trained.history] == [1, 2, 3, 4]
    assert train(tmp_path / "run", loop) == trained


def test_a_finished_run_is_reported_again_without_a_step(tmp_path):
    events = []
    result = train(tmp_path / "run", listener=events.append)
    assert [event.step for event in events] == list(range(1, 14))
    assert train(tmp_path / "run", listener=events.append) == result
    assert len(events) == 13


def test_epochs_start_once_and_not_again_on_resuming(tmp_path, stopped):
    stopped(lambda listen: train(tmp_path / "run", listener=listen), 7)
    task = Points()
    train(tmp_path / "run", task=task)
    assert task.epochs == [1, 2]  # five steps each: resumed at step 5, before epoch 1


def test_the_random_state_of_the_caller_is_preserved(tmp_path):
    torch.manual_seed(5)
    expected = torch.rand(1)
    torch.manual_seed(5)
    train(tmp_path / "run")
    assert torch.equal(torch.rand(1), expected)


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_a_loss_that_is_not_finite_stops_the_run_and_saves_the_state(tmp_path, value):
    class Broken(Points):
        def loss(self, outputs, batch):
            return super().loss(outputs, batch) * (value if self.is_broken() else 1.0)

        def is_broken(self):
            self.count = getattr(self, "count", 0) + 1
            return self.count == 8

    task = Broken()
    with pytest.raises(NonFiniteLossError, match=rf"step 8 \(epoch 2\).* {value}.*failed\.pt"):
        train(tmp_path / "run", task=task)
    failed = torch.load(tmp_path / "run" / "failed.pt", weights_only=True)
    assert failed["step"] == 7
    expected = next(step for step in epoch_steps(LOOP, task.rows, 7)).batches[0]
    assert torch.equal(failed["rows"], expected)
    assert torch.equal(failed["task"]["body.0.weight"], task.body[0].weight)
    assert task.body[0].weight.isfinite().all()


def test_a_gradient_that_is_not_finite_stops_too(tmp_path):
    class Steep(Points):
        def loss(self, outputs, batch):
            # Finite at 0, where its slope is not.
            return super().loss(outputs, batch) + (self.body[0].bias * 0).abs().sum().sqrt()

    with pytest.raises(NonFiniteLossError, match=r"step 1 .* gradient"):
        train(tmp_path / "run", task=Steep())


def test_in_float16_a_gradient_that_no_scale_makes_finite_stops_too(tmp_path):
    class Bottomless(Points):
        def loss(self, outputs, batch):
            return super().loss(outputs, batch) + (self.body[0].bias * 0).abs().sum().sqrt()

    with pytest.raises(NonFiniteLossError, match=r"gradient is nan"):
        train(tmp_path / "run", replace(LOOP, precision="float16", steps=40), Bottomless())
    failed = torch.load(tmp_path / "run" / "failed.pt", weights_only=True)
    assert failed["step"] < 30


def test_a_folder_of_another_configuration_is_refused(tmp_path):
    train(tmp_path / "run")
    other = replace(LOOP, learning_rate=0.1, seed=3)
    with pytest.raises(CheckpointError, match=r"learning_rate is 0\.1 and was 0\.05; seed is 3"):
        train(tmp_path / "run", other)
    with pytest.raises(CheckpointError, match="data is 'others' and was 'points'"):
        train_task(Points(), LOOP, folder(tmp_path / "run", data="others"))


def test_the_way_out_of_a_damaged_checkpoint_removes_nothing_but_the_run(tmp_path):
    file = tmp_path / "adaptor.first.pt"
    file.write_bytes(b"cut")
    with pytest.raises(CheckpointError, match=rf"remove {file} and train again"):
        CheckpointFile(file, {}).read()


def test_a_damaged_checkpoint_is_an_error_and_never_a_new_start(tmp_path):
    train(tmp_path / "run")
    path = tmp_path / "run" / "checkpoint.pt"
    path.write_bytes(path.read_bytes()[:1000])
    with pytest.raises(CheckpointError, match="damaged"):
        train(tmp_path / "run")


@pytest.mark.parametrize(
    ("change", "wrong"),
    [
        (lambda state: torch.ones(3), "no checkpoint of a run"),
        (lambda state: {"format": 1}, "no checkpoint of a run"),
        (lambda state: state | {"format": 99}, "format 99"),
        (lambda state: {k: v for k, v in state.items() if k != "optimizer"}, "does not fit"),
        (lambda state: state | {"task": {"body": torch.ones(3)}}, "does not fit"),
    ],
)
def test_a_checkpoint_of_another_kind_is_refused(tmp_path, change, wrong):
    train(tmp_path / "run")
    path = tmp_path / "run" / "checkpoint.pt"
    torch.save(change(torch.load(path, weights_only=True)), path)
    with pytest.raises(CheckpointError, match=wrong):
        train(tmp_path / "run")


def test_a_folder_with_other_files_is_refused_and_not_changed(tmp_path):
    (tmp_path / "thesis.tex").touch()
    with pytest.raises(InputError, match=r"thesis\.tex"):
        train(tmp_path)
    with pytest.raises(InputError, match=r"thesis\.tex"):
        folder(tmp_path).clear()
    assert [path.name for path in tmp_path.iterdir()] == ["thesis.tex"]


def test_a_run_can_be_removed(tmp_path):
    train(tmp_path / "run")
    folder(tmp_path / "run").clear()
    assert list((tmp_path / "run").iterdir()) == []
    train(tmp_path / "run", replace(LOOP, seed=3))


@pytest.mark.parametrize("rows", [8, 9, 11, 30])
def test_every_epoch_takes_every_row_at_most_once_and_in_another_order(rows):
    loop = Loop(steps=12, batch_size=2, accumulate=2)
    rows_by_epoch = {}
    for step in epoch_steps(loop, rows):
        assert [len(batch) for batch in step.batches] == [2, 2]
        rows_by_epoch.setdefault(step.epoch, []).extend(torch.cat(step.batches).tolist())
    for order in list(rows_by_epoch.values())[:-1]:
        assert len(set(order)) == len(order) == rows // 4 * 4
    assert len({tuple(order[:8]) for order in rows_by_epoch.values()}) == len(rows_by_epoch)


def test_the_steps_from_any_step_on_are_those_of_the_full_run():
    loop = Loop(steps=12, batch_size=3)
    full = list(epoch_steps(loop, 10))
    assert [step.number for step in full] == list(range(12))
    for first_step in range(13):
        remaining = list(epoch_steps(loop, 10, first_step))
        assert [step.number for step in remaining] == list(range(first_step, 12))
        for a, b in zip(remaining, full[first_step:], strict=True):
            assert torch.equal(torch.cat(a.batches), torch.cat(b.batches))
            assert (a.epoch, a.starts_epoch) == (b.epoch, b.starts_epoch)


@pytest.mark.parametrize("decay", ["cosine", "linear", "constant"])
def test_the_learning_rate_rises_then_falls_and_is_never_0(decay):
    loop = Loop(steps=50, warmup=0.2, decay=decay, learning_rate=0.3)
    rates = [loop.rate(step) for step in range(50)]
    assert rates[:11] == sorted(rates[:11])
    assert rates[10:] == sorted(rates[10:], reverse=True)
    assert max(rates) == rates[10] == 0.3
    assert min(rates) > 0


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"steps": 0}, "steps=0"),
        ({"batch_size": 0}, "batch_size=0"),
        ({"accumulate": 0}, "accumulate=0"),
        ({"learning_rate": 0.0}, "learning_rate=0.0"),
        ({"learning_rate": float("nan")}, "learning_rate=nan"),
        ({"clip": -1.0}, "clip=-1.0"),
        ({"warmup": 1.0}, "warmup=1.0"),
        ({"patience": 0}, "patience=0"),
    ],
)
def test_settings_out_of_range_are_refused(wrong, message):
    with pytest.raises(InputError, match=message):
        replace(LOOP, **wrong)


def test_too_few_rows_for_a_step_and_a_missing_device_are_refused(tmp_path):
    with pytest.raises(InputError, match="22 training rows"):
        train(tmp_path / "a", replace(LOOP, batch_size=23))
    with pytest.raises(InputError, match="'cuda:77' is not available"):
        train(tmp_path / "b", replace(LOOP, device="cuda:77"))


# --- what a task may choose ---


class Custom(Points):
    """`Points` with an optimizer, a schedule, batches and a stopping rule of its own."""

    evaluates_untrained = True

    def steps(self, loop, first_step):
        return (Step(number) for number in range(first_step, loop.steps))

    def batch(self, step, part, generator):
        rows = np.random.default_rng([3, step.number]).integers(0, self.rows, 4)
        return super().row_batch(torch.from_numpy(rows), generator)

    def optimizer(self, loop):
        return torch.optim.Adam(self.parameters(), loop.learning_rate)

    def learning_rate(self, loop, step):
        return loop.learning_rate / (1 + step)

    def evaluate(self):
        return {
            "8": (self.head(self.body(self.points))[-1].argmax(1) == self.labels).double().numpy()
        }

    def prefers(self, latest, peak):
        assert set(latest.per_query) == set(peak.per_query) == {"8"}
        difference = latest.per_query["8"] - peak.per_query["8"]
        return difference.mean() > -0.1


def plain_loop(task, last_step):
    """The same training without the engine."""
    optimizer = torch.optim.Adam(task.parameters(), LOOP.learning_rate)
    for step in task.steps(LOOP, 0):
        if step.number == last_step:
            return
        optimizer.param_groups[0]["lr"] = LOOP.learning_rate / (1 + step.number)
        torch.manual_seed(derive_seed(0, "step", step.number, 0))
        batch = task.batch(step, 0, generator(0, "step", step.number, 0))
        optimizer.zero_grad()
        task.loss(task(batch), batch).backward()
        optimizer.step()


def test_a_task_chooses_its_optimizer_schedule_and_batches():
    class Latest(Custom):
        def prefers(self, latest, peak):
            return True

    task, plain = Latest(), Latest()
    optimize(task, replace(LOOP, clip=None), CheckpointFile(None, {}), last_step=11)
    with torch.random.fork_rng():
        plain_loop(plain, 11)
    for trained, expected in zip(task.parameters(), plain.parameters(), strict=True):
        assert torch.equal(trained, expected)


def test_a_resumed_file_ends_with_the_same_best_parameters(tmp_path, stopped):
    tasks = [Custom(), Custom(), Custom()]
    loop = replace(LOOP, evaluate_every=2, steps=30, learning_rate=0.5)
    full = optimize(tasks[0], loop, CheckpointFile(None, {"k": (1, 2)}))
    stopped(
        lambda listen: optimize(
            tasks[1], loop, CheckpointFile(tmp_path / "c", {"k": (1, 2)}), listen
        ),
        9,
    )
    file = CheckpointFile(tmp_path / "c", {"k": (1, 2)})
    resumed = optimize(tasks[2], loop, file)
    assert resumed.best == full.best
    assert [e.mean for e in resumed.history] == [e.mean for e in full.history]
    assert [e.step for e in full.history] == list(range(0, 31, 2))
    for a, b in zip(tasks[0].parameters(), tasks[2].parameters(), strict=True):
        assert torch.equal(a, b)
    with pytest.raises(CheckpointError, match="another configuration"):
        optimize(Custom(), loop, CheckpointFile(tmp_path / "c", {"k": (1, 3)}))
    file.remove()
    assert list(tmp_path.iterdir()) == []


def test_the_best_may_be_later_than_the_peak_and_patience_counts_from_the_peak():
    class Falling(Custom):
        """Scores that fall a little at each evaluation, and then a lot."""

        def evaluate(self):
            self.calls = getattr(self, "calls", 0) + 1
            return {"8": np.full(5, 1 - 0.04 * self.calls - (self.calls > 3))}

    loop = replace(LOOP, evaluate_every=1, patience=4)
    ended = optimize(Falling(), loop, CheckpointFile(None, {}))
    assert ended.stopped_early
    assert [evaluation.step for evaluation in ended.history] == [0, 1, 2, 3, 4]
    assert ended.best.step == 2


def test_untrained_parameters_may_be_the_best_and_no_step_is_needed():
    task, untrained = Custom(), Custom()
    ended = optimize(task, LOOP, CheckpointFile(None, {}), last_step=0)
    assert ended.best.step == 0
    assert not ended.stopped_early
    assert math.isnan(ended.best.loss)
    for a, b in zip(task.parameters(), untrained.parameters(), strict=True):
        assert torch.equal(a, b)


def test_without_held_out_data_the_last_parameters_are_taken_and_patience_never_ends():
    class Unmeasured(Custom):
        def evaluate(self):
            return {}

    task = Unmeasured()
    loop = replace(LOOP, evaluate_every=1, patience=1)
    ended = optimize(task, loop, CheckpointFile(None, {}))
    assert ended.best.step == LOOP.steps
    assert not ended.stopped_early
    assert math.isnan(ended.best.mean)


def test_a_loss_that_is_not_finite_stops_a_run_in_memory_too():
    class Broken(Custom):
        def loss(self, outputs, batch):
            return super().loss(outputs, batch) * float("nan")

    with pytest.raises(NonFiniteLossError, match=r"step 1 \(epoch 1\): the loss .* is nan; look"):
        optimize(Broken(), LOOP, CheckpointFile(None, {}))


# --- checkpoints of older versions ---


def downgrade(path, names):
    """Rewrite a checkpoint as format 1 had it, with the old names of settings."""
    state = torch.load(path, weights_only=True)
    del state["best_step"], state["per_query"]
    old = {new: old for old, new in names.items()}
    identity = {old.get(name, name): value for name, value in state["identity"].items()}
    torch.save(state | {"format": 1, "identity": identity}, path)


def test_a_checkpoint_of_format_1_is_resumed(tmp_path, stopped, same_bits):
    full = train(tmp_path / "full")
    stopped(lambda listen: train(tmp_path / "old", listener=listen), 7)
    downgrade(tmp_path / "old" / "checkpoint.pt", {})
    assert train(tmp_path / "old").history == full.history
    same_bits(tmp_path / "full", tmp_path / "old")
    downgrade(tmp_path / "full" / "checkpoint.pt", {})
    assert train(tmp_path / "full") == full


def test_settings_that_were_renamed_are_recognised_in_old_checkpoints(tmp_path):
    @renamed_fields({"tower": "model"})
    @dataclass(frozen=True)
    class Config:
        model: Loop = LOOP

    place = RunFolder.for_run(tmp_path / "run", "points", Config(), "points")
    finished = train_task(Points(), LOOP, place)
    names = {name.replace("model.", "tower."): name for name in place.identity}
    downgrade(tmp_path / "run" / "checkpoint.pt", names)
    saved = torch.load(tmp_path / "run" / "checkpoint.pt", weights_only=True)["identity"]
    assert "tower.steps" in saved
    assert train_task(Points(), LOOP, place) == finished
