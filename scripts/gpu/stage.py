"""A stage of `make gpu`: steps run one after the other, each recorded as soon as it is known.

``RESULTS/<stage>.json`` is written at the start, after every step and at the end, so that it tells
the truth also when the stage is killed; ``RESULTS/<stage>-<step>.log`` is what the step printed.

REHEARSE=1     on CPU tensors, without a GPU: says so in the file, and goes to a folder of its own
RESULTS=dir    default: build/gpu-results, or build/gpu-rehearsal
"""

from __future__ import annotations

import json
import os
import shlex
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterable
from datetime import datetime, timezone
from pathlib import Path
from typing import Any, NoReturn

import machine

ROOT = Path(__file__).resolve().parent.parent.parent
HERE = Path(__file__).resolve().parent
REHEARSAL = os.environ.get("REHEARSE", "") not in ("", "0")
LIMIT = 450  # seconds a stage may take; less than eight minutes with all that ends it


def results_folder() -> Path:
    """Where this run's results go."""
    default = ROOT / "build" / ("gpu-rehearsal" if REHEARSAL else "gpu-results")
    return Path(os.environ.get("RESULTS") or default).resolve()


class Stage:
    """One stage, from its first line in the record to its exit status."""

    def __init__(self, name: str, limit: float = LIMIT) -> None:
        self.name = name
        self.folder = results_folder()
        self.folder.mkdir(parents=True, exist_ok=True)
        self._deadline = time.monotonic() + limit
        self._start = time.monotonic()
        self._child: subprocess.Popen[str] | None = None
        self.record: dict[str, Any] = {
            "stage": name,
            "status": "running",
            "rehearsal": REHEARSAL,
            "started": datetime.now(timezone.utc).isoformat(timespec="seconds"),
            "seconds": 0.0,
            "machine": None,
            "steps": [],
        }
        self._write()
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
            signal.signal(number, self._killed)
        self.record["machine"] = machine.describe()
        self._write()
        self._say("rehearsal on CPU tensors: says nothing about a GPU" if REHEARSAL else "")
        if not REHEARSAL and self.record["machine"].get("device") is None:
            self.step_failed("gpu", "torch sees no CUDA device here; REHEARSE=1 rehearses without")
            sys.exit(self.finish())

    def run(
        self,
        name: str,
        command: list[str],
        *,
        limit: float | None = None,
        environment: dict[str, str] | None = None,
    ) -> dict[str, Any]:
        """Run a command as a step, within what is left of the stage's time. Returns its record."""
        left = self._deadline - time.monotonic()
        if left < 1:
            return self.leave_out(name, f"the stage's time was used up ({LIMIT} s)", failed=True)
        step = {"step": name, "status": "running", "command": shlex.join(command)}
        self.record["steps"].append(step)
        self._write()
        self._say(f"{name}: {step['command']}")
        start = time.monotonic()
        exit_status = self._run(name, command, min(left, limit or left), environment or {})
        step["exit"] = exit_status
        step["seconds"] = round(time.monotonic() - start, 1)
        step["status"] = "passed" if exit_status == 0 else "failed"
        if exit_status is None:
            step["status"], step["reason"] = "failed", f"still running after {step['seconds']} s"
        self._write()
        return step

    def pytest(
        self, name: str, arguments: list[str], *, limit: float | None = None, **environment: str
    ) -> dict[str, Any]:
        """Run pytest as a step; each test is in ``<stage>-<step>.jsonl`` as soon as it is known."""
        cases = self.path(name, "jsonl")
        cases.unlink(missing_ok=True)
        wanted = "FASTDIST_REHEARSE" if REHEARSAL else "FASTDIST_REQUIRE_CUDA"
        command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider"]
        command += ["-p", "scripts.gpu.case_record", f"--junitxml={self.path(name, 'xml')}"]
        step = self.run(
            name,
            [*command, *arguments],
            limit=limit,
            environment={
                wanted: "1",
                "FASTDIST_CASES": str(cases),
                "PYTHONPATH": os.pathsep.join(map(str, (ROOT, ROOT / "tests"))),
                **environment,
            },
        )
        outcomes = [json.loads(line)["outcome"] for line in _lines(cases)]
        step["tests"] = {outcome: outcomes.count(outcome) for outcome in sorted(set(outcomes))}
        if step.get("exit") == 5:  # pytest's word for no test at all
            step["reason"] = "no test was chosen"
            if more_arguments():  # a choice of the caller's
                step["status"] = "left out"
        self._write()
        return step

    def leave_out(self, name: str, reason: str, failed: bool = False) -> dict[str, Any]:
        """Record a step that is not run, and why."""
        step = {"step": name, "status": "failed" if failed else "left out", "reason": reason}
        self.record["steps"].append(step)
        self._say(f"{name}: {step['status']}: {reason}")
        self._write()
        return step

    def step_failed(self, name: str, reason: str) -> None:
        """Record a failure that no command's exit status tells."""
        self.leave_out(name, reason, failed=True)

    def finish(self) -> int:
        """The stage's last word; returns its exit status."""
        failed = [step["step"] for step in self.record["steps"] if step["status"] != "passed"
                  and step["status"] != "left out"]  # fmt: skip
        self.record["status"] = "failed" if failed else "passed"
        self._write()
        detail = f": {', '.join(failed)}" if failed else ""
        self._say(f"{self.record['status']} in {self.record['seconds']:.0f} s{detail}; {self.file}")
        return 1 if failed else 0

    @property
    def file(self) -> Path:
        return self.folder / f"{self.name}.json"

    def path(self, step: str, suffix: str) -> Path:
        return self.folder / f"{self.name}-{step.replace(' ', '-')}.{suffix}"

    def _run(
        self, name: str, command: list[str], limit: float, environment: dict[str, str]
    ) -> int | None:
        """The exit status; None where the command was ended for taking too long."""
        with open(self.path(name, "log"), "w", encoding="utf-8") as log:
            self._child = subprocess.Popen(
                command,
                cwd=ROOT,
                env={**os.environ, "PYTHONPATH": str(ROOT), "PYTHONUNBUFFERED": "1", **environment},
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                text=True,
                errors="replace",
                start_new_session=True,  # so that its children end with it
            )
            reader = threading.Thread(target=_copy, args=(self._child.stdout, log), daemon=True)
            reader.start()
            try:
                status: int | None = self._child.wait(limit)
            except subprocess.TimeoutExpired:
                status = None
                self._end_child()
            reader.join(5)
            self._child = None
        return status

    def _end_child(self) -> None:
        child = self._child
        if child is None or child.poll() is not None:
            return
        for number in (signal.SIGTERM, signal.SIGKILL):
            os.killpg(child.pid, number)
            try:
                child.wait(5)
                return
            except subprocess.TimeoutExpired:
                continue

    def _killed(self, number: int, frame: Any) -> NoReturn:
        self.record["status"] = "killed"
        self.record["reason"] = signal.Signals(number).name
        for step in self.record["steps"]:
            if step["status"] == "running":
                step["status"] = "killed"
        self._write()
        self._end_child()
        os._exit(128 + number)

    def _write(self) -> None:
        self.record["seconds"] = round(time.monotonic() - self._start, 1)
        draft = self.file.with_suffix(".new")
        draft.write_text(json.dumps(self.record, indent=1) + "\n", encoding="utf-8")
        draft.replace(self.file)

    def _say(self, text: str) -> None:
        if text:
            print(f"== gpu-{self.name}: {text}", flush=True)


def tool(name: str) -> str | None:
    """A tool of the CUDA toolkit: on PATH, or in the toolkit's own folder."""
    for home in (os.environ.get("CUDA_HOME"), "/usr/local/cuda"):
        if home and (Path(home) / "bin" / name).is_file():
            return str(Path(home) / "bin" / name)
    return shutil.which(name)


def more_arguments() -> list[str]:
    """What was given on the command line: goes to pytest, or to the step's own program."""
    return sys.argv[1:]


def chosen(steps: Iterable[str]) -> list[str]:
    """The steps named by ``--only a,b``, which is taken off the command line; else all of them."""
    if "--only" not in sys.argv[:-1]:
        return list(steps)
    place = sys.argv.index("--only")
    wanted = sys.argv[place + 1].split(",")
    del sys.argv[place : place + 2]
    unknown = set(wanted) - set(steps)
    if unknown:
        sys.exit(f"--only: got {', '.join(sorted(unknown))}, expected some of {', '.join(steps)}")
    return [step for step in steps if step in wanted]


def _copy(source: Any, log: Any) -> None:
    for line in source:
        log.write(line)
        log.flush()
        sys.stdout.write(line)
        sys.stdout.flush()


def _lines(path: Path) -> list[str]:
    return path.read_text(encoding="utf-8").splitlines() if path.exists() else []
