"""A pytest plugin: each test's outcome in the file FASTDIST_CASES as soon as it is known.

One line of JSON a test. pytest's own report is written at the end, which a killed run never sees.
"""

from __future__ import annotations

import json
import os
from typing import Any

import pytest

_PATH = os.environ.get("FASTDIST_CASES")


class CaseRecord:
    def __init__(self, path: str) -> None:
        self._file = open(path, "a", encoding="utf-8")  # noqa: SIM115  (until the run ends)

    def pytest_runtest_logreport(self, report: Any) -> None:
        if report.when == "call" or report.outcome != "passed":
            case = {"test": report.nodeid, "outcome": report.outcome}
            case["seconds"] = round(report.duration, 3)
            if report.when != "call":
                case["when"] = report.when
            if report.outcome == "skipped" and isinstance(report.longrepr, tuple):
                case["reason"] = report.longrepr[2]
            elif report.outcome == "failed":
                case["reason"] = str(report.longrepr)[-2000:]
            print(json.dumps(case), file=self._file, flush=True)

    def pytest_unconfigure(self) -> None:
        self._file.close()


def pytest_configure(config: pytest.Config) -> None:
    if _PATH and not hasattr(config, "workerinput"):  # the workers of xdist report to one process
        config.pluginmanager.register(CaseRecord(_PATH))
