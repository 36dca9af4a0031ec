"""The losses inside torch's machinery: compile, vmap, inference mode, threads, training."""

import pytest
import torch
import torch._dynamo.testing
from loss_oracle import ACTIVATIONS, lesion_labels, settings, with_gradient

from fastdist.functional import boundary_loss
from fastdist.losses import BoundaryLoss, RebalanceSchedule

SETTINGS = {
    "softmax": {"softmax": True},
    "sigmoid": {"sigmoid": True, "include_background": False, "spacing": (1.0, 2.0)},
    "other_act": {"other_act": torch.tanh, "ignore_index": 255, "offset": True, "batch": True},
}


def batch_of(size, space, num_classes=3, seed=0):
    labels = lesion_labels(size, space, num_classes, seed)
    shape = (size, num_classes, *space)
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed)), labels


def assert_close(result, expected):
    for part, other in zip(result, expected, strict=True):
        torch.testing.assert_close(part, other)


@pytest.mark.parametrize("name", SETTINGS)
def test_compiles_to_one_graph_of_any_shape(name, provider):
    torch._dynamo.reset()
    loss = BoundaryLoss(**SETTINGS[name])
    counter = torch._dynamo.testing.CompileCounterWithBackend("aot_eager")
    compiled = torch.compile(loss, fullgraph=True, dynamic=True, backend=counter)
    for size, space in ((2, (7, 9)), (3, (8, 5)), (4, (6, 6))):
        logits, labels = batch_of(size, space)
        assert_close(
            with_gradient(lambda z, labels=labels: compiled(z, labels), logits),
            with_gradient(lambda z, labels=labels: loss(z, labels), logits),
        )
    # 6 x 6 may be taken for a case of its own; the values of the labels never are.
    assert counter.frame_count <= 2


def test_compiles_with_every_argument_of_the_call(provider):
    torch._dynamo.reset()
    loss = BoundaryLoss(softmax=True, ignore_index=255, clip=3.0, normalize="max")
    compiled = torch.compile(loss, fullgraph=True, dynamic=True, backend="aot_eager")
    logits, labels = batch_of(2, (7, 9))
    labels[0, :2] = 255
    for more in (
        {"spacing": torch.tensor([[1.0, 2.0], [0.5, 1.5]])},
        {"spacing": 1.5},
        {"mask": labels != 1},
        {"dist_map": torch.randn(2, 3, 7, 9)},
    ):
        assert_close(
            with_gradient(lambda z, more=more: compiled(z, labels, **more), logits),
            with_gradient(lambda z, more=more: loss(z, labels, **more), logits),
        )


@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_vmap_over_the_batch(activation, provider):
    logits, labels = batch_of(6, (5, 7))
    logits, labels = logits.unflatten(0, (3, 2)), labels.unflatten(0, (3, 2))
    loss = BoundaryLoss(**settings(activation), reduction="none")
    spacing = torch.rand(3, 2, 2) + 0.5
    maps = torch.randn(logits.shape)
    known = labels != 1

    def assert_same(function, *arguments):
        one_by_one = [function(*parts) for parts in zip(*arguments, strict=True)]
        torch.testing.assert_close(torch.vmap(function)(*arguments), torch.stack(one_by_one))

    assert_same(loss, logits, labels)
    assert_same(lambda z, t, h: loss(z, t, spacing=h), logits, labels, spacing)
    assert_same(lambda z, t, m: loss(z, t, dist_map=m), logits, labels, maps)
    assert_same(lambda z, t, k: loss(z, t, mask=k), logits, labels, known)

    def stacked(z):
        return torch.stack([loss(*pair) for pair in zip(z, labels, strict=True)])

    assert_close(
        with_gradient(lambda z: torch.vmap(loss)(z, labels), logits),
        with_gradient(stacked, logits),
    )
    # One set of labels for every entry, the mapped axis of the logits last.
    moved = logits.movedim(0, -1)
    shared = torch.vmap(lambda z: loss(z, labels[0]), in_dims=-1)(moved)
    torch.testing.assert_close(shared, torch.stack([loss(z, labels[0]) for z in logits]))


def test_inference_mode(provider):
    logits, labels = batch_of(2, (7, 9))
    expected = boundary_loss(logits, labels, softmax=True)
    with torch.inference_mode():
        assert torch.equal(boundary_loss(logits.clone(), labels.clone(), softmax=True), expected)
    with torch.no_grad():
        assert not boundary_loss(logits.requires_grad_(), labels, softmax=True).requires_grad


@pytest.mark.parametrize("activation", ["none", "sigmoid", "softmax"])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float64], ids=str)
def test_the_same_run_twice_gives_the_same_bits(dtype, activation, provider):
    logits, labels = batch_of(2, (33, 40))
    loss = BoundaryLoss(**settings(activation), reduction="none", spacing=(0.7, 1.3))
    first = with_gradient(lambda z: loss(z, labels), logits.to(dtype))
    for _ in range(3):
        again = with_gradient(lambda z: loss(z, labels), logits.to(dtype))
        assert torch.equal(first[0], again[0])
        assert torch.equal(first[1], again[1])


def test_the_arguments_are_left_as_they_were(provider):
    logits, labels = batch_of(2, (7, 9))
    known, maps, spacing = labels != 1, torch.randn(2, 3, 7, 9), torch.rand(2, 2) + 0.5
    arguments = (logits, labels, known, maps, spacing)
    before = [argument.clone() for argument in arguments]
    leaf = logits.requires_grad_()
    boundary_loss(leaf, labels, softmax=True, mask=known, spacing=spacing).backward()
    boundary_loss(leaf, labels, softmax=True, mask=known, dist_map=maps).backward()
    for argument, copy in zip(arguments, before, strict=True):
        assert torch.equal(argument, copy)


def test_gradients_accumulate_and_reach_what_made_the_logits(provider):
    logits, labels = batch_of(2, (7, 9))
    scale = torch.tensor(1.0, requires_grad=True)
    loss = BoundaryLoss(softmax=True)
    (loss(scale * logits, labels) + 2 * loss(scale * logits, labels)).backward()
    step = 1e-2
    slope = (loss((1 + step) * logits, labels) - loss((1 - step) * logits, labels)) / (2 * step)
    torch.testing.assert_close(scale.grad, 3 * slope, rtol=1e-2, atol=1e-3)


def test_a_few_steps_with_a_schedule_learn_the_object(provider):
    labels = torch.zeros(1, 12, 12, dtype=torch.int64)
    labels[:, 4:8, 3:9] = 1
    logits = torch.zeros(1, 2, 12, 12, requires_grad=True)
    optimizer = torch.optim.Adam([logits], lr=0.3)
    boundary, regional = BoundaryLoss(softmax=True), torch.nn.CrossEntropyLoss()
    schedule = RebalanceSchedule(10)
    for _ in range(10):
        optimizer.zero_grad()
        schedule.combine(regional(logits, labels), boundary(logits, labels)).backward()
        optimizer.step()
        schedule.step()
    assert torch.equal(logits.argmax(1), labels)
