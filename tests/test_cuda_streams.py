"""Work is done on torch's current stream of the tensors' device, in its order, beside others."""

from concurrent.futures import ThreadPoolExecutor

import pytest
import torch
from cuda_calls import CALLS, batch
from cuda_support import (
    DEVICE,
    assert_same_bits,
    current_stream,
    keep_busy,
    needs_cuda,
    needs_two_gpus,
    new_stream,
    on,
    with_gradient,
)

from fastdist.losses import BoundaryLoss

pytestmark = needs_cuda

SPACE = (9, 33, 17)
DELAY = 30  # milliseconds, many times what any of the calls takes
every_call = pytest.mark.parametrize("call", CALLS.values(), ids=CALLS.keys())


@every_call
def test_a_call_waits_for_what_the_current_stream_still_has_to_do(call):
    read, late = batch(SPACE, DEVICE, seed=1), batch(SPACE, DEVICE, seed=2)
    expected = call(late)
    side = new_stream()
    side.wait_stream(current_stream())
    with on(side):
        keep_busy(DELAY)
        read.copy_(late)  # on any other stream the call would still find the old values
        got = call(read)
        kept = [part.clone() for part in got]  # and its results are ready for what comes next
    side.synchronize()
    assert_same_bits(kept, expected)


@every_call
def test_a_call_that_is_still_waiting_shares_no_scratch_with_one_on_another_stream(call):
    first, second = batch(SPACE, DEVICE, seed=3), batch(SPACE, DEVICE, seed=4)
    expected = call(first), call(second)
    side = new_stream()
    side.wait_stream(current_stream())
    with on(side):
        keep_busy(DELAY)
        waiting = call(first)
    at_once = call(second)
    current_stream().wait_stream(side)
    assert_same_bits(waiting, expected[0])
    assert_same_bits(at_once, expected[1])


def test_threads_with_streams_of_their_own_do_not_disturb_each_other():
    names = list(CALLS)
    batches = [batch(SPACE, DEVICE, seed=seed) for seed in range(4)]
    expected = [[CALLS[name](b) for name in names] for b in batches]
    torch_threads = [new_stream() for _ in batches]
    for stream in torch_threads:
        stream.wait_stream(current_stream())

    def work(i: int):
        with on(torch_threads[i]):
            answers = [CALLS[name](batches[i]) for _ in range(5) for name in names]
        torch_threads[i].synchronize()
        return answers

    with ThreadPoolExecutor(len(batches)) as pool:
        for i, answers in enumerate(pool.map(work, range(len(batches)))):
            for j, got in enumerate(answers):
                assert_same_bits(got, expected[i][j % len(names)])


def test_backward_runs_where_forward_ran():
    b = batch(SPACE, DEVICE)
    loss = BoundaryLoss(softmax=True)
    expected = with_gradient(lambda z: loss(z, b.labels), b.logits, 2.0)
    side = new_stream()
    side.wait_stream(current_stream())
    leaf = b.logits.detach().requires_grad_()
    with on(side):
        keep_busy(DELAY)
        value = loss(leaf, b.labels)
    current_stream().wait_stream(side)
    value.backward()
    assert_same_bits((value.detach(), leaf.grad), expected)


@needs_two_gpus
@every_call
def test_tensors_of_a_gpu_that_is_not_the_current_one(call):
    b = batch(SPACE, "cuda:1")
    expected = call(batch(SPACE, "cuda:0"))
    with torch.cuda.device(0):
        got = call(b)
        assert torch.cuda.current_device() == 0
    assert all(part.device == torch.device("cuda:1") for part in got)
    torch.cuda.synchronize(1)
    assert_same_bits(got, expected)
