"""The options of a run, and the fixtures that check, time and record one case."""

from __future__ import annotations

import sys
import tempfile
import time
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from benchmarks import peers
from benchmarks.contest import Case
from benchmarks.record import RESULTS, Record, environment, file_name
from benchmarks.table import table

ROUNDS = {False: 7, True: 15}
PATIENCE = {False: 3.0, True: 60.0}  # seconds for one library in one case, first call included
GPU = Path(__file__).parent / "gpu"
LAST = 1000  # rank of the cases that name none


def pytest_addoption(parser: pytest.Parser) -> None:
    group = parser.getgroup("fastdist benchmarks")
    group.addoption("--device", choices=("cpu", "cuda"), default="cpu", help="(cpu)")
    group.addoption("--rehearse", action="store_true", help="the GPU's cases on the CPU, tiny")
    group.addoption("--threads", type=int, help="for every library (1; on a GPU: as they come)")
    group.addoption("--only", default="", help="cases with one of these words, a,b,c")
    group.addoption("--full", action="store_true", help="larger sizes, more rounds")
    group.addoption("--budget", type=float, help="seconds after which no case is begun")
    group.addoption("--patience", type=float, help="seconds for one library in one case (3; 60)")
    group.addoption("--rounds", type=int, help="visits of every library in a case (7; 15)")
    group.addoption("--results", type=Path, help="folder of the results (benchmarks/results)")
    group.addoption("--json", type=Path, help="the results' file, instead")
    group.addoption("--kernels", action="store_true", help="a GPU's kernels, each with its time")
    group.addoption("--require-floors", action="store_true", help="a missed floor is a failure")
    group.addoption("--bar", action="store_true", help="a progress bar")


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", "rank(n): where in a run the case stands, 0 is first")
    option = config.getoption
    device, rehearsal = option("--device"), option("--rehearse")
    if rehearsal and device != "cpu":
        raise pytest.UsageError("--rehearse: the GPU's cases on the CPU, without --device cuda")
    threads = option("--threads") or (1 if device == "cpu" and not rehearsal else None)
    folder = option("--results") or RESULTS
    if rehearsal and (option("--json") or folder).resolve().is_relative_to(RESULTS):
        folder = Path(tempfile.mkdtemp(prefix="fastdist-rehearsal-"))
    path = option("--json") or folder / file_name(device, threads, rehearsal)
    config.stash[_RECORD] = Record(path, threads, device, rehearsal)
    config.stash[_START] = time.monotonic()


def on_stage(config: pytest.Config) -> bool:
    """Whether it is the GPU's cases that run."""
    return config.getoption("--device") == "cuda" or config.getoption("--rehearse")


def pytest_ignore_collect(collection_path: Path, config: pytest.Config) -> bool | None:
    if collection_path.name.startswith("test_"):
        return True if (GPU in collection_path.parents) != on_stage(config) else None
    return None


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    words = config.getoption("--only").lower().split(",")
    if dropped := [i for i in items if not any(word in i.nodeid.lower() for word in words)]:
        config.hook.pytest_deselected(items=dropped)
        items[:] = [item for item in items if item not in dropped]
    items.sort(key=_rank)


def _rank(item: pytest.Item) -> int:
    mark = item.get_closest_marker("rank")
    return mark.args[0] if mark else LAST


def pytest_collection_finish(session: pytest.Session) -> None:
    if session.config.getoption("--bar"):
        try:
            from tqdm import tqdm
        except ImportError:  # it may be missing on a GPU machine, and is not worth a failure
            return
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


def pytest_runtest_setup(item: pytest.Item) -> None:
    budget = item.config.getoption("--budget")
    if budget and time.monotonic() - item.config.stash[_START] > budget:
        pytest.skip("out of time: --budget")


def pytest_terminal_summary(terminalreporter: Any, config: pytest.Config) -> None:
    record = config.stash[_RECORD]
    if config.stash.get(_BAR, None) is not None:
        config.stash[_BAR].close()
    if record.fresh:
        terminalreporter.write_line("")
        terminalreporter.write_line(table(record.cases))
        terminalreporter.write_line(f"results: {record.path}")


_RECORD = pytest.StashKey[Record]()
_START = pytest.StashKey[float]()
_BAR = pytest.StashKey[Any]()


@pytest.fixture
def full(request: pytest.FixtureRequest) -> bool:
    return request.config.getoption("--full")


@pytest.fixture
def threads(request: pytest.FixtureRequest) -> int:
    """Set for every library before a case starts."""
    number = request.config.getoption("--threads") or 1
    peers.pin(number)
    return number


@pytest.fixture(scope="session")
def stage(request: pytest.FixtureRequest) -> Any:
    """The device, or its stand-in in a rehearsal."""
    import torch

    from benchmarks.gpu.stage import Stage

    if request.config.getoption("--device") == "cuda" and not torch.cuda.is_available():
        pytest.fail("--device cuda: torch finds no GPU here (--rehearse tries it on the CPU)")
    rehearsal = request.config.getoption("--rehearse")
    if rehearsal or request.config.getoption("--threads"):
        peers.pin(request.config.getoption("--threads") or 1)
    return Stage(request.config.getoption("--device"), rehearsal)


@pytest.fixture
def contest(request: pytest.FixtureRequest) -> Any:
    """Call it with a `Case`: results are checked, then timed in turns, then recorded."""
    option = request.config.getoption
    timing = None if on_stage(request.config) else request.getfixturevalue("benchmark")
    if timing is not None:
        request.getfixturevalue("threads")

    def run(case: Case) -> dict[str, Any]:
        case.check()
        patience = option("--patience") or PATIENCE[option("--full")]
        rounds = case.stretch * (option("--rounds") or ROUNDS[option("--full")])
        if timing is None:
            for _ in range(rounds):
                case.round(patience)
        else:
            timing.group = case.task
            with case.ours.within():
                setup = partial(case.before_ours, patience)
                timing.pedantic(case.ours.once, setup=setup, rounds=rounds)
        result = case.result()
        if timing is None and option("--kernels"):
            from benchmarks.gpu.kernels import kernel_times

            result["kernels"] = kernel_times(case.ours)
        if timing is not None:
            record = request.config.stash[_RECORD]
            timing.extra_info.update(result, environment=environment(record.threads))
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
        f"{name}: {key}, wanted {floor['wanted']:g}"
        for key, floor in result["floors"].items()
        if not any(met for clock, met in floor.items() if clock.endswith("_met"))
    ]
    if missed and request.config.getoption("--require-floors"):
        raise AssertionError("; ".join(missed))
