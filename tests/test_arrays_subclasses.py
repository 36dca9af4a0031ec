"""docs/arrays.md, tensors: subclasses are unwrapped at the entrance and plain tensors come back."""

import time

import numpy as np
import pytest
import torch
from monai.data import MetaTensor
from monai.data.utils import list_data_collate

from fastdist import (
    check_labels,
    check_spacing,
    distance_transform_edt,
    edt,
    edt_labels,
    signed_distance,
    signed_distance_maps,
)
from fastdist.functional import boundary_loss
from fastdist.losses import BoundaryLoss, ConstantSchedule, RebalanceSchedule


class Careful(torch.Tensor):
    """As torchvision's tv_tensors do it: its results are plain tensors."""

    @classmethod
    def __torch_function__(cls, function, types, args=(), kwargs=None):
        with torch._C.DisableTorchFunctionSubclass():
            return function(*args, **(kwargs or {}))


class Sticky(torch.Tensor):
    """As a subclass is that says nothing: whatever is done to it gives the subclass again."""


SUBCLASSES = {
    "MetaTensor": MetaTensor,
    "tv_tensor": lambda tensor: tensor.as_subclass(Careful),
    "sticky": lambda tensor: tensor.as_subclass(Sticky),
    "Parameter": lambda tensor: torch.nn.Parameter(tensor, tensor.is_floating_point()),
}
subclasses = pytest.mark.parametrize("wrap", SUBCLASSES.values(), ids=SUBCLASSES.keys())

LABELS = torch.zeros(2, 8, 9, dtype=torch.int64)
LABELS[:, 2:5, 3:6] = 2
LOGITS = torch.randn(2, 3, 8, 9, generator=torch.Generator().manual_seed(6))
SPACING = torch.tensor([[1.0, 2.0], [0.5, 1.0]])
MASK = torch.arange(144).view(2, 8, 9) % 5 > 0

CALLS = {
    "edt": lambda w: edt(w(MASK), w(SPACING), ndim=2),
    "edt with indices": lambda w: edt(w(MASK), ndim=2, return_indices=True),
    "edt_labels": lambda w: edt_labels(w(LABELS), w(SPACING), ndim=2),
    "signed_distance": lambda w: signed_distance(w(MASK), w(SPACING), ndim=2),
    "signed_distance_maps": lambda w: signed_distance_maps(w(LABELS), 3, w(SPACING)),
    "distance_transform_edt": lambda w: distance_transform_edt(w(MASK), return_indices=True),
    "boundary_loss": lambda w: boundary_loss(
        w(LOGITS), w(LABELS), softmax=True, spacing=w(SPACING), mask=w(MASK)
    ),
    "boundary_loss with maps": lambda w: boundary_loss(
        w(LOGITS), w(LABELS), other_act=lambda x: w(x.detach().sigmoid()),
        dist_map=w(LOGITS.clone()).requires_grad_(False),
    ),
    "BoundaryLoss": lambda w: BoundaryLoss(softmax=True, spacing=w(SPACING), offset=True)(
        w(LOGITS), w(LABELS)
    ),
    "combine": lambda w: ConstantSchedule(0.5).combine(w(LOGITS[0, 0, 0, 0]), w(LOGITS[0])),
    "rebalance": lambda w: RebalanceSchedule(9).combine(w(LOGITS[0]), w(LOGITS[1])),
}


@subclasses
@pytest.mark.parametrize("call", CALLS.values(), ids=CALLS.keys())
def test_plain_tensors_come_back(call, wrap):
    expected, given = call(lambda tensor: tensor), call(wrap)
    if not isinstance(expected, tuple):
        expected, given = (expected,), (given,)
    for one, other in zip(expected, given, strict=True):
        assert type(other) is torch.Tensor
        assert torch.equal(one, other)


@subclasses
def test_checks_take_subclasses(wrap):
    check_labels(wrap(LABELS), 3)
    check_spacing(wrap(SPACING))
    with pytest.raises(ValueError, match="labels: got the value 2"):
        check_labels(wrap(LABELS), 2)


@subclasses
def test_an_output_of_a_subclass_is_written_and_returned_itself(wrap):
    out = wrap(torch.full(MASK.shape, 7.0)).requires_grad_(False)
    assert edt(MASK, ndim=2, out=out) is out
    assert torch.equal(out.as_subclass(torch.Tensor), edt(MASK, ndim=2))
    distances = wrap(torch.full(MASK.shape, 7.0, dtype=torch.float64)).requires_grad_(False)
    assert distance_transform_edt(MASK, distances=distances) is None
    assert np.array_equal(np.asarray(distances), distance_transform_edt(MASK.numpy()))


@subclasses
def test_the_gradient_reaches_the_logits(wrap):
    logits, plain = LOGITS.clone(), LOGITS.clone().requires_grad_()
    leaf = wrap(logits).requires_grad_()
    loss = BoundaryLoss(softmax=True)
    loss(leaf, wrap(LABELS)).backward()
    loss(plain, LABELS).backward()
    assert torch.equal(leaf.grad.as_subclass(torch.Tensor), plain.grad)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("backend", "wrap"),
    [*(("aot_eager", wrap) for wrap in SUBCLASSES.values()), ("inductor", MetaTensor)],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_compiled_losses_take_subclasses(backend, wrap):
    torch.compiler.reset()
    loss = BoundaryLoss(softmax=True)
    compiled = torch.compile(loss, backend=backend)
    leaf = wrap(LOGITS.clone()).requires_grad_()
    value = compiled(leaf, wrap(LABELS))
    assert type(value) is torch.Tensor
    torch.testing.assert_close(value, loss(LOGITS, LABELS))
    value.backward()
    plain = LOGITS.clone().requires_grad_()
    loss(plain, LABELS).backward()
    torch.testing.assert_close(leaf.grad.as_subclass(torch.Tensor), plain.grad)


def test_a_small_loss_of_metatensors_costs_little_more_than_of_plain_tensors():
    loss = BoundaryLoss(softmax=True)
    pairs = [(LOGITS, LABELS), (MetaTensor(LOGITS), MetaTensor(LABELS))]
    best = [float("inf"), float("inf")]
    for _ in range(60):  # in turns: a loaded machine is slow for both
        for which, arguments in enumerate(pairs):
            start = time.perf_counter()
            for _ in range(10):
                loss(*arguments)
            best[which] = min(best[which], time.perf_counter() - start)
    assert best[1] < 2 * best[0]  # it was 4 to 7 times


# ------------------------------------------------------------------ tensors that are none


class Elsewhere(torch.Tensor):
    """A subclass that keeps its numbers elsewhere, as DTensor does."""

    @staticmethod
    def __new__(cls, inner):
        return torch.Tensor._make_wrapper_subclass(cls, inner.shape, dtype=inner.dtype)

    def __init__(self, inner):
        self.inner = inner

    def full_tensor(self):
        return self.inner

    @classmethod
    def __torch_dispatch__(cls, function, types, args=(), kwargs=None):
        raise AssertionError("it was computed with")


@pytest.mark.parametrize("name", ["edt", "boundary_loss", "signed_distance_maps", "BoundaryLoss"])
def test_a_subclass_without_memory_of_its_own_is_told_what_to_pass(name):
    with pytest.raises(TypeError, match=r"^(mask|input|labels): got Elsewhere.*\.full_tensor\(\)"):
        CALLS[name](Elsewhere)


# ------------------------------------------------------------------ spacings as MONAI collates them


@pytest.mark.parametrize("batch", [2, 3])
def test_the_spacing_of_a_batch_that_monai_collated(batch):
    affines = [torch.diag(torch.tensor([1.0 + i, 0.5, 2.0, 1.0])) for i in range(batch)]
    items = [{"y": MetaTensor(torch.zeros(1, 4, 5, 6), affine=affine)} for affine in affines]
    batched = list_data_collate(items)["y"]
    batched[:, :, 1:3, 2:4, 2] = 1
    assert isinstance(batched.pixdim, list)
    rows = torch.stack(batched.pixdim)
    assert rows.shape == (batch, 3)
    logits = torch.randn(batch, 1, 4, 5, 6)
    loss = BoundaryLoss(sigmoid=True)
    assert torch.equal(
        loss(logits, batched, spacing=batched.pixdim), loss(logits, batched, spacing=rows)
    )
    kept = BoundaryLoss(sigmoid=True, spacing=batched.pixdim)
    assert torch.equal(kept(logits, batched), loss(logits, batched, spacing=rows))
    assert torch.equal(
        signed_distance(batched, batched.pixdim, ndim=3), signed_distance(batched, rows, ndim=3)
    )
    check_spacing(batched.pixdim)
    with pytest.raises(ValueError, match="spacing"):
        check_spacing([*batched.pixdim, torch.zeros(3)])


def test_a_list_with_one_tensor_for_each_axis_is_told_how_to_stack_it():
    columns = [torch.ones(4), torch.ones(4)]  # as torch collates tuples: B = 4, ndim = 2
    with pytest.raises(ValueError, match=r"^spacing: .*\(4,\).*torch\.stack\(spacing, 1\)"):
        boundary_loss(torch.zeros(4, 1, 8, 9), torch.zeros(4, 8, 9), spacing=columns)
    with pytest.raises(ValueError, match=r"^spacing: got a tensor of shape \(3, 2\)"):
        boundary_loss(LOGITS, LABELS, spacing=[torch.ones(2)] * 3)


# ------------------------------------------------------------------ NumPy's numbers


def test_numpys_numbers_are_taken_wherever_pythons_are():
    ignored = LABELS.clone()
    ignored[:, 0] = 255
    index, yes = np.int64(255), np.bool_(True)
    assert torch.equal(
        boundary_loss(LOGITS, ignored, softmax=yes, ignore_index=index, clip=np.float32(3)),
        boundary_loss(LOGITS, ignored, softmax=True, ignore_index=255, clip=3.0),
    )
    loss = BoundaryLoss(softmax=1, ignore_index=np.uint8(255), spacing=np.array([1, 2]), batch=0)
    assert torch.equal(
        loss(LOGITS, ignored),
        boundary_loss(LOGITS, ignored, softmax=True, ignore_index=255, spacing=(1.0, 2.0)),
    )
    assert torch.equal(edt(MASK, np.int32(2), ndim=np.int64(2)), edt(MASK, 2.0, ndim=2))
    maps = signed_distance_maps(
        ignored, np.int16(3), [np.float16(1), np.int8(2)], ignore_index=index, border=yes
    )
    expected = signed_distance_maps(ignored, 3, (1, 2), ignore_index=255, border=True)
    assert torch.equal(maps, expected)
    check_labels(ignored, np.int64(3), index)
    schedule = RebalanceSchedule(np.int64(3), start=np.float32(1), floor=np.float64(0.5))
    schedule.step()
    assert schedule.alpha.item() == 0.75


# ------------------------------------------------------------------ labels with an axis of channels


@pytest.mark.parametrize(
    ("shape", "sampling"), [((2, 1, 4, 5, 6), None), ((2, 1, 5, 6), (1.0, 2.0))], ids=str
)
def test_labels_with_an_axis_of_channels_are_told_how_to_lose_it(shape, sampling):
    labels = torch.zeros(shape, dtype=torch.uint8)
    with pytest.raises(ValueError, match=r"labels\[:, 0\]"):
        signed_distance_maps(labels, 3, sampling)
    signed_distance_maps(labels[:, 0], 3, sampling)
