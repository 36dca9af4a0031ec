"""The transforms on CUDA tensors are those on CPU tensors: every pattern, dtype and spacing."""

import numpy as np
import pytest
import torch
from cases import FLOAT_SAMPLINGS, INTEGER_SAMPLINGS, PATTERNS, SHAPES, SMALL_SHAPES, Case
from cuda_support import DEVICE, REHEARSE, answer, assert_same_bits, needs_cuda, on_the_cpu
from near_cases import COLUMNS, computed
from test_labels import random_labels

from fastdist import edt, edt_labels

pytestmark = needs_cuda

SOME_SHAPES = SMALL_SHAPES[-3:] if REHEARSE else SHAPES
DTYPES = [
    torch.bool, torch.uint8, torch.int8, torch.int16, torch.int32, torch.int64, torch.float16,
    torch.bfloat16, torch.float32, torch.float64, torch.uint16, torch.uint32, torch.uint64,
]  # fmt: skip

every_shape = pytest.mark.parametrize("shape", SOME_SHAPES, ids=str)
open_and_border = pytest.mark.parametrize("border", [False, True], ids=["open", "border"])
floats = pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=str)


def every_pattern(shape) -> torch.Tensor:
    """The masks of all patterns as one batch [P, *shape]."""
    return torch.from_numpy(np.stack([Case(pattern, shape).mask for pattern in PATTERNS]))


def labels_of(shape) -> torch.Tensor:
    """Label images [4, *shape]: one label, two, a few, many."""
    return torch.from_numpy(np.stack([random_labels(shape, n, n) for n in (1, 2, 5, 300)]))


def assert_equal_by_pattern(got, expected) -> None:
    wrong = [
        pattern
        for pattern, mine, theirs in zip(PATTERNS, got, expected, strict=True)
        if not torch.equal(mine, theirs)
    ]
    assert not wrong, f"differs from the CPU's: {', '.join(wrong)}"
    assert got.dtype == expected.dtype


def assert_within(got, expected, relative) -> None:
    np.testing.assert_allclose(got, expected, rtol=relative, atol=0)


@every_shape
@open_and_border
def test_squared_integers_are_the_cpus_bit_for_bit(shape, border):
    masks = every_pattern(shape)
    for dtype in (None, torch.int64):
        options = {"ndim": len(shape), "squared": True, "border": border, "dtype": dtype}
        assert_equal_by_pattern(answer(edt, masks, **options), on_the_cpu(edt, masks, **options))


@every_shape
@open_and_border
@floats
def test_distances_at_unit_spacing_are_the_cpus_bit_for_bit(shape, border, dtype):
    masks = every_pattern(shape)
    for squared in (False, True):
        options = {"ndim": len(shape), "squared": squared, "border": border, "dtype": dtype}
        assert_equal_by_pattern(answer(edt, masks, **options), on_the_cpu(edt, masks, **options))


@every_shape
def test_indices_are_the_cpus_at_unit_and_integer_sampling(shape):
    masks = every_pattern(shape)
    for sampling in (None, *INTEGER_SAMPLINGS[len(shape)]):
        options = {"sampling": sampling, "ndim": len(shape), "return_indices": True}
        got, expected = answer(edt, masks, **options), on_the_cpu(edt, masks, **options)
        assert_equal_by_pattern(got[1].movedim(1, 0), expected[1].movedim(1, 0))
        assert_within(got[0], expected[0], 2e-6)


@pytest.mark.parametrize("shape", [(65,), (31, 33), (9, 14, 11)], ids=str)
def test_at_any_sampling_the_returned_voxel_is_a_nearest_one(shape):
    masks = every_pattern(shape)[1:]  # all but the one without a site
    voxels = torch.from_numpy(np.indices(shape)).unsqueeze(1)  # [ndim, 1, *shape]
    for sampling in FLOAT_SAMPLINGS[len(shape)]:
        _, indices = answer(
            edt, masks, sampling, ndim=len(shape), return_indices=True, dtype=torch.float64
        )
        has_site = ~masks.flatten(1).all(1)
        places = indices[:, has_site].long()
        image = torch.arange(int(has_site.sum())).view(-1, *[1] * len(shape))
        assert not masks[has_site][(image, *places)].any()
        steps = torch.tensor(sampling, dtype=torch.float64).view(-1, *[1] * (len(shape) + 1))
        reached = ((places - voxels) * steps).square().sum(0).sqrt()
        expected = on_the_cpu(edt, masks, sampling, ndim=len(shape), dtype=torch.float64)
        assert_within(reached, expected[has_site], 1e-12)


@pytest.mark.parametrize("shape", [(65,), (31, 33), (9, 14, 11)], ids=str)
@open_and_border
@pytest.mark.parametrize("transform", [edt, edt_labels])
def test_distances_at_any_spacing_are_within_rounding(transform, shape, border):
    images = torch.cat([every_pattern(shape).long(), labels_of(shape)])
    for sampling in INTEGER_SAMPLINGS[len(shape)] + FLOAT_SAMPLINGS[len(shape)]:
        options = {"sampling": sampling, "ndim": len(shape), "border": border}
        expected = on_the_cpu(transform, images, dtype=torch.float64, **options)
        assert_within(answer(transform, images, dtype=torch.float64, **options), expected, 2e-12)
        assert_within(answer(transform, images, **options), expected, 1e-6)
        squared = answer(transform, images, squared=True, dtype=torch.float32, **options)
        tiny = torch.finfo(torch.float32).tiny
        np.testing.assert_allclose(squared, expected.square(), rtol=2e-6, atol=tiny)


@floats
@pytest.mark.parametrize("transform", [edt, edt_labels])
def test_each_item_has_the_spacing_of_its_row(transform, dtype):
    images = torch.cat([every_pattern((9, 14, 11)).long(), labels_of((9, 14, 11))])
    images = images.unsqueeze(1).expand(-1, 2, -1, -1, -1)  # a second batch axis shares the row
    spacing = torch.rand((len(images), 3), generator=torch.Generator().manual_seed(3)) + 0.25
    for rows in (spacing.double(), spacing, spacing.half(), (8 * spacing).ceil().int()):
        got = answer(transform, images, rows, ndim=3, dtype=dtype)
        expected = on_the_cpu(transform, images, rows, ndim=3, dtype=torch.float64)
        assert_within(got, expected, 1e-6 if dtype == torch.float32 else 2e-12)


@every_shape
@open_and_border
def test_distances_to_other_labels_are_the_cpus_bit_for_bit(shape, border):
    labels = labels_of(shape)
    for dtype, squared in ((None, False), (torch.float64, False), (None, True)):
        options = {"ndim": len(shape), "border": border, "dtype": dtype, "squared": squared}
        assert_same_bits(
            answer(edt_labels, labels, **options), on_the_cpu(edt_labels, labels, **options)
        )


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_every_dtype_of_mask_and_labels(dtype):
    images = torch.from_numpy(random_labels((3, 40, 37), 5)).to(dtype)
    for transform in (edt, edt_labels):
        assert_same_bits(answer(transform, images, ndim=2), on_the_cpu(transform, images, ndim=2))


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32], ids=str)
def test_nan_infinity_and_subnormals_are_foreground(dtype):
    mask = torch.zeros(5, 40, dtype=dtype)
    mask[1:4, 3:30] = 1
    small = torch.finfo(dtype).smallest_normal / 2
    mask[2, 10:16] = torch.tensor([torch.nan, torch.inf, -torch.inf, small, -small, -0.0])
    assert_same_bits(answer(edt, mask, ndim=2), on_the_cpu(edt, mask, ndim=2))


@pytest.mark.parametrize("value", [256, 2**16, 2**32, 2**40, -(2**63)])
def test_an_integer_counts_in_full_width(value):
    labels = torch.zeros(6, 40, dtype=torch.int64)
    labels[2:5, 7:33] = value
    for transform in (edt, edt_labels):
        assert_same_bits(answer(transform, labels, ndim=2), on_the_cpu(transform, labels, ndim=2))


def test_an_output_that_is_given_is_written_and_returned():
    masks = every_pattern((31, 33)).to(DEVICE)
    room = torch.full((len(masks) + 2, 31, 33), -9.0, device=DEVICE)
    out = room[1:-1]
    assert edt(masks, ndim=2, out=out) is out
    assert_same_bits(out, edt(masks, ndim=2))
    assert (room[[0, -1]] == -9).all()
    indices = torch.full((2, *masks.shape), -9, dtype=torch.int64, device=DEVICE)
    edt(masks, ndim=2, return_indices=True, out=(out, indices))
    assert torch.equal(indices, edt(masks, ndim=2, return_indices=True)[1].long())


@pytest.mark.parametrize(("rows", "spacing"), COLUMNS[::6] if REHEARSE else COLUMNS)
def test_near_and_far_columns_are_the_cpus_bit_for_bit(rows, spacing):
    got, expected = computed(rows, spacing, DEVICE), on_the_cpu(computed, rows, spacing)
    wrong = [name for name in expected if not torch.equal(got[name], expected[name])]
    assert not wrong, f"differs from the CPU's: {', '.join(wrong)}"
