"""The build: what it compiles, with which flags, when again, and what there is without a compiler.

On a small source tree of its own, so that nothing here waits for the real kernels.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent

pytestmark = [
    pytest.mark.skipif(not (ROOT / "setup.py").is_file(), reason="not in a source checkout"),
    pytest.mark.skipif(sys.platform != "linux", reason="the library is compiled on Linux only"),
]
needs_compiler = pytest.mark.skipif(shutil.which("g++") is None, reason="no g++")

# A library of one op, and one function for each file that has flags of its own.
OPS = """
#include <torch/csrc/stable/library.h>
#include "cpu/level.h"
namespace {
int64_t answer(int64_t x) { return fastdist::baseline::twice(x) + 1; }
}
STABLE_TORCH_LIBRARY_FRAGMENT(fastdist_build_test, m) { m.def("answer(int x) -> int"); }
STABLE_TORCH_LIBRARY_IMPL(fastdist_build_test, CompositeExplicitAutograd, m) {
  m.impl("answer", TORCH_BOX(&answer));
}
"""
LEVEL = "#include <cstdint>\nnamespace fastdist::baseline { int64_t twice(int64_t x); }\n"
KERNEL = """
#include "cpu/level.h"
#if defined(__AVX512F__)
const char* fastdist_LEVEL = "avx512";
#elif defined(__AVX2__)
const char* fastdist_LEVEL = "avx2";
#else
const char* fastdist_LEVEL = "baseline";
namespace fastdist::baseline { int64_t twice(int64_t x) { return 2 * x; } }
#endif
"""


@pytest.fixture
def tree(tmp_path) -> Path:
    """A copy of the sources, with the small library in place of csrc/."""
    folder = tmp_path / "source"
    ignore = shutil.ignore_patterns("*.so", "__pycache__", "_extension_missing.txt")
    for name in ("fastdist", "scripts"):
        shutil.copytree(ROOT / name, folder / name, ignore=ignore)
    for name in ("pyproject.toml", "setup.py", "MANIFEST.in", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, folder)
    cpu = folder / "csrc" / "cpu"
    cpu.mkdir(parents=True)
    (folder / "csrc" / "ops.cpp").write_text(OPS)
    (cpu / "level.h").write_text(LEVEL)
    for level in ("baseline", "v3", "v4"):
        (cpu / f"kernels_{level}.cpp").write_text(KERNEL.replace("LEVEL", level))
    return folder


def python(tree: Path, code: str, **variables: str) -> subprocess.CompletedProcess:
    """Run code in the tree, its scripts importable, in an environment without our own settings."""
    ours = ("FASTDIST_", "TORCH_CUDA", "CXX", "CUDA_", "MAX_JOBS", "PIP_")
    environment = {k: v for k, v in os.environ.items() if not k.startswith(ours)}
    environment |= {"FASTDIST_CUDA": "0", "PYTHONPATH": str(tree / "scripts")} | variables
    return subprocess.run(
        [sys.executable, "-c", code],
        cwd=tree,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )


def compiled(tree: Path, **variables: str) -> list[str]:
    """The files that a build compiles, by name."""
    code = "import compile_extension as c; c.build(c.ROOT / c.LIBRARY)"
    answer = python(tree, code, **variables)
    assert answer.returncode == 0, answer.stdout + answer.stderr
    return [Path(name).name for name in re.findall(r"^fastdist:   (\S+)$", answer.stdout, re.M)]


def wheel(tree: Path, **variables: str) -> zipfile.ZipFile:
    """The wheel that the build backend makes, as pip would call it."""
    code = "import build_backend; print(build_backend.build_wheel('dist'))"
    answer = python(tree, code, **variables)
    assert answer.returncode == 0, answer.stdout + answer.stderr
    return zipfile.ZipFile(tree / "dist" / answer.stdout.splitlines()[-1])


@needs_compiler
def test_the_wheel_is_tagged_for_the_platform_and_for_every_python(tree):
    with wheel(tree) as archive:
        assert re.fullmatch(
            r"fastdist_torch-[\d.]+-py3-none-linux_\w+\.whl", Path(archive.filename).name
        )
        assert "fastdist/_extension.so" in archive.namelist()
        assert not [n for n in archive.namelist() if n.startswith(("tests/", "csrc/", "scripts/"))]
        metadata = next(n for n in archive.namelist() if n.endswith("/WHEEL"))
        assert b"Root-Is-Purelib: false" in archive.read(metadata)


@needs_compiler
def test_the_library_loads_into_torch_and_answers(tree):
    compiled(tree)
    code = (
        "import torch; torch.ops.load_library('fastdist/_extension.so');"
        "print(torch.ops.fastdist_build_test.answer(20))"
    )
    assert python(tree, code).stdout.strip() == "41"


@needs_compiler
def test_each_level_gets_its_own_instructions(tree):
    compiled(tree)
    machine = subprocess.run(["g++", "-dumpmachine"], capture_output=True, text=True, check=True)
    library = (tree / "fastdist" / "_extension.so").read_bytes()
    is_x86 = machine.stdout.startswith("x86_64")
    assert (b"avx512\0" in library, b"avx2\0" in library) == (is_x86, is_x86)
    assert b"baseline\0" in library


@needs_compiler
def test_a_second_build_compiles_nothing(tree):
    everything = compiled(tree)
    assert "ops.cpp" in everything
    assert compiled(tree) == []


@needs_compiler
@pytest.mark.parametrize("touched", ["cpu/level.h", "ops.cpp"])
def test_what_reads_a_changed_file_is_compiled_again(tree, touched):
    everything = compiled(tree)
    path = tree / "csrc" / touched
    path.write_text(path.read_text() + "\n")
    expected = everything if touched.endswith(".h") else [Path(touched).name]
    assert sorted(compiled(tree)) == sorted(expected)


@needs_compiler
def test_other_flags_compile_everything_again(tree):
    everything = compiled(tree)
    assert sorted(compiled(tree, FASTDIST_CXXFLAGS="-DOTHER")) == sorted(everything)


@needs_compiler
def test_a_source_that_does_not_compile_is_an_error_with_the_compilers_words(tree):
    (tree / "csrc" / "ops.cpp").write_text("#error this is not it\n")
    answer = python(tree, "import compile_extension as c; c.build(c.ROOT / c.LIBRARY)")
    assert answer.returncode != 0
    assert "this is not it" in answer.stderr
    assert not (tree / "fastdist" / "_extension.so").exists()


def test_without_a_compiler_the_wheel_is_pure_and_holds_the_reason(tree):
    (tree / "fastdist" / "_extension.so").write_bytes(b"of an earlier build")
    with wheel(tree, CXX="no-such-compiler") as archive:
        assert Path(archive.filename).name.endswith("-py3-none-any.whl")
        assert "fastdist/_extension.so" not in archive.namelist()
        note = archive.read("fastdist/_extension_missing.txt").decode()
    assert "no C++ compiler" in note
    assert "no-such-compiler" in note


def test_a_module_that_was_removed_is_not_shipped(tree):
    stale = tree / "build" / "lib" / "fastdist"
    stale.mkdir(parents=True)
    (stale / "removed.py").write_text("")
    with wheel(tree, CXX="no-such-compiler") as archive:
        assert "fastdist/removed.py" not in archive.namelist()


def test_asking_for_the_library_without_a_compiler_is_an_error(tree):
    answer = python(tree, "import setup", CXX="no-such-compiler", FASTDIST_EXTENSION="1")
    assert answer.returncode != 0
    assert "FASTDIST_EXTENSION=1, but" in answer.stderr
    assert "no C++ compiler" in answer.stderr


@needs_compiler
@pytest.mark.parametrize(
    ("wanted", "error"),
    [("1", "FASTDIST_CUDA=1, but no nvcc was found"), ("maybe", "expected 0, 1 or auto")],
)
def test_cuda_that_cannot_be_had_is_an_error_that_says_why(tree, wanted, error):
    cuda = tree / "csrc" / "cuda"
    cuda.mkdir()
    (cuda / "kernel.cu").write_text("__global__ void nothing() {}\n")
    code = (
        "import cuda_toolkit, compile_extension as c; cuda_toolkit._find_nvcc = lambda: None;"
        "c.build(c.ROOT / c.LIBRARY)"
    )
    answer = python(tree, code, FASTDIST_CUDA=wanted)
    assert answer.returncode != 0
    assert error in answer.stderr


@needs_compiler
def test_cuda_on_auto_without_nvcc_builds_for_the_cpu(tree):
    cuda = tree / "csrc" / "cuda"
    cuda.mkdir()
    (cuda / "kernel.cu").write_text("__global__ void nothing() {}\n")
    code = (
        "import cuda_toolkit, compile_extension as c; cuda_toolkit._find_nvcc = lambda: None;"
        "c.build(c.ROOT / c.LIBRARY)"
    )
    answer = python(tree, code, FASTDIST_CUDA="auto")
    assert answer.returncode == 0, answer.stderr
    assert "for the CPU alone: no nvcc was found" in answer.stdout


@needs_compiler
@pytest.mark.slow
@pytest.mark.skipif(shutil.which("nvcc") is None, reason="no nvcc")
def test_cuda_sources_compile_against_any_torch_and_without_a_gpu(tree):
    cuda = tree / "csrc" / "cuda"
    cuda.mkdir()
    (cuda / "kernel.cu").write_text(
        "#include <torch/csrc/stable/tensor.h>\n"
        "#include <torch/csrc/inductor/aoti_torch/c/shim.h>\n"
        'extern "C" __attribute__((weak)) AOTITorchError\n'
        "aoti_torch_get_current_cuda_stream(int32_t, void**);\n"
        "__global__ void one(float* x) { *x = 1; }\n"
        "int launch(float* x) {\n"
        "  void* stream = nullptr;\n"
        "  if (!&aoti_torch_get_current_cuda_stream) return 1;\n"
        "  aoti_torch_get_current_cuda_stream(0, &stream);\n"
        "  one<<<1, 1, 0, static_cast<cudaStream_t>(stream)>>>(x);\n"
        "  return cudaGetLastError();\n"
        "}\n"
    )
    names = compiled(tree, FASTDIST_CUDA="1", TORCH_CUDA_ARCH_LIST="9.0+PTX")
    assert "kernel.cu" in names
    code = "import torch; torch.ops.load_library('fastdist/_extension.so'); print('loaded')"
    assert python(tree, code).stdout.strip() == "loaded"
    audit = (
        "import abi_audit, pathlib; print(abi_audit.audit(pathlib.Path('fastdist/_extension.so')))"
    )
    assert python(tree, audit).stdout.strip() == "[]"


@pytest.mark.parametrize(
    ("asked", "flags"),
    [
        ("8.6", ["arch=compute_86,code=sm_86"]),
        ("9.0a;12.0", ["arch=compute_90a,code=sm_90a", "arch=compute_120,code=sm_120"]),
        ("9.0+PTX", ["arch=compute_90,code=sm_90", "arch=compute_90,code=compute_90"]),
    ],
)
def test_architectures_come_from_the_environment(tree, asked, flags):
    code = (
        "from cuda_toolkit import *; from pathlib import Path;"
        "print(architecture_flags(CudaToolkit(Path('nvcc'), '13.0', Path('.')))[0][1::2])"
    )
    assert python(tree, code, TORCH_CUDA_ARCH_LIST=asked).stdout.strip() == str(flags)


def test_an_architecture_by_name_is_refused(tree):
    code = (
        "from cuda_toolkit import *; from pathlib import Path;"
        "architecture_flags(CudaToolkit(Path('nvcc'), '13.0', Path('.')))"
    )
    answer = python(tree, code, TORCH_CUDA_ARCH_LIST="Hopper")
    assert "TORCH_CUDA_ARCH_LIST holds 'Hopper'" in answer.stderr


def test_torch_is_found_from_within_an_isolated_build(tree, tmp_path):
    # As pip isolates: a sitecustomize on PYTHONPATH takes the site-packages off the path.
    isolation = tmp_path / "isolation"
    isolation.mkdir()
    (isolation / "sitecustomize.py").write_text(
        "import sys; sys.path[:] = [p for p in sys.path if 'site-packages' not in p]\n"
    )
    code = (
        "import importlib.util, find_torch; assert importlib.util.find_spec('torch') is None;"
        "print(find_torch.find_torch().folder)"
    )
    answer = python(tree, code, PYTHONPATH=f"{isolation}{os.pathsep}{tree / 'scripts'}")
    import torch

    assert answer.stdout.strip() == torch.__path__[0], answer.stderr


def test_a_torch_that_is_too_old_is_named(tree, tmp_path):
    old = tmp_path / "torch"
    old.mkdir()
    (old / "version.py").write_text("__version__ = '2.9.1'\n")
    code = "import find_torch; find_torch.find_torch()"
    answer = python(tree, code, FASTDIST_TORCH_DIR=str(old))
    assert f"torch 2.9.1 in {old} is older than 2.10" in answer.stderr
