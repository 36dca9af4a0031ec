"""A provider for tests: CPU tensors are carried to the GPU, answered there and carried back.

With it the whole suite, oracles and all, is run on the CUDA kernels as it stands::

    PYTHONPATH=.:tests FASTDIST_TEST_PROVIDERS=carried python -m pytest -p cuda_carried tests/...

Wrong values of labels and spacings are an error on the CPU and are ignored on a GPU: the check is
made before the tensors leave. In a rehearsal another provider stands in for the GPU: Numba, or
``FASTDIST_CARRIED_TO=emulator``.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any

import torch
from cuda_support import DEVICE, NO_GPU, REHEARSE, moved, usable
from torch import Tensor

from fastdist import ops, providers
from fastdist.providers import composed_loss

NAME = "carried"
DISPATCH_KEY = "CPU"

providers.ORDER.setdefault(NAME, __name__)

# How many of its last arguments an op writes.
_WRITTEN = {"edt_out": 1, "edt_indices_out": 2, "edt_labels_out": 1, "signed_maps_out": 1}


def available() -> str | None:
    """None where torch sees a GPU on which somebody answers."""
    if not usable():
        return NO_GPU
    if not REHEARSE and providers.current(DEVICE) is None:
        return "nobody answers for CUDA tensors: the library was built without CUDA"
    return None


def _answering(op: str) -> Callable[..., Any]:
    if not REHEARSE:
        return getattr(torch.ops.fastdist, op).default
    name = os.environ.get("FASTDIST_CARRIED_TO") or "numba"
    return providers.module(name).IMPLEMENTATIONS[op]


def _check_values(op: str, arguments: tuple) -> None:
    """What the CPU's ops check before they write: class indices and spacings."""
    schema = getattr(torch.ops.fastdist, op).default._schema
    given = {part.name: value for part, value in zip(schema.arguments, arguments, strict=True)}
    spacing = given.get("item_sampling")
    if spacing is not None:
        wrong = ~(spacing.isfinite() & (spacing > 0)).all(1)
        if wrong.any():
            name = "spacing" if op == "boundary_loss" else "sampling"
            row = spacing[wrong][0].tolist()
            raise ValueError(f"{name}: got {row}, expected finite values > 0")
    if given.get("layout") == "labels" and "grad_sums" not in given:
        classes = (
            given["input"].shape[1]
            if "input" in given
            else given["first_class"] + given["maps"].shape[1]
        )
        composed_loss.check_classes(given["target"], given["valid"], classes, given["ignore_index"])


def _carried(op: str) -> Callable[..., Any]:
    written = _WRITTEN.get(op, 0)

    def carry(*arguments: Any) -> Any:
        _check_values(op, arguments)
        there = moved(arguments, DEVICE)
        outputs = arguments[len(arguments) - written :]
        if REHEARSE:  # the same memory, if it did not leave the CPU
            there = there[: len(there) - written] + tuple(out.clone() for out in outputs)
        result = _answering(op)(*there)
        for out, filled in zip(outputs, there[len(there) - written :], strict=True):
            out.copy_(filled)
        if op == "weighted_sums_backward":  # in the logits' memory format
            return torch.empty_like(arguments[1]).copy_(result)
        return moved(result, "cpu") if isinstance(result, Tensor | tuple | list) else result

    return carry


IMPLEMENTATIONS = {op: _carried(op) for op in ops.PROVIDED}
