"""The page of the paper's experiment: its numbers are those of its JSON, and claim nothing more."""

import math
import random

import numpy as np
import pytest
import torch

from examples import paper_plan, paper_report
from examples.paper_plan import ARMS, TASKS, Protocol, Run

pytest.importorskip("matplotlib")

from examples import paper, paper_pictures

EPOCHS = 10


def outcome(run, dice):
    """An invented run: that Dice in every epoch, all else equal."""
    wobble = random.Random(repr(run))
    curve = [dice + wobble.uniform(-0.01, 0.01) for _ in range(EPOCHS)]
    scores = {"dice": dice, "hd95_mm": 20.0, "lesions": 9, "found": 3, "thin": 4}
    scores |= {"thin_found": 1, "false_lesions": 5}
    mask = [[True] * 144] * 176
    return run._asdict() | {
        "epochs": EPOCHS,
        "seconds": 60.0,
        "last": {"epoch": EPOCHS} | scores,
        "best": {"epoch": 7} | scores,
        "curves": {
            "dice": curve,
            "hd95_mm": [None] + [20.0] * (EPOCHS - 1),
            "false_lesions": [3] * EPOCHS,
            "alpha": [None] * EPOCHS if run.arm == "gdl" else [0.5] * EPOCHS,
        },
        "tested": {"epoch": [5, 10], "dice": [dice, dice]},
        "shown": paper_plan.packed(np.array(mask)),
        "device": "cpu",
        "threads": 1,
        "torch": "2.13",
    }


def invented(dice=lambda run: 0.5, count=None):
    results = paper_plan.new_results(Protocol())
    runs = paper_plan.planned()[:count]
    return results | {"runs": [outcome(run, dice(run)) for run in runs]}


def test_the_page_shows_the_results_beside_it():
    page = paper_report.PAGE.read_text()
    results = paper_plan.load(paper.JSON, Protocol())
    assert page == paper_report.replaced(page, results), (
        "stale: python -m examples.ablation --paper --report-only"
    )


def test_no_setting_is_recommended_before_all_runs_are_complete():
    results = paper_plan.load(paper.JSON, Protocol())
    page = paper_report.PAGE.read_text()
    assert ("Not answered before all runs" in page) == (not paper_report.complete(results))


def test_an_incomplete_set_says_so_and_concludes_nothing():
    text = paper_report.section(invented(count=20))
    done = [sum(run.task == task for run in paper_plan.planned()[:20]) for task in TASKS]
    assert f"**Incomplete: {done[0]} of 45 on real lesions, {done[1]} of 30 on synthetic" in text
    assert text.count("no conclusion is drawn") == 3
    assert "keeps clear" not in text
    assert "Incomplete: 0 of 45" in paper_report.section(invented(count=0))


def test_a_difference_between_all_pairs_is_named_and_none_without_one():
    def better(run):
        return 0.5 + 0.1 * (run.arm == "rebalance-midpoint") + 0.001 * run.seed * (run.arm == "gdl")

    text = paper_report.verdict(invented(better), "real")
    assert "Dice, last epoch: boundary, rebalance, midpoint is better than generalised" in text
    assert "boundary, rebalance, midpoint is better than boundary, rebalance, shifted" in text
    assert "boundary, rebalance, shifted is better" not in text
    assert "HD95" not in text


def test_one_patient_that_disagrees_leaves_nothing_shown():
    def better(run):
        return 0.5 + (0.1 if run.held_out != "26" else -0.1) * (run.arm == "increase-shifted")

    assert "increase" not in paper_report.verdict(invented(better), "real")


def test_a_comparison_without_runs_that_found_nothing_shows_nothing():
    results = invented()
    for run in results["runs"]:
        if run["arm"] == "gdl":
            run["last"]["hd95_mm"] = 30.0 + run["seed"]
    assert "HD95" in paper_report.verdict(results, "synthetic")
    next(run for run in results["runs"] if paper_plan.key_of(run).arm == "constant-shifted" and
         run["task"] == "synthetic")["last"]["hd95_mm"] = None  # fmt: skip
    text = paper_report.verdict(results, "synthetic")
    assert "constant" not in text
    assert "HD95 (mm)" not in text
    assert "HD95, last epoch (mm): boundary, increase" in text


def test_the_interval_is_students():
    stats = pytest.importorskip("scipy.stats")
    values = [0.1, 0.2, 0.4, 0.15, 0.3]
    low, high = stats.t.interval(0.95, 4, loc=0.23, scale=stats.sem(values))
    found = paper_report.interval(values)
    assert found.middle == pytest.approx(0.23)
    assert found.half == pytest.approx((high - low) / 2, abs=1e-4)
    assert math.isinf(paper_report.interval([1.0]).half)
    for freedom, factor in paper_report.T95.items():
        assert factor == pytest.approx(stats.t.ppf(0.975, freedom), abs=6e-4)


def test_intervals_are_over_seeds_and_over_patients():
    values = {
        Run("real", seed, held_out, "gdl"): seed + 10 * patient
        for seed in (1, 2, 3)
        for patient, held_out in enumerate(("07", "19", "26"))
    }
    assert paper_report.over(values, "seed") == paper_report.interval([11, 12, 13])
    assert paper_report.over(values, "held_out") == paper_report.interval([2, 12, 22])


def test_roughness_is_of_the_second_half():
    curve = [0.0, 1.0, 0.0, 0.5, 0.6, 0.5, 0.6, 0.4]
    value = paper_report.roughness({"curves": {"dice": curve}})
    assert value == pytest.approx((0.1 + 0.1 + 0.2) / 3)


def test_late_dice_is_of_the_last_fifth():
    tested = {"epoch": [75, 80, 90, 100], "dice": [0.9, 0.1, 0.2, 0.6]}
    assert paper_report.late_dice({"epochs": 100, "tested": tested}) == pytest.approx(0.3)


@pytest.fixture
def one_thread():
    torch.set_num_threads(1)


@pytest.mark.usefixtures("one_thread")
def test_pictures_are_drawn_from_the_results_alone(tmp_path):
    files = paper_pictures.draw(invented(count=10), tmp_path)
    assert [file.name for file in files] == [
        "paper-real-curves.png", "paper-real-slices.png",
        "paper-synthetic-curves.png", "paper-synthetic-slices.png",
    ]  # fmt: skip
    assert all(file.stat().st_size > 5000 for file in files)
    assert not paper_pictures.draw(invented(count=0), tmp_path / "none")


@pytest.mark.usefixtures("one_thread")
def test_made_slices_are_drawn(tmp_path):
    assert paper_pictures.draw_made(tmp_path).stat().st_size > 5000


def test_every_arm_has_a_colour_of_its_own():
    assert len(set(paper_pictures.COLOURS.values())) == len(ARMS)
