"""The emulator bites: each fault planted in emulator_kernels/faulty.h is caught, and named."""

from __future__ import annotations

import shutil

import numpy as np
import pytest
from emulator_kernels import toys

pytestmark = pytest.mark.skipif(
    not (toys.ROOT / "scripts").is_dir() or shutil.which("g++") is None,
    reason="compiles toy kernels: needs the sources and g++",
)

#: Kernel; the threads that may be named; what is said about them.
NAMED = {
    "divergent_barrier": (
        range(32),
        r"divergent barrier: waits with 32 of 64 threads at __syncthreads \(faulty.h:\d+\), "
        r"but thread 32 has returned",
    ),
    "different_barriers": (range(64), r"divergent barrier: waits at __syncthreads.*_or"),
    "barrier_in_two_places": (
        range(64),
        r"waits at __syncthreads \(faulty.h:(\d+)\), but .* at __syncthreads \(faulty.h:(?!\1)",
    ),
    "lane_outside_of_its_mask": (
        [37],
        r"lane 5 calls __shfl_xor_sync \(faulty.h:\d+\) with mask 0xffffffdf, which leaves it out",
    ),
    "lane_has_returned": (
        range(32, 64),
        r"(__ballot_sync .* waits for lane 5, which has returned|lane 5 has returned, but lane)",
    ),
    "lane_at_the_barrier": (
        range(64),
        r"(waits for lane 5, which waits at a barrier|lane 5 waits at a barrier|divergent barrier)",
    ),
    "different_masks": (
        range(32, 64),
        r"with mask 0xffffffff waits for lane 5, .* with another mask, 0x0000ffff",
    ),
    "different_collectives": (range(32, 64), r"__(all|any)_sync .* meets __(any|all)_sync"),
    "different_widths_of_value": (range(32, 64), r"__shfl_sync of (4|8) bytes .* of (8|4) bytes"),
    "width_no_power_of_two": (range(64), r"__shfl_sync .* width 12: expected a power of two"),
    "null_pointer": ([37], r"segmentation fault at address"),
    "stack_overrun": ([37], r"overran its stack"),
}


@pytest.fixture(params=toys.SCHEDULES)
def schedule(request) -> str:
    toys.set_schedule(request.param, seed=1)
    return request.param


def outputs(name: str) -> list[np.ndarray]:
    """What the kernel writes under each schedule."""
    found = []
    for schedule in toys.SCHEDULES:
        toys.set_schedule(schedule, seed=1)
        found.append(toys.faulty(name))
    return found


def fault(name: str) -> tuple[str, int | None, str]:
    """The fault that a kernel ends with: all of the message, the thread it names, and what of it.

    Afterwards the emulator has to work as before.
    """
    with pytest.raises(RuntimeError) as caught:
        toys.faulty(name)
    values, sums = np.ones((3, 256), np.int32), np.empty(3, np.int64)
    toys.call("sum", 3, 256, values, sums)
    assert sums.tolist() == [256] * 3
    message = str(caught.value)
    where, _, what = message.removeprefix("emulator: ").partition(": ")
    kernel, block, *thread = where.split(", ")
    assert (kernel, block) == (f"kernel {name}", "block 1")
    return message, int(thread[0].removeprefix("thread ")) if thread else None, what


@pytest.mark.parametrize(
    "name", ["missing_barrier", "missing_second_barrier", "missing_warp_barrier"]
)
def test_a_missing_barrier_shows_as_results_that_differ_between_schedules(name):
    forward, reverse, _ = outputs(name)
    assert (forward != reverse).any()


@pytest.mark.parametrize("name", ["missing_barrier", "missing_warp_barrier"])
def test_a_missing_barrier_shows_under_the_shuffled_schedule_too(name):
    forward, reverse, shuffled = outputs(name)
    assert (shuffled != forward).any()
    assert (shuffled != reverse).any()


def test_a_race_between_blocks_shows_as_results_that_differ_between_schedules():
    forward, reverse, shuffled = outputs("race_between_blocks")
    assert (forward != reverse).any()
    assert (forward != shuffled).any()


def test_shared_memory_that_nobody_wrote_holds_another_poison_in_each_schedule():
    found = [set(out.tolist()) for out in outputs("uninitialised_shared")]
    assert all(len(values) == 1 for values in found)
    assert len(set.union(*found)) == 3
    assert 0 not in set.union(*found)


def test_an_output_that_nobody_wrote_holds_another_poison_in_each_schedule():
    found = outputs("forgets_an_element")
    assert len({int(out[77]) for out in found}) == 3
    for out in found:
        assert (np.delete(out, 77) == np.delete(np.arange(out.size), 77)).all()


def test_what_a_shuffle_reads_from_outside_of_its_mask_is_poison():
    found = outputs("shuffle_from_outside_of_the_mask")
    assert len({int(out[0]) for out in found}) == 3
    for out in found:
        assert (out.reshape(-1, 32)[:, 16:] == 7).all()


@pytest.mark.parametrize("name", NAMED)
def test_a_fault_is_an_error_that_names_kernel_block_and_thread(schedule, name):
    threads, what = NAMED[name]
    message, thread, said = fault(name)
    assert thread in threads
    assert pytest.raises(RuntimeError, match=what).matches(RuntimeError(said))
    assert f"(schedule {schedule}" in message


@pytest.mark.parametrize(
    ("name", "where"),
    [
        ("shared_overrun", "0 bytes behind its 256"),
        ("shared_underrun", "1 bytes before its first"),
    ],
)
def test_a_write_outside_of_shared_memory_names_kernel_and_block_and_if_asked_the_thread(
    schedule, monkeypatch, name, where
):
    _, thread, said = fault(name)
    assert thread is None
    assert f"wrote outside of the block's shared memory, {where}" in said
    assert "FASTDIST_EMULATOR_CHECK=1" in said
    monkeypatch.setenv("FASTDIST_EMULATOR_CHECK", "1")
    _, thread, said = fault(name)
    assert thread == 37
    assert f"wrote outside of the block's shared memory, {where}" in said
