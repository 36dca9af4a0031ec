"""The paper's experiment: its tasks, arms and runs, their order, and the file that remembers them.

Kervadec et al., "Boundary loss for highly unbalanced segmentation" (MIDL 2019, Medical Image
Analysis 2021), train for about 100 epochs in batches of 8 with Adam, 1e-3, halved when the
validation stalls. What is compared here, and how long, is named in this file and nowhere else.
"""

from __future__ import annotations

import base64
import json
import os
import zlib
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from fastdist import losses

PATIENTS = ("07", "19", "26")
Results = dict[str, Any]
Schedule = losses.ConstantSchedule | losses.IncreaseSchedule | losses.RebalanceSchedule


@dataclass(frozen=True)
class Protocol:
    """How every run trains. Runs of different protocols do not mix in one file."""

    version: int = 1  # of the code that trains: another one if a run would give other bits
    epochs: int = 100
    batch: int = 8
    rate: float = 1e-3
    betas: tuple[float, float] = (0.9, 0.99)
    patience: int = 20  # epochs without a better validation Dice, after which the rate is halved
    tested_every: int = 5  # epochs; the held-out data steer nothing, they are only looked at

    def as_json(self) -> dict[str, Any]:
        return asdict(self) | {"betas": list(self.betas)}


class Task(NamedTuple):
    """What is learnt: its name, what is left out in turn, and the seeds."""

    name: str
    folds: tuple[str, ...]
    seeds: tuple[int, ...]


TASKS = {
    "real": Task("real lesions", PATIENTS, (1, 2, 3)),
    "synthetic": Task("synthetic lesions", ("26",), (1, 2, 3, 4, 5)),
}


class Arm(NamedTuple):
    """One loss: its name, the schedule of the boundary loss if it is used, and the map's details.

    `tasks` are those it is trained on.
    """

    name: str
    schedule: str | None = None
    zero: str = "shifted"
    normalize: str | None = None
    tasks: tuple[str, ...] = ("real", "synthetic")

    def make_schedule(self, epochs: int) -> Schedule:
        """The paper's: alpha moves by 0.01 an epoch when there are 100 of them."""
        if self.schedule == "rebalance":  # alpha * generalised Dice + (1 - alpha) * boundary
            return losses.RebalanceSchedule(epochs, start=1.0, floor=0.01)
        if self.schedule == "increase":  # generalised Dice + alpha * boundary
            return losses.IncreaseSchedule(epochs, start=0.01, stop=1.0)
        return losses.ConstantSchedule(0.01 if self.schedule else 0.0)


GDL = "gdl"  # what every other arm is held against
ARMS = {
    GDL: Arm("generalised Dice"),
    "rebalance-shifted": Arm("+ boundary, rebalance, shifted", "rebalance"),
    "rebalance-midpoint": Arm("+ boundary, rebalance, midpoint", "rebalance", "midpoint"),
    "constant-shifted": Arm("+ boundary, constant 0.01, shifted", "constant"),
    "increase-shifted": Arm("+ boundary, increase to 1, shifted", "increase"),
    "rebalance-normalised": Arm(  # is it the magnitude of the maps that matters?
        "+ boundary, rebalance, shifted, normalised",
        "rebalance",
        normalize="max",
        tasks=("synthetic",),
    ),
}
FIRST = (GDL, "rebalance-shifted", "rebalance-midpoint")  # the others follow when these are done


def arms_of(task: str) -> dict[str, Arm]:
    """The arms that are trained on this task."""
    return {key: arm for key, arm in ARMS.items() if task in arm.tasks}


class Run(NamedTuple):
    """One training: a task, a seed, the patient who is left out, and the key of an arm."""

    task: str
    seed: int
    held_out: str
    arm: str

    @property
    def name(self) -> str:
        return "-".join(str(part) for part in self)


def planned(tasks: Iterable[str] = tuple(TASKS)) -> list[Run]:
    """All runs, in order: the first arms before the others, seed by seed, the tasks in turn.

    Stopped at any time, what is done is as balanced as it can be.
    """
    chosen = [task for task in TASKS if task in set(tasks)]
    most = max(max(TASKS[task].seeds) for task in chosen)
    return [
        Run(task, seed, held_out, arm)
        for arms in (FIRST, tuple(arm for arm in ARMS if arm not in FIRST))
        for seed in range(1, most + 1)
        for task in chosen
        if seed in TASKS[task].seeds
        for held_out in TASKS[task].folds
        for arm in arms
        if arm in arms_of(task)
    ]


def new_results(protocol: Protocol) -> Results:
    """Results without any run yet."""
    return {"protocol": protocol.as_json(), "runs": []}


def key_of(outcome: Results) -> Run:
    return Run(outcome["task"], outcome["seed"], outcome["held_out"], outcome["arm"])


def finished(results: Results) -> dict[Run, Results]:
    """What the runs that are done gave."""
    return {key_of(outcome): outcome for outcome in results["runs"]}


def load(path: Path, protocol: Protocol) -> Results:
    """What the file holds; without one, no run."""
    if not path.exists():
        return new_results(protocol)
    results = json.loads(path.read_text())
    if results["protocol"] != protocol.as_json():
        raise SystemExit(f"{path}: holds runs of another protocol, {results['protocol']}")
    return results


def save(results: Results, path: Path) -> None:
    """Write the results, one line per run, so that no moment leaves half a file behind."""
    order = {run: index for index, run in enumerate(planned())}
    done = sorted(finished(results).items(), key=lambda item: order[item[0]])
    lines = ",\n".join("  " + json.dumps(outcome, allow_nan=False) for _, outcome in done)
    protocol = json.dumps(results["protocol"])
    write(path, f'{{\n "protocol": {protocol},\n "runs": [\n{lines}\n ]\n}}\n')


def write(path: Path, text: str) -> None:
    """Put the text where the path is, whole or not at all."""
    path.parent.mkdir(parents=True, exist_ok=True)
    beside = path.with_name(path.name + ".part")
    beside.write_text(text)
    os.replace(beside, path)


def fold(results: Results, state: Path) -> Results:
    """The results with every run that is finished in the folder `state`, one file each."""
    found = [json.loads(path.read_text()) for path in sorted((state / "runs").glob("*.json"))]
    new = [one["run"] for one in found if one["protocol"] == results["protocol"]]
    done = finished(results) | finished({"runs": new})
    return results | {"runs": list(done.values())}


def packed(mask: np.ndarray) -> dict[str, Any]:
    """A mask as text: a picture can be drawn from the results alone."""
    data = zlib.compress(np.packbits(mask).tobytes(), 9)
    return {"shape": list(mask.shape), "bits": base64.b64encode(data).decode()}


def unpacked(mask: dict[str, Any]) -> np.ndarray:
    bits = np.frombuffer(zlib.decompress(base64.b64decode(mask["bits"])), np.uint8)
    size = int(np.prod(mask["shape"]))
    return np.unpackbits(bits, count=size).reshape(mask["shape"]).astype(bool)
