"""The stages of `make gpu` work: rehearsed without a GPU, killed, failing; nothing is made up."""

import json
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch

ROOT = Path(__file__).resolve().parent.parent
STAGES = ROOT / "scripts" / "gpu"

# A few seconds each: what a whole rehearsal runs is chosen by the stages themselves.
FEW = {
    "build": [],
    "test": ["--only", "errors,huge"],
    "suite": ["--only", "losses_errors", "-k", "reduction"],
    "sanitize": ["--only", "maps"],
    "graph": ["--only", "graphs", "-k", "copes_with"],
    "bench": ["--only", "nuclei"],
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


def record(folder, stage):
    return json.loads((folder / f"{stage}.json").read_text())


@pytest.mark.slow
@pytest.mark.parametrize("stage", FEW)
def test_a_stage_is_rehearsed_and_says_so(stage, tmp_path):
    if stage == "build" and not library_is_up_to_date():
        pytest.skip("the library is not there or older than its sources: make build")
    done = run(stage, FEW[stage], tmp_path)
    written = record(tmp_path, stage)
    assert done.returncode == 0, done.stdout + done.stderr
    assert written["status"] == "passed"
    assert "passed" in {step["status"] for step in written["steps"]}
    assert written["rehearsal"] is True
    assert "rehearsal" in done.stdout
    assert "running" not in {step["status"] for step in written["steps"]}
    for step in written["steps"]:
        if "command" in step:
            assert (tmp_path / f"{stage}-{step['step'].replace(' ', '-')}.log").exists()


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU here")
@pytest.mark.parametrize("stage", FEW)
def test_without_a_gpu_a_stage_fails_at_once_and_names_none(stage, tmp_path):
    done = run(stage, [], tmp_path, rehearse=False)
    assert done.returncode == 1
    written = record(tmp_path, stage)
    assert written["status"] == "failed"
    assert written["machine"]["device"] is None
    assert written["steps"][0]["reason"].startswith("torch sees no CUDA device")


STEPS = """
import sys
sys.path.insert(0, {folder!r})
from stage import Stage
stage = Stage("tried", limit={limit})
stage.run("good", [sys.executable, "-c", "print('first line')"])
stage.run("bad", [sys.executable, "-c", "print('why'); raise SystemExit(3)"])
stage.run("slow", [sys.executable, "-c", "import time; print('begun', flush=True); time.sleep(60)"],
          limit=5)
stage.leave_out("absent", "there is none here")
stage.run("last", [sys.executable, "-c", "pass"])
sys.exit(stage.finish())
"""


def test_a_failed_step_and_a_slow_one_are_recorded_and_the_others_go_on(tmp_path):
    script = STEPS.format(folder=str(STAGES), limit=100)
    done = subprocess.run(
        [sys.executable, "-c", script], env=environment(tmp_path), capture_output=True, text=True,
        timeout=100, check=False,
    )  # fmt: skip
    assert done.returncode == 1, done.stderr
    written = record(tmp_path, "tried")
    steps = {step["step"]: step for step in written["steps"]}
    assert {name: step["status"] for name, step in steps.items()} == {
        "good": "passed", "bad": "failed", "slow": "failed", "absent": "left out", "last": "passed",
    }  # fmt: skip
    assert steps["bad"]["exit"] == 3
    assert steps["slow"]["reason"].startswith("still running after 5")
    assert written["status"] == "failed"
    assert (tmp_path / "tried-good.log").read_text() == "first line\n"
    assert (tmp_path / "tried-slow.log").read_text() == "begun\n"


def test_a_stage_that_is_killed_says_how_far_it_came(tmp_path):
    script = STEPS.format(folder=str(STAGES), limit=100)
    with subprocess.Popen(
        [sys.executable, "-c", script], env=environment(tmp_path), stdout=subprocess.DEVNULL
    ) as child:
        log = tmp_path / "tried-slow.log"
        deadline = time.monotonic() + 60
        while not (log.exists() and log.read_text()) and time.monotonic() < deadline:
            time.sleep(0.05)
        child.send_signal(signal.SIGTERM)
        child.wait(20)
    written = record(tmp_path, "tried")
    assert (written["status"], written["reason"]) == ("killed", "SIGTERM")
    assert [step["status"] for step in written["steps"]] == ["passed", "failed", "killed"]


def test_each_test_is_written_down_before_the_next_one_ends(tmp_path):
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


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"rehearsal": True}, "it is a rehearsal's"),
        ({"machine": {"device": None, "commit": "abc"}}, "it names no GPU"),
        ({"machine": {"device": "A GPU", "commit": "unknown"}}, "it names no commit"),
    ],
)
def test_only_what_a_gpu_measured_is_kept(change, reason, tmp_path):
    results = tmp_path / "results"
    (results / "benchmarks").mkdir(parents=True)
    good = {"rehearsal": False, "machine": {"device": "A GPU", "commit": "abc"}, "steps": []}
    (results / "test.json").write_text(json.dumps({**good, **change}))
    rehearsed = {"environment": {"device": "rehearsal on the CPU", "commit": "abc"}, "cases": {}}
    (results / "benchmarks" / "some.json").write_text(json.dumps(rehearsed))
    done = run("keep", [], results)
    assert done.returncode == 1
    assert f"refused: test.json: {reason}" in done.stdout
    assert "refused: benchmarks/some.json" in done.stdout
    assert "kept" not in done.stdout


def test_every_record_of_a_gpu_that_is_kept_names_its_device_and_commit():
    for path in (ROOT / "benchmarks" / "results" / "gpu").glob("*/*.json"):
        written = json.loads(path.read_text())
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
