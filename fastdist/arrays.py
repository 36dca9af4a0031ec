"""Arrays of any kind as torch tensors and back: NumPy, torch, and whatever speaks DLPack.

The rule that ``docs/arrays.md`` tells users stands here. No array library but NumPy is imported. A
foreign array says itself how to make one of its own from DLPack (``__array_namespace__``, as CuPy's
and JAX's do); where it does not, results are torch tensors. Nothing is copied that torch can read
in place, and what is known by its attributes alone is asked for nothing else.
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
from torch.nn.parameter import Parameter, is_lazy

# Arrays of these libraries never change: they cannot be written into.
_IMMUTABLE = ("jax", "jaxlib", "tensorflow")


def plain(name: str, tensor: Tensor) -> Tensor:
    """The tensor without its subclass: MONAI's MetaTensor and torchvision's are the plain tensor.

    Their ``__torch_function__`` would run for every call on the way and cost more than a small
    loss. In ``torch.compile`` this is a graph break, behind which plain tensors are compiled.
    """
    kind = type(tensor)
    if kind is Tensor or kind is Parameter:
        return tensor
    if is_lazy(tensor):
        raise TypeError(f"{name}: got {kind.__name__}, expected one that has been initialised")
    if kind.__torch_dispatch__ is not Tensor.__torch_dispatch__:
        # It stands for a tensor without being one. Those with which torch traces are as good.
        if kind.__module__.startswith("torch._subclasses"):
            return tensor
        local = f": {name}.to_local(), or .full_tensor()" if has(tensor, "full_tensor") else ""
        raise TypeError(f"{name}: got {kind.__name__}, expected a torch.Tensor{local}")
    with torch._C.DisableTorchFunctionSubclass():  # else the result may be of the subclass again
        return tensor.as_subclass(Tensor)


def dense(name: str, tensor: Tensor) -> Tensor:
    """A tensor with strides, without its subclass."""
    tensor = plain(name, tensor)
    if tensor.layout != torch.strided or tensor.is_nested:
        layout = "nested tensor" if tensor.is_nested else tensor.layout
        raise TypeError(f"{name}: got layout {layout}, expected a dense tensor")
    return tensor


def written_as_it_is(name: str, tensor: Tensor) -> None:
    """An error for an output in whose memory other numbers stand than the tensor has."""
    if tensor.is_neg() or tensor._is_zerotensor():
        raise ValueError(f"{name}: got a negative view or a zero tensor, expected .clone() of it")


def has(value: Any, attribute: str) -> bool:
    """Whether there is such an attribute, whatever looking for it comes up with."""
    try:
        return getattr(value, attribute, None) is not None
    except Exception:
        return False


def library(value: Any) -> str:
    """The name of the package that the value's type comes from."""
    return str(type(value).__module__).partition(".")[0]


def kind_of(value: Any) -> str:
    """The value's type and where it comes from, in words."""
    package = library(value)
    return f"{'' if package == 'builtins' else package + '.'}{type(value).__name__}"


def instead(name: str, value: Any) -> str | None:
    """What to pass for a value that holds an image without being an array in memory; else None."""
    if has(value, "__dask_graph__") and value.__dask_graph__() is not None:
        return f"an array in memory: {name}.compute(); distances reach across chunks"
    if has(value, "GetSpacing"):
        itk = library(value) == "itk"
        view = "itk.array_view_from_image" if itk else "SimpleITK.GetArrayViewFromImage"
        return f"its array: {view}({name}); its spacing in array order: {name}.GetSpacing()[::-1]"
    if has(value, "dataobj"):
        return (
            f"its array: numpy.asanyarray({name}.dataobj); "
            f"its spacing: {name}.header.get_zooms()[:3]"
        )
    if isinstance(value, np.ma.MaskedArray):
        return f"an array without a mask: {name}.filled(0), or .filled(1)"
    return None


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
        array = dense(name, array)
        written_as_it_is(name, array)
        if array.requires_grad:
            raise ValueError(f"{name}: got a tensor that requires grad, expected one that does not")
        if array.is_contiguous():
            return array, None
        if torch._debug_has_internal_overlap(array) == 1:
            raise ValueError(f"{name}: got elements that share memory, expected a tensor to write")
        written = torch.empty(array.shape, dtype=array.dtype, device=array.device)
        return written, lambda: array.copy_(written)


class Foreign(Torch):
    """Arrays of another library, through DLPack."""

    def __init__(self, like: Any) -> None:
        self.type = type(like)
        module = library(like)
        self.name = f"a {module}.{self.type.__name__}"
        self.immutable = module in _IMMUTABLE
        if has(like, "__array_namespace__"):
            namespace = like.__array_namespace__()
        else:
            namespace = sys.modules.get(module)
        self.wrap = getattr(namespace, "from_dlpack", self.wrap)  # type: ignore[method-assign]

    def owns(self, array: Any) -> bool:
        return isinstance(array, self.type)

    def writable(self, name: str, array: Any) -> tuple[Tensor, Callable[[], None] | None]:
        if self.immutable:
            raise TypeError(f"{name}: got {self.name}, expected None: such arrays never change")
        return super().writable(name, _from_dlpack(name, array))


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
        expected = instead(name, array)
        if expected is not None:
            raise TypeError(f"{name}: got {kind_of(array)}, expected {expected}")
        if array.dtype.kind not in "biufc":
            raise TypeError(f"{name}: got an array of {array.dtype.name}, expected one of numbers")
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
    if library(array) != "cupy" or not has(array, "device"):
        return contextlib.nullcontext()
    device = array.device.id
    pointer = sys.modules["cupy"].cuda.get_current_stream(device).ptr
    if pointer == 0:  # the legacy default stream; to ExternalStream 0 means a new one
        return torch.cuda.stream(torch.cuda.default_stream(device))
    return torch.cuda.stream(torch.cuda.ExternalStream(pointer, device=device))


def image(name: str, array: Any) -> tuple[Tensor, Torch]:
    """The array as a tensor that is zero where the array is, and the array's kind."""
    if isinstance(array, Tensor):
        array = plain(name, array)
        return (array.detach() if array.requires_grad else array), TORCH
    expected = instead(name, array)
    if expected is not None:
        raise TypeError(f"{name}: got {kind_of(array)}, expected {expected}")
    if not isinstance(array, np.ndarray) and has(array, "__dlpack__"):
        return _from_dlpack(name, array), Foreign(array)
    try:
        array = np.asarray(array)
    except Exception as error:  # whatever an object's own conversion may come up with
        raise TypeError(
            f"{name}: got {kind_of(array)}, of which NumPy makes no array: {_line(error)}"
        ) from None
    if array.dtype.kind not in "biufc":
        raise TypeError(f"{name}: got an array of {array.dtype.name}, expected an array of numbers")
    return _readable(array), NUMPY


def _from_dlpack(name: str, array: Any) -> Tensor:
    if library(array) == "jax" and any(kind.__name__ == "Tracer" for kind in type(array).__mro__):
        raise TypeError(
            f"{name}: got a tracer, expected an array: within jax.jit, vmap and grad there is "
            "nothing to read yet; call fastdist outside, or by jax.pure_callback"
        )
    try:
        return torch.from_dlpack(array)
    except Exception as error:
        raise TypeError(
            f"{name}: got {kind_of(array)} that torch cannot read by DLPack: {_line(error)}"
        ) from None


def _line(error: Exception) -> str:
    return next(iter(str(error).strip().splitlines()), type(error).__name__)


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
    else:
        array = array.view(dtype.str)  # one name for a type that has two: ulonglong is uint64
    if not array.flags.writeable:
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
