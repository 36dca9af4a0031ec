"""make gpu-build: compiles the library for the GPU that is here, loads it, asks who answers.

With the Python and the torch that run this: nothing is installed and nothing downloaded. A
rehearsal compiles as `make build` does, and links elsewhere: the library in use stays.
"""

from __future__ import annotations

import os
import sys

from stage import REHEARSAL, ROOT, Stage

# The library answers on the device, and a map known by heart comes out.
CHECK = """
import torch, fastdist
from fastdist import providers
device, expected = {device!r}, {provider!r}
answering = providers.current(device)
assert expected in (None, answering), f"on {{device}} answers {{answering}}, not {{expected}}"
mask = torch.zeros(3, 4, dtype=torch.bool, device=device)
mask[:, 1:] = True
assert fastdist.edt(mask, ndim=2).tolist() == [[0.0, 1.0, 2.0, 3.0]] * 3
print("answers on", device)
"""


def main() -> int:
    stage = Stage("build")
    environment = {"FASTDIST_EXTENSION": "1"}
    output = []
    if REHEARSAL:
        output = ["--output", str(stage.folder / "rehearsed_extension.so")]
    else:
        environment["FASTDIST_CUDA"] = "1"
        if not os.environ.get("TORCH_CUDA_ARCH_LIST"):
            environment["TORCH_CUDA_ARCH_LIST"] = stage.record["machine"]["capability"]
        stage.record["architectures"] = (
            os.environ.get("TORCH_CUDA_ARCH_LIST") or environment["TORCH_CUDA_ARCH_LIST"]
        )
    compile_it = [sys.executable, str(ROOT / "scripts" / "compile_extension.py"), *output]
    if stage.run("compile", compile_it, environment=environment)["status"] == "passed":
        stage.run("info", [sys.executable, "-m", "fastdist.info"])
        device, provider = ("cpu", None) if REHEARSAL else ("cuda", "extension")
        check = CHECK.format(device=device, provider=provider)
        stage.run("answers", [sys.executable, "-c", check], limit=120)
    return stage.finish()


if __name__ == "__main__":
    sys.exit(main())
