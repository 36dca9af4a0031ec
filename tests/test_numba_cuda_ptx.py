"""The provider numba for CUDA tensors is compiled for GPUs where there is none, or says why not.

The extra "test" has what that takes: numba-cuda, and NVIDIA's compiler (NVVM) as a package. Without
them these tests are skipped, but for CI, where they fail.
"""

import importlib.metadata
import importlib.util
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from test_numba_cuda import TESTS, python

pytest.importorskip("numba")

from fastdist import info
from fastdist.providers import cuda, numba_cuda, numba_cuda_probe

TOOLKITS = [Path(home) for home in (os.environ.get("CUDA_HOME"), "/usr/local/cuda") if home]
IMPLEMENTATIONS = {"numba-cuda": [], "Numba's own": ["own"]}


def missing(reason: str) -> None:
    """A skip; in CI a failure."""
    if os.environ.get("CI"):
        pytest.fail(f"{reason}: the extra 'test' has it", pytrace=False)
    pytest.skip(reason)


def packaged_nvvm() -> tuple[Path, Path] | None:
    """The library and the bitcode of the package nvidia-nvvm."""
    try:
        files = importlib.metadata.files("nvidia-nvvm") or []
    except importlib.metadata.PackageNotFoundError:
        return None
    found = {path.name: Path(path.locate()) for path in files}
    library = next((found[name] for name in sorted(found) if name.startswith("libnvvm.so")), None)
    bitcode = found.get("libdevice.10.bc")
    return (library, bitcode) if library and bitcode else None


@pytest.fixture
def toolkit(tmp_path) -> str:
    """A CUDA_HOME with NVVM, for Numba's own CUDA, which knows of no packages."""
    packaged = packaged_nvvm()
    if packaged is not None:
        library, bitcode = packaged
        (tmp_path / "nvvm/lib64").mkdir(parents=True)
        (tmp_path / "nvvm/libdevice").mkdir()
        (tmp_path / "nvvm/lib64/libnvvm.so").symlink_to(library)
        (tmp_path / "nvvm/libdevice/libdevice.10.bc").symlink_to(bitcode)
        return str(tmp_path)
    home = next((home for home in TOOLKITS if any(home.glob("**/libnvvm.so"))), None)
    if home is None:
        missing("nvidia-nvvm is not installed, and no CUDA toolkit with NVVM was found")
    return str(home)


def numba_ptx(implementation: str, toolkit: str, *words: str) -> subprocess.CompletedProcess:
    if implementation == "numba-cuda" and importlib.util.find_spec("numba_cuda") is None:
        missing("numba-cuda is not installed")
    words = (*IMPLEMENTATIONS[implementation], *words)
    return python(
        str(TESTS / "numba_ptx.py"), *words, NUMBA_ENABLE_CUDASIM="0", CUDA_HOME=toolkit
    )


@pytest.mark.slow
@pytest.mark.parametrize(
    ("implementation", "capabilities"),
    # Numba's own knows no GPU after 9.0, and compiles for a later one what the driver translates.
    [("numba-cuda", {"7.5": ["75"], "9.0": ["90"], "12.0": ["120"]}),
     ("Numba's own", {"7.5": ["75"], "12.0": ["90"]})],
)  # fmt: skip
def test_every_kernel_compiles_in_every_signature_that_is_launched(
    implementation, capabilities, toolkit
):
    done = numba_ptx(implementation, toolkit, *capabilities)
    assert done.returncode == 0, done.stderr
    report = json.loads(done.stdout)
    own = implementation == "Numba's own"
    assert report["implementation"] == ("Built-in" if own else "NVIDIA")
    assert report["reasons"] == [None] * len(capabilities)
    assert report["targets"] == capabilities
    kernels = {text.partition("(")[0] for text in report["signatures"]}
    assert kernels == {
        "scan", "search", "scan_sites", "search_sites", "store_distances", "store_coordinates"
    }  # fmt: skip
    assert len(report["signatures"]) > 40


@pytest.mark.slow
def test_numba_cuda_compiles_without_the_name_that_numpy_has_no_more(toolkit):
    done = numba_ptx("numba-cuda", toolkit, "numpy-2.5", "9.0")
    assert done.returncode == 0, done.stderr
    report = json.loads(done.stdout)
    assert report["reasons"] == [None]
    assert not report["row_stack"]  # and NumPy is left as it was
    assert report["targets"] == {"9.0": ["90"]}


# ------------------------------------------------------------------ available is what can compile

# A front end that is there, on a machine that has a GPU, and compiles nothing.
BROKEN = """
import sys
import torch
import numba.cuda
numba.cuda.is_available = lambda: True
torch.cuda.is_available = lambda: True
torch.cuda.get_device_capability = lambda device=None: (9, 0)

def compile_ptx(*arguments, **options):
    raise AttributeError("module 'numpy' has no attribute 'row_stack'")

numba.cuda.compile_ptx = compile_ptx
from fastdist import info, providers
from fastdist.providers import numba_cuda, cuda
with providers.forced("numba"):
    print(numba_cuda.available())
    print(providers.current("cuda"))
    print(info._why("cuda", None))
    try:
        cuda._numba("edt_out")()
    except RuntimeError as error:
        print(error)
"""


def test_a_front_end_that_cannot_compile_is_not_available_and_says_why():
    done = python("-c", BROKEN, NUMBA_ENABLE_CUDASIM="0")
    assert done.returncode == 0, done.stderr
    reason, current, why, error = done.stdout.splitlines()
    said = "AttributeError: module 'numpy' has no attribute 'row_stack'"
    assert reason.startswith(f"Numba cannot compile for the CUDA device: {said} (")
    assert "numpy " in reason.rpartition("(")[2]
    assert current == "None"
    assert said in why
    assert said in error


def test_what_the_driver_does_not_load_is_not_available(monkeypatch):
    module = pytest.importorskip("numba.cuda")
    monkeypatch.setattr(module, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda: (9, 0))
    monkeypatch.setattr(torch.cuda, "current_device", lambda: 0)
    monkeypatch.setattr(numba_cuda_probe, "cannot_compile", lambda capability: None)
    reason = numba_cuda_probe.unusable.__wrapped__()
    if torch.cuda.is_available():
        assert reason is None
    else:  # no driver: it loads nothing
        assert reason.startswith("the CUDA driver does not load what Numba compiles: ")


def test_errors_of_pages_are_told_in_a_line():
    error = ValueError("Failed in cuda mode\n\n  a page of it\n" + "x\n" * 500 + "no such thing\n")
    assert numba_cuda_probe._line(error) == "ValueError: Failed in cuda mode ... no such thing"
    assert numba_cuda_probe._line(KeyError()) == "KeyError: "


def test_it_says_what_numba_lacks():
    if torch.cuda.is_available():
        pytest.skip("Numba lacks nothing where there is a GPU")
    script = "from fastdist.providers import numba_cuda_probe as p; print(p.unusable())"
    done = python("-c", script, NUMBA_ENABLE_CUDASIM="0")
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("Numba cannot use the CUDA device: ")


def test_the_report_says_why_nobody_answers(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(numba_cuda, "available", lambda: "it was taken away")
    assert "Numba: it was taken away" in info._why("cuda", None)
    assert "it was taken away" in cuda.why_nobody()
    assert sys.modules["fastdist.info"]._PACKAGES.count("numba-cuda") == 1
