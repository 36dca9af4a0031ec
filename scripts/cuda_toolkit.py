"""Where nvcc is, and which architectures it compiles for.

The architectures never come from the GPU that happens to be here: a library is built once and
carried elsewhere, and the machine that builds it need not have a GPU.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

# Drivers translate PTX for GPUs that are newer than it and have no machine code here. That of 12.0
# would leave out 11.0, and serve none that 10.0's does not.
DEFAULT_ARCHITECTURES = "7.5 8.0 8.6 8.9 9.0 10.0+PTX 12.0"


class ToolkitNotFoundError(RuntimeError):
    """No nvcc, or one without the runtime that is linked into the library."""


@dataclass(frozen=True)
class CudaToolkit:
    """An nvcc, the folder that it is installed in, and the one of its static runtime."""

    nvcc: Path
    version: str
    library_dir: Path
    root: Path

    @property
    def flags(self) -> list[str]:
        """What this nvcc can do besides: machine code for many GPUs, compressed to a third.

        nvcc 12.8 can do that too, but only drivers from 550 on read it, and CUDA 12 runs on 525.
        """
        release = tuple(int(part) for part in re.findall(r"\d+", self.version))
        return ["--compress-mode=size"] if release >= (13,) else []


def wanted(library: Path) -> str:
    """``FASTDIST_CUDA`` as ``"0"``, ``"1"`` or ``"auto"``; `library` is the one that is built.

    ``keep`` is ``"auto"`` where that library has CUDA kernels, or there is a GPU but no library
    yet: what was built by another command is neither thrown away nor, at minutes of nvcc, added to.
    """
    value = os.environ.get("FASTDIST_CUDA", "").strip().lower() or "auto"
    if value not in ("0", "1", "auto", "keep"):
        raise ValueError(f"FASTDIST_CUDA is {value!r}: expected 0, 1, auto or keep")
    if value != "keep":
        return value
    kept = has_cuda(library) if library.is_file() else has_gpu()
    return "auto" if kept else "0"


def has_cuda(library: Path) -> bool:
    """Whether a compiled library holds CUDA kernels: nvcc puts them into a section of their own."""
    return b".nv_fatbin" in library.read_bytes()


def has_gpu() -> bool:
    """Whether the driver sees an NVIDIA GPU."""
    try:
        answer = subprocess.run(["nvidia-smi", "-L"], capture_output=True, check=False)
    except OSError:
        return False
    return answer.returncode == 0


def find_toolkit() -> CudaToolkit:
    """The toolkit of ``CUDA_HOME`` or ``CUDA_PATH``, of the ``nvcc`` on PATH, or of
    ``/usr/local/cuda``.

    Raises
    ------
    ToolkitNotFoundError
        Where none of them is there, or it comes without ``libcudart_static.a``.
    """
    nvcc = _find_nvcc()
    if nvcc is None:
        raise ToolkitNotFoundError(
            "no nvcc was found: put it on PATH, or set CUDA_HOME to the CUDA toolkit"
        )
    # nvcc may be a link or a wrapper on PATH: it knows best where it really lies.
    plan = _run(nvcc, "-dryrun", "-x", "cu", "-c", os.devnull, "-o", os.devnull)
    top = re.search(r"^#\$ (?:_HERE_|TOP)=(.*)$", plan, flags=re.MULTILINE)
    root = Path(top.group(1)) if top else nvcc.resolve().parent
    root = root.parent if root.name == "bin" else root
    release = re.search(r"release (\d+\.\d+)", _run(nvcc, "--version"))
    for archive in ("lib64", "lib", "targets/*/lib"):
        for folder in sorted(root.glob(archive)):
            if (folder / "libcudart_static.a").is_file():
                version = release.group(1) if release else "unknown"
                return CudaToolkit(nvcc, version, folder.resolve(), root)
    raise ToolkitNotFoundError(f"{nvcc} is there, but no libcudart_static.a under {root}")


def architecture_flags(toolkit: CudaToolkit) -> tuple[list[str], str]:
    """nvcc's ``-gencode`` flags, and the architectures as text.

    From ``TORCH_CUDA_ARCH_LIST``, else the default list less what this nvcc does not know.
    """
    text = os.environ.get("TORCH_CUDA_ARCH_LIST", "").strip()
    names = re.split(r"[;,\s]+", text or DEFAULT_ARCHITECTURES)
    if not text:
        known = set(re.findall(r"compute_(\d+)", _run(toolkit.nvcc, "--list-gpu-arch")))
        kept = [name for name in names if _digits(name.removesuffix("+PTX")) in known]
        if not kept:
            raise RuntimeError(f"{toolkit.nvcc} knows none of {DEFAULT_ARCHITECTURES}")
        if not any(name.endswith("+PTX") for name in kept):
            kept[-1] += "+PTX"  # newer GPUs then translate it
        names = kept
    flags: list[str] = []
    for name in names:
        if not re.fullmatch(r"\d+\.\d[af]?(\+PTX)?", name):
            raise ValueError(
                f"TORCH_CUDA_ARCH_LIST holds {name!r}: expected numbers such as 8.6 or 9.0+PTX"
            )
        number = _digits(name.removesuffix("+PTX"))
        flags += ["-gencode", f"arch=compute_{number},code=sm_{number}"]
        if name.endswith("+PTX"):
            flags += ["-gencode", f"arch=compute_{number},code=compute_{number}"]
    return flags, " ".join(names)


def _find_nvcc() -> Path | None:
    for variable in ("CUDA_HOME", "CUDA_PATH"):
        home = os.environ.get(variable)
        if home and (Path(home) / "bin" / "nvcc").is_file():
            return Path(home) / "bin" / "nvcc"
    on_path = shutil.which("nvcc")
    if on_path:
        return Path(on_path)
    usual = Path("/usr/local/cuda/bin/nvcc")
    return usual if usual.is_file() else None


def _digits(name: str) -> str:
    return name.replace(".", "")


def _run(nvcc: Path, *arguments: str) -> str:
    answer = subprocess.run([str(nvcc), *arguments], capture_output=True, text=True, check=False)
    return answer.stdout + answer.stderr
