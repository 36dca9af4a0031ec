"""Sizes that a grid, a block's shared memory or a 32-bit number cannot hold; and none at all."""

from types import SimpleNamespace

import pytest
import torch
from cuda_support import (
    DEVICE,
    REHEARSE,
    answer,
    assert_near,
    assert_same_bits,
    needs_cuda,
    needs_memory,
    on_the_cpu,
)

from fastdist import edt, edt_labels, signed_distance, signed_distance_maps
from fastdist.functional import boundary_loss

pytestmark = needs_cuda

# Columns and rows longer than a block's threads, its shared memory, 32768 and 65535.
LONG = [
    (1025, 1027), (2049, 5), (5, 2049), (4099, 33), (32_769, 3), (3, 32_769), (70_001, 3),
    (3, 70_001), (1, 70_001), (70_001, 1), (1500, 7, 9), (7, 1500, 9), (9, 7, 1500),
    (40_001, 2, 3), (2, 40_001, 3), (2, 3, 40_001), (70_001,), (300_007,),
]  # fmt: skip
if REHEARSE:
    LONG = [(1025, 5), (5, 2049), (7, 1500, 3), (70_001,)]


def sites_of(shape) -> torch.Tensor:
    """Masks [4, *shape]: a site in the first corner, one at either end, a few, many."""
    generator = torch.Generator().manual_seed(12)
    masks = torch.ones((4, *shape), dtype=torch.bool)
    masks[:2].flatten(1)[:, 0] = False
    masks[1].view(-1)[-1] = False
    few, many = (torch.rand((1, *shape), generator=generator) > share for share in (1e-3, 0.5))
    masks[2:3] &= few
    masks[3:4] &= many
    return masks


@pytest.mark.parametrize("shape", LONG, ids=str)
def test_long_axes(shape):
    masks, ndim = sites_of(shape), len(shape)
    for function, options in (
        (edt, {"squared": True}),
        (edt, {"border": True}),
        (edt, {"return_indices": True}),
        (edt_labels, {}),
        (signed_distance, {"zero": "none"}),
    ):
        assert_same_bits(
            answer(function, masks, ndim=ndim, **options),
            on_the_cpu(function, masks, ndim=ndim, **options),
        )
    expected = on_the_cpu(edt, masks, 0.7, ndim=ndim, dtype=torch.float64)
    assert_near(answer(edt, masks, 0.7, ndim=ndim), expected, 1e-6)


@pytest.mark.parametrize("space", [(), (3,), (3, 4), (2, 3, 4)], ids=str)
def test_more_images_than_a_grid_has_rows(space):
    items = 500 if REHEARSE else 70_001
    generator = torch.Generator().manual_seed(13)
    labels = torch.randint(0, 3, (items, *(space or (1,))), generator=generator)
    options = {"ndim": labels.dim() - 1}
    for function in (edt, edt_labels):
        assert_same_bits(
            answer(function, labels, **options), on_the_cpu(function, labels, **options)
        )
    spacing = torch.rand((items, labels.dim() - 1), generator=generator) + 0.5
    for sampling in (None, spacing):
        assert_near(
            answer(signed_distance_maps, labels, 3, sampling),
            on_the_cpu(signed_distance_maps, labels, 3, sampling),
            2e-6,
        )


@pytest.mark.parametrize(
    "shape", [(0,), (0, 5), (5, 0), (2, 0, 3), (1,), (1, 1), (1, 1, 1)], ids=str
)
@pytest.mark.parametrize("items", [0, 1, 2])
def test_sizes_zero_and_one(shape, items):
    masks, ndim = torch.ones((items, *shape), dtype=torch.bool), len(shape)
    for function, options in (
        (edt, {"squared": True}),
        (edt, {"return_indices": True}),
        (edt, {"border": True}),
        (edt_labels, {}),
        (signed_distance, {"zero": "inner", "full": -3.0, "normalize": "max"}),
        (signed_distance, {"zero": "midpoint", "border": True}),
    ):
        assert_same_bits(
            answer(function, masks, ndim=ndim, **options),
            on_the_cpu(function, masks, ndim=ndim, **options),
        )
    assert_same_bits(
        answer(signed_distance_maps, masks.int(), 2),
        on_the_cpu(signed_distance_maps, masks.int(), 2),
    )


# ------------------------------------------------------------------ more than 2^31 elements

# Full size on a GPU with room for it, a few thousand elements in a rehearsal. Values are checked
# against formulas, part by part and on the device: there is no second copy of such a result.
if REHEARSE:
    HUGE = SimpleNamespace(images=(70, 8, 8), cube=9, line=3001, layers=30, side=9)
else:
    HUGE = SimpleNamespace(images=(33_000, 256, 256), cube=1300, line=2**31 + 70, layers=900,
                           side=900)  # fmt: skip


def line(size: int, site: int) -> torch.Tensor:
    """Squared distances to one site on a line, int64."""
    return (torch.arange(size, device=DEVICE) - site).square()


@pytest.mark.slow
def test_a_batch_of_more_elements_than_int32_counts():
    needs_memory(30)
    items, height, width = HUGE.images
    masks = torch.ones(HUGE.images, dtype=torch.uint8, device=DEVICE)
    n = torch.arange(items, device=DEVICE)
    masks[n, n % height, (7 * n) % width] = 0
    squared = edt(masks, ndim=2, squared=True)
    for i in (0, 1, items // 2, items - 2, items - 1):
        expected = line(height, i % height)[:, None] + line(width, (7 * i) % width)
        assert torch.equal(squared[i], expected.int())


@pytest.mark.slow
def test_a_volume_of_more_voxels_than_int32_counts():
    needs_memory(30)
    n = HUGE.cube
    mask = torch.ones((n, n, n), dtype=torch.uint8, device=DEVICE)
    mask[0, 0, 0] = mask[-1, -1, -1] = 0
    squared = edt(mask, ndim=3, squared=True)
    first, last = line(n, 0), line(n, n - 1)
    for z in (0, 1, n // 2, n // 2 + 1, n - 1):
        expected = torch.minimum(first[z] + first[:, None] + first, last[z] + last[:, None] + last)
        assert torch.equal(squared[z], expected.int())


@pytest.mark.slow
def test_an_axis_longer_than_int32_has_int64_indices():
    needs_memory(50)
    n = HUGE.line
    mask = torch.ones(n, dtype=torch.uint8, device=DEVICE)
    sites = [5, n - 9]
    mask[sites] = 0
    distances, indices = edt(mask, ndim=1, return_indices=True)
    assert indices.dtype == (torch.int64 if n > 2**31 else torch.int32)
    middle = (sites[0] + sites[1]) // 2
    for start in (0, middle - 500, n - 1000):
        part = torch.arange(start, start + 1000, device=DEVICE)
        nearest = torch.where(part <= middle, sites[0], sites[1])  # the smaller of two as near
        assert torch.equal(indices[0, start : start + 1000], nearest.to(indices.dtype))
        expected = (part - nearest).abs().double().float()
        assert torch.equal(distances[start : start + 1000], expected)


@pytest.mark.slow
def test_maps_and_the_loss_of_more_elements_than_int32_counts():
    needs_memory(50)
    layers, side = HUGE.layers, HUGE.side
    third = layers // 3
    z = torch.arange(layers, device=DEVICE)
    classes = (z // third).clamp(max=2)
    labels = classes.to(torch.uint8).view(1, -1, 1, 1).expand(1, -1, side, side).contiguous()
    # Slabs: distances run along one axis alone, and a line of it tells all.
    expected = signed_distance_maps(classes.view(1, -1), 3)[0]  # [3, layers]
    maps = signed_distance_maps(labels, 3)
    for k in range(3):
        for y, x in ((0, 0), (side // 2, side - 1), (side - 1, side - 1)):
            assert torch.equal(maps[0, k, :, y, x], expected[k])
    del maps
    logits = torch.zeros((1, 3, layers, side, side), dtype=torch.bfloat16, device=DEVICE)
    leaf = logits.requires_grad_()
    value = boundary_loss(leaf, labels, softmax=True, reduction="sum")
    assert_near(value, expected.double().mean(1).sum() / 3, 1e-5)
    value.mul(layers * side**2).backward()
    slope = (expected.double() - expected.double().mean(0)) / 3
    for y, x in ((0, 0), (side - 1, side - 1)):
        assert_near(leaf.grad[0, :, :, y, x], slope, 2**-7)
