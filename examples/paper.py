"""The paper's experiment at its own length: run it, stop it, go on, publish what is done.

    python -m examples.ablation --paper                 # the next run that is missing, and so on
    python -m examples.ablation --paper --pause         # a running one waits, within a step
    python -m examples.ablation --paper --go-on         # ... and goes on
    python -m examples.ablation --paper --report-only   # finished runs into docs/, pages, pictures

Stopped at any time, by Ctrl-C or `kill`, the same command goes on after the last epoch that was
complete, with the same bits on one thread. Started twice, the second takes other runs. What is
needed to go on is in --state; finished runs are put into docs/paper.json as they come.
"""

from __future__ import annotations

import argparse
import fcntl
import json
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import torch
from tqdm import tqdm

from examples import lesions, paper_pictures, paper_plan, paper_report
from examples.paper_plan import Protocol, Results, Run
from examples.paper_training import Training

DOCS = Path(__file__).parent.parent / "docs"
JSON = DOCS / "paper.json"
PAUSE_POLL = 2.0  # seconds between two looks at whether the pause is over


def parse_arguments(arguments: list[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m examples.ablation --paper",
        description=(__doc__ or "").split("\n")[0],
    )
    choice = parser.add_argument
    choice(
        "--tasks",
        nargs="+",
        choices=list(paper_plan.TASKS),
        default=list(paper_plan.TASKS),
        help="default: all",
    )
    choice("--results", type=Path, default=JSON, help="finished runs (default: docs/paper.json)")
    choice(
        "--state",
        type=Path,
        default=Path("out/paper"),
        help="folder of checkpoints and of what pauses a run (default: %(default)s)",
    )
    choice("--device", default="cpu", help="cpu, cuda, ... (default: cpu, one thread)")
    what = parser.add_mutually_exclusive_group()
    what.add_argument("--pause", action="store_true", help="let running ones wait")
    what.add_argument("--go-on", action="store_true", help="let them go on")
    what.add_argument("--report-only", action="store_true", help="train nothing, write docs/")
    return parser.parse_args(arguments)


def pause_file(state: Path) -> Path:
    """While this file exists, whoever trains with this folder waits."""
    return state / "paused"


def wait_while_paused(state: Path, bar: tqdm) -> None:
    if not pause_file(state).exists():
        return
    bar.write("paused; go on with: python -m examples.ablation --paper --go-on")
    while pause_file(state).exists():
        time.sleep(PAUSE_POLL)
    bar.unpause()  # the time left is not reckoned from the pause
    bar.write("going on")


@contextmanager
def claimed(run: Run, state: Path) -> Iterator[bool]:
    """Whether this process may train the run: no other one does. Ends with the process."""
    locks = state / "locks"
    locks.mkdir(parents=True, exist_ok=True)
    with open(locks / run.name, "w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            yield False
        else:
            yield True


def checkpoint(run: Run, state: Path) -> Path:
    return state / "checkpoints" / f"{run.name}.pt"


def done_file(run: Run, state: Path) -> Path:
    return state / "runs" / f"{run.name}.json"


def folded(settings: argparse.Namespace, protocol: Protocol) -> Results:
    """Put what is finished into the results file, and return all of it."""
    settings.results.parent.mkdir(parents=True, exist_ok=True)
    settings.state.mkdir(parents=True, exist_ok=True)
    with open(settings.state / "results.lock", "w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        before = paper_plan.load(settings.results, protocol)
        after = paper_plan.fold(before, settings.state)
        if after != before or not settings.results.exists():
            paper_plan.save(after, settings.results)
    return after


def publish(settings: argparse.Namespace, protocol: Protocol) -> None:
    """Put what is finished into the results file and, if it is the one in docs/, into the page."""
    results = folded(settings, protocol)
    if settings.results.resolve() == JSON.resolve():
        paper_report.publish(results)
        paper_pictures.draw_made()
        paper_pictures.draw(results)


def train(run: Run, protocol: Protocol, settings: argparse.Namespace, bar: tqdm) -> None:
    """One run to its end, a checkpoint after each epoch."""
    training = Training(run, protocol, torch.device(settings.device))
    path = checkpoint(run, settings.state)
    if path.exists():
        training.resume(path)
        # Not counted as done in no time, or the time left would be too short.
        bar.initial += training.epoch
        bar.n += training.epoch
        bar.last_print_n = bar.n
    while not training.done:
        training.train_epoch(lambda: wait_while_paused(settings.state, bar))
        training.save(path)
        shown = {"alpha": training.curves["alpha"][-1], "Dice": training.curves["dice"][-1]}
        known = {key: f"{value:.2f}" for key, value in shown.items() if value is not None}
        bar.set_postfix(known, refresh=False)
        bar.update()
    outcome = {"protocol": protocol.as_json(), "run": training.outcome()}
    paper_plan.write(done_file(run, settings.state), json.dumps(outcome, allow_nan=False) + "\n")
    path.unlink(missing_ok=True)


def missing(settings: argparse.Namespace, results: Results) -> list[Run]:
    """The runs of the plan that nobody has finished, in order."""
    done = paper_plan.finished(results)
    runs = [run for run in paper_plan.planned(settings.tasks) if run not in done]
    return [run for run in runs if not done_file(run, settings.state).exists()]


def train_next(protocol: Protocol, settings: argparse.Namespace, bar: tqdm) -> bool:
    """Train the first run that is missing and that no other process has; False: there is none."""
    runs = missing(settings, folded(settings, protocol))
    for run in runs:
        with claimed(run, settings.state) as mine:
            if mine and run in missing(settings, {"runs": []}):
                bar.total = bar.n + len(runs) * protocol.epochs
                bar.set_description(run.name)
                train(run, protocol, settings, bar)
                publish(settings, protocol)
                return True
    return False


def run_all(settings: argparse.Namespace, protocol: Protocol) -> None:
    """Train what is missing, run by run."""
    settings.device = str(lesions.find_device(settings.device))
    left = len(missing(settings, folded(settings, protocol)))
    planned = len(paper_plan.planned(settings.tasks))
    print(f"{left} of {planned} runs to do on {settings.device}", flush=True)
    # Printed seldom where nobody looks: a log of 12 hours stays readable.
    seldom = 0.5 if os.isatty(2) else 60
    with tqdm(total=left, unit="epoch", dynamic_ncols=True, mininterval=seldom) as bar:
        while train_next(protocol, settings, bar):
            pass


def main(arguments: list[str], protocol: Protocol | None = None) -> None:
    settings = parse_arguments(arguments)
    protocol = protocol or Protocol()
    if settings.pause:
        settings.state.mkdir(parents=True, exist_ok=True)
        pause_file(settings.state).touch()
    elif settings.go_on:
        pause_file(settings.state).unlink(missing_ok=True)
    else:
        torch.set_num_threads(1)  # a run is repeatable, and other cores stay free
        publish(settings, protocol)  # a run may have been stopped between its end and the page
        if not settings.report_only:
            run_all(settings, protocol)
