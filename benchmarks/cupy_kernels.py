"""CuPy's PBA+ kernels on the executor of PTX: its own host code, with NumPy arrays for GPU memory.

CuPy itself cannot be imported without a GPU's driver, and is not: its module of host code is, with
a stand-in for `cupy` in which a kernel is compiled by nvcc and launched on tools/ptx. What CuPy
computes element by element (packing coordinates, distances from coordinates) is done by NumPy
and not counted, which is to CuPy's favour.
"""

from __future__ import annotations

import ctypes
import importlib.util
import subprocess
import sys
import tempfile
import types
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

from fastdist.providers import ptx

TARGET = "sm_90"


def installed() -> Path | None:
    """The folder with CuPy's packages; None where it is not installed."""
    found = importlib.util.find_spec("cupyx")
    return Path(found.origin).parent.parent if found and found.origin else None


@cache
def _module(code: str) -> ptx.Module:
    sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "scripts"))
    import cuda_toolkit

    nvcc = cuda_toolkit.find_toolkit().nvcc
    with tempfile.TemporaryDirectory() as folder:
        source, target = Path(folder) / "kernels.cu", Path(folder) / "kernels.ptx"
        source.write_text(code, encoding="utf-8")
        command = [str(nvcc), "-ptx", "-w", "-lineinfo", f"-arch={TARGET}", str(source)]
        subprocess.run([*command, "-o", str(target)], check=True)
        return ptx.Module(target.read_text(encoding="utf-8"))


class _Kernel:
    def __init__(self, module: ptx.Module, name: str) -> None:
        self._module, self._name = module, name

    def __call__(self, grid: tuple[int, ...], block: tuple[int, ...], arguments: tuple) -> None:
        arrays = [x for x in arguments if isinstance(x, np.ndarray)]
        values = [
            ctypes.c_void_p(x.ctypes.data) if isinstance(x, np.ndarray) else ctypes.c_int(x)
            for x in arguments
        ]
        with ptx.memory(*arrays):
            self._module.launch(self._name, grid, block, values)


class _RawModule:
    def __init__(self, code: str) -> None:
        self._module = _module(code)

    def get_function(self, name: str) -> _Kernel:
        return _Kernel(self._module, name)


def _stand_in() -> types.ModuleType:
    cupy: Any = types.ModuleType("cupy")
    for name in ("int16", "int32", "float32", "dtype", "ndarray", "zeros", "zeros_like", "empty"):
        setattr(cupy, name, getattr(np, name))
    cupy.pad, cupy.squeeze = np.pad, np.squeeze
    cupy.memoize = lambda *_, **__: lambda function: function
    cupy.RawModule = _RawModule
    return cupy


@cache
def _host_code(folder: Path, name: str) -> Any:
    """One of CuPy's modules of host code, which finds the stand-in."""
    package = "cupyx.scipy.ndimage"
    places = folder / "cupyx" / "scipy" / "ndimage"
    before = {key: sys.modules.get(key) for key in ("cupy", package, f"{package}._util")}
    sys.modules["cupy"] = _stand_in()
    parent = sys.modules[package] = types.ModuleType(package)
    parent.__path__ = [str(places)]
    utilities: Any = types.ModuleType(f"{package}._util")
    utilities._get_inttype = lambda _: "int"
    sys.modules[f"{package}._util"] = utilities
    try:
        return importlib.import_module(f"{package}.{name}")
    finally:
        for key, module in before.items():
            if module is None:
                del sys.modules[key]
            else:
                sys.modules[key] = module


def _pairs(mask: np.ndarray, marker: int, int_dtype: Any) -> np.ndarray:
    """Each site's own coordinates, x and y; elsewhere the marker."""
    packed = np.full((*mask.shape, 2), marker, int_dtype)
    y, x = np.nonzero(mask == 0)
    packed[y, x, 0], packed[y, x, 1] = x, y
    return packed.view(np.dtype({"names": ["x", "y"], "formats": [int_dtype] * 2})).squeeze()


def _triples(mask: np.ndarray, marker: int = -(2**31), **_: int) -> np.ndarray:
    """Each site's own coordinates in ten bits each."""
    z, y, x = np.indices(mask.shape, dtype=np.int32)
    return np.where(mask != 0, np.int32(marker), x << 20 | y << 10 | z).astype(np.int32)


def distances(folder: Path, mask: np.ndarray) -> np.ndarray:
    """CuPy's distances to the zeros of a mask in 2-D or 3-D."""
    index = np.indices(mask.shape, dtype=np.int64)
    if mask.ndim == 2:
        code = _host_code(folder, "_pba_2d")
        code._pack_int2 = _pairs

        def root(y: np.ndarray, x: np.ndarray, out: np.ndarray, **_: int) -> None:
            out[...] = np.sqrt((y - index[0]) ** 2 + (x - index[1]) ** 2)

        code._get_distance_kernel = lambda **_: root
        return code._pba_2d(mask)[0]
    code = _host_code(folder, "_pba_3d")
    code.encode3d = _triples

    def root_of(encoded: np.ndarray, out: np.ndarray) -> None:
        x, y, z = encoded >> 20 & 1023, encoded >> 10 & 1023, encoded & 1023
        out[...] = np.sqrt((z - index[0]) ** 2 + (y - index[1]) ** 2 + (x - index[2]) ** 2)

    code._get_decode_as_distance_kernel = lambda **_: root_of
    return code._pba_3d(mask)[0]


def signed_map(folder: Path, mask: np.ndarray) -> np.ndarray:
    """As one makes it with CuPy: the distances of both sides."""
    outside, inside = distances(folder, mask == 0), distances(folder, mask != 0)
    return outside - inside
