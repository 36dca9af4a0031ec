"""The emulator under ASan and UBSan: what only these see ends the process, and is named all the
same."""

from __future__ import annotations

import shutil
import subprocess

import pytest
from emulator_kernels import toys


def _has_sanitizers() -> bool:
    """Whether the compiler comes with the runtimes."""
    if shutil.which("g++") is None:
        return False
    probe = ["g++", "-fsanitize=address,undefined", "-x", "c++", "-", "-o", "/dev/null"]
    return subprocess.run(probe, input=b"int main() {}", capture_output=True).returncode == 0


pytestmark = pytest.mark.skipif(
    not (toys.ROOT / "scripts").is_dir() or not _has_sanitizers(),
    reason="compiles toy kernels: needs the sources, g++ and its sanitizers",
)


@pytest.fixture(params=toys.SCHEDULES)
def schedule(request) -> str:
    return request.param


def test_right_kernels_pass_and_fibers_raise_no_false_alarm(schedule):
    answer = toys.run_sanitized("right", schedule)
    assert answer.stdout == "fine\n"
    assert answer.stderr == ""
    assert answer.returncode == 0


@pytest.mark.parametrize(
    ("name", "report"),
    [
        ("shared_overrun", "AddressSanitizer: use-after-poison"),
        ("shared_underrun", "AddressSanitizer: use-after-poison"),
        ("shared_overread", "AddressSanitizer: use-after-poison"),
        ("global_overrun", "AddressSanitizer: heap-buffer-overflow"),
        ("stack_overrun", "AddressSanitizer: stack-overflow"),
        ("shift_overflow", "runtime error: shift exponent 32 is too large"),
        ("signed_overflow", "runtime error: signed integer overflow: 2147483647 \\+ 37"),
        ("misaligned_vector", "runtime error: store to misaligned address"),
        ("null_pointer", "runtime error: store to null pointer"),
    ],
)
def test_what_a_sanitizer_reports_is_followed_by_kernel_block_and_thread(schedule, name, report):
    answer = toys.run_sanitized(name, schedule)
    assert answer.returncode != 0
    assert pytest.raises(RuntimeError, match=report).matches(RuntimeError(answer.stderr))
    assert "faulty.h" in answer.stderr
    assert answer.stderr.endswith(f"emulator: that was kernel {name}, block 1, thread 37\n")


@pytest.mark.parametrize("name", ["divergent_barrier", "lane_has_returned", "different_masks"])
def test_the_emulator_s_own_errors_leave_nothing_behind_that_a_sanitizer_minds(schedule, name):
    answer = toys.run_sanitized(name, schedule)
    assert answer.stdout.startswith(f"emulator: kernel {name}, block 1, thread ")
    assert answer.stderr == ""
