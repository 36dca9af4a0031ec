"""Arrays of any kind as torch tensors and back: NumPy, torch, and whatever speaks DLPack.

No array library but NumPy is imported here. A foreign array says itself how to make one of its own
from DLPack (``__array_namespace__``, as CuPy's and JAX's do); where it does not, results are torch
tensors. Nothing is copied that torch can read in place.
"""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from typing import Any

import numpy as np
import torch
from torch import Tensor

# Arrays of these libraries never change: they cannot be written into.
_IMMUTABLE = ("jax", "jaxlib", "tensorflow")


class Torch:
    """Tensors: nothing to convert."""

    name = "a torch.Tensor"

    def owns(self, array: Any) -> bool:
        """Whether the array is of this kind."""
        return isinstance(array, Tensor)

    def empty(self, shape: Sequence[int], dtype: torch.dtype, device: torch.device) -> Tensor:
        """A tensor that `wrap` makes an array of, once it is written."""
        return torch.empty(shape, dtype=dtype, device=device)

    def wrap(self, tensor: Tensor) -> Any:
        """The tensor as an array of this kind, in the same memory."""
        return tensor

    def writable(self, name: str, array: Any) -> tuple[Tensor, Callable[[], None] | None]:
        """A contiguous tensor to write, and what has to be called afterwards, if anything."""
        if array.is_contiguous():
            return array, None
        written = torch.empty(array.shape, dtype=array.dtype, device=array.device)
        return written, lambda: array.copy_(written)


class Foreign(Torch):
    """Arrays of another library, through DLPack."""

    def __init__(self, like: Any) -> None:
        self.type = type(like)
        module = self.type.__module__.partition(".")[0]
        self.name = f"a {module}.{self.type.__name__}"
        self.immutable = module in _IMMUTABLE
        if hasattr(like, "__array_namespace__"):
            library = like.__array_namespace__()
        else:
            library = sys.modules.get(module)
        self.wrap = getattr(library, "from_dlpack", self.wrap)  # type: ignore[method-assign]

    def owns(self, array: Any) -> bool:
        return isinstance(array, self.type)

    def writable(self, name: str, array: Any) -> tuple[Tensor, Callable[[], None] | None]:
        if self.immutable:
            raise TypeError(f"{name}: got {self.name}, expected None: such arrays never change")
        return super().writable(name, torch.from_dlpack(array))


class NumPy(Torch):
    """NumPy arrays, and what NumPy makes arrays of: lists, numbers."""

    name = "a numpy.ndarray"

    def owns(self, array: Any) -> bool:
        return isinstance(array, np.ndarray)

    def empty(self, shape: Sequence[int], dtype: torch.dtype, device: torch.device) -> Tensor:
        # NumPy asks for huge pages where torch does not: fewer page faults while it is written.
        return torch.from_numpy(np.empty(shape, np.int32 if dtype == torch.int32 else np.float64))

    def wrap(self, tensor: Tensor) -> Any:
        return tensor.numpy()

    def writable(self, name: str, array: Any) -> tuple[Tensor, Callable[[], None] | None]:
        flags = array.flags
        if not flags.writeable:
            raise ValueError(f"{name}: got a read-only array, expected one that can be written")
        if flags.c_contiguous and flags.aligned and array.dtype.isnative:
            return torch.from_numpy(array), None
        written = np.empty(array.shape, array.dtype.type)

        def copy() -> None:
            array[...] = written

        return torch.from_numpy(written), copy


def stream_of(array: Any) -> AbstractContextManager[Any]:
    """Within the block torch's current stream is the one on which the array's library works.

    DLPack makes the reader of an array wait for its writer. CuPy's own stream saves the waiting,
    and makes outputs that are written in place ready for whatever CuPy does next.
    """
    kind = type(array)
    if kind.__module__.partition(".")[0] != "cupy" or not hasattr(array, "device"):
        return contextlib.nullcontext()
    device = array.device.id
    pointer = sys.modules["cupy"].cuda.get_current_stream(device).ptr
    if pointer == 0:  # the legacy default stream; to ExternalStream 0 means a new one
        return torch.cuda.stream(torch.cuda.default_stream(device))
    return torch.cuda.stream(torch.cuda.ExternalStream(pointer, device=device))


def image(array: Any) -> tuple[Tensor, Torch]:
    """The array as a tensor that is zero where the array is, and the array's kind."""
    if isinstance(array, Tensor):
        return (array.detach() if array.requires_grad else array), TORCH
    if not isinstance(array, np.ndarray) and hasattr(array, "__dlpack__"):
        return torch.from_dlpack(array), Foreign(array)
    array = np.asarray(array)
    if array.dtype.kind not in "biufc":
        raise TypeError(f"input: got an array of {array.dtype.name}, expected an array of numbers")
    return _readable(array), NUMPY


class _Writable:
    """A read-only array as one that can be written, since torch warns of the others.

    The ops do not write their inputs.
    """

    def __init__(self, array: np.ndarray) -> None:
        self.array = array  # keeps the memory alive
        address, _ = array.__array_interface__["data"]
        self.__array_interface__ = {**array.__array_interface__, "data": (address, False)}


def _readable(array: np.ndarray) -> Tensor:
    dtype = array.dtype
    known = dtype.isnative and dtype.kind != "c" and dtype.itemsize <= 8
    if not known or any(step < 0 or step % dtype.itemsize for step in array.strides):
        # There is no such tensor. All that matters is which elements are zero.
        array = array.astype(np.bool_)
    elif not array.flags.writeable:
        array = np.asarray(_Writable(array))
    return torch.from_numpy(array)


def overlap(one: Tensor, other: Tensor) -> bool:
    """Whether the stretches of memory from first to last element of both intersect."""
    if one.numel() == 0 or other.numel() == 0 or one.device != other.device:
        return False
    (start, end), (other_start, other_end) = _stretch(one), _stretch(other)
    return start < other_end and other_start < end


def _stretch(tensor: Tensor) -> tuple[int, int]:
    reach = sum((n - 1) * step for n, step in zip(tensor.shape, tensor.stride(), strict=True))
    start = tensor.data_ptr()
    return start, start + (reach + 1) * tensor.element_size()


TORCH, NUMPY = Torch(), NumPy()
