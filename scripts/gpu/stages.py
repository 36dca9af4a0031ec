"""make gpu-measure, gpu-test, gpu-inspect:  stages.py STAGE... [--only STEP,STEP] [for pytest]

Three stages in the order of what they yield, each within nine minutes (see stage.py):

measure   builds for the GPU that is here, compares every op with the CPU once, and benchmarks maps
          and loss against CuPy, exacta and torch
test      the tests that need a GPU: graphs, streams, threads, memory that runs out; then the whole
          suite, its tensors carried to the GPU and back
inspect   ncu on the two column kernels, the rate of their instruction and all roots,
          compute-sanitizer, and the peers that take long

With the Python and the torch that run this: nothing is installed and nothing downloaded. REHEARSE=1
does the same on CPU tensors, less of it.
"""

from __future__ import annotations

import csv
import importlib.util
import json
import os
import re
import sys
from collections.abc import Callable
from functools import partial
from typing import Any

from stage import HERE, REHEARSAL, ROOT, Stage, tool

DEVICE = "cpu" if REHEARSAL else "cuda"
TIME_OF_A_CASE = 40  # seconds that a benchmark may still take once it has begun
SECONDS_A_FILE = None if REHEARSAL else 200
AT_ONCE = 2 if REHEARSAL else 5  # processes that share the GPU

# The library answers on the device, and a map known by heart comes out.
ANSWERS = f"""
import torch, fastdist
from fastdist import providers
answering = providers.current({DEVICE!r})
assert {REHEARSAL} or answering == "extension", f"on {DEVICE} answers {{answering}}"
mask = torch.zeros(3, 4, dtype=torch.bool, device={DEVICE!r})
mask[:, 1:] = True
assert fastdist.edt(mask, ndim=2).tolist() == [[0.0, 1.0, 2.0, 3.0]] * 3
print("answers on {DEVICE}")
"""

# Two column passes a call; the first call loads them.
COLUMNS = """
import torch, fastdist
from benchmarks.gpu.stage import images
mask = images("blobs", 1, (256, 256, 256)).cuda()
for _ in range(2):
    fastdist.signed_distance(mask, ndim=3)
torch.cuda.synchronize()
"""

Steps = dict[str, Callable[[Stage], Any]]


def build(stage: Stage) -> bool:
    """Compile for this GPU and load it; a rehearsal's library is not the one that is in use."""
    environment, output = {"FASTDIST_EXTENSION": "1"}, []
    if REHEARSAL:
        output = ["--output", str(stage.folder / "rehearsed_extension.so")]
        environment["FASTDIST_CUDA"] = os.environ.get("FASTDIST_CUDA") or "keep"
    else:
        environment["FASTDIST_CUDA"] = "1"
        architectures = os.environ.get("TORCH_CUDA_ARCH_LIST")
        architectures = architectures or stage.record["machine"]["capability"]
        environment["TORCH_CUDA_ARCH_LIST"] = stage.record["architectures"] = architectures
    compile_it = [sys.executable, str(ROOT / "scripts" / "compile_extension.py"), *output]
    made = stage.run("compile", compile_it, environment=environment, always=True)
    (stage.folder / "rehearsed_extension.so").unlink(missing_ok=True)
    if made["status"] != "passed":
        return False
    stage.run("info", [sys.executable, "-m", "fastdist.info"], quiet=True)
    python = [sys.executable, "-c", ANSWERS]
    return stage.run("answers", python, limit=120, always=True)["status"] == "passed"


def small_calls(stage: Stage) -> None:
    """Every op once, against the CPU."""
    quick = ["--quick"] if REHEARSAL else []
    command = [sys.executable, str(HERE / "small_calls.py"), "--device", DEVICE, *quick]
    stage.run("every op", command, limit=90)


def benchmarks(stage: Stage, name: str, only: str | None, slow_peers: bool) -> None:
    """`python -m benchmarks`, its results in the stage's folder, case by case."""
    arguments = ["--rehearse", "--rounds", "1"] if REHEARSAL else ["--device", "cuda"]
    arguments += ["--results", str(stage.folder / "benchmarks")]
    arguments += ["--budget", f"{max(1, stage.left() - TIME_OF_A_CASE):.0f}"]
    if only:
        arguments += ["--only", only]
    slow = {"FASTDIST_SLOW_PEERS": "1" if slow_peers else "0"}
    stage.pytest(name, [*arguments, *PYTEST], module="benchmarks", **slow)
    stage.record["verdicts"] = verdicts(stage)


def verdicts(stage: Stage) -> dict[str, dict[str, Any]]:
    """What each case was to reach on this device, and whether it did; unknown devices have none."""
    found = {}
    for path in (stage.folder / "benchmarks").glob("*.json"):
        for case, result in json.loads(path.read_text(encoding="utf-8"))["cases"].items():
            for against, floor in result["floors"].items():
                kept = {key: floor[key] for key in ("wanted", "device", "device_met")}
                found[f"{case}: {against}"] = kept
    return found


def gpu_tests(name: str, *files: str, marks: str = "cuda and not slow", **more: str) -> Callable:
    paths = [f"tests/test_cuda_{file}.py" for file in files or (name,)]

    def run(stage: Stage, quiet: bool = False) -> None:
        if more.get("FASTDIST_PROVIDER") == "numba" and not importlib.util.find_spec("numba"):
            stage.note(name, "left out", "Numba is not installed")
            return
        arguments = [*paths, "-m", marks, *PYTEST]
        stage.pytest(name, arguments, limit=SECONDS_A_FILE, quiet=quiet, **more)

    return run


def carried(name: str) -> Callable:
    """A file of the suite, by the provider that carries its tensors (tests/cuda_carried.py)."""

    def run(stage: Stage, quiet: bool = False) -> None:
        arguments = [f"tests/test_{name}.py", "-p", "cuda_carried", "-m", "not slow", *PYTEST]
        stage.pytest(
            f"suite {name}",
            arguments,
            limit=SECONDS_A_FILE,
            quiet=quiet,
            FASTDIST_TEST_PROVIDERS="carried",
        )

    return run


# Side by side first; alone what takes all of the GPU's memory. Files that are not listed run, too.
SIDE_BY_SIDE = ("threads", "graphs", "streams", "values", "losses", "signed", "arrays", "training")
ALONE = ("memory", "errors", "sizes")
SUITE = (
    *("edt", "signed", "signed_labels", "labels", "indices", "losses", "losses_gradients"),
    *("arrays", "scipy_api", "ops", "losses_torch", "losses_monai", "signed_peers", "real_maps"),
    *("errors", "errors_maps", "losses_errors", "determinism", "fuzz"),
)


def all_tests() -> tuple[Steps, Steps, Steps]:
    present = {path.stem[len("test_cuda_") :] for path in (ROOT / "tests").glob("test_cuda_*.py")}
    later = sorted(present - set(SIDE_BY_SIDE) - set(ALONE))
    first = {name: gpu_tests(name) for name in (*SIDE_BY_SIDE, *later) if name in present}
    fallback = ["losses"] if REHEARSAL else ["values", "losses", "streams"]
    first["numba"] = gpu_tests("numba", *fallback, FASTDIST_PROVIDER="numba")
    if not REHEARSAL:
        first["inductor"] = gpu_tests("inductor", "torch", marks="cuda and slow")
    alone = {name: gpu_tests(name) for name in ALONE if name in present}
    alone["huge"] = gpu_tests("huge", "sizes", marks="cuda and slow")  # more than 2^31 elements
    if REHEARSAL:
        return first, alone, {"suite indices": carried("indices")}
    return first, alone, {f"suite {name}": carried(name) for name in SUITE}


def ncu(stage: Stage) -> None:
    """All that ncu can count of the two column passes of a 256^3 map."""
    profiler = tool("ncu")
    if REHEARSAL or profiler is None:
        reason = "there is no GPU in a rehearsal" if REHEARSAL else "it is not installed"
        stage.note("ncu", "left out", reason)
        return
    report = stage.folder / "columns"
    command = [profiler, "--set", "full", "--clock-control", "none", "--force-overwrite"]
    command += ["--kernel-name", "regex:columns", "--launch-skip", "2", "--launch-count", "2"]
    step = stage.run("ncu", [*command, "-o", str(report), sys.executable, "-c", COLUMNS], limit=120)
    if not report.with_suffix(".ncu-rep").exists():
        refused(step, stage.log("ncu"))
        return
    text = [profiler, "--import", f"{report}.ncu-rep", "--page", "details", "--csv"]
    stage.run("ncu, as text", text, limit=60, quiet=True)
    metrics: dict[str, dict[str, str]] = {}
    lines = [line for line in stage.log("ncu, as text").splitlines() if line.startswith('"')]
    for row in csv.DictReader(lines):
        kernel = f"{row.get('ID')} {row.get('Kernel Name')}"
        value = f"{row.get('Metric Value')} {row.get('Metric Unit')}".strip()
        metric = f"{row.get('Section Name')}: {row.get('Metric Name')}"
        metrics.setdefault(kernel, {})[metric] = value
    stage.path("columns", "json").write_text(json.dumps(metrics, indent=1) + "\n", encoding="utf-8")


def rates(stage: Stage) -> None:
    """The rate of the column pass's instruction, and every root of a whole number up to 2^24."""
    nvcc = tool("nvcc")
    if nvcc is None:
        stage.note("rates", "left out", "there is no nvcc")
        return
    number = "90" if REHEARSAL else stage.record["machine"]["capability"].replace(".", "")
    made = stage.folder / "rates.out"
    command = [nvcc, "-std=c++20", "-O3", "-fmad=false", f"-arch=sm_{number}", "-o", str(made)]
    command += ["-I", str(ROOT / "csrc"), str(HERE / "rates.cu")]
    compiled = stage.run("rates, compiled", command, limit=90, always=True)
    if compiled["status"] == "passed" and not REHEARSAL:
        stage.run("rates", [str(made)], limit=30)
        said = stage.log("rates")
        if said.startswith("{"):
            stage.path("rates", "json").write_text(said + "\n", encoding="utf-8")
    elif REHEARSAL:
        stage.note("rates", "left out", "there is no GPU in a rehearsal")
    made.unlink(missing_ok=True)


FAULT_FOUND = 9  # exit status
SANITIZERS = {"memcheck": ("bounds", 110), "racecheck": ("race", 110), "synccheck": (None, 60)}


def sanitizer(stage: Stage, name: str) -> None:
    """Every op on small inputs under a tool of compute-sanitizer.

    The tool has to find a planted fault first: else it proves nothing. Checked are the kernels with
    `fastdist` in their names, not torch's own.
    """
    sanitize = tool("compute-sanitizer")
    if REHEARSAL or sanitize is None:
        reason = "there is no GPU in a rehearsal" if REHEARSAL else "it is not installed"
        stage.note(name, "left out", reason)
        return
    # Without torch's cache each tensor is an allocation of its own: what lies beyond it is found.
    environment = {"PYTORCH_NO_CUDA_MEMORY_CACHING": "1", "CUDA_MODULE_LOADING": "LAZY"}
    under = [sanitize, "--tool", name, "--kernel-name", "kns=fastdist"]
    under += ["--report-api-errors", "no", "--error-exitcode", str(FAULT_FOUND), sys.executable]
    planted, limit = SANITIZERS[name]
    if planted:
        plant = [*under, str(HERE / "planted_fault.py"), planted]
        step = stage.run(f"{name} finds", plant, environment=environment, limit=45)
        if "SUMMARY" not in stage.log(f"{name} finds"):
            refused(step, stage.log(f"{name} finds"))
            stage.note(name, "left out", "it does not work here: see the step before")
            return
        if step.get("exit") == FAULT_FOUND:
            step["status"], step["reason"] = "passed", "the planted fault was found"
        elif step["status"] == "passed":
            step["status"], step["reason"] = "failed", "the planted fault was NOT found"
    quick = [] if name == "memcheck" else ["--quick"]
    calls = [*under, str(HERE / "small_calls.py"), *quick]
    step = stage.run(name, calls, environment=environment, limit=limit)
    log = stage.log(name)
    step["summary"] = re.findall(r"(?:ERROR|RACECHECK) SUMMARY: .*", log)
    if name == "racecheck" and re.search(r"RACECHECK SUMMARY: [1-9]", log):
        step["status"] = "failed"  # a hazard of the rank of a warning has exit status 0
    if not step["summary"] and step["status"] != "stopped":
        refused(step, log)


def refused(step: dict[str, Any], log: str) -> None:
    """A tool that does not work on this machine proves nothing, for or against the kernels."""
    if step["status"] == "stopped":
        return
    said = [line for line in log.splitlines() if line.strip()][-3:]
    step["status"] = "left out"
    step["reason"] = "it does not work on this machine: " + (" / ".join(said) or "it said nothing")


def measure(stage: Stage) -> None:
    steps: Steps = {
        "every op": small_calls,
        "benchmarks": partial(
            benchmarks,
            name="benchmarks",
            only="256^3 blobs,loss[c5,step" if REHEARSAL else None,
            slow_peers=False,
        ),
    }
    for step in chosen(steps):
        steps[step](stage)


def test(stage: Stage) -> None:
    groups = all_tests()
    names = chosen({name: step for group in groups for name, step in group.items()})
    for group, at_once in zip(groups, (AT_ONCE, 1, AT_ONCE), strict=True):
        runs = [partial(group[name], stage, quiet=at_once > 1) for name in group if name in names]
        stage.together(runs, at_once)


def inspect(stage: Stage) -> None:
    steps: Steps = {
        "ncu": ncu,
        "rates": rates,
        **{name: partial(sanitizer, name=name) for name in SANITIZERS},
        "slow peers": partial(
            benchmarks,
            name="slow peers",
            only="64^3 blobs" if REHEARSAL else "256^3 blobs,boundary_loss,training_step,blobs",
            slow_peers=True,
        ),
    }
    for step in chosen(steps):
        steps[step](stage)


STAGES = {"measure": measure, "test": test, "inspect": inspect}
ONLY: list[str] = []
PYTEST: list[str] = []  # what is left of the command line


def chosen(steps: Steps) -> list[str]:
    """The steps named by ``--only a,b``; else all of them."""
    unknown = set(ONLY) - set(steps)
    if unknown:
        sys.exit(f"--only: got {', '.join(sorted(unknown))}, expected some of {', '.join(steps)}")
    return [step for step in steps if step in ONLY or not ONLY]


def main(arguments: list[str]) -> int:
    names = [argument for argument in arguments if argument in STAGES]
    PYTEST[:] = [argument for argument in arguments if argument not in STAGES]
    if "--only" in PYTEST[:-1]:
        place = PYTEST.index("--only")
        ONLY[:] = PYTEST[place + 1].split(",")
        del PYTEST[place : place + 2]
    if not names:
        sys.exit(f"expected one of {', '.join(STAGES)}")
    worst = 0
    for name in names:
        stage = Stage(name)
        if build(stage):
            STAGES[name](stage)
        worst = max(worst, stage.finish(), key=(0, 3, 1).index)
    return worst


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
