"""A stage of `make gpu`: steps in the order of what they yield, each recorded once it is known.

All that a stage leaves behind is one file, RESULTS/gpu-<stage>.tgz: `record.json`, and what each
step printed and measured. It is written anew after every step, so that it tells the truth also when
the stage is killed. A stage that is called again takes it up: what has passed on the same device
and sources is not repeated, and within a step of tests no test that has.

REHEARSE=1     on CPU tensors, without a GPU: says so in the record, and goes to a folder of its own
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
import tarfile
import threading
import time
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime, timezone
from pathlib import Path
from typing import Any, NoReturn

import machine

ROOT = Path(__file__).resolve().parent.parent.parent
HERE = Path(__file__).resolve().parent
REHEARSAL = os.environ.get("REHEARSE", "") not in ("", "0")
LIMIT = 510  # seconds after which nothing goes on; nine minutes with all that ends it
LEAST = 15  # seconds: with less left than that, no step is begun
#: What a step may have come to. A stage with one of the last two is to be called again.
STATES = ("passed", "failed", "left out", "stopped", "not begun")
SAME = ("device", "commit", "sources")  # of the machine, for a record to be taken up


def results_folder() -> Path:
    """Where this run's results go."""
    default = ROOT / "build" / ("gpu-rehearsal" if REHEARSAL else "gpu-results")
    return Path(os.environ.get("RESULTS") or default).resolve()


class Stage:
    """One stage, from its first line in the record to its exit status."""

    def __init__(self, name: str, limit: float = LIMIT) -> None:
        self.name = name
        self._start = time.monotonic()
        self._deadline = self._start + limit
        self._lock = threading.RLock()
        self._children: set[subprocess.Popen[str]] = set()
        self.archive = results_folder() / f"gpu-{name}.tgz"
        self.folder = results_folder() / f".gpu-{name}"  # unpacked, while the stage runs
        self.record: dict[str, Any] = {
            "stage": name,
            "status": "running",
            "rehearsal": REHEARSAL,
            "started": datetime.now(timezone.utc).isoformat(timespec="seconds"),
            "seconds": 0.0,
            "calls": 1,  # of this command, until all was done
            "machine": machine.describe(),
            "steps": [],
        }
        self._take_up()
        self._write()
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
            signal.signal(number, self._killed)
        self._say("rehearsal on CPU tensors: says nothing about a GPU" if REHEARSAL else "")
        if not REHEARSAL and self.record["machine"].get("device") is None:
            reason = "torch sees no CUDA device here; REHEARSE=1 rehearses without"
            self.note("gpu", "failed", reason)
            sys.exit(self.finish())

    def run(
        self,
        name: str,
        command: list[str],
        *,
        limit: float | None = None,
        environment: dict[str, str] | None = None,
        always: bool = False,
        quiet: bool = False,
    ) -> dict[str, Any]:
        """Run a command as a step, within what is left of the stage's time. Returns its record.

        `always`: also where it has passed before, because others need what it makes.
        """
        for earlier in self.record["steps"]:
            if earlier["step"] == name and earlier["status"] == "passed" and not always:
                return earlier
        if self.left() < LEAST:
            return self.note(name, "not begun", "the stage's time was used up")
        step = self._add({"step": name, "status": "running", "command": shlex.join(command)})
        self._say(f"{name}: {step['command'].splitlines()[0]}")
        start = time.monotonic()
        allowed = min(self.left(), limit or LIMIT)
        own_limit = limit is not None and limit <= self.left()
        exit_status = self._run(name, command, allowed, environment or {}, quiet)
        step["exit"] = exit_status
        step["seconds"] = round(time.monotonic() - start, 1)
        step["status"] = "passed" if exit_status == 0 else "failed"
        if exit_status is None:  # a hang is a failure, the stage's own end is none
            step["status"] = "failed" if own_limit else "stopped"
            step["reason"] = f"still running after {step['seconds']} s"
        self._write()
        if quiet:
            self._say(f"{name}: {step['status']} in {step['seconds']} s")
        return step

    def pytest(
        self,
        name: str,
        arguments: list[str],
        *,
        module: str = "pytest",
        limit: float | None = None,
        quiet: bool = False,
        **environment: str,
    ) -> dict[str, Any]:
        """Run pytest as a step; each test is in ``<step>.jsonl`` as soon as it is known."""
        cases = self.path(name, "jsonl")
        wanted = "FASTDIST_REHEARSE" if REHEARSAL else "FASTDIST_REQUIRE_CUDA"
        command = [sys.executable, "-m", module, "-q", "-p", "no:cacheprovider"]
        step = self.run(
            name,
            [*command, "-p", "scripts.gpu.case_record", *arguments],
            limit=limit,
            quiet=quiet,
            environment={
                wanted: "1",
                "FASTDIST_CASES": str(cases),
                "PYTHONPATH": os.pathsep.join(map(str, (ROOT, ROOT / "tests"))),
                **environment,
            },
        )
        outcomes = {one["test"]: one["outcome"] for one in map(json.loads, _lines(cases))}
        found = list(outcomes.values())
        step["tests"] = {outcome: found.count(outcome) for outcome in sorted(set(found))}
        if step.get("exit") == 5 and found:  # no test was left to run
            step["status"] = "passed"
        elif step.get("exit") == 5:
            step["status"], step["reason"] = "failed", "no test was chosen"
        if step["status"] == "passed" and "out of time" in found:
            step["status"], step["reason"] = "stopped", "its budget was used up"
        self._write()
        return step

    def together(self, runs: Iterable[Callable[[], Any]], at_once: int) -> None:
        """Run several steps side by side, each a process of its own; their output goes to files."""
        with ThreadPoolExecutor(at_once) as pool:
            list(pool.map(lambda run: run(), runs))

    def note(self, name: str, status: str, reason: str) -> dict[str, Any]:
        """Record a step that is not run, and why."""
        self._say(f"{name}: {status}: {reason}")
        return self._add({"step": name, "status": status, "reason": reason})

    def finish(self) -> int:
        """The stage's last word. Returns its exit status: 1 something failed, 3 unfinished."""
        by_status = {state: [] for state in STATES}
        for step in self.record["steps"]:
            by_status[step["status"]].append(step["step"])
        open_ = by_status["stopped"] + by_status["not begun"]
        status = "failed" if by_status["failed"] else "unfinished" if open_ else "passed"
        self.record["status"] = status
        self._write()
        shutil.rmtree(self.folder)
        for state in STATES[1:]:
            if by_status[state]:
                self._say(f"{state}: {', '.join(by_status[state])}")
        again = "; call it again to go on" if open_ else ""
        self._say(f"{status} in {self.record['seconds']:.0f} s{again}: {self.archive}")
        return {"passed": 0, "failed": 1, "unfinished": 3}[status]

    def left(self) -> float:
        """Seconds that the stage still has."""
        return self._deadline - time.monotonic()

    def path(self, step: str, suffix: str) -> Path:
        return self.folder / f"{step.replace(' ', '-')}.{suffix}"

    def log(self, step: str) -> str:
        """What a step printed."""
        return "\n".join(_lines(self.path(step, "log")))

    def _take_up(self) -> None:
        """Go on from an earlier call's record, unless its device or its sources were others."""
        shutil.rmtree(self.folder, ignore_errors=True)
        self.folder.mkdir(parents=True)
        if not self.archive.exists():
            return
        with tarfile.open(self.archive) as archive:
            archive.extractall(self.folder, filter="data")
        earlier = json.loads((self.folder / "record.json").read_text(encoding="utf-8"))
        now, then = self.record["machine"], earlier["machine"]
        if earlier["rehearsal"] == REHEARSAL and all(now.get(k) == then.get(k) for k in SAME):
            self.record |= {"calls": earlier["calls"] + 1, "steps": earlier["steps"]}
            for step in self.record["steps"]:
                if step["status"] == "running":  # it ended without a last word
                    step["status"] = "stopped"
            return
        self._say("the results that are there are of another device or source: put aside")
        self.archive.replace(self.archive.with_suffix(".before.tgz"))
        shutil.rmtree(self.folder)
        self.folder.mkdir()

    def _add(self, step: dict[str, Any]) -> dict[str, Any]:
        """Into the record, in the place of an earlier one of that name."""
        with self._lock:
            steps = self.record["steps"]
            names = [one["step"] for one in steps]
            if step["step"] in names:
                steps[names.index(step["step"])] = step
            else:
                steps.append(step)
            self._write()
        return step

    def _run(
        self, name: str, command: list[str], limit: float, environment: dict[str, str], quiet: bool
    ) -> int | None:
        """The exit status; None where the command was ended for taking too long."""
        with open(self.path(name, "log"), "w", encoding="utf-8") as log:
            child = subprocess.Popen(
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
            with self._lock:
                self._children.add(child)
            copy = threading.Thread(target=_copy, args=(child.stdout, log, quiet), daemon=True)
            copy.start()
            try:
                status: int | None = child.wait(limit)
            except subprocess.TimeoutExpired:
                status = None
                _end(child)
            copy.join(5)
            with self._lock:
                self._children.discard(child)
        return status

    def _killed(self, number: int, frame: Any) -> NoReturn:
        self.record["status"] = "killed"
        self.record["reason"] = signal.Signals(number).name
        for step in self.record["steps"]:
            if step["status"] == "running":
                step["status"] = "stopped"
        for child in list(self._children):
            _end(child)
        self._write()
        shutil.rmtree(self.folder, ignore_errors=True)
        os._exit(128 + number)

    def _write(self) -> None:
        """The record, and the archive of all that is known."""
        with self._lock:
            self.record["seconds"] = round(time.monotonic() - self._start, 1)
            text = json.dumps(self.record, indent=1) + "\n"
            (self.folder / "record.json").write_text(text, encoding="utf-8")
            draft = self.archive.with_suffix(".new")
            with tarfile.open(draft, "w:gz", compresslevel=3) as archive:
                for path in sorted(self.folder.rglob("*")):
                    archive.add(path, path.relative_to(self.folder).as_posix(), recursive=False)
            draft.replace(self.archive)

    def _say(self, text: str) -> None:
        if text:
            print(f"== gpu-{self.name}: {text}", flush=True)


def tool(name: str) -> str | None:
    """A tool of the CUDA toolkit: on PATH, or in the toolkit's own folder."""
    for home in (os.environ.get("CUDA_HOME"), "/usr/local/cuda"):
        if home and (Path(home) / "bin" / name).is_file():
            return str(Path(home) / "bin" / name)
    return shutil.which(name)


def _end(child: subprocess.Popen[str]) -> None:
    for number in (signal.SIGTERM, signal.SIGKILL):
        if child.poll() is not None:
            return
        os.killpg(child.pid, number)
        try:
            child.wait(5)
        except subprocess.TimeoutExpired:
            continue


def _copy(source: Any, log: Any, quiet: bool) -> None:
    with source:
        for line in source:
            log.write(line)
            log.flush()
            if not quiet:
                sys.stdout.write(line)
                sys.stdout.flush()


def _lines(path: Path) -> list[str]:
    return path.read_text(encoding="utf-8").splitlines() if path.exists() else []
