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

TOOLKIT = "CudaToolkit(Path('nvcc'), '13.0', Path('.'), Path('.'))"

# What `make demo` asks of nvcc on the way to a library; it notes what it was asked to compile.
NVCC = """#!/bin/bash
case "$*" in
    *--version*) echo "Cuda compilation tools, release 13.0, V13.0.88";;
    *-dryrun*) echo "#$ TOP=$(dirname "$0")/..";;
    *--list-gpu-arch*) echo compute_90;;
    *-c*)
        echo "${@: -3:1}" >>"$(dirname "$0")/compiled"
        echo 'int kernel() { return 1; }' |
            g++ -fPIC -x c++ -c -o "${@: -1}" -
        objcopy --add-section .nv_fatbin=/etc/hostname "${@: -1}"
        : >"${@: -1}.d";;
esac
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
    [("1", "FASTDIST_CUDA=1, but no nvcc was found"), ("maybe", "expected 0, 1, auto or keep")],
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
        'extern "C" const char* fastdist_SOURCE() { return __FILE__; }\n'
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
    library = (tree / "fastdist" / "_extension.so").read_bytes()
    assert b"csrc/cuda/kernel.cu\0" in library  # what is left of the paths, by nvcc too
    assert str(tree).encode() not in library
    audit = (
        "import abi_audit, pathlib; print(abi_audit.audit(pathlib.Path('fastdist/_extension.so')))"
    )
    assert python(tree, audit).stdout.strip() == "[]"


def with_cuda(tree: Path) -> Path:
    """A kernel among the sources, and a toolkit beside them whose nvcc notes what it compiles."""
    (tree / "csrc" / "cuda").mkdir()
    (tree / "csrc" / "cuda" / "kernel.cu").write_text("__global__ void nothing() {}\n")
    for folder in ("bin", "lib64"):
        (tree / "toolkit" / folder).mkdir(parents=True)
    nvcc = tree / "toolkit" / "bin" / "nvcc"
    nvcc.write_text(NVCC)
    nvcc.chmod(0o755)
    archive = tree / "toolkit" / "lib64" / "libcudart_static.a"
    subprocess.run(["ar", "rc", str(archive)], check=True)
    return nvcc


@needs_compiler
@pytest.mark.parametrize(
    ("before", "gpu", "compiles"),
    [(None, False, False), (None, True, True), ("0", True, False), ("1", False, True)],
)
def test_keep_builds_with_cuda_as_the_library_that_is_there(tree, before, gpu, compiles):
    nvcc = with_cuda(tree)
    tool = nvcc.with_name("nvidia-smi")
    tool.write_text(f"#!/bin/sh\nexit {int(not gpu)}\n")
    tool.chmod(0o755)
    here = {"CUDA_HOME": str(tree / "toolkit"), "PATH": f"{nvcc.parent}:{os.environ['PATH']}"}
    log = nvcc.with_name("compiled")
    if before is not None:
        compiled(tree, **here, FASTDIST_CUDA=before)
        log.unlink(missing_ok=True)
        shutil.rmtree(tree / "build")  # so that a build with CUDA would have to compile again
    for _ in range(2):
        compiled(tree, **here, FASTDIST_CUDA="keep")
    assert log.exists() == compiles
    library = tree / "fastdist" / "_extension.so"
    answer = python(tree, f"import cuda_toolkit; print(cuda_toolkit.has_cuda({library!r}))".replace(
        "PosixPath", "__import__('pathlib').Path"))  # fmt: skip
    assert answer.stdout.strip() == str(compiles)
    compiled(tree, **here, FASTDIST_CUDA="auto")  # as `make test` builds
    assert log.exists()


@pytest.mark.parametrize(("given", "asked"), [({}, "keep"), ({"FASTDIST_CUDA": "1"}, "1")])
def test_make_demo_keeps_the_library_that_is_there_unless_told_otherwise(tree, given, asked):
    shutil.copy(ROOT / "Makefile", tree)
    (tree / "scripts" / "make_env.sh").write_text('#!/bin/sh\necho "asked: $FASTDIST_CUDA"\n')
    (tree / "scripts" / "make_env.sh").chmod(0o755)
    environment = {k: v for k, v in os.environ.items() if not k.startswith(("FASTDIST", "MAKE"))}
    answer = subprocess.run(
        ["make", "demo", "PY=true"], cwd=tree, env=environment | given, capture_output=True,
        text=True, check=False,
    )  # fmt: skip
    assert f"asked: {asked}\n" in answer.stdout, answer.stdout + answer.stderr


@pytest.mark.parametrize(
    ("asked", "jobs"), [("", None), ("auto", None), ("AUTO", None), ("1", 1), ("7", 7)]
)
def test_max_jobs_is_a_number_or_auto(tree, asked, jobs):
    code = "import compile_extension as c; print(c._jobs())"
    expected = jobs or len(os.sched_getaffinity(0))
    assert python(tree, code, MAX_JOBS=asked).stdout.strip() == str(expected)


@pytest.mark.parametrize("asked", ["many", "0", "-1", "1.5"])
def test_any_other_max_jobs_is_an_error_that_names_it(tree, asked):
    answer = python(tree, "import compile_extension as c; c._jobs()", MAX_JOBS=asked)
    assert f"MAX_JOBS is '{asked}': expected a whole number above 0, or auto" in answer.stderr


@pytest.mark.parametrize(
    ("version", "flags"), [("12.6", []), ("12.9", []), ("13.0", ["--compress-mode=size"])]
)
def test_code_is_compressed_only_where_every_driver_can_read_it(tree, version, flags):
    code = (
        "from cuda_toolkit import *; from pathlib import Path;"
        f"print({TOOLKIT.replace('13.0', version)}.flags)"
    )
    assert python(tree, code).stdout.strip() == str(flags)


#: Compute capabilities of the GPUs that nvcc 13.0 knows; 13.0 stands for those that come.
GPUS = [
    *("7.5", "8.0", "8.6", "8.7", "8.8", "8.9", "9.0"),
    *("10.0", "10.3", "11.0", "12.0", "12.1", "13.0"),
]


def runs(code: str, gpu: str) -> bool:
    """Machine code runs on its own major version from its minor one on; PTX on all that follow."""
    built, ptx, _ = code.partition("+PTX")
    have, want = (tuple(map(int, name.split("."))) for name in (built, gpu))
    return want >= have and (bool(ptx) or want[0] == have[0])


@pytest.mark.parametrize("known", [GPUS, [g for g in GPUS if g < "9.9" and g[0] != "1"]])
def test_every_gpu_finds_code_that_it_runs(tree, known):
    listed = " ".join("compute_" + name.replace(".", "") for name in known)
    code = (
        "import cuda_toolkit; from cuda_toolkit import *; from pathlib import Path;"
        f"cuda_toolkit._run = lambda *a: {listed!r}; print(architecture_flags({TOOLKIT})[1])"
    )
    built = python(tree, code).stdout.split()
    assert [gpu for gpu in GPUS if not any(runs(name, gpu) for name in built)] == []


@pytest.mark.skipif(shutil.which("nvcc") is None, reason="no nvcc")
def test_ptx_for_10_0_becomes_machine_code_for_11_0(tmp_path):
    (tmp_path / "kernel.cu").write_text("__global__ void one(int* p) { *p = 1; }\n")
    for command in (
        "nvcc -arch=compute_100 -ptx -o kernel.ptx kernel.cu",
        "ptxas -arch=sm_110 -o kernel.cubin kernel.ptx",
    ):
        if shutil.which(command.split()[0]) is None:
            pytest.skip("no ptxas")
        done = subprocess.run(
            command.split(), cwd=tmp_path, capture_output=True, text=True, check=False
        )
        if "Unsupported gpu architecture" in done.stderr or "not defined for option" in done.stderr:
            pytest.skip("an nvcc older than these GPUs")
        assert done.returncode == 0, done.stderr


PATHS = """
extern "C" const char* fastdist_SOURCE() { return __FILE__; }
#include "cpu/level.h"
"""


@needs_compiler
def test_no_path_of_the_building_machine_is_in_the_library(tree):
    source = tree / "csrc" / "cpu" / "kernels_baseline.cpp"
    source.write_text(source.read_text() + PATHS)
    header = "inline const char* fastdist_header() { return __FILE__; }\n"
    (tree / "csrc" / "cpu" / "level.h").write_text("#pragma once\n" + LEVEL + header)
    source.write_text(source.read_text() + "const char* fastdist_HEADER = fastdist_header();\n")
    compiled(tree)
    library = (tree / "fastdist" / "_extension.so").read_bytes()
    assert b"csrc/cpu/kernels_baseline.cpp\0" in library  # what is left of them
    assert b"csrc/cpu/level.h\0" in library
    assert b"torch/include/torch/" in library  # torch's macros name their headers
    import torch

    for path in (tree, torch.__path__[0], ROOT, "site-packages"):
        assert str(path).encode() not in library, path


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
        f"print(architecture_flags({TOOLKIT})[0][1::2])"
    )
    assert python(tree, code, TORCH_CUDA_ARCH_LIST=asked).stdout.strip() == str(flags)


def test_an_architecture_by_name_is_refused(tree):
    code = (
        "from cuda_toolkit import *; from pathlib import Path;"
        f"architecture_flags({TOOLKIT})"
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
