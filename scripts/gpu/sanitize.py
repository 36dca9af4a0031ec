"""make gpu-sanitize: every op on small inputs under compute-sanitizer, its values checked besides.

Each tool is tried on a planted fault first: a tool that does not find it proves nothing. Checked
are the kernels with `fastdist` in their names, not torch's own.
"""

from __future__ import annotations

import re
import sys

from stage import HERE, REHEARSAL, Stage, more_arguments, tool

FAULT_FOUND = 9  # exit status
TOOLS = {"memcheck": 150, "racecheck": 150, "synccheck": 90}  # seconds each may take
PLANTED = {"memcheck": "bounds", "racecheck": "race"}


def main() -> int:
    stage = Stage("sanitize")
    calls = [sys.executable, str(HERE / "small_calls.py")]
    if REHEARSAL:
        stage.leave_out("compute-sanitizer", "there is no GPU in a rehearsal")
        stage.run("small calls", [*calls, "--device", "cpu", "--quick", *more_arguments()])
        return stage.finish()
    stage.run("small calls", [*calls, *more_arguments()], limit=60)
    sanitizer = tool("compute-sanitizer")
    if sanitizer is None:
        stage.step_failed("compute-sanitizer", "it is neither on PATH nor in /usr/local/cuda/bin")
        return stage.finish()
    # Without torch's cache each tensor is an allocation of its own: what lies beyond it is found.
    environment = {"PYTORCH_NO_CUDA_MEMORY_CACHING": "1", "CUDA_MODULE_LOADING": "LAZY"}
    for name, limit in TOOLS.items():
        under = [sanitizer, "--tool", name, "--kernel-name", "kns=fastdist"]
        under += ["--report-api-errors", "no", "--error-exitcode", str(FAULT_FOUND)]
        if name in PLANTED:
            plant = [*under, sys.executable, str(HERE / "planted_fault.py"), PLANTED[name]]
            step = stage.run(f"{name} finds", plant, environment=environment, limit=60)
            found = step.get("exit") == FAULT_FOUND
            step["status"] = "passed" if found else "failed"
            step["reason"] = "the planted fault was " + ("found" if found else "NOT found")
        quick = [] if name == "memcheck" else ["--quick"]
        step = stage.run(
            name, [*under, *calls, *quick, *more_arguments()], environment=environment, limit=limit
        )
        log = stage.path(name, "log").read_text(encoding="utf-8")
        step["summary"] = re.findall(r"(?:ERROR|RACECHECK) SUMMARY: .*", log)
        if name == "racecheck" and re.search(r"RACECHECK SUMMARY: [1-9]", log):
            step["status"] = "failed"  # a hazard of the rank of a warning has exit status 0
        if not step["summary"]:
            step["status"], step["reason"] = "failed", "compute-sanitizer gave no summary"
    return stage.finish()


if __name__ == "__main__":
    sys.exit(main())
