"""Nothing waits for the device: every call under torch's watch, and recorded as a CUDA graph.

A graph is the proof that no call synchronises, allocates past torch or copies from the host: each
of these makes the recording fail. It is replayed on new input, so that nothing was remembered.
"""

import pytest
import torch
from cuda_calls import CALLS, batch
from cuda_support import (
    DEVICE,
    Captured,
    assert_same_bits,
    current_stream,
    needs_cuda,
    new_stream,
    no_synchronisation,
    on,
)

from fastdist.losses import BoundaryLoss, RebalanceSchedule

pytestmark = needs_cuda

every_call = pytest.mark.parametrize("call", CALLS.values(), ids=CALLS.keys())
every_rank = pytest.mark.parametrize("space", [(200,), (31, 65), (9, 33, 17)], ids=str)


@every_call
@every_rank
def test_no_call_waits_for_the_device(call, space):
    b = batch(space, DEVICE)
    expected = call(b)
    with no_synchronisation():
        got = call(b)
    assert_same_bits(got, expected)


@every_call
@every_rank
def test_a_recorded_call_gives_the_same_bits_on_new_input(call, space):
    kept = batch(space, DEVICE, seed=1)
    graph = Captured(lambda: call(kept))
    for seed in (2, 3):
        other = batch(space, DEVICE, seed=seed)
        kept.copy_(other)
        graph.replay()
        assert_same_bits(graph.outputs, call(other))


def test_a_recorded_call_copes_with_empty_and_full_images():
    kept = batch((9, 33, 17), DEVICE)
    graph = Captured(lambda: CALLS["maps"](kept) + CALLS["loss, softmax"](kept))
    for label in (0, 1, 2):
        kept.labels.fill_(label)
        graph.replay()
        assert_same_bits(graph.outputs, CALLS["maps"](kept) + CALLS["loss, softmax"](kept))


def test_a_whole_training_step_is_recorded_with_its_schedule():
    torch.manual_seed(0)
    kept = batch((31, 65), DEVICE, items=3)
    model = torch.nn.Conv2d(1, 3, 3, padding=1).to(DEVICE)
    images = torch.randn(3, 1, 31, 65, device=DEVICE)
    boundary, schedule = BoundaryLoss(softmax=True), RebalanceSchedule(10).to(DEVICE)
    cross_entropy = torch.nn.CrossEntropyLoss()

    def step():
        logits = model(images)
        loss = schedule.combine(cross_entropy(logits, kept.labels), boundary(logits, kept.labels))
        return (loss.detach(), *torch.autograd.grad(loss, list(model.parameters())))

    graph = Captured(step)
    before = schedule.alpha.clone()
    schedule.step()
    assert schedule.alpha != before
    kept.copy_(batch((31, 65), DEVICE, items=3, seed=4))
    graph.replay()
    for recorded, now in zip(graph.outputs, step(), strict=True):
        torch.testing.assert_close(recorded, now)  # a convolution may pick another algorithm


def test_graphs_of_two_streams_are_replayed_side_by_side():
    names = ["maps", "loss, softmax"]
    batches = [batch((9, 33, 17), DEVICE, seed=seed) for seed in (5, 6)]
    streams = [new_stream() for _ in names]
    graphs = []
    for name, b, stream in zip(names, batches, streams, strict=True):
        stream.wait_stream(current_stream())
        with on(stream):
            graphs.append(Captured(lambda name=name, b=b: CALLS[name](b)))
    for _ in range(20):
        for graph, stream in zip(graphs, streams, strict=True):
            with on(stream):
                graph.replay()
    for name, b, stream, graph in zip(names, batches, streams, graphs, strict=True):
        stream.synchronize()
        assert_same_bits(graph.outputs, CALLS[name](b))
