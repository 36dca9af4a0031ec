"""Values of every type that a caller may pass: what `test_any_argument.py` passes everywhere."""

import itertools
from collections.abc import Callable
from decimal import Decimal
from fractions import Fraction
from typing import Any

import numpy as np
import torch
from torch.nn.parameter import UninitializedBuffer, UninitializedParameter


class Labelled(torch.Tensor):
    """A subclass that adds nothing, whose results are of the subclass too."""


class Raises:
    """An object on which everything fails."""

    def __getattr__(self, name):
        raise RuntimeError("everything fails")

    def __repr__(self):
        raise RuntimeError("everything fails")

    __iter__ = __len__ = __float__ = __index__ = __bool__ = __array__ = __eq__ = __repr__
    __hash__ = None


class Lazy:
    """What dask's arrays have in common, and all that needs them."""

    __module__ = "dask.array.core"

    def __dask_graph__(self):
        return {}

    def __array__(self, *arguments, **options):
        raise AssertionError("it was computed")


class Image:
    """What SimpleITK's and ITK's images have in common."""

    __module__ = "SimpleITK.SimpleITK"

    def GetSpacing(self):
        return (1.0, 2.0)


class Nifti:
    """What nibabel's images have in common."""

    __module__ = "nibabel.nifti1"
    dataobj = header = np.zeros((6, 7))


class Tracer:
    """What JAX passes to a function that it traces."""

    __module__ = "jax._src.core"

    def __dlpack__(self, **options):
        raise AssertionError("it was read")


class Unreadable:
    """An array whose library cannot give it away."""

    def __dlpack__(self, **options):
        raise BufferError("this type has no equivalent")

    def __dlpack_device__(self):
        return 1, 0


def _quantized() -> torch.Tensor:
    return torch.quantize_per_tensor(torch.ones(2, 6, 7), 1.0, 0, torch.quint8)


def _nested(layout: torch.layout) -> torch.Tensor:
    return torch.nested.nested_tensor([torch.ones(6, 7), torch.ones(5, 7)], layout=layout)


def _masked() -> torch.Tensor:
    ones = torch.ones(2, 6, 7)
    return torch.masked.masked_tensor(ones, ones > 0)


OBJECTS: dict[str, Callable[[], Any]] = {
    "None": lambda: None,
    "Ellipsis": lambda: ...,
    "True": lambda: True,
    "bool of NumPy": lambda: np.bool_(True),
    "an object": object,
    "a type": lambda: torch.Tensor,
    "a module": lambda: np,
    "a function": lambda: len,
    "everything fails": Raises,
    "a generator": lambda: (n for n in (1.0, 2.0)),
    "an endless iterator": itertools.count,
    "a dict": lambda: {1.0: 2.0},
    "a set": lambda: {1.0, 2.0},
    "a slice": lambda: slice(3),
    "a word": lambda: "shifted",
    "a long word": lambda: "x" * 10_000,
    "a surrogate": lambda: "\ud800",
    "bytes": lambda: b"1",
    "a device": lambda: torch.device("cpu"),
    "a dtype": lambda: torch.float16,
    "NumPy's dtype": lambda: np.float64,
    "dask": Lazy,
    "SimpleITK": Image,
    "nibabel": Nifti,
    "a tracer": Tracer,
    "an array without DLPack": Unreadable,
}
NUMBERS: dict[str, Callable[[], Any]] = {
    "0": lambda: 0,
    "1": lambda: 1,
    "-1": lambda: -1,
    "2**31": lambda: 2**31,
    "2**63": lambda: 2**63,
    "-2**63-1": lambda: -(2**63) - 1,
    "10**400": lambda: 10**400,
    "5000 digits": lambda: 10**5000,
    "0.5": lambda: 0.5,
    "nan": lambda: float("nan"),
    "inf": lambda: float("inf"),
    "complex": lambda: 1j,
    "Fraction": lambda: Fraction(1, 3),
    "Decimal": lambda: Decimal("sNaN"),
    "int64": lambda: np.int64(2),
    "uint64": lambda: np.uint64(2**63),
    "float16": lambda: np.float16(1),
    "complex64": lambda: np.complex64(1),
    "timedelta64": lambda: np.timedelta64(3, "s"),
    "str_": lambda: np.str_("1"),
    "numbers as words": lambda: ["1", "2"],
    "an empty list": list,
    "a ragged list": lambda: [[1.0], [1.0, 2.0]],
    "a list of None": lambda: [None, None],
    "a list in itself": lambda: _itself(),
    "integers of NumPy": lambda: [np.int32(1), np.uint8(2)],
}
ARRAYS: dict[str, Callable[[], Any]] = {
    "array without axes": lambda: np.array(2.0),
    "array": lambda: np.ones((2, 6, 7)),
    "array of objects": lambda: np.full((2, 6, 7), None),
    "array of words": lambda: np.full((2, 6, 7), "a"),
    "array of dates": lambda: np.zeros((2, 6, 7), "datetime64[s]"),
    "array of records": lambda: np.zeros((2, 6, 7), [("a", int)]),
    "masked array": lambda: np.ma.masked_array(np.ones((2, 6, 7)), True),
    "read-only array": lambda: np.broadcast_to(np.float64(1), (2, 6, 7)),
}
TENSORS: dict[str, Callable[[], Any]] = {
    "without axes": lambda: torch.tensor(2.0),
    "one integer": lambda: torch.tensor([2]),
    "one row": lambda: torch.tensor([1.0, 2.0]),
    "empty": lambda: torch.empty(0),
    "no image": lambda: torch.empty(0, 6, 7),
    "no channel": lambda: torch.empty(2, 0, 6, 7),
    "labels": lambda: torch.ones(2, 6, 7, dtype=torch.uint8),
    "labels with an axis of channels": lambda: torch.zeros(2, 1, 6, 7, dtype=torch.int64),
    "volume with an axis of channels": lambda: torch.zeros(2, 1, 5, 6, 7, dtype=torch.int64),
    "channels": lambda: torch.ones(2, 3, 6, 7),
    "seven axes": lambda: torch.ones(1, 1, 1, 1, 2, 6, 7),
    "needs a gradient": lambda: torch.ones(2, 3, 6, 7, requires_grad=True),
    "maps that need a gradient": lambda: torch.ones(2, 6, 7, requires_grad=True),
    "nan": lambda: torch.full((2, 6, 7), float("nan")),
    "expanded": lambda: torch.ones(1, 1, 1).expand(2, 6, 7),
    "negative view": lambda: torch._neg_view(torch.ones(2, 6, 7)),
    "zero tensor": lambda: torch._efficientzerotensor((2, 6, 7)),
    "meta": lambda: torch.ones(2, 6, 7, device="meta"),
    "meta channels": lambda: torch.ones(2, 3, 6, 7, device="meta"),
    "subclass": lambda: torch.ones(2, 6, 7).as_subclass(Labelled),
    "parameter": lambda: torch.nn.Parameter(torch.ones(2, 3, 6, 7)),
    "uninitialised parameter": UninitializedParameter,
    "uninitialised buffer": UninitializedBuffer,
    "sparse": lambda: torch.ones(2, 6, 7).to_sparse(),
    "sparse rows": lambda: torch.ones(6, 7).to_sparse_csr(),
    "mkldnn": lambda: torch.ones(2, 6, 7).to_mkldnn(),
    "nested": lambda: _nested(torch.strided),
    "jagged": lambda: _nested(torch.jagged),
    "masked": _masked,
    "quantized": _quantized,
    **{
        str(dtype): lambda dtype=dtype: torch.empty(2, 6, 7, dtype=dtype)
        for dtype in (
            torch.complex32, torch.complex64, torch.float8_e4m3fn, torch.float8_e5m2,
            torch.float4_e2m1fn_x2, torch.int4, torch.uint4, torch.uint1, torch.bits8,
        )
    },
    **{
        str(dtype): lambda dtype=dtype: torch.zeros(2, 6, 7).to(dtype)
        for dtype in (torch.uint16, torch.uint32, torch.uint64, torch.bfloat16, torch.float64)
    },
    "list of tensors": lambda: [torch.tensor(1.0), torch.tensor(2.0)],
    "list of rows": lambda: [torch.ones(2), torch.ones(2)],
    "list of columns": lambda: [torch.ones(3), torch.ones(3)],
    "list of rows of words": lambda: [torch.ones(2), "a"],
    "list of sparse rows": lambda: [torch.ones(2).to_sparse()] * 2,
    "list of meta rows": lambda: [torch.ones(2, device="meta")] * 2,
    "list of integers 0": lambda: [torch.zeros(2, dtype=torch.int64)] * 2,
    "two outputs": lambda: (torch.ones(2, 6, 7), torch.ones(2, 2, 6, 7, dtype=torch.int32)),
    "output and a word": lambda: (torch.ones(2, 6, 7), "a"),
    "output and a sparse one": lambda: (
        torch.ones(2, 6, 7), torch.ones(2, 2, 6, 7, dtype=torch.int32).to_sparse()
    ),
}  # fmt: skip
ALL = {
    **OBJECTS, **NUMBERS, **ARRAYS,
    **{f"tensor: {name}": make for name, make in TENSORS.items()},
}  # fmt: skip


def _itself() -> list:
    items: list = []
    items.append(items)
    return items


# What can be right for some argument: dense tensors, arrays and lists of numbers, numbers, flags.
_REFUSED_TENSORS = (
    "uninitialised", "sparse", "mkldnn", "nested", "jagged", "masked", "quantized", "complex32",
    "float8", "float4", "int4", "bits8", "words",
)  # fmt: skip
PLAUSIBLE = {
    label
    for label in (
        *NUMBERS, *ARRAYS, *(f"tensor: {name}" for name in TENSORS), "None", "True", "a word",
        "bool of NumPy", "a device", "a dtype", "NumPy's dtype", "a function", "a type",
    )
    if not any(word in label for word in _REFUSED_TENSORS)
    and label not in ("array of objects", "array of dates", "array of records")
}  # fmt: skip
