"""``python -m fastdist.info``: what is installed here, and who answers.

Versions, the compiled library and what it was built for, which provider answers each op on each
device, and why it is not a faster one. The text to paste into a bug report.
"""

from __future__ import annotations

import importlib.metadata
import json
import os
import platform

import torch

from fastdist import ops, providers
from fastdist.providers import cuda, extension

_PACKAGES = ("torch", "numpy", "numba", "numba-cuda", "scipy")


def report() -> str:
    """The text that ``python -m fastdist.info`` prints."""
    return "\n".join([*_versions(), "", *_library(), "", *_providers(), "", *_devices()])


def _version(distribution: str) -> str:
    try:
        return importlib.metadata.version(distribution)
    except importlib.metadata.PackageNotFoundError:
        return "not installed"


def _versions() -> list[str]:
    lines = [
        f"fastdist-torch  {_version('fastdist-torch')} ({extension.LIBRARY.parent})",
        f"python          {platform.python_version()} ({platform.platform()})",
    ]
    lines += [f"{name:16}{_version(name)}" for name in _PACKAGES]
    gpu = torch.cuda.get_device_name() if torch.cuda.is_available() else "no device"
    lines.append(f"cuda            torch built for {torch.version.cuda or 'the CPU only'}; {gpu}")
    lines.append(f"threads         {torch.get_num_threads()} of {os.cpu_count()} processors")
    return lines


def _library() -> list[str]:
    reason = extension.available()
    if reason is not None:
        return [f"library: {reason}"]
    lines = [f"library: {extension.LIBRARY}"]
    built = json.loads(ops.build_info())
    return lines + [f"    {key.replace('_', ' ')}: {value}" for key, value in built.items()]


def _providers() -> list[str]:
    lines = ["providers, the fastest first:"]
    for name, reason in providers.reasons().items():
        lines.append(f"    {name:11}{'available' if reason is None else f'not here: {reason}'}")
    return lines


def _devices() -> list[str]:
    lines = ["who answers:"]
    for device in ("cpu", "cuda"):
        name = providers.current(device)
        lines.append(f"    {device:6}{name or 'nobody'}{_why(device, name)}")
    return lines


def _why(device: str, name: str | None) -> str:
    """Why no faster provider answers, where one could."""
    if device == "cuda":
        if not torch.cuda.is_available():
            return " (torch sees no CUDA device)" if name is None else " (but torch sees no device)"
        if name == "extension":
            return ""
        if name is None:
            return f" ({cuda.why_nobody()})"
        return f" ({extension.available() or 'the compiled library was built without CUDA'})"
    forced = os.environ.get(providers.ENVIRONMENT_VARIABLE)
    if forced == name:
        return f" ({providers.ENVIRONMENT_VARIABLE} says so)"
    faster = list(providers.ORDER)[: list(providers.ORDER).index(name)] if name else []
    return (
        f" (faster, but not here: {', '.join(faster)}; the reasons stand above)" if faster else ""
    )


if __name__ == "__main__":
    print(report())
