"""CUDA tensors inside torch's machinery: opcheck, compile, vmap, modes, the same bits twice."""

import pytest
import test_losses_torch
import test_ops
import torch
from cuda_calls import CALLS, batch
from cuda_support import (
    DEVICE,
    answer,
    assert_near,
    assert_same_bits,
    moved,
    needs_cuda,
    on_the_cpu,
    with_gradient,
)
from test_labels import random_labels

from fastdist import edt, signed_distance_maps
from fastdist.losses import BoundaryLoss

pytestmark = needs_cuda

every_call = pytest.mark.parametrize("call", CALLS.values(), ids=CALLS.keys())
OPCHECKS = [(name, i) for name, calls in test_ops.CALLS.items() for i in range(len(calls))]


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize(("name", "i"), OPCHECKS)
def test_opcheck(name, i):
    op = getattr(torch.ops.fastdist, name).default
    torch.library.opcheck(op, moved(test_ops.CALLS[name][i], DEVICE))


@pytest.mark.parametrize("name", [name for name in test_ops.FUNCTIONS if name != "out"])
def test_compiles_into_one_graph_for_any_shape(name):
    torch._dynamo.reset()
    function = test_ops.FUNCTIONS[name]
    compiled = torch.compile(function, fullgraph=True, dynamic=True, backend="aot_eager")
    for shape in [(2, 9, 11), (2, 12, 5), (3, 7, 8)]:
        labels = torch.from_numpy(random_labels(shape, 3)).to(DEVICE)
        spacing = torch.rand(shape[0], 2, dtype=torch.float64, device=DEVICE) + 0.5
        assert_same_bits(compiled(labels, spacing), function(labels, spacing))


def test_compiles_where_an_output_is_given():
    torch._dynamo.reset()

    def function(x):
        return edt(x, ndim=2, out=torch.empty(x.shape, device=x.device)) * 2

    compiled = torch.compile(function, fullgraph=True, dynamic=True, backend="aot_eager")
    mask = batch((31, 65), DEVICE).mask
    assert_same_bits(compiled(mask), function(mask))


@pytest.mark.parametrize("name", test_losses_torch.SETTINGS)
def test_the_loss_compiles_into_one_graph_for_any_shape(name):
    torch._dynamo.reset()
    loss = BoundaryLoss(**test_losses_torch.SETTINGS[name])
    compiled = torch.compile(loss, fullgraph=True, dynamic=True, backend="aot_eager")
    for size, space in ((2, (7, 9)), (3, (8, 5)), (4, (6, 6))):
        logits, labels = moved(test_losses_torch.batch_of(size, space), DEVICE)
        got, expected = (
            with_gradient(lambda z, f=f, t=labels: f(z, t), logits) for f in (compiled, loss)
        )
        test_losses_torch.assert_close(got, expected)


@pytest.mark.slow
@pytest.mark.parametrize("mode", ["default", "reduce-overhead"])
def test_a_training_step_compiles_with_inductor(mode):
    # "reduce-overhead" records CUDA graphs by itself, and replays them on later inputs.
    torch._dynamo.reset()
    loss = BoundaryLoss(softmax=True, normalize="max")

    def step(logits, labels):
        maps = signed_distance_maps(labels, 3)
        return loss(2 * logits, labels) + (maps * logits.softmax(1)).mean()

    compiled = torch.compile(step, fullgraph=True, mode=mode)
    for seed in range(4):
        b = batch((31, 65), DEVICE, seed=seed)
        if mode == "reduce-overhead":
            torch.compiler.cudagraph_mark_step_begin()
        got = with_gradient(lambda z, t=b.labels: compiled(z, t), b.logits)
        expected = with_gradient(lambda z, t=b.labels: step(z, t), b.logits)
        for mine, theirs in zip(got, expected, strict=True):
            assert_near(mine, theirs, 1e-5)


@pytest.mark.parametrize("in_dim", [0, 1, 2])
@pytest.mark.parametrize("name", test_ops.VMAPPED)
def test_vmap_is_a_loop(name, in_dim):
    function, _ = test_ops.VMAPPED[name]
    images = torch.from_numpy(random_labels((4, 9, 11), 3)).to(DEVICE)
    expected = torch.stack([function(image) for image in images])
    assert_same_bits(torch.vmap(function, in_dims=in_dim)(images.movedim(0, in_dim)), expected)


def test_vmap_of_the_loss_and_its_backward():
    logits, labels = test_losses_torch.batch_of(6, (5, 7))
    logits, labels = (part.unflatten(0, (3, 2)).to(DEVICE) for part in (logits, labels))
    spacing = (torch.rand(3, 2, 2) + 0.5).to(DEVICE)
    loss = BoundaryLoss(softmax=True, reduction="none")

    def one(z, t, h):
        return loss(z, t, spacing=h)

    got = with_gradient(lambda z: torch.vmap(one)(z, labels, spacing), logits)
    expected = with_gradient(
        lambda z: torch.stack([one(*parts) for parts in zip(z, labels, spacing, strict=True)]),
        logits,
    )
    test_losses_torch.assert_close(got, expected)


@every_call
@pytest.mark.parametrize("mode", [torch.inference_mode, torch.no_grad])
def test_modes_change_nothing(call, mode):
    b = batch((9, 33, 17), DEVICE)
    if call in [CALLS[name] for name in CALLS if name.startswith("loss")]:
        loss = BoundaryLoss(softmax=True)
        expected = with_gradient(lambda z: loss(z, b.labels), b.logits)[:1]
        with mode():
            got = (loss(b.logits.clone(), b.labels.clone()),)
    else:
        expected = call(b)
        with mode():
            got = call(batch((9, 33, 17), DEVICE))
    assert_same_bits(got, expected)


@every_call
@pytest.mark.parametrize("space", [(200,), (130, 65), (33, 64, 40)], ids=str)
def test_the_same_call_twice_gives_the_same_bits(call, space):
    b = batch(space, DEVICE)
    expected = [part.clone() for part in call(b)]
    for _ in range(3):
        call(batch((5, 9), DEVICE))  # scratch of other sizes, other values left in memory
        torch.full((1 << 20,), torch.nan, device=DEVICE)
        assert_same_bits(call(b), expected)


def test_an_item_has_the_same_bits_alone_and_in_a_batch():
    b = batch((33, 64, 40), DEVICE, items=3)
    together = signed_distance_maps(b.labels, 3, b.spacing)
    for item in range(3):
        alone = signed_distance_maps(b.labels[item : item + 1], 3, b.spacing[item : item + 1])
        assert_same_bits(together[item : item + 1], alone)


def test_random_inputs_of_every_rank_are_as_on_the_cpu():
    generator = torch.Generator().manual_seed(11)
    for seed in range(30):
        rank = seed % 3 + 1
        space = tuple(int(n) for n in torch.randint(1, (400, 90, 30)[rank - 1], (rank,),
                                                    generator=generator))  # fmt: skip
        b = batch(space, "cpu", items=seed % 4 + 1, seed=seed)
        for squared in (False, True):
            assert_same_bits(
                answer(edt, b.mask, ndim=rank, squared=squared),
                on_the_cpu(edt, b.mask, ndim=rank, squared=squared),
            )
