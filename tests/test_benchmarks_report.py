"""README and docs/benchmarks.md say what the committed results say; the gate sees a slowdown."""

import copy
import json
import re
from pathlib import Path

import pytest

pytest.importorskip("matplotlib", reason="pip install fastdist-torch[bench]")

from benchmarks import compare, plot, report
from benchmarks.record import read
from benchmarks.table import table

ROOT = Path(__file__).parent.parent
DOCUMENTS = [ROOT / "README.md", ROOT / "docs" / "benchmarks.md"]
COMMITTED = sorted((ROOT / "benchmarks" / "results").glob("*.json"))


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.name)
def test_the_document_is_what_the_report_makes_of_the_results(document, capsys):
    assert report.main(["--check", str(document)]) == 0, capsys.readouterr().out


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.name)
def test_hardware_command_and_what_was_not_measured_are_named(document):
    sections = [found.group() for found in report.SECTION.finditer(document.read_text())]
    assert sections
    for section in sections:
        (path,) = (p for p in COMMITTED if f"`benchmarks/results/{p.name}`.\n" in section)
        assert read(path)["environment"]["cpu"] in section
        assert "`python -m benchmarks" in section
        if not any("-cuda-" in p.name for p in COMMITTED):
            assert "Not measured: any GPU" in section


def test_a_changed_result_makes_the_document_stale(tmp_path, monkeypatch):
    results = read(next(p for p in COMMITTED if "-cuda-" not in p.name))
    name = "signed map, 256^3 blobs"
    case = results["cases"][name]
    path = tmp_path / "results.json"
    path.write_text(json.dumps(results))
    monkeypatch.setattr(report, "ROOT", tmp_path)
    before = report.section(path, headlines=False)
    case["libraries"][case["ours"]]["cpu"] *= 10
    path.write_text(json.dumps(results))
    after = report.section(path, headlines=False)
    assert before != after
    assert name in before


@pytest.mark.parametrize("path", COMMITTED, ids=lambda path: path.name)
def test_the_committed_results_hold_what_the_tables_need(path):
    results = read(path)
    assert {"cpu", "threads", "packages", "commit", "date", "command"} <= set(
        results["environment"]
    )
    assert table(results["cases"])


def test_pictures_are_made_of_a_result_file(tmp_path):
    path = next(p for p in COMMITTED if "-cuda-" not in p.name)
    assert plot.main([str(path), "--out", str(tmp_path)]) == 0
    made = {picture.name for picture in tmp_path.glob("*.png")}
    assert made >= {f"{name}-{theme}.png" for name in ("scaling", "cases") for theme in plot.THEMES}


def test_pictures_named_in_the_documents_are_there():
    for document in DOCUMENTS:
        for name in re.findall(r"(pictures/[\w-]+\.png)", document.read_text()):
            assert (ROOT / "docs" / name).exists(), f"{document.name}: {name}"


@pytest.fixture
def compared(tmp_path):
    """Compares a run of one case, and maybe a second one, with a changed run: the exit status."""
    summary = {"cpu": 1.0, "cpu_iqr": 0.02, "cpu_min": 1.0, "wall": 1.0, "wall_iqr": 0.02}
    base = {
        "cases": {
            "a map": {
                "threads": 1,
                "libraries": {"fastdist": dict(summary), "SciPy": dict(summary)},
            }
        }
    }

    def run(name: str, ours: float, theirs: float, shortest: float | None = None) -> str:
        new = copy.deepcopy(base)
        libraries = new["cases"]["a map"]["libraries"]
        libraries["fastdist"].update(cpu=ours, cpu_min=shortest or ours)
        libraries["SciPy"].update(cpu=theirs, cpu_min=theirs)
        path = tmp_path / name
        path.write_text(json.dumps(new))
        return str(path)

    def exit_status(second: float | None = None, **new: float) -> int:
        bases = [run("base.json", 1.0, 1.0)]
        bases += [run("second.json", second, 1.0)] if second else []
        return compare.main([*bases, "--new", run("new.json", **new)])

    return exit_status


def test_the_gate_fails_where_ours_got_slower(compared):
    assert compared(ours=1.3, theirs=1.0) == 1


def test_the_gate_passes_what_is_within_the_spread_or_the_machines_doing(compared):
    assert compared(ours=1.05, theirs=1.0) == 0
    assert compared(ours=1.3, theirs=1.3) == 0
    assert compared(ours=0.5, theirs=1.0) == 0
    assert compared(ours=1.3, theirs=1.0, shortest=1.02) == 0


def test_of_several_base_runs_the_slowest_decides(compared):
    assert compared(second=1.25, ours=1.3, theirs=1.0) == 0
    assert compared(second=1.25, ours=1.5, theirs=1.0) == 1
