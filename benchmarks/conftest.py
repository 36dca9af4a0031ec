"""The options of a run, and the fixture that checks, times and records one case."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import pytest

from benchmarks import peers
from benchmarks.contest import Case
from benchmarks.record import Record, default_path, environment
from benchmarks.table import table

ROUNDS = {False: 7, True: 15}
BUDGET = {False: 12.0, True: 60.0}  # seconds for one library in one case, first call included


def pytest_addoption(parser: pytest.Parser) -> None:
    group = parser.getgroup("fastdist benchmarks")
    group.addoption("--threads", type=int, default=1, help="for every library (1)")
    group.addoption("--only", default="", help="cases whose name contains it")
    group.addoption("--full", action="store_true", help="larger sizes, more rounds")
    group.addoption("--budget", type=float, help="seconds for one library in one case (12; 60)")
    group.addoption("--json", type=Path, help="where the results go (benchmarks/results/...)")
    group.addoption("--require-floors", action="store_true", help="a missed floor is a failure")
    group.addoption("--bar", action="store_true", help="a progress bar")


def pytest_configure(config: pytest.Config) -> None:
    threads = config.getoption("--threads")
    config.stash[_RECORD] = Record(config.getoption("--json") or default_path(threads), threads)


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    only = config.getoption("--only").lower()
    if dropped := [item for item in items if only not in item.nodeid.lower()]:
        config.hook.pytest_deselected(items=dropped)
        items[:] = [item for item in items if item not in dropped]


def pytest_collection_finish(session: pytest.Session) -> None:
    if session.config.getoption("--bar"):
        from tqdm import tqdm

        session.config.stash[_BAR] = tqdm(total=len(session.items), unit="case", file=sys.stderr)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_protocol(item: pytest.Item, nextitem: pytest.Item | None) -> Any:
    bar = item.config.stash.get(_BAR, None)
    if bar is not None:
        bar.set_postfix_str(f"{item.name:.40}")
    result = yield
    if bar is not None:
        bar.update()
    return result


def pytest_terminal_summary(terminalreporter: Any, config: pytest.Config) -> None:
    record = config.stash[_RECORD]
    if config.stash.get(_BAR, None) is not None:
        config.stash[_BAR].close()
    if record.fresh:
        terminalreporter.write_line("")
        terminalreporter.write_line(table(record.cases))
        terminalreporter.write_line(f"results: {record.path}")


_RECORD = pytest.StashKey[Record]()
_BAR = pytest.StashKey[Any]()


@pytest.fixture
def full(request: pytest.FixtureRequest) -> bool:
    return request.config.getoption("--full")


@pytest.fixture
def threads(request: pytest.FixtureRequest) -> int:
    """Set for every library before a case starts."""
    number = request.config.getoption("--threads")
    peers.pin(number)
    return number


@pytest.fixture
def contest(benchmark: Any, threads: int, full: bool, request: pytest.FixtureRequest) -> Any:
    """Call it with a `Case`: results are checked, then timed in turns, then recorded."""

    def run(case: Case) -> dict[str, Any]:
        case.check()
        benchmark.group = case.task
        budget = request.config.getoption("--budget") or BUDGET[full]
        with case.ours.within():
            benchmark.pedantic(
                case.ours.once, setup=lambda: case.others(budget), rounds=ROUNDS[full]
            )
        result = case.result()
        benchmark.extra_info.update(result, environment=environment(threads))
        _keep(request, case.name, result)
        return result

    return run


@pytest.fixture
def keep(request: pytest.FixtureRequest) -> Any:
    """Record a result that is no time."""
    return lambda name, result: _keep(request, name, result)


def _keep(request: pytest.FixtureRequest, name: str, result: dict[str, Any]) -> None:
    request.config.stash[_RECORD].add(name, result)
    missed = [
        f"{name}: {key} {floor['cpu']:.2f}, wanted {floor['wanted']:g}"
        for key, floor in result["floors"].items()
        if not (floor["wall_met"] or floor["cpu_met"])
    ]
    if missed and request.config.getoption("--require-floors"):
        raise AssertionError("; ".join(missed))
