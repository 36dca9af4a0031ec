"""Signed maps on CUDA tensors are those on CPU tensors: every convention, layout and spacing."""

from itertools import product

import pytest
import torch
from cuda_support import (
    DEVICE,
    REHEARSE,
    answer,
    assert_near,
    assert_same_bits,
    needs_cuda,
    not_an_error_on_a_gpu,
    on_the_cpu,
)
from test_cuda_values import DTYPES, every_pattern, labels_of
from test_ops import FULLY, LABELS, PLAIN, ROWS, UNIT, VALID
from test_signed import NORMALIZATIONS, ZEROS, assert_is_map

from fastdist import check_labels, check_spacing, ops, signed_distance, signed_distance_maps

pytestmark = needs_cuda

SHAPES = [(12, 13)] if REHEARSE else [(33,), (12, 13), (31, 65), (7, 9, 11)]
every_shape = pytest.mark.parametrize("shape", SHAPES, ids=str)
every_zero = pytest.mark.parametrize("zero", ZEROS)


def assert_maps(function, *arguments, sampling=None, **options) -> None:
    """float32 and float64 maps are the CPU's; never inf, NaN or minus zero."""
    options["sampling"] = sampling
    expected = on_the_cpu(function, *arguments, dtype=torch.float64, **options).numpy()
    largest = sampling.cpu() if isinstance(sampling, torch.Tensor) else sampling
    for dtype in (torch.float32, torch.float64):
        got = answer(function, *arguments, dtype=dtype, **options)
        assert got.dtype == dtype
        assert_is_map(got, expected, 1.0 if largest is None else largest, scale=2)


def samplings(ndim: int, items: int) -> list:
    rows = torch.rand((items, ndim), generator=torch.Generator().manual_seed(5)) + 0.25
    return [None, (3, 1, 2)[:ndim], (3.3, 0.58594, 0.46875)[:ndim], rows.double()]


@every_shape
@every_zero
@pytest.mark.parametrize("border", [False, True], ids=["open", "border"])
def test_every_zero_level_at_every_spacing(shape, zero, border):
    masks = every_pattern(shape)
    for sampling in samplings(len(shape), len(masks)):
        assert_maps(
            signed_distance, masks, sampling=sampling, ndim=len(shape), zero=zero, border=border
        )


@every_shape
@every_zero
@pytest.mark.parametrize("normalize", NORMALIZATIONS)
def test_clip_and_normalisation_of_every_layout(shape, zero, normalize):
    masks = every_pattern(shape)
    labels = masks.long() + (masks & masks.roll(1, 0)).long()  # [P, *S]: 0, 1 and 2
    channels = torch.stack([masks, masks.roll(1, 0), ~masks], 1).to(torch.uint8)
    for clip, border in product((None, 0.75, 3.0), (False, True)):
        convention = {"zero": zero, "normalize": normalize, "clip": clip, "border": border}
        for sampling in samplings(len(shape), len(masks))[::3]:
            for options in ({}, {"ignore_index": 2}):
                assert_maps(
                    signed_distance_maps, labels, 3, sampling=sampling, **options, **convention
                )
            assert_maps(
                signed_distance_maps, channels, 3, sampling=sampling, onehot=True, **convention
            )


@every_zero
@pytest.mark.parametrize("constant", [0.0, 3.5, -2.0, "diagonal"])
def test_empty_and_full_images_have_their_constants(zero, constant):
    masks = torch.zeros(4, 9, 14)
    masks[1] = 1
    masks[2, 3, 4] = 1
    masks[3] = masks[2] == 0
    for sampling, clip in product((None, (1.5, 0.5)), (None, 0.25)):
        assert_maps(
            signed_distance, masks, sampling=sampling, ndim=2, zero=zero, clip=clip,
            normalize="max", empty=constant, full=constant,
        )  # fmt: skip


@every_zero
@pytest.mark.parametrize("layout", ["labels", "nonzero", "above_half"])
def test_voxels_that_are_not_valid_seed_nothing(layout, zero):
    soft = torch.rand((2, 3, *LABELS.shape[1:]), generator=torch.Generator().manual_seed(6))
    target = {"labels": LABELS, "nonzero": (soft > 0.7).int(), "above_half": soft}[layout]
    for item_sampling, rest in product((None, ROWS), (PLAIN[1:], FULLY[1:])):
        arguments = (target, VALID, layout, 0, None, 2, UNIT, item_sampling, zero, *rest, 3)
        expected = on_the_cpu(ops.signed_maps, *arguments, torch.float64)
        assert_near(answer(ops.signed_maps, *arguments, torch.float64), expected, 2e-12)
        assert_near(answer(ops.signed_maps, *arguments, torch.float32), expected, 2e-6)


@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_unshifted_maps_at_unit_spacing_are_the_cpus_bit_for_bit(shape):
    masks = every_pattern(shape)
    for dtype in (torch.float32, torch.float64):
        options = {"ndim": len(shape), "zero": "none", "dtype": dtype}
        assert_same_bits(
            answer(signed_distance, masks, **options), on_the_cpu(signed_distance, masks, **options)
        )


@pytest.mark.parametrize("count", [1, 2, 5, 40])
def test_any_number_of_classes_absent_ones_among_them(count):
    labels = labels_of((31, 33)).clamp(max=count - 1)
    assert_maps(signed_distance_maps, labels, count + 1)


@pytest.mark.parametrize("dtype", DTYPES[1:], ids=str)
def test_every_dtype_of_labels_and_channels(dtype):
    labels = labels_of((12, 40))[:3]
    assert_maps(signed_distance_maps, labels.to(dtype), 5)
    assert_maps(signed_distance_maps, labels.to(dtype).unsqueeze(1), 1, onehot=True)


@not_an_error_on_a_gpu
@pytest.mark.parametrize("dtype", [torch.uint8, torch.int64, torch.float32], ids=str)
@pytest.mark.parametrize("ignore_index", [None, 1, 255])
def test_a_label_out_of_range_counts_as_ignored_and_check_labels_finds_it(dtype, ignore_index):
    labels = labels_of((12, 40))[2:3] % 3
    wrong = torch.rand(labels.shape, generator=torch.Generator().manual_seed(7)) < 0.1
    unsigned = not dtype.is_signed
    strays = [3, 77] if unsigned else [3, -1, 1000] + [0.5, torch.nan] * dtype.is_floating_point
    valid = ~wrong if ignore_index is None else ~wrong & (labels != ignore_index)
    for stray in strays:
        given = labels.to(dtype)
        given[wrong] = stray
        got = answer(signed_distance_maps, given, 3, ignore_index=ignore_index)
        arguments = (labels, valid, "labels", 0, None, 2, UNIT, None, *PLAIN, 3, torch.float32)
        assert_near(got, on_the_cpu(ops.signed_maps, *arguments), 2e-6)
        with pytest.raises(ValueError, match="labels: got the value"):
            check_labels(given.to(DEVICE), 3, ignore_index)


@not_an_error_on_a_gpu
@pytest.mark.parametrize("wrong", [0.0, -1.0, torch.inf, torch.nan])
def test_an_item_with_a_wrong_spacing_is_ignored_and_check_spacing_finds_it(wrong):
    labels = labels_of((12, 40))[:3] % 3
    rows = torch.tensor([[1.0, 2.0], [1.0, wrong], [0.5, 0.75]])
    got = answer(signed_distance_maps, labels, 3, rows, empty=5.0, full=-5.0)
    rows[1] = 1
    expected = on_the_cpu(signed_distance_maps, labels, 3, rows, empty=5.0, full=-5.0)
    expected[1] = 0
    assert_near(got, expected, 2e-6)
    rows[1, 1] = wrong
    with pytest.raises(ValueError, match="spacing"):
        check_spacing(rows.to(DEVICE))
