"""The ablation: the runs it makes, how it resumes, how lesions are counted, what its page says."""

import itertools
import json

import numpy as np
import pytest
import torch
from scipy import ndimage

from examples import ablation_report, ablation_runs, evaluation
from examples.ablation_runs import PATIENTS, RECIPES, Run
from examples.components import components


def invented(seeds=(1, 2), dice=lambda run, key: 0.5):
    """Results of every run of a plan, the Dice as asked for, all else equal."""
    results = ablation_runs.new_results(seeds, 16, 32)
    for run in ablation_runs.planned(seeds):
        results["runs"].append(
            run._asdict()
            | {"dice": dice(run, run.recipe), "hd95_mm": 20.0, "found": 3, "lesions": 9}
            | {"thin": 4, "thin_found": 1, "false_lesions": 5, "threshold_dice": 0.3}
            | {"seconds": 60.0, "boundary_share": 0.0, "epochs": 16, "steps": 448}
            | {"device": "cpu", "threads": 1, "torch": "2.13", "provider": "extension"}
        )
    return results


def test_the_page_shows_the_results_beside_it():
    page = ablation_report.PAGE.read_text()
    results = ablation_runs.load(ablation_report.JSON)
    assert page == ablation_report.replaced(page, results), (
        "stale: python -m examples.ablation --results docs/ablation.json --report-only"
    )


def test_publishing_twice_changes_nothing(tmp_path):
    page, data = tmp_path / "page.md", tmp_path / "page.json"
    page.write_text(f"before\n{ablation_report.START}\nold\n{ablation_report.END}\nafter\n")
    ablation_report.publish(invented(), page, data)
    first = page.read_text(), data.read_text()
    assert "stale" not in first[0]
    assert first[0].startswith("before\n")
    assert first[0].endswith("after\n")
    ablation_report.publish(ablation_runs.load(data), page, data)
    assert (page.read_text(), data.read_text()) == first


def test_every_recipe_meets_every_patient_and_seed_with_seeds_outermost():
    runs = list(ablation_runs.planned([1, 2]))
    assert [run.seed for run in runs] == sorted(run.seed for run in runs)
    assert set(runs) == {Run(*key) for key in itertools.product([1, 2], PATIENTS, RECIPES)}
    assert len(runs) == len(set(runs))


def test_comparisons_are_between_runs_of_the_same_length():
    for one, other in ablation_runs.COMPARISONS:
        assert RECIPES[one].long == RECIPES[other].long


def test_a_partial_set_says_so_and_concludes_nothing():
    results = invented()
    results["runs"] = results["runs"][:20]
    text = ablation_report.section(results)
    assert "**Partial: 20 of 36 planned runs are done**" in text
    assert "no conclusion is drawn" in text


def test_no_run_at_all_has_a_page_too():
    text = ablation_report.section(ablation_runs.new_results([1, 2], 16, 32))
    assert "Partial: 0 of 36" in text


def test_equal_results_show_neither_benefit_nor_harm():
    text = ablation_report.verdict(invented())
    assert "no benefit and no harm" in text


def test_a_single_pair_that_disagrees_leaves_nothing_shown():
    def dice(run, key):
        return 0.6 if key == "constant-shifted" and (run.seed, run.held_out) != (2, "26") else 0.5

    assert "no benefit and no harm" in ablation_report.verdict(invented(dice=dice))


def test_what_all_pairs_agree_on_is_named_with_its_side():
    text = ablation_report.verdict(invented(dice=lambda _, key: 0.4 if "rebal" in key else 0.5))
    assert text.count("is worse than generalised Dice, long") == 2
    assert "better" not in text


def test_nothing_found_is_worse_than_any_distance_and_left_out_of_the_mean():
    some, none = {"hd95_mm": 30.0}, {"hd95_mm": None}
    both = [(some, none), (none, some), (none, none)]
    assert ablation_report.outcome(both, "hd95_mm", False) == [1, -1, 0]
    assert ablation_report.mean([30.0, None], 1) == "30.0 (1 of 2 runs)"
    assert ablation_report.mean([None, None], 1) == ablation_report.NOTHING


def test_results_of_other_lengths_do_not_mix_and_seeds_add_up(tmp_path):
    file = tmp_path / "results.json"
    ablation_runs.save(invented([1]), file)
    assert ablation_runs.open_results(file, [2], 16, 32)["plan"]["seeds"] == [1, 2]
    assert len(ablation_runs.load(file)["runs"]) == 18
    with pytest.raises(SystemExit, match="another file"):
        ablation_runs.open_results(file, [1], 17, 32)


@pytest.mark.parametrize("density", [0.02, 0.1, 0.3])
@pytest.mark.parametrize("shape", [(40,), (23, 31), (9, 14, 11)])
def test_components_are_those_of_scipy(shape, density):
    volume = np.random.default_rng(7).random(shape) < density
    expected, _ = ndimage.label(volume, np.ones((3,) * len(shape)))
    assert torch.equal(components(torch.from_numpy(volume)), torch.from_numpy(expected).long())


@pytest.mark.parametrize("value", [False, True])
def test_components_of_an_empty_and_a_full_volume(value):
    volume = torch.full((3, 4, 5), value)
    assert torch.equal(components(volume), volume.long())


def test_lesions_found_counts_touched_missed_thin_and_invented_ones():
    truth = torch.zeros(3, 20, 20, dtype=torch.bool)
    truth[1, 2:7, 2:7] = True  # five thick
    truth[1, 12:14, 2:9] = True  # two thick, with
    truth[2, 14, 9] = True  # a corner in the next slice
    truth[0, 18, 18] = True  # a single voxel, missed
    prediction = torch.zeros_like(truth)
    prediction[1, 4:14, 2] = True  # touches both
    prediction[0, 5, 15] = prediction[2, 5, 15] = True  # two, a slice apart
    assert evaluation.lesions_found(prediction, truth) == {
        "lesions": 3, "found": 2, "thin": 2, "thin_found": 1, "false_lesions": 2,
    }  # fmt: skip


@pytest.fixture
def ablation(monkeypatch, tmp_path):
    """The command, on three slices of each patient, cut to where the lesions are."""
    pytest.importorskip("tqdm")
    pytest.importorskip("matplotlib")
    from examples import ablation, lesions, slices

    whole = {name: slices.load_patient(name) for name in PATIENTS}

    def cut(name):
        images, labels, spacing = whole[name]
        best = labels.sum(dim=(1, 2)).argsort()[-3:]
        rows = columns = slice(40, 104)
        return slices.Patient(images[best, :, rows, columns], labels[best, rows, columns], spacing)

    monkeypatch.setattr(slices, "load_patient", cut)
    monkeypatch.setattr(lesions, "BATCH", 3)
    return ablation


def test_an_interrupted_ablation_goes_on_where_it_stopped(ablation, monkeypatch, tmp_path, capsys):
    file = tmp_path / "deep" / "results.json"
    command = ["--results", str(file), "--seeds", "5", "--device", "cpu"]
    command += ["--epochs", "1", "--long-epochs", "2"]
    torch.set_num_threads(1)
    work, calls = ablation.do_run, []

    def stopped(run, *rest):
        if len(calls) == 4:
            raise KeyboardInterrupt
        calls.append(run)
        return work(run, *rest)

    monkeypatch.setattr(ablation, "do_run", stopped)
    with pytest.raises(KeyboardInterrupt):
        ablation.main(command)
    before = ablation_runs.load(file)["runs"]
    assert len(before) == 4

    monkeypatch.setattr(ablation, "do_run", lambda *run: calls.append(run[0]) or work(*run))
    ablation.main(command)
    results = ablation_runs.load(file)
    assert results["runs"][:4] == before
    assert calls == list(ablation_runs.planned([5]))
    assert set(ablation_runs.finished(results)) == set(calls)
    for run in results["runs"]:
        assert run["steps"] == run["epochs"] * 2  # six slices of two patients
        assert 0 <= run["dice"] <= 1
        assert run["found"] <= run["lesions"]
        assert (run["boundary_share"] > 0) == ("gdl" not in run["recipe"])
    assert "All 18 planned runs are done" in capsys.readouterr().out

    ablation.main(command)  # nothing is left to do
    assert len(calls) == 18


def test_a_run_trains_on_the_other_patients(ablation, monkeypatch):
    seen = []
    monkeypatch.setattr(ablation.lesions, "train", lambda *given: seen.append(given) or 1 / 0)
    with pytest.raises(ZeroDivisionError):
        ablation.do_run(Run(3, "19", "rebalance-midpoint"), 32, torch.device("cpu"))
    settings, _, training = seen[0]
    assert training == ["07", "26"]
    assert (settings.loss, settings.schedule, settings.zero) == ("both", "rebalance", "midpoint")
    assert (settings.weight, settings.epochs, settings.seed) == (0.99, 32, 3)


def test_the_demos_recipe_is_the_demos(ablation):
    from examples import lesions, slices

    settings = lesions.parse_arguments([*RECIPES["constant-shifted"].options])
    assert settings == lesions.parse_arguments([])
    assert settings.epochs == ablation_runs.EPOCHS
    assert PATIENTS == slices.PATIENTS


def test_the_file_is_json_without_infinities(tmp_path):
    results = invented()
    results["runs"][0]["hd95_mm"] = float("inf")
    with pytest.raises(ValueError, match="Out of range float"):
        ablation_runs.save(results, tmp_path / "results.json")
    results["runs"][0]["hd95_mm"] = None
    ablation_runs.save(results, tmp_path / "results.json")
    assert json.loads((tmp_path / "results.json").read_text()) == results
