"""The stages of `make gpu` work: rehearsed without a GPU, killed, failing; nothing is made up."""

import io
import json
import os
import re
import signal
import subprocess
import sys
import tarfile
import time
from pathlib import Path

import pytest
import torch

ROOT = Path(__file__).resolve().parent.parent
STAGES = ROOT / "scripts" / "gpu"
sys.path.insert(0, str(STAGES))

import keep  # noqa: E402
import stage as engine  # noqa: E402
import stages  # noqa: E402

# A few seconds each: what a whole rehearsal runs is chosen by the stages themselves.
FEW = {
    "measure": ["--only", "every op"],
    "test": ["--only", "errors,graphs", "-k", "copes_with or on_another_device"],
    "inspect": ["--only", "ncu,memcheck,rates"],
}


def environment(folder, rehearse=True, **more):
    clean = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith(("FASTDIST_", "REHEARSE", "RESULTS", "PYTEST"))
        or name in ("FASTDIST_CUDA", "FASTDIST_TORCH_DIR", "FASTDIST_CXXFLAGS")
    }
    return {**clean, "RESULTS": str(folder), **({"REHEARSE": "1"} if rehearse else {}), **more}


def run(script, arguments, folder, **options):
    return subprocess.run(
        [sys.executable, str(STAGES / f"{script}.py"), *arguments],
        env=environment(folder, **options),
        capture_output=True,
        text=True,
        timeout=600,  # later than the stage's own limit, which ends what it has started
        check=False,
    )


def library_is_up_to_date():
    library = ROOT / "fastdist" / "_extension.so"
    sources = [*(ROOT / "csrc").rglob("*.*"), ROOT / "scripts" / "compile_extension.py"]
    newest = max(path.stat().st_mtime for path in sources)
    return library.exists() and library.stat().st_mtime > newest


def members(folder, stage) -> dict[str, str]:
    """What a stage left behind: the text of each file in its archive."""
    with tarfile.open(folder / f"gpu-{stage}.tgz") as archive:
        files = [member for member in archive.getmembers() if member.isfile()]
        return {one.name: archive.extractfile(one).read().decode() for one in files}


def record(folder, stage):
    return json.loads(members(folder, stage)["record.json"])


def statuses(folder, stage):
    return {step["step"]: step["status"] for step in record(folder, stage)["steps"]}


@pytest.mark.slow
@pytest.mark.parametrize("stage", FEW)
def test_a_stage_is_rehearsed_and_says_so_in_one_file(stage, tmp_path):
    if not library_is_up_to_date():
        pytest.skip("the library is not there or older than its sources: make build")
    done = run("stages", [stage, *FEW[stage]], tmp_path)
    assert done.returncode == 0, done.stdout + done.stderr
    written = record(tmp_path, stage)
    assert written["status"] == "passed"
    assert {step["status"] for step in written["steps"]} <= {"passed", "left out"}
    assert written["rehearsal"] is True
    assert "rehearsal" in done.stdout
    assert [path.name for path in tmp_path.iterdir()] == [f"gpu-{stage}.tgz"]
    for step in written["steps"]:
        assert ("command" in step) == (f"{step['step'].replace(' ', '-')}.log" in members(
            tmp_path, stage))  # fmt: skip


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU here")
@pytest.mark.parametrize("stage", FEW)
def test_without_a_gpu_a_stage_fails_at_once_and_names_none(stage, tmp_path):
    done = run("stages", [stage], tmp_path, rehearse=False)
    assert done.returncode == 1
    written = record(tmp_path, stage)
    assert written["status"] == "failed"
    assert written["machine"]["device"] is None
    assert written["steps"][0]["reason"].startswith("torch sees no CUDA device")


def test_three_stages_of_less_than_nine_minutes():
    assert list(stages.STAGES) == ["measure", "test", "inspect"]
    # All that is killed gets its five seconds twice over, and pytest and torch take some to start.
    assert engine.LIMIT + 25 <= 9 * 60


# ------------------------------------------------------------------ the engine

STEPS = """
import sys
sys.path.insert(0, {folder!r})
import stage as engine
engine.LEAST = {least}
stage = engine.Stage("tried", limit={limit})
stage.run("good", [sys.executable, "-c", "print('first line')"])
stage.run("bad", [sys.executable, "-c", "print('why'); raise SystemExit(3)"])
stage.run("slow", [sys.executable, "-c", "import time; print('begun', flush=True); time.sleep(60)"],
          limit={slow})
stage.note("absent", "left out", "there is none here")
stage.run("last", [sys.executable, "-c", "pass"])
sys.exit(stage.finish())
"""


def steps(folder, limit=100, slow=5, least=engine.LEAST):
    script = STEPS.format(folder=str(STAGES), limit=limit, slow=slow, least=least)
    return subprocess.run(
        [sys.executable, "-c", script], env=environment(folder), capture_output=True, text=True,
        timeout=100, check=False,
    )  # fmt: skip


def test_a_failed_step_and_a_slow_one_are_recorded_and_the_others_go_on(tmp_path):
    done = steps(tmp_path)
    assert done.returncode == 1, done.stderr
    assert statuses(tmp_path, "tried") == {
        "good": "passed", "bad": "failed", "slow": "failed", "absent": "left out", "last": "passed",
    }  # fmt: skip
    written = {step["step"]: step for step in record(tmp_path, "tried")["steps"]}
    assert written["bad"]["exit"] == 3
    assert written["slow"]["reason"].startswith("still running after 5")
    files = members(tmp_path, "tried")
    assert files["good.log"] == "first line\n"
    assert files["slow.log"] == "begun\n"


def test_when_the_time_is_used_up_nothing_more_is_begun_and_nothing_is_called_a_failure(tmp_path):
    begun = time.monotonic()
    done = steps(tmp_path, limit=25, slow=200, least=2)  # the slow step would take 60
    assert time.monotonic() - begun < 50
    assert done.returncode in (1, 3)
    assert "call it again to go on" in done.stdout
    assert statuses(tmp_path, "tried")["slow"] == "stopped"
    assert statuses(tmp_path, "tried")["last"] == "not begun"


def test_a_stage_that_is_called_again_repeats_only_what_has_not_passed(tmp_path):
    steps(tmp_path)
    begun = record(tmp_path, "tried")
    done = steps(tmp_path, slow=1)
    again = record(tmp_path, "tried")
    assert again["calls"] == 2
    assert "first line" not in done.stdout
    assert "why" in done.stdout
    assert [step["step"] for step in again["steps"]] == [step["step"] for step in begun["steps"]]
    assert again["steps"][0] == begun["steps"][0]
    assert members(tmp_path, "tried")["good.log"] == "first line\n"


@pytest.mark.parametrize("field", ["device", "commit", "sources"])
def test_results_of_another_device_or_other_sources_are_put_aside(field, tmp_path):
    steps(tmp_path)
    rewrite(tmp_path / "gpu-tried.tgz", lambda one: one["machine"].update({field: "another"}))
    done = steps(tmp_path, slow=1)
    assert "put aside" in done.stdout
    assert "first line" in done.stdout
    assert record(tmp_path, "tried")["calls"] == 1
    assert (tmp_path / "gpu-tried.before.tgz").exists()


def rewrite(archive: Path, change, **more) -> None:
    """An archive whose record was changed, and that holds these files besides."""
    with tarfile.open(archive) as old:
        content = json.loads(old.extractfile("record.json").read())
    change(content)
    pack(archive, {"record.json": content, **more})


def pack(archive: Path, files: dict) -> None:
    with tarfile.open(archive, "w:gz") as new:
        for name, content in files.items():
            text = json.dumps(content).encode()
            member = tarfile.TarInfo(name)
            member.size = len(text)
            new.addfile(member, io.BytesIO(text))


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
def test_a_stage_that_is_killed_says_how_far_it_came_and_goes_on_from_there(number, tmp_path):
    script = STEPS.format(folder=str(STAGES), limit=100, slow=90, least=1)
    with subprocess.Popen(
        [sys.executable, "-c", script], env=environment(tmp_path), stdout=subprocess.DEVNULL
    ) as child:
        log = tmp_path / ".gpu-tried" / "slow.log"
        deadline = time.monotonic() + 60
        while not (log.exists() and log.read_text()) and time.monotonic() < deadline:
            time.sleep(0.05)
        child.send_signal(number)
        child.wait(20)
    written = record(tmp_path, "tried")
    expected = ("killed", "stopped") if number == signal.SIGTERM else ("running", "running")
    assert written["status"] == expected[0]
    assert [step["status"] for step in written["steps"]] == ["passed", "failed", expected[1]]
    done = steps(tmp_path, slow=1)
    assert "first line" not in done.stdout
    assert statuses(tmp_path, "tried")["last"] == "passed"


def test_steps_side_by_side_are_recorded_each(tmp_path):
    script = (
        f"import sys; sys.path.insert(0, {str(STAGES)!r})\n"
        "from functools import partial\nfrom stage import Stage\nstage = Stage('tried')\n"
        "code = 'import time; time.sleep(1); print({0}); raise SystemExit({0} % 2)'\n"
        "runs = [partial(stage.run, str(i), [sys.executable, '-c', code.format(i)], quiet=True)\n"
        "        for i in range(6)]\n"
        "stage.together(runs, 6)\nsys.exit(stage.finish())\n"
    )
    subprocess.run(
        [sys.executable, "-c", script], env=environment(tmp_path), check=False, timeout=60
    )
    assert statuses(tmp_path, "tried") == {
        str(i): "failed" if i % 2 else "passed" for i in range(6)
    }
    assert members(tmp_path, "tried")["4.log"] == "4\n"


def test_each_test_is_written_down_before_the_next_one_ends_and_passes_but_once(tmp_path):
    (tmp_path / "test_some.py").write_text(
        "import os, pytest\n"
        "def test_passes(): pass\n"
        "def test_fails(): assert 1 == 2\n"
        "def test_is_skipped(): pytest.skip('for a reason')\n"
        "def test_takes_the_process_along(): os._exit(7)\n"
    )
    cases = tmp_path / "cases.jsonl"
    subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-p",
         "scripts.gpu.case_record", str(tmp_path)],
        env=environment(tmp_path, FASTDIST_CASES=str(cases), PYTHONPATH=str(ROOT)),
        cwd=tmp_path, capture_output=True, check=False,
    )  # fmt: skip
    written = [json.loads(line) for line in cases.read_text().splitlines()]
    assert [case["outcome"] for case in written] == ["passed", "failed", "skipped"]
    assert "assert 1 == 2" in written[1]["reason"]
    assert "for a reason" in written[2]["reason"]
    # Called again, only what has not passed runs: nothing, until the process is taken along anew.
    (tmp_path / "test_some.py").write_text(
        "import pytest\n"
        "def test_passes(): assert False\n"
        "def test_fails(): pass\n"
        "def test_is_skipped(): assert False\n"
        "def test_takes_the_process_along(): pytest.skip('out of time: --budget')\n"
    )
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-p",
         "scripts.gpu.case_record", str(tmp_path)],
        env=environment(tmp_path, FASTDIST_CASES=str(cases), PYTHONPATH=str(ROOT)),
        cwd=tmp_path, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert "2 deselected" in done.stdout
    written = [json.loads(line) for line in cases.read_text().splitlines()]
    assert [case["outcome"] for case in written[3:]] == ["passed", "out of time"]


# ------------------------------------------------------------------ tools that need a GPU

PROFILER = """#!/bin/bash
case "$*" in
    *--import*) cat <<'END'
"ID","Kernel Name","Section Name","Metric Name","Metric Unit","Metric Value"
"0","columns<A, 1, 0>","GPU Speed Of Light","Duration","us","50.1"
"1","columns<A, 1, 1>","GPU Speed Of Light","Duration","us","47.9"
END
    ;;
    *) while [ "$1" != -o ]; do shift; done; echo report >"$2.ncu-rep";;
esac
"""
REFUSES = "#!/bin/bash\necho '==ERROR== LibraryNotLoaded'\nexit 1\n"
SANITIZER = """#!/bin/bash
case "$*" in
    *planted*) echo 'ERROR SUMMARY: 1 error'; exit {planted};;
    *) echo 'ERROR SUMMARY: {errors} errors'; exit {status};;
esac
"""


@pytest.fixture
def on_a_gpu(tmp_path, monkeypatch):
    """A stage as on a GPU, and a function that installs a tool for it; nothing else of it runs."""
    monkeypatch.setattr(stages, "REHEARSAL", False)
    monkeypatch.setattr(engine, "REHEARSAL", False)
    monkeypatch.setattr(engine.machine, "describe", lambda: {"device": "A GPU", "commit": "abc"})
    monkeypatch.setattr(engine.signal, "signal", lambda *_: None)
    monkeypatch.setenv("RESULTS", str(tmp_path / "results"))
    monkeypatch.setattr(stages, "tool", lambda name: str(tmp_path / name))

    def install(name, text):
        (tmp_path / name).write_text(text)
        (tmp_path / name).chmod(0o755)

    return engine.Stage("tried"), install


def test_what_the_profiler_counts_is_kept_as_numbers(on_a_gpu, tmp_path):
    stage, install = on_a_gpu
    install("ncu", PROFILER)
    stages.ncu(stage)
    assert stage.finish() == 0
    with tarfile.open(tmp_path / "results" / "gpu-tried.tgz") as archive:
        found = json.loads(archive.extractfile("columns.json").read())
    assert found == {
        "0 columns<A, 1, 0>": {"GPU Speed Of Light: Duration": "50.1 us"},
        "1 columns<A, 1, 1>": {"GPU Speed Of Light: Duration": "47.9 us"},
    }


@pytest.mark.parametrize("name", ["ncu", "memcheck"])
def test_a_tool_that_does_not_work_here_is_left_out_with_its_own_words(name, on_a_gpu, tmp_path):
    stage, install = on_a_gpu
    for tool in ("ncu", "compute-sanitizer"):
        install(tool, REFUSES)
    stages.ncu(stage) if name == "ncu" else stages.sanitizer(stage, name)
    assert stage.finish() == 0
    for step in record(tmp_path / "results", "tried")["steps"]:
        assert step["status"] == "left out"
    assert "LibraryNotLoaded" in record(tmp_path / "results", "tried")["steps"][0]["reason"]


@pytest.mark.parametrize(
    ("planted", "errors", "status", "expected"),
    [
        (9, 0, 0, {"memcheck finds": "passed", "memcheck": "passed"}),
        (0, 0, 0, {"memcheck finds": "failed", "memcheck": "passed"}),
        (9, 2, 9, {"memcheck finds": "passed", "memcheck": "failed"}),
    ],
)
def test_a_sanitizer_has_to_find_a_planted_fault(
    planted, errors, status, expected, on_a_gpu, tmp_path
):
    stage, install = on_a_gpu
    install("compute-sanitizer", SANITIZER.format(planted=planted, errors=errors, status=status))
    stages.sanitizer(stage, "memcheck")
    stage.finish()
    assert statuses(tmp_path / "results", "tried") == expected


# ------------------------------------------------------------------ verdicts and results


def test_a_device_is_judged_by_its_own_targets_and_an_unknown_one_not_at_all():
    from benchmarks.gpu import targets

    h200, h100, other = "NVIDIA H200", "NVIDIA H100 80GB HBM3", "NVIDIA B200"
    assert targets.microseconds("256^3", h200) == 130
    assert targets.microseconds("256^3", h100) == pytest.approx(130 * 4.8 / 3.35)
    assert targets.microseconds("16 x 256^2", h100) == 10  # stays in the cache
    assert targets.microseconds("4096^2", h200) is None
    for device in (other, "cpu"):
        assert targets.microseconds("256^3", device) is None
        assert targets.floors({"CuPy, tuned": 20}, device) == {}
    assert targets.floors({"CuPy, tuned": 20}, h100) == {"CuPy, tuned": 20}


def test_the_verdicts_of_the_benchmarks_stand_in_the_record(on_a_gpu, monkeypatch):
    stage, _ = on_a_gpu
    floor = {"wanted": 7.7, "device": 8.0, "host": 1.0, "device_met": False, "host_met": True}
    results = {"cases": {"signed map, 256^3 blobs": {"floors": {"ns/voxel": floor}}}}
    (stage.folder / "benchmarks").mkdir()
    (stage.folder / "benchmarks" / "a.json").write_text(json.dumps(results))
    assert stages.verdicts(stage) == {
        "signed map, 256^3 blobs: ns/voxel": {"wanted": 7.7, "device": 8.0, "device_met": False}
    }


GOOD = {
    "stage": "measure",
    "rehearsal": False,
    "machine": {"device": "NVIDIA H200", "commit": "abc"},
    "steps": [],
}
ON_GPU = {"device": {"name": "NVIDIA H200"}, "commit": "abc"}


@pytest.fixture
def kept_in(tmp_path, monkeypatch):
    monkeypatch.setattr(keep, "KEPT", tmp_path / "kept")
    monkeypatch.setattr(keep, "ROOT", tmp_path)
    return tmp_path / "kept"


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"rehearsal": True}, "it is a rehearsal's"),
        ({"machine": {"device": None, "commit": "abc"}}, "it names no GPU"),
        ({"machine": {"device": "A GPU", "commit": "unknown"}}, "it names no commit"),
    ],
)
def test_only_what_a_gpu_measured_is_kept(change, reason, kept_in, tmp_path, capsys):
    archive = tmp_path / "gpu-measure.tgz"
    pack(archive, {"record.json": {**GOOD, **change}, "benchmarks/a.json": {"cases": {}}})
    assert keep.main([str(archive)]) == 1
    assert f"refused: gpu-measure.tgz: {reason}" in capsys.readouterr().out
    assert not kept_in.exists()


def test_benchmarks_of_a_rehearsal_are_refused_on_their_own(kept_in, tmp_path, capsys):
    archive = tmp_path / "gpu-measure.tgz"
    rehearsed = {"environment": {"device": "rehearsal on the CPU", "commit": "abc"}, "cases": {}}
    pack(archive, {"record.json": GOOD, "benchmarks/a.json": rehearsed})
    assert keep.main([str(archive)]) == 1
    assert "refused: gpu-measure.tgz, benchmarks/a.json" in capsys.readouterr().out
    assert [path.name for path in kept_in.rglob("*.json")] == ["measure.json"]


def test_what_is_kept_goes_by_device_and_commit_and_benchmarks_are_joined(kept_in, tmp_path):
    for stage, cases in (("measure", {"a": 1, "b": 1}), ("inspect", {"b": 2, "c": 2})):
        archive = tmp_path / f"gpu-{stage}.tgz"
        results = {"environment": ON_GPU, "cases": cases}
        files = {"record.json": {**GOOD, "stage": stage}, "benchmarks/h200.json": results}
        pack(archive, {**files, **({"columns.json": {}} if stage == "inspect" else {})})
        assert keep.main([str(archive)]) == 0
    joined = json.loads((kept_in / "h200.json").read_text())
    assert joined["cases"] == {"a": 1, "b": 2, "c": 2}
    folder = kept_in / "gpu" / "nvidia-h200-abc"
    assert {path.name for path in folder.iterdir()} == {
        "measure.json", "inspect.json", "columns.json",
    }  # fmt: skip


def test_every_record_of_a_gpu_that_is_kept_names_its_device_and_commit():
    for path in (ROOT / "benchmarks" / "results" / "gpu").glob("*/*.json"):
        written = json.loads(path.read_text())
        if "stage" in written:
            assert written["rehearsal"] is False, path
            assert written["machine"]["device"], path
            assert written["machine"]["commit"] != "unknown", path


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU here")
@pytest.mark.parametrize("required", [False, True])
def test_a_test_that_needs_a_gpu_is_skipped_with_a_reason_or_fails_where_one_is_required(
    required, tmp_path
):
    more = {"FASTDIST_REQUIRE_CUDA": "1"} if required else {}
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-k", "batches_of_no_item",
         "tests/test_cuda_losses.py"],
        env=environment(tmp_path, rehearse=False, **more), cwd=ROOT, capture_output=True, text=True,
        check=False,
    )  # fmt: skip
    if required:
        assert done.returncode == 1
        assert re.search(r"\b2 (failed|errors)", done.stdout)
        assert not re.search(r"\d skipped", done.stdout)
    else:
        assert done.returncode == 0
        assert "2 skipped" in done.stdout
        assert "needs an NVIDIA GPU" in done.stdout
