"""The boundary loss has its definition's value for every target, memory layout and setting."""

import loss_oracle
import pytest
import torch
from loss_oracle import ACTIVATIONS, lesion_labels, settings, with_gradient

from fastdist import signed_distance_maps
from fastdist.functional import boundary_loss
from fastdist.losses import BoundaryLoss

SPACES = [(17,), (7, 9), (4, 6, 5)]
# What the dtypes of the logits leave of a value that is a sum of some hundred terms.
TOLERANCE = {torch.float32: {"rtol": 1e-5, "atol": 1e-5}, torch.float64: {}}


def logits_for(labels, num_classes, dtype=torch.float32, seed=0):
    shape = (len(labels), num_classes, *labels.shape[1:])
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed)).to(dtype)


def assert_same(ours, expected, logits):
    """Value and gradient of both functions, the expected ones computed in float64."""
    value, gradient = with_gradient(ours, logits)
    right, right_gradient = with_gradient(expected, logits.double())
    tolerance = TOLERANCE[value.dtype]
    torch.testing.assert_close(value.double(), right, **tolerance)
    torch.testing.assert_close(gradient.double(), right_gradient, **tolerance)


@pytest.mark.parametrize("space", SPACES, ids=str)
@pytest.mark.parametrize("seed", range(12))
def test_random_settings_agree_with_the_definition(seed, space, provider):
    generator = torch.Generator().manual_seed(seed)

    def pick(*options):
        return options[int(torch.randint(0, len(options), (), generator=generator))]

    num_classes = pick(2, 3, 4)
    labels = lesion_labels(2, space, num_classes, seed)
    foreground = loss_oracle.channels(labels, num_classes)
    known = torch.ones(labels.shape, dtype=torch.bool)
    if pick(True, False):
        known = torch.rand(labels.shape, generator=generator) > 0.2
    target = labels if pick(True, False) else foreground.to(pick(torch.bool, torch.float32))
    number, axes = 0.7, tuple(0.5 + 0.75 * axis for axis in range(len(space)))
    rows = 0.5 + torch.rand(2, len(space), generator=generator, dtype=torch.float64)
    spacing = pick(None, number, axes, rows)
    shared = {
        "include_background": pick(True, False),
        "reduction": pick("mean", "sum", "none"),
        "batch": pick(True, False),
        "offset": pick(True, False),
        "zero": pick("shifted", "unit", "inner", "midpoint", "none"),
        "normalize": pick(None, "max", "diagonal"),
        "clip": pick(None, 1.5),
        "empty": pick(0.0, 3.0, "diagonal"),
        "full": pick(0.0, -2.0, "diagonal"),
        "border": pick(True, False),
    }
    activation = pick(*ACTIVATIONS)
    arguments = shared | settings(activation) | {"spacing": spacing, "mask": known}
    assert_same(
        lambda z: boundary_loss(z, target, **arguments),
        lambda z: loss_oracle.loss(
            z, foreground, known, activation=activation, spacing=spacing, **shared
        ),
        logits_for(labels, num_classes, pick(torch.float32, torch.float64), seed),
    )


@pytest.mark.parametrize(
    "dtype",
    [
        *(torch.uint8, torch.int8, torch.int16, torch.int32, torch.int64, torch.uint16),
        *(torch.float16, torch.bfloat16, torch.float32, torch.float64),
    ],
    ids=str,
)
def test_class_indices_of_any_dtype(dtype, provider):
    labels = lesion_labels(2, (7, 9), 3)
    logits = logits_for(labels, 3)
    loss = BoundaryLoss(softmax=True)
    expected = with_gradient(lambda z: loss(z, labels), logits)
    for target in (labels.to(dtype), labels.to(dtype).unsqueeze(1)):
        assert_equal(with_gradient(lambda z, target=target: loss(z, target), logits), expected)


@pytest.mark.parametrize("to_onehot_y", [False, True])
def test_to_onehot_y_changes_nothing_that_the_shape_says(to_onehot_y, provider):
    labels = lesion_labels(2, (7, 9), 3)
    channels = loss_oracle.channels(labels, 3)
    logits = logits_for(labels, 3)
    loss = BoundaryLoss(softmax=True, to_onehot_y=to_onehot_y)
    for target in (labels, labels.unsqueeze(1), channels, channels.float()):
        assert_same(
            lambda z, target=target: loss(z, target),
            lambda z: loss_oracle.loss(z, channels, activation="softmax"),
            logits,
        )


def assert_equal(result, expected):
    """The same bits."""
    for part, other in zip(result, expected, strict=True):
        assert torch.equal(part, other)


@pytest.mark.parametrize("ignore_index", [255, -100, 0])
def test_an_ignore_index_may_be_any_integer_a_class_too(ignore_index, provider):
    labels = lesion_labels(2, (7, 9), 3)
    known = torch.rand(labels.shape, generator=torch.Generator().manual_seed(1)) > 0.2
    target = labels.masked_fill(~known, ignore_index)
    known = target != ignore_index
    assert_same(
        lambda z: boundary_loss(z, target, softmax=True, ignore_index=ignore_index),
        lambda z: loss_oracle.loss(z, loss_oracle.channels(labels, 3), known, activation="softmax"),
        logits_for(labels, 3),
    )


def test_a_single_channel_takes_a_mask(provider):
    mask = lesion_labels(2, (7, 9), 2)
    logits = logits_for(mask, 1)
    loss = BoundaryLoss(sigmoid=True)
    for target in (mask, mask.unsqueeze(1), mask.bool(), 0.9 * mask.float()):
        assert_same(
            lambda z, target=target: loss(z, target),
            lambda z: loss_oracle.loss(z, mask.bool().unsqueeze(1), activation="sigmoid"),
            logits,
        )


def variants(tensor):
    """The same values in other memory: transposed, strided, offset, channels last."""
    yield tensor.transpose(-1, -2).contiguous().transpose(-1, -2)
    wide = torch.zeros((*tensor.shape[:-1], 2 * tensor.shape[-1] + 3), dtype=tensor.dtype)
    strided = wide[..., 3::2]
    strided.copy_(tensor)
    yield strided
    yield tensor.flip(-1).contiguous().flip(-1)
    if tensor.dim() == 4:
        yield tensor.contiguous(memory_format=torch.channels_last)
    if tensor.dim() == 5:
        yield tensor.contiguous(memory_format=torch.channels_last_3d)


@pytest.mark.parametrize("space", SPACES[1:], ids=["2-D", "3-D"])
@pytest.mark.parametrize("activation", ["none", "sigmoid", "softmax"])
def test_memory_layout_does_not_matter(activation, space, provider):
    labels = lesion_labels(2, space, 3)
    logits = logits_for(labels, 3)
    maps = torch.randn(logits.shape)
    channels = loss_oracle.channels(labels, 3).float()
    known = labels > -1
    known[0, 0] = False
    loss = BoundaryLoss(**settings(activation), reduction="none")

    def run(z, target, **more):
        return with_gradient(lambda leaf: loss(leaf, target, **more), z)

    expected = run(logits, labels)
    of_channels = run(logits, channels)
    of_known = run(logits, labels, mask=known)
    of_maps = run(logits, labels, dist_map=maps)
    for z in variants(logits):
        assert_close(run(z, labels), expected)
        assert_close(run(z, channels), of_channels)
    for target in variants(labels):
        assert_close(run(logits, target), expected)
    for target in variants(channels):
        assert_close(run(logits, target), of_channels)
    for mask in variants(known):
        assert_close(run(logits, labels, mask=mask), of_known)
    for given in variants(maps):
        assert_close(run(logits, labels, dist_map=given), of_maps)


def assert_close(result, expected):
    for part, other in zip(result, expected, strict=True):
        torch.testing.assert_close(part, other)


def test_expanded_logits_and_labels(provider):
    labels = lesion_labels(1, (7, 9), 3)
    logits = logits_for(labels, 3)

    def expanded(z):
        return boundary_loss(z.expand(4, -1, -1, -1), labels.expand(4, -1, -1), softmax=True)

    def repeated(z):
        return boundary_loss(z.repeat(4, 1, 1, 1), labels.repeat(4, 1, 1), softmax=True)

    assert_close(with_gradient(expanded, logits), with_gradient(repeated, logits))
    constant = torch.zeros(1).expand(2, 3, 7, 9)
    assert boundary_loss(constant, labels.expand(2, -1, -1), softmax=True).isfinite()


@pytest.mark.parametrize("reduction", ["mean", "sum", "none"])
@pytest.mark.parametrize("batch", [False, True])
@pytest.mark.parametrize("shape", [(0, 3, 4, 5), (2, 3, 0, 5), (2, 3, 4, 0), (0, 1, 3), (2, 1, 0)])
def test_nothing_at_all_scores_zero(shape, batch, reduction, provider):
    logits = torch.randn(shape, requires_grad=True)
    labels = torch.zeros((shape[0], *shape[2:]), dtype=torch.int64)
    value = BoundaryLoss(sigmoid=True, batch=batch, reduction=reduction)(logits, labels)
    expected = () if reduction != "none" else shape[1:2] if batch else shape[:2]
    assert value.shape == expected
    assert (value == 0).all()
    value.sum().backward()
    assert logits.grad.shape == shape


@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_a_row_of_spacing_per_item(activation, provider):
    labels = lesion_labels(3, (7, 9), 3)
    logits = logits_for(labels, 3)
    rows = torch.tensor([[1.0, 1.0], [0.5, 2.0], [3.0, 0.25]])
    loss = BoundaryLoss(**settings(activation), reduction="none", spacing=7.0)
    together = with_gradient(lambda z: loss(z, labels, spacing=rows), logits)

    def one_by_one(z):
        return torch.cat(
            [loss(z[n : n + 1], labels[n : n + 1], spacing=rows[n].tolist()) for n in range(3)]
        )

    assert_close(together, with_gradient(one_by_one, logits))


def test_spacing_of_the_call_replaces_the_constructors(provider):
    labels = lesion_labels(2, (7, 9), 3)
    logits = logits_for(labels, 3)
    given = BoundaryLoss(softmax=True, spacing=(2.0, 0.5))
    assert_close(
        [given(logits, labels), given(logits, labels, spacing=1)],
        [
            boundary_loss(logits, labels, softmax=True, spacing=[2.0, 0.5]),
            boundary_loss(logits, labels, softmax=True),
        ],
    )


def test_batch_adds_sums_and_counts_before_it_divides(provider):
    labels = lesion_labels(2, (7, 9), 3)
    known = torch.ones(labels.shape, dtype=torch.bool)
    known[0, :, 2:] = False  # the items know different numbers of voxels
    logits = logits_for(labels, 3)
    each = boundary_loss(logits, labels, softmax=True, mask=known, reduction="none")
    counts = known.flatten(1).sum(1)
    expected = (each * counts.unsqueeze(1)).sum(0) / counts.sum()
    together = boundary_loss(logits, labels, softmax=True, mask=known, reduction="none", batch=True)
    torch.testing.assert_close(together, expected)
    assert not torch.allclose(together, each.mean(0))


@pytest.mark.parametrize("zero", ["shifted", "unit", "inner", "midpoint", "none"])
@pytest.mark.parametrize("ndim", [2, 3])
def test_offset_makes_a_perfect_prediction_score_zero(ndim, zero, provider):
    labels = lesion_labels(2, (6, 5, 4)[:ndim], 3)
    labels[0, 0] = 255
    perfect = loss_oracle.channels(labels, 3).float()
    arguments = {"zero": zero, "ignore_index": 255, "reduction": "none"}
    for target, more in ((labels, {}), (perfect, {"ignore_index": None, "mask": labels != 255})):
        value = boundary_loss(perfect, target, offset=True, **arguments | more)
        torch.testing.assert_close(value, torch.zeros(2, 3), rtol=0, atol=1e-6)
    without = with_gradient(lambda z: boundary_loss(z, labels, **arguments), perfect)
    with_it = with_gradient(lambda z: boundary_loss(z, labels, offset=True, **arguments), perfect)
    assert torch.equal(without[1], with_it[1])
    assert (with_it[0] >= without[0]).all()


@pytest.mark.parametrize("include_background", [True, False])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=str)
def test_maps_computed_elsewhere(dtype, include_background, provider):
    labels = lesion_labels(2, (7, 9), 3)
    logits = logits_for(labels, 3, dtype)
    loss = BoundaryLoss(include_background, softmax=True, zero="inner", reduction="none")
    expected = with_gradient(lambda z: loss(z, labels), logits)
    maps = signed_distance_maps(labels, 3, zero="inner", dtype=dtype)
    first = 0 if include_background else 1
    for given in (maps, maps[:, first:], maps.double()):
        result = with_gradient(lambda z, given=given: loss(z, labels, dist_map=given), logits)
        assert_close(result, expected)
    arbitrary = torch.randn(maps.shape, dtype=dtype)
    assert_same(
        lambda z: loss(z, labels, dist_map=arbitrary),
        lambda z: loss_oracle.loss(
            z,
            loss_oracle.channels(labels, 3),
            activation="softmax",
            include_background=include_background,
            reduction="none",
            dist_map=arbitrary,
        ),
        logits,
    )


def test_a_good_prediction_scores_less_than_a_bad_one(provider):
    labels = torch.zeros(1, 12, 12, dtype=torch.uint8)
    labels[:, 3:9, 3:9] = 1
    good = 8 * (loss_oracle.channels(labels, 2).float() - 0.5)
    loss = BoundaryLoss(softmax=True, include_background=False)
    assert loss(good, labels) < loss(torch.zeros_like(good), labels) < loss(-good, labels)


def test_the_settings_can_be_read_back():
    assert "softmax=True" in repr(BoundaryLoss(softmax=True))
    assert not list(BoundaryLoss().parameters())
