"""The paper's experiment: its plan; it resumes with the same bits, pauses, and peeks nowhere."""

import itertools
import json
import threading
import time

import numpy as np
import pytest
import torch

from examples import evaluation, paper_plan
from examples.paper_plan import ARMS, PATIENTS, TASKS, Protocol, Run, Task

pytest.importorskip("tqdm")
pytest.importorskip("matplotlib")

from examples import paper, paper_data, slices
from examples.paper_training import Training

TINY = Protocol(epochs=4, batch=4, patience=0, tested_every=3)
TINIEST = Protocol(epochs=2, batch=8)
CPU = torch.device("cpu")


@pytest.fixture(autouse=True)
def one_thread():
    torch.set_num_threads(1)


@pytest.fixture
def small(monkeypatch):
    """16 slices of each patient, cut to where the lesions are; a slab of four; few made slices."""
    whole = {name: slices.load_patient(name) for name in PATIENTS}

    def cut(name):
        images, labels, spacing = whole[name]
        part, box = slice(34, 50), slice(48, 96)
        return slices.Patient(images[part, :, box, box], labels[part, box, box], spacing)

    monkeypatch.setattr(slices, "load_patient", cut)
    monkeypatch.setattr(paper_data, "SLAB", slice(8, 12))
    monkeypatch.setattr(paper_data, "GAP", 1)
    for name, value in {"TRAINING": 20, "VALIDATION": 4, "TEST": 4, "STEPS": 2}.items():
        monkeypatch.setattr(paper_data, f"MADE_{name}", value)


@pytest.fixture
def one_fold(monkeypatch):
    """A plan of three runs: real lesions, patient 26 left out, seed 1."""
    monkeypatch.setattr(paper_plan, "TASKS", {"real": Task("real lesions", ("26",), (1,))})
    monkeypatch.setattr(paper_plan, "ARMS", {arm: ARMS[arm] for arm in paper_plan.FIRST})


def without_seconds(outcome):
    return {key: value for key, value in outcome.items() if key != "seconds"}


def test_every_arm_meets_every_patient_and_seed_and_the_first_arms_come_first():
    runs = paper_plan.planned()
    expected = {
        Run(task, seed, fold, arm)
        for task, one in TASKS.items()
        for seed, fold, arm in itertools.product(one.seeds, one.folds, ARMS)
        if (task, arm) != ("real", "rebalance-normalised")
    }
    assert set(runs) == expected
    assert len(runs) == len(expected) == 45 + 30
    later = [run.arm not in paper_plan.FIRST for run in runs]
    assert later == sorted(later)
    for half in (runs[: later.index(True)], runs[later.index(True) :]):
        assert [run.seed for run in half] == sorted(run.seed for run in half)


def test_the_schedules_are_the_papers():
    schedules = {name: arm.make_schedule(100) for name, arm in ARMS.items() if arm.schedule}
    for epoch in range(100):
        assert schedules["rebalance-shifted"].alpha.item() == pytest.approx(1 - 0.01 * epoch)
        assert schedules["increase-shifted"].alpha.item() == pytest.approx(0.01 * (epoch + 1))
        assert schedules["constant-shifted"].alpha.item() == pytest.approx(0.01)
        for schedule in schedules.values():
            schedule.step()
    one, two = torch.tensor(3.0), torch.tensor(-5.0)
    assert schedules["rebalance-midpoint"].combine(one, two).item() == pytest.approx(-4.92)


@pytest.mark.parametrize("task", TASKS)
def test_a_run_resumed_after_every_epoch_gives_the_same_bits(small, tmp_path, task):
    def start():
        training = Training(Run(task, 1, "26", "rebalance-midpoint"), TINY, CPU)
        validate = training.data.validate

        def worse_as_weights_grow(network):
            size = sum(weight.abs().sum().item() for weight in network.parameters())
            return validate(network) | {"dice": 1 / size}

        training.data = training.data._replace(validate=worse_as_weights_grow)
        return training

    straight = start()
    while not straight.done:
        straight.train_epoch()

    path = tmp_path / "checkpoint.pt"
    start().save(path)
    for _ in range(TINY.epochs):
        torch.manual_seed(99)  # another process, of another past
        resumed = start()
        resumed.resume(path)
        resumed.train_epoch()
        resumed.save(path)
    assert without_seconds(resumed.outcome()) == without_seconds(straight.outcome())
    assert set(straight.curves["rate"]) > {TINY.rate}, "never halved: its state is not tested"
    last = start()
    last.resume(path)
    for name in ("network", "optimiser", "halving", "schedule"):
        one, two = (flat(getattr(each, name).state_dict()) for each in (last, straight))
        assert one.keys() == two.keys()
        for key, value in one.items():
            assert torch.equal(torch.as_tensor(value), torch.as_tensor(two[key])), key


def flat(state, prefix=""):
    """Nested dictionaries as one, what is neither number nor tensor left out."""
    found = {}
    for key, value in state.items():
        if isinstance(value, dict):
            found |= flat(value, f"{prefix}{key}.")
        elif isinstance(value, torch.Tensor | int | float):
            found[f"{prefix}{key}"] = value
    return found


def test_a_checkpoint_is_written_whole_or_not_at_all(small, tmp_path, monkeypatch):
    training = Training(Run("real", 1, "26", "gdl"), TINY, CPU)
    path = tmp_path / "checkpoint.pt"
    training.save(path)
    before = path.read_bytes()

    def interrupted(_, file):
        file.write_bytes(b"half")
        raise KeyboardInterrupt

    monkeypatch.setattr(torch, "save", interrupted)
    with pytest.raises(KeyboardInterrupt):
        training.save(path)
    assert path.read_bytes() == before


def test_a_checkpoint_of_another_run_or_protocol_is_refused(small, tmp_path):
    path = tmp_path / "checkpoint.pt"
    Training(Run("real", 1, "26", "gdl"), TINY, CPU).save(path)
    with pytest.raises(ValueError, match="a checkpoint of"):
        Training(Run("real", 2, "26", "gdl"), TINY, CPU).resume(path)
    with pytest.raises(ValueError, match="a checkpoint of"):
        Training(Run("real", 1, "26", "gdl"), Protocol(epochs=5), CPU).resume(path)


def test_the_patient_left_out_decides_nothing(small, monkeypatch):
    run = Run("real", 1, "26", "rebalance-shifted")
    outcomes = []
    for slope in (1, -1):
        training = Training(run, TINY, CPU)
        test, calls = training.data.test, itertools.count()

        def sloping(network, slope=slope, test=test, calls=calls):
            scores = test(network)
            return scores | {"dice": scores["dice"] + slope * next(calls)}

        training.data = training.data._replace(test=sloping)
        while not training.done:
            training.train_epoch()
        outcomes.append((training.outcome(), training.weights()))
        cases = {name: slices.load_patient(name) for name in PATIENTS}
        cases["26"] = cases["26"]._replace(labels=1 - cases["26"].labels)
        monkeypatch.setattr(slices, "load_patient", cases.get)
    (one, weights), (two, same) = outcomes
    assert one["last"] != two["last"]
    assert one["curves"] == two["curves"]
    assert one["best"]["epoch"] == two["best"]["epoch"]
    assert all(torch.equal(value, same[name]) for name, value in weights.items())


@pytest.mark.parametrize("held_out", PATIENTS)
def test_no_slice_of_a_slab_or_beside_it_trains(held_out):
    data = paper_data.real(held_out, 8, CPU)
    kept = {image.numpy().tobytes() for image in data.images[:, 0]}
    assert len(kept) == len(data.images)
    for name in PATIENTS:
        images = slices.load_patient(name).images[:, 0]
        found = [i for i, image in enumerate(images) if image.numpy().tobytes() in kept]
        if name == held_out:
            assert not found
        else:
            assert len(found) > 80
            assert not set(found) & set(range(paper_data.SLAB.start - 2, paper_data.SLAB.stop + 2))


def test_every_slice_trains_once_before_any_trains_again(small):
    training = Training(Run("synthetic", 1, "26", "gdl"), TINY, CPU)
    numbered = torch.arange(20).view(-1, 1, 1, 1).float()
    training.data = training.data._replace(images=numbered)
    seen = torch.cat([training.next_batch()[0].flatten() for _ in range(10)]).tolist()
    assert sorted(seen[:20]) == sorted(seen[20:]) == list(range(20))
    assert seen[:20] != seen[20:]


def command(folder):
    return ["--state", str(folder / "state"), "--results", str(folder / "docs" / "paper.json")]


def results_of(folder):
    runs = json.loads((folder / "docs" / "paper.json").read_text())["runs"]
    return [without_seconds(run) for run in runs]


def test_an_interrupted_command_goes_on_within_the_run(small, one_fold, tmp_path, monkeypatch):
    work, epochs = Training.train_epoch, []

    def counted(self, *rest):
        if len(epochs) == 3:
            epochs.append(None)
            raise KeyboardInterrupt
        work(self, *rest)
        epochs.append((self.run, self.epoch))

    monkeypatch.setattr(Training, "train_epoch", counted)
    with pytest.raises(KeyboardInterrupt):
        paper.main(command(tmp_path / "stopped"), TINIEST)
    assert [run["arm"] for run in results_of(tmp_path / "stopped")] == ["gdl"]
    paper.main(command(tmp_path / "stopped"), TINIEST)
    done = [one for one in epochs if one]
    assert done == [(run, e) for run in paper_plan.planned(["real"]) for e in (1, 2)]

    monkeypatch.setattr(Training, "train_epoch", work)
    paper.main(command(tmp_path / "straight"), TINIEST)
    assert results_of(tmp_path / "stopped") == results_of(tmp_path / "straight")
    assert not list((tmp_path / "stopped" / "state" / "checkpoints").iterdir())


def test_a_paused_run_waits_and_goes_on(small, one_fold, tmp_path, monkeypatch):
    monkeypatch.setattr(paper, "PAUSE_POLL", 0.01)
    options = command(tmp_path)
    paper.main([*options, "--pause"], TINIEST)
    runner = threading.Thread(target=paper.main, args=(options, TINIEST))
    runner.start()
    time.sleep(0.5)
    assert runner.is_alive()
    assert not (tmp_path / "state" / "checkpoints").exists()
    paper.main([*options, "--go-on"], TINIEST)
    runner.join(timeout=60)
    assert not runner.is_alive()
    assert len(results_of(tmp_path)) == 3


def test_a_run_is_trained_by_one_process_at_a_time(tmp_path):
    run, other = paper_plan.planned()[:2]
    with paper.claimed(run, tmp_path) as first, paper.claimed(run, tmp_path) as second:
        assert (first, second) == (True, False)
        with paper.claimed(other, tmp_path) as third:
            assert third
    with paper.claimed(run, tmp_path) as again:
        assert again


def test_finished_runs_are_folded_in_and_none_of_another_protocol(tmp_path):
    def outcome(run):
        return run._asdict() | {"last": {"dice": 0.5}}

    one, two, three = paper_plan.planned()[:3]
    before = paper_plan.new_results(TINY) | {"runs": [outcome(three)]}
    for run, protocol in ((two, TINY), (one, Protocol())):
        text = json.dumps({"protocol": protocol.as_json(), "run": outcome(run)})
        paper_plan.write(paper.done_file(run, tmp_path), text)
    after = paper_plan.fold(before, tmp_path)
    assert set(paper_plan.finished(after)) == {two, three}
    paper_plan.save(after, tmp_path / "results.json")
    read = paper_plan.load(tmp_path / "results.json", TINY)
    assert [paper_plan.key_of(run) for run in read["runs"]] == [two, three]
    assert paper_plan.fold(read, tmp_path) == read
    with pytest.raises(SystemExit, match="another protocol"):
        paper_plan.load(tmp_path / "results.json", Protocol())


def test_a_mask_survives_as_text():
    mask = np.random.default_rng(3).random((13, 9)) < 0.2
    text = json.dumps(paper_plan.packed(mask))
    assert np.array_equal(paper_plan.unpacked(json.loads(text)), mask)


def test_slices_are_scored_one_by_one():
    truth = torch.zeros(3, 20, 20, dtype=torch.bool)
    truth[:, 4:8, 4:8] = True  # one lesion in each slice, not one through all
    prediction = torch.zeros_like(truth)
    prediction[0] = truth[0]
    prediction[1, 4:8, 6:10] = True  # two columns too far
    scores = paper_data.score_slices(prediction, truth)
    assert scores["dice"] == pytest.approx((1 + 0.5 + 0) / 3)
    assert scores["hd95_mm"] == pytest.approx((0 + 2) / 2)
    assert (scores["empty"], scores["lesions"], scores["found"]) == (1, 3, 2)
    assert scores["false_lesions"] == 0
    assert evaluation.hd95(prediction[1], truth[1], (3.0, 2.0)) == pytest.approx(4)


def test_the_arms_losses_differ_as_they_say(small):
    losses = {
        arm: Training(Run("synthetic", 1, "26", arm), TINY, CPU).boundary_loss for arm in ARMS
    }
    logits = torch.randn(2, 2, 32, 32, generator=torch.Generator().manual_seed(1))
    labels = torch.zeros(2, 32, 32, dtype=torch.uint8)
    labels[:, 10:12, 4:20] = 1  # two pixels thick
    values = {arm: loss(logits, labels).item() for arm, loss in losses.items()}
    assert values["increase-shifted"] == values["constant-shifted"] == values["rebalance-shifted"]
    assert values["rebalance-midpoint"] != values["rebalance-shifted"]
    assert 0 < values["rebalance-normalised"] < 1 < values["rebalance-shifted"]
