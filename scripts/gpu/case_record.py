"""A pytest plugin: each test's outcome in the file FASTDIST_CASES as soon as it is known.

One line of JSON a test. pytest's own report is written at the end, which a killed run never sees.
What the file says has passed, or was skipped for a reason that lasts, is not run again.
"""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest

_PATH = os.environ.get("FASTDIST_CASES")
_DONE = ("passed", "skipped")
_BUDGET = "out of time"  # a benchmark's reason for not being begun, and its outcome here


class CaseRecord:
    def __init__(self, path: Path) -> None:
        lines = path.read_text(encoding="utf-8").splitlines() if path.exists() else []
        last = {case["test"]: case["outcome"] for case in map(json.loads, lines)}
        self._done = {test for test, outcome in last.items() if outcome in _DONE}
        self._file = open(path, "a", encoding="utf-8")  # noqa: SIM115  (until the run ends)

    @pytest.hookimpl(trylast=True)
    def pytest_collection_modifyitems(self, config: Any, items: list[Any]) -> None:
        if done := [item for item in items if item.nodeid in self._done]:
            config.hook.pytest_deselected(items=done)
            items[:] = [item for item in items if item.nodeid not in self._done]

    def pytest_runtest_logreport(self, report: Any) -> None:
        if report.when == "call" or report.outcome != "passed":
            case = {"test": report.nodeid, "outcome": report.outcome}
            case["seconds"] = round(report.duration, 3)
            if report.when != "call":
                case["when"] = report.when
            if report.outcome == "skipped" and isinstance(report.longrepr, tuple):
                case["reason"] = report.longrepr[2]
                if _BUDGET in case["reason"]:
                    case["outcome"] = _BUDGET
            elif report.outcome == "failed":
                case["reason"] = str(report.longrepr)[-2000:]
            print(json.dumps(case), file=self._file, flush=True)

    def pytest_unconfigure(self) -> None:
        self._file.close()


def pytest_configure(config: pytest.Config) -> None:
    if _PATH and not hasattr(config, "workerinput"):  # the workers of xdist report to one process
        config.pluginmanager.register(CaseRecord(Path(_PATH)))
