"""Which kernels one call launches and what each takes, from torch's profiler: ``--kernels``."""

from __future__ import annotations

from collections import Counter

import torch

from benchmarks.gpu.clock import DeviceEntrant


def kernel_times(entrant: DeviceEntrant) -> dict[str, float]:
    """Seconds by kernel name, of one call; empty where there is no GPU."""
    if entrant.clock.kind != "cuda":
        return {}
    with torch.profiler.profile(activities=[torch.profiler.ProfilerActivity.CUDA]) as profile:
        entrant.call(0)
        torch.cuda.synchronize()
    found: Counter[str] = Counter()
    for event in profile.events():
        if event.device_type == torch.autograd.DeviceType.CUDA:
            found[event.name] += event.time_range.elapsed_us() / 1e6
    return dict(found.most_common())
