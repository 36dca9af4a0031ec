"""The boundary loss on CUDA tensors: value and gradient of the CPU, in every dtype and layout."""

import pytest
import torch
from cuda_support import (
    DEVICE,
    REHEARSE,
    answer,
    assert_near,
    moved,
    needs_cuda,
    not_an_error_on_a_gpu,
    on_the_cpu,
    peak_memory,
    with_gradient,
)
from loss_oracle import channels, lesion_labels, settings

from fastdist.functional import boundary_loss
from fastdist.losses import BoundaryLoss

pytestmark = needs_cuda

# How far sums in float32 over a few thousand voxels, and results in half precision, may be off.
ROUNDING = {
    torch.float64: 1e-11,
    torch.float32: 1e-5,
    torch.bfloat16: 2**-7,
    torch.float16: 2**-10,
}
DTYPES = pytest.mark.parametrize("dtype", ROUNDING, ids=str)
ACTIVATIONS = pytest.mark.parametrize("activation", ["none", "sigmoid", "softmax", "other_act"])


def logits_of(labels, num_classes, dtype=torch.float32):
    shape = (labels.shape[0], num_classes, *labels.shape[1:])
    return torch.randn(shape, generator=torch.Generator().manual_seed(8)).to(dtype)


def scaled(function, logits):
    """Value and gradient, the gradient times the number of voxels."""
    return with_gradient(function, logits, logits.shape[2:].numel())


def assert_loss(logits, *arguments, **options) -> None:
    """Value and gradient are those of the CPU in float64, of the same logits."""

    def loss(z, *arguments, **options):
        return scaled(lambda leaf: boundary_loss(leaf, *arguments, **options), z)

    options.setdefault("reduction", "none")
    value, gradient = answer(loss, logits, *arguments, **options)
    expected, slope = on_the_cpu(loss, logits.double(), *arguments, **options)
    assert gradient.dtype == logits.dtype
    assert value.dtype == (torch.float64 if logits.dtype == torch.float64 else torch.float32)
    assert_near(value, expected, max(1e-11, min(1e-5, ROUNDING[logits.dtype])))
    assert_near(gradient, slope, ROUNDING[logits.dtype])


@DTYPES
@ACTIVATIONS
@pytest.mark.parametrize("space", [(70,), (31, 33), (9, 14, 11)], ids=str)
def test_value_and_gradient_are_the_cpus(space, activation, dtype):
    labels = lesion_labels(2, space, 3)
    logits = logits_of(labels, 3, dtype)
    if activation == "other_act" and dtype in (torch.float16, torch.bfloat16):
        pytest.skip("torch's own activation rounds in half precision")
    options = settings(activation)
    assert_loss(logits, labels, **options)
    assert_loss(logits, labels, include_background=False, spacing=(0.7, 2.0, 1.1)[: len(space)],
                **options)  # fmt: skip
    assert_loss(logits, labels.unsqueeze(1).float(), ignore_index=2, zero="inner", **options)
    assert_loss(logits, channels(labels, 3).to(dtype), offset=True, border=True, **options)


@pytest.mark.parametrize("batch", [False, True])
@pytest.mark.parametrize("reduction", ["mean", "sum", "none"])
def test_every_reduction(reduction, batch):
    labels = lesion_labels(3, (31, 33), 3)
    labels[0] = 255  # an item of which nothing is known
    for offset in (False, True):
        assert_loss(
            logits_of(labels, 3), labels, softmax=True, reduction=reduction, batch=batch,
            offset=offset, ignore_index=255,
        )  # fmt: skip


@pytest.mark.parametrize("num_classes", [1, 2, 5, 17, 40])
def test_any_number_of_classes(num_classes):
    labels = lesion_labels(2, (14, 33), max(2, num_classes))
    options = {"sigmoid": True} if num_classes == 1 else {"softmax": True}
    assert_loss(logits_of(labels, num_classes), labels, **options)


def test_every_argument_that_is_a_tensor():
    labels = lesion_labels(2, (9, 14, 11), 3)
    generator = torch.Generator().manual_seed(9)
    known = torch.rand(labels.shape, generator=generator) > 0.2
    maps = torch.randn((2, 3, 9, 14, 11), generator=generator)
    spacing = torch.rand((2, 3), generator=generator) + 0.5
    for options in (
        {"mask": known},
        {"mask": known.unsqueeze(1).float(), "ignore_index": 1},
        {"spacing": spacing},
        {"spacing": spacing[0], "normalize": "max", "clip": 2.0},
        {"dist_map": maps},
        {"dist_map": maps[:, 1:], "include_background": False, "mask": known},
    ):
        assert_loss(logits_of(labels, 3), labels, softmax=True, **options)


@pytest.mark.parametrize("activation", ["none", "sigmoid", "softmax"])
def test_ignored_voxels_have_no_gradient_even_where_the_logits_are_nan(activation):
    labels = lesion_labels(2, (31, 33), 3)
    labels[:, 3:20, 4:9] = 255
    logits = logits_of(labels, 3).to(DEVICE)
    unknown = (labels == 255).unsqueeze(1).expand_as(logits).to(DEVICE)

    def loss(leaf):
        return boundary_loss(leaf, labels.to(DEVICE), ignore_index=255, **settings(activation))

    value, gradient = scaled(loss, logits.masked_fill(unknown, torch.nan))
    expected, slope = scaled(loss, logits)
    assert torch.equal(value, expected)
    assert torch.equal(gradient, slope)
    assert (gradient[unknown] == 0).all()


@pytest.mark.parametrize("layout", ["channels last", "sliced", "transposed", "expanded"])
def test_any_memory_format_is_read_as_it_is(layout):
    labels = lesion_labels(2, (14, 33), 3)
    plain = logits_of(labels, 3)
    if layout == "expanded":
        plain = plain[:1].expand(2, -1, -1, -1).contiguous()
    logits = {
        "channels last": lambda z: z.to(memory_format=torch.channels_last),
        "sliced": lambda z: torch.nn.functional.pad(z, (1, 2, 3, 0))[:, :, 3:, 1:-2],
        "transposed": lambda z: z.transpose(2, 3).contiguous().transpose(2, 3),
        "expanded": lambda z: z[:1].expand(2, -1, -1, -1),
    }[layout](plain.to(DEVICE))
    assert not logits.is_contiguous()

    def loss(leaf):
        return boundary_loss(leaf, labels.to(DEVICE), softmax=True)

    for mine, theirs in zip(scaled(loss, logits), scaled(loss, plain.to(DEVICE)), strict=True):
        assert torch.equal(mine, theirs)


@pytest.mark.parametrize("items", [0, 1])
def test_batches_of_no_item_and_of_one(items):
    labels = lesion_labels(1, (14, 33), 3)[:items]
    assert_loss(logits_of(labels, 3), labels, softmax=True, reduction="mean")


@not_an_error_on_a_gpu
def test_labels_out_of_range_take_no_part():
    labels = lesion_labels(2, (31, 33), 3)
    wrong = torch.rand(labels.shape, generator=torch.Generator().manual_seed(10)) < 0.1
    logits = logits_of(labels, 3)
    strays, ignored = labels.masked_fill(wrong, 77), labels.masked_fill(wrong, 255)

    def loss(z, labels):
        return with_gradient(
            lambda leaf: boundary_loss(leaf, labels, softmax=True, ignore_index=255), z
        )

    for mine, theirs in zip(answer(loss, logits, strays), answer(loss, logits, ignored),
                            strict=True):  # fmt: skip
        assert torch.equal(mine, theirs)


@not_an_error_on_a_gpu
def test_an_item_with_a_wrong_spacing_scores_zero_and_has_no_gradient():
    labels = lesion_labels(2, (31, 33), 3)
    spacing = torch.tensor([[1.0, 2.0], [1.0, -2.0]])
    loss = BoundaryLoss(softmax=True, reduction="none")

    def call(z, labels, spacing):
        leaf = z.detach().requires_grad_()
        value = loss(leaf, labels, spacing=spacing)
        value.sum().backward()
        return value.detach(), leaf.grad

    value, gradient = answer(call, logits_of(labels, 3), labels, spacing)
    assert (value[1] == 0).all()
    assert (gradient[1] == 0).all()
    alone, slope = on_the_cpu(call, logits_of(labels, 3)[:1], labels[:1], spacing[:1])
    assert_near(value[:1], alone, 1e-5)
    assert_near(gradient[:1], slope, 1e-5)


@pytest.mark.parametrize("activation", ["none", "sigmoid", "softmax"])
def test_half_logits_are_not_copied_to_float32(activation):
    labels = lesion_labels(2, (8, 8, 8) if REHEARSE else (64, 64, 64), 3)
    logits, labels = moved((logits_of(labels, 3), labels.to(torch.uint8)), DEVICE)
    loss = BoundaryLoss(reduction="sum", **settings(activation))

    def peak(z):
        def step():
            leaf = z.detach().requires_grad_()
            with torch.autocast(DEVICE, dtype=torch.bfloat16):
                value = loss(leaf, labels)
            value.backward()
            return leaf.grad

        return peak_memory(step)

    # Two bytes less a logit for the gradient; a float32 copy would be four more.
    saved = peak(logits) - peak(logits.bfloat16())
    assert REHEARSE or saved >= 2 * logits.numel() - 2**20


def test_a_second_derivative_is_refused():
    labels = lesion_labels(2, (14, 33), 3).to(DEVICE)
    leaf = logits_of(labels.cpu(), 3).to(DEVICE).requires_grad_()
    value = boundary_loss(leaf, labels, softmax=True)
    (gradient,) = torch.autograd.grad(value, leaf, create_graph=True)
    with pytest.raises(RuntimeError, match="no second derivative"):
        gradient.sum().backward()
