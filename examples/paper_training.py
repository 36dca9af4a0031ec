"""One run of the paper's experiment, epoch by epoch; it can be stopped after any of them.

A checkpoint holds all that the next epoch depends on: on one thread a run that was stopped and
resumed ends with the same bits as one that was not (tests/test_ablation_paper.py).
"""

from __future__ import annotations

import copy
import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from examples import paper_data, slices
from examples.generalised_dice import generalised_dice_loss
from examples.paper_plan import ARMS, Protocol, Results, Run, packed
from examples.unet import UNet
from fastdist import losses, providers

CURVES = ("alpha", "rate", "regional", "boundary", "dice", "hd95_mm", "false_lesions")


class Training:
    """The state of a run between two epochs."""

    def __init__(self, run: Run, protocol: Protocol, device: torch.device) -> None:
        self.run, self.protocol, self.device = run, protocol, device
        self.arm = ARMS[run.arm]
        self.data = paper_data.load(run, protocol.batch, device)
        torch.manual_seed(run.seed)
        self.network = UNet().to(device).to(memory_format=torch.channels_last)
        self.generator = torch.Generator().manual_seed(run.seed)  # of order and augmentation
        self.optimiser = torch.optim.Adam(
            self.network.parameters(), lr=protocol.rate, betas=protocol.betas
        )
        self.halving = torch.optim.lr_scheduler.ReduceLROnPlateau(
            self.optimiser, mode="max", factor=0.5, patience=protocol.patience, threshold=0.0
        )
        self.schedule = self.arm.make_schedule(protocol.epochs).to(device)
        self.boundary_loss = losses.BoundaryLoss(
            include_background=False,
            softmax=True,
            zero=self.arm.zero,
            normalize=self.arm.normalize,
        )
        self.order = torch.empty(0, dtype=torch.int64)  # slices of this pass still to come
        self.epoch = 0  # how many are done
        self.seconds = 0.0  # of the processor
        self.curves: dict[str, list[Any]] = {name: [] for name in CURVES}
        self.tested: list[Results] = []
        self.best = {"epoch": 0, "dice": -1.0, "network": self.weights()}

    @property
    def done(self) -> bool:
        return self.epoch >= self.protocol.epochs

    def weights(self) -> dict[str, Tensor]:
        return copy.deepcopy(self.network.state_dict())

    def train_epoch(self, between_steps: Callable[[], None] = lambda: None) -> None:
        """One epoch, and what the validation and every few epochs the held-out data say of it.

        `between_steps` is called before each step and may wait; its time is not counted.
        """
        rate = self.optimiser.param_groups[0]["lr"]
        alpha = self.schedule.alpha.item()
        sums = torch.zeros(2, device=self.device)
        self.network.train()
        for _ in range(self.data.steps):
            between_steps()
            started = time.process_time()
            sums += self.step()
            self.seconds += time.process_time() - started

        started = time.process_time()
        self.network.eval()
        self.schedule.step()
        self.epoch += 1
        scores = self.data.validate(self.network)
        self.halving.step(scores["dice"])
        regional, boundary = (sums / self.data.steps).tolist()
        if self.arm.schedule is None:
            alpha = boundary = None
        row = scores | {"alpha": alpha, "rate": rate, "regional": regional, "boundary": boundary}
        for name in CURVES:
            self.curves[name].append(row[name])
        if scores["dice"] > self.best["dice"]:
            self.best = {"epoch": self.epoch, "dice": scores["dice"], "network": self.weights()}
        if self.epoch % self.protocol.tested_every == 0 or self.done:
            self.tested.append({"epoch": self.epoch} | self.data.test(self.network))
        self.seconds += time.process_time() - started

    def step(self) -> Tensor:
        """One step of the optimiser; the values of both losses."""
        images, labels = slices.augment(*self.next_batch(), self.generator)
        logits = self.network(images.contiguous(memory_format=torch.channels_last))
        loss = regional = generalised_dice_loss(logits, labels)
        boundary = torch.zeros_like(regional)
        if self.arm.schedule is not None:
            boundary = self.boundary_loss(logits, labels)
            loss = self.schedule.combine(regional, boundary)
        self.optimiser.zero_grad()
        loss.backward()
        self.optimiser.step()
        return torch.stack([regional, boundary]).detach()

    def next_batch(self) -> tuple[Tensor, Tensor]:
        """Every slice once in random order, then in another order; passes ignore epochs."""
        size = self.protocol.batch
        while len(self.order) < size:
            more = torch.randperm(len(self.data.images), generator=self.generator)
            self.order = torch.cat([self.order, more])
        chosen, self.order = self.order[:size].to(self.device), self.order[size:]
        return self.data.images[chosen], self.data.labels[chosen]

    def outcome(self) -> Results:
        """What is kept of a run that is done."""
        last = self.weights()
        self.network.load_state_dict(self.best["network"])
        best = {"epoch": self.best["epoch"]} | self.data.test(self.network)
        self.network.load_state_dict(last)
        shown, _ = paper_data.shown_slice(self.run.task, self.run.held_out)
        prediction = paper_data.predict(self.network, shown[None, None])[0]
        on_gpu = self.device.type == "cuda"
        return rounded(
            self.run._asdict()
            | {"epochs": self.epoch, "steps": self.epoch * self.data.steps}
            | {"slices": len(self.data.images), "seconds": self.seconds}
            | {"last": self.tested[-1], "best": best}
            | {"curves": self.curves, "tested": columns(self.tested)}
            | {"shown": packed(prediction.numpy())}
            | {"device": torch.cuda.get_device_name(self.device) if on_gpu else self.device.type}
            | {"threads": torch.get_num_threads(), "torch": torch.__version__}
            | {"provider": providers.current(self.device)}
        )

    def state(self) -> dict[str, Any]:
        """All that the next epoch depends on."""
        return {
            "run": list(self.run),
            "protocol": self.protocol.as_json(),
            "network": self.network.state_dict(),
            "optimiser": self.optimiser.state_dict(),
            "halving": self.halving.state_dict(),
            "schedule": self.schedule.state_dict(),
            "generator": self.generator.get_state(),
            "global_generator": torch.get_rng_state(),
            "order": self.order.clone(),
            "epoch": self.epoch,
            "seconds": self.seconds,
            "curves": self.curves,
            "tested": self.tested,
            "best": self.best,
        }

    def save(self, path: Path) -> None:
        """Write a checkpoint, whole or not at all."""
        path.parent.mkdir(parents=True, exist_ok=True)
        beside = path.with_name(path.name + ".part")
        torch.save(self.state(), beside)
        os.replace(beside, path)

    def resume(self, path: Path) -> None:
        """Go on from a checkpoint of the same run under the same protocol."""
        state = torch.load(path, map_location="cpu", weights_only=True)
        if state["run"] != list(self.run) or state["protocol"] != self.protocol.as_json():
            raise ValueError(f"{path}: a checkpoint of {state['run']}, {state['protocol']}")
        for name in ("network", "optimiser", "halving", "schedule"):
            getattr(self, name).load_state_dict(state[name])
        self.generator.set_state(state["generator"])
        torch.set_rng_state(state["global_generator"])
        for name in ("order", "epoch", "seconds", "curves", "tested", "best"):
            setattr(self, name, state[name])


def columns(rows: list[Results]) -> dict[str, list[Any]]:
    """Rows of equal keys as one list per key."""
    return {name: [row[name] for row in rows] for name in rows[0]} if rows else {}


def rounded(value: Any) -> Any:
    """The value with every number in it to five significant digits."""
    if isinstance(value, dict):
        return {name: rounded(one) for name, one in value.items()}
    if isinstance(value, list):
        return [rounded(one) for one in value]
    return float(f"{value:.5g}") if isinstance(value, float) else value
