"""The executor of PTX (tools/ptx): what it refuses, and the faults that it finds in toy kernels."""

from __future__ import annotations

import ctypes
import os
import re
import subprocess
import sys

import numpy as np
import pytest
import torch

import fastdist
from fastdist import providers
from fastdist.providers import ptx

if reason := ptx.available():
    pytest.skip(reason, allow_module_level=True)

ARCH = os.environ.get("FASTDIST_PTX_ARCH") or "9.0"
#: Thread t of 64 has its number in %r1, four times it in %r2, the address of out[t] in %rd2.
HEAD = """.version 8.0
.target sm_75
.address_size 64
.extern .shared .align 16 .b8 memory[];
.visible .entry toy(.param .u64 toy_param_0) {
.reg .pred %p<8>;
.reg .b32 %r<16>;
.reg .b64 %rd<8>;
ld.param.u64 %rd1, [toy_param_0];
mov.u32 %r1, %tid.x;
shl.b32 %r2, %r1, 2;
mul.wide.u32 %rd3, %r1, 4;
add.s64 %rd2, %rd1, %rd3;
mov.u32 %r3, memory;
add.s32 %r4, %r3, %r2;
"""
TAIL = "st.global.u32 [%rd2], %r5;\nret;\n}\n"
#: Every thread writes its number, and reads that of the neighbour in the other warp's half.
EXCHANGE = """st.shared.u32 [%r4], %r1;
{barrier}
xor.b32 %r6, %r2, {distance};
add.s32 %r7, %r3, %r6;
ld.shared.u32 %r5, [%r7];
"""


def run(body: str, *, threads: int = 64, shared: int = 256) -> np.ndarray:
    out = np.zeros(threads, np.uint32)
    module = ptx.Module(HEAD + body + TAIL)
    with ptx.memory(out):
        module.launch("toy", (1,), (threads,), [ctypes.c_void_p(out.ctypes.data)], shared)
    return out


def test_threads_of_a_block_exchange_numbers_across_a_barrier():
    out = run(EXCHANGE.format(barrier="bar.sync 0;", distance=128))
    assert out.tolist() == [t ^ 32 for t in range(64)]


@pytest.mark.parametrize(
    ("barrier", "distance", "finds"),
    [
        ("", 128, "a race"),
        ("bar.warp.sync 0xffffffff;", 128, "a race"),  # the other warp's number
        ("bar.warp.sync 0xffffffff;", 4, None),
        ("", 4, "a race"),
        ("shfl.sync.idx.b32 %r9|%p1, %r1, 0, 31, 0xffffffff;", 4, "a race"),  # no fence
        ("vote.sync.ballot.b32 %r9, %p1, 0xffffffff;", 4, "a race"),
        ("membar.cta;", 4, "a race"),
    ],
)
def test_only_barriers_order_shared_memory(barrier, distance, finds):
    body = "setp.eq.s32 %p1, %r1, 0;\n" + EXCHANGE.format(barrier=barrier, distance=distance)
    if finds is None:
        run(body)
        return
    with pytest.raises(RuntimeError, match=rf"kernel toy, block 0, thread \d+, PTX line .*{finds}"):
        run(body)


@pytest.mark.parametrize(
    ("body", "finds"),
    [
        ("ld.shared.u32 %r5, [%r4+2];", "thread 0, PTX line 16 .*misaligned address, of 4 bytes"),
        ("ld.shared.u32 %r5, [%r4+4];", "thread 63, .*shared memory out of bounds: byte 256 of"),
        ("ld.param.u32 %r5, [toy_param_0+8];", "parameter out of bounds: byte 8"),
        ("ld.global.u32 %r5, [%rd2+252];", "thread 1, .*global memory out of bounds: 4 bytes, 0"),
        ("ld.global.u32 %r5, [%rd2+-4];", "thread 0, .*global memory out of bounds"),
        ("ld.global.u64 %rd4, [%rd1+4];", "misaligned address, of 8 bytes"),
        ("st.global.u32 [%rd1], %r1;", "a race: writes global byte 0"),
        ("vote.sync.any.pred %p1, %p1, 0xfffffffe;", "thread 0, .*not among the members"),
        ("setp.lt.u32 %p1, %r1, 9;\n@%p1 vote.sync.any.pred %p1, %p1, 0x1ff;", "leave out"),
        (
            "setp.lt.u32 %p1, %r1, 9;\n@%p1 bra $A;\nbar.warp.sync 0xffffffff;\nbra $B;\n"
            "$A:\nbar.warp.sync 0x1ff;\n$B:\nmov.u32 %r5, 0;",
            "lanes wait for one another",
        ),
        (
            "setp.lt.u32 %p1, %r1, 9;\n@%p1 bra $A;\nmov.u32 %r8, 31;\n"
            "shfl.sync.idx.b32 %r5|%p2, %r1, 0, %r8, 0xfffffe00;\n$A:\nmov.u32 %r5, 0;",
            "a shuffle reads lane 0, which takes no part",
        ),
        (
            "setp.lt.u32 %p1, %r1, 9;\n@%p1 bra $A;\nbar.sync 0;\nbra $B;\n"
            "$A:\nmov.u32 %r5, 0;\n$C:\nbra $D;\n$D:\nbar.sync 0;\n$B:\nmov.u32 %r5, 0;",
            "lanes wait for one another",
        ),
    ],
)
def test_a_fault_is_named_with_its_place(body, finds):
    with pytest.raises(RuntimeError, match=finds) as caught:
        run(body + "\n")
    assert "\n" not in str(caught.value)


def test_memory_that_is_only_read_is_not_written():
    out = np.zeros(64, np.uint32)
    out.flags.writeable = False
    module = ptx.Module(HEAD + "mov.u32 %r5, 0;\n" + TAIL)
    with ptx.memory(out), pytest.raises(RuntimeError, match="memory that may be written"):
        module.launch("toy", (1,), (64,), [ctypes.c_void_p(out.ctypes.data)])


@pytest.mark.parametrize(
    ("old", "new", "says"),
    [
        ("mov.u32 %r5, 0;", "tex.2d %r5, 0;", "PTX line 16 for sm_75: unknown instruction tex"),
        ("mov.u32 %r5, 0;", "mov.u32 %r99, 0;", "PTX line 16 for sm_75: cannot translate dest"),
        (".version 8.0", ".version 9.9", "version 9.9, newer than 9.0, the newest that is known"),
        (".version 8.0", "", "no PTX"),
    ],
)
def test_ptx_that_is_not_understood_is_an_error_of_one_line(old, new, says):
    text = (HEAD + "mov.u32 %r5, 0;\n" + TAIL).replace(old, new)
    with pytest.raises(RuntimeError, match=says) as caught:
        ptx.Module(text)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("old", "new", "arch", "says"),
    [
        (b"", b"", "6.1", "no PTX for sm_61, only for sm_"),
        (b"bar.sync 0;", b"bar.sunk 0;", ARCH, "unknown instruction bar.sunk"),
        (rb"\.version \d\.\d", b".version 9.9", ARCH, "PTX of version 9.9, newer than"),
    ],
)
def test_a_library_that_is_not_understood_is_one_line_and_exit_status_1(
    old, new, arch, says, tmp_path
):
    library, original = tmp_path / "_ptx.so", ptx.LIBRARY.read_bytes()
    library.write_bytes(re.sub(old, new, original) if old else original)
    command = [sys.executable, "-m", "fastdist.providers.ptx", "--library", str(library)]
    answer = subprocess.run([*command, "--arch", arch], capture_output=True, text=True)
    assert (answer.returncode, answer.stdout) == (1, "")
    (line,) = answer.stderr.splitlines()
    assert says in line


def test_too_little_shared_memory_is_one_line():
    code = "import torch, fastdist; fastdist.signed_distance(torch.eye(40), ndim=2)"
    environment = dict(os.environ, FASTDIST_PROVIDER="ptx", FASTDIST_PTX_SHARED_BYTES="10")
    answer = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, env=environment
    )
    assert answer.returncode == 1
    last = answer.stderr.splitlines()[-1]
    assert last.startswith("RuntimeError: fastdist: ")
    assert "a block has 10 bytes of shared memory" in last


def test_every_schedule_gives_the_same_bits():
    mask = torch.rand(2, 9, 37, generator=torch.Generator().manual_seed(0)) < 0.8
    results = []
    with providers.forced("ptx"):
        for name, seed in (("forward", 0), ("reverse", 0), ("shuffled", 1), ("shuffled", 2)):
            with ptx.schedule(name, seed):
                results.append(fastdist.signed_distance(mask, ndim=2))
    assert all(torch.equal(results[0], other) for other in results[1:])


def test_an_unknown_schedule_is_an_error_that_lists_the_known_ones():
    with (
        pytest.raises(ValueError, match="expected 'forward', 'reverse' or 'shuffled'"),
        ptx.schedule("backwards"),
    ):
        pass


@pytest.mark.parametrize(("stride", "sectors", "waves"), [(4, 8, 2), (8, 16, 4), (128, 64, 64)])
def test_counts_are_what_one_counts_by_hand(stride, sectors, waves):
    """Two warps read 4 bytes a lane of global and of shared memory, so many bytes apart."""
    body = f"""mul.lo.s32 %r6, %r1, {stride};
add.s32 %r7, %r3, %r6;
ld.shared.u32 %r8, [%r7];
mul.wide.u32 %rd4, %r1, {stride};
add.s64 %rd4, %rd1, %rd4;
ld.global.u32 %r5, [%rd4];
ret;
"""
    memory = np.zeros(64 * stride // 4 + 8, np.uint32)
    begin = memory.ctypes.data + -memory.ctypes.data % 32
    module = ptx.Module(HEAD + body + TAIL)
    with ptx.memory(memory), ptx.counting():
        module.launch("toy", (1,), (64,), [ctypes.c_void_p(begin)], 64 * stride)
        counted = ptx.counts()["toy"]
    assert (counted["blocks"], counted["threads"]) == (1, 64)
    assert counted["instructions"] == 2 * (7 + 7)
    assert counted["lanes"] == 32 * counted["instructions"]
    assert (counted["sectors_read"], counted["sectors_written"]) == (sectors, 0)
    assert counted["shared_waves"] == waves


ROOTS = """
import numpy as np, torch, fastdist
mask = torch.ones(900, 1400, dtype=torch.bool)
mask[0, 0] = False
y, x = np.mgrid[:900, :1400].astype(np.int64)
found = fastdist.edt(mask, ndim=2).numpy()
print(int((found != np.sqrt(y * y + x * x).astype(np.float32)).sum()))
"""


@pytest.mark.parametrize("end", ["low", "high", "random"])
def test_roots_are_right_wherever_in_its_error_the_approximation_answers(end):
    environment = dict(os.environ, FASTDIST_PROVIDER="ptx", FASTDIST_PTX_APPROX=end)
    answer = subprocess.run(
        [sys.executable, "-c", ROOTS], capture_output=True, text=True, env=environment
    )
    assert answer.stdout == "0\n", answer.stderr
