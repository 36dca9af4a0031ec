"""The provider numba for CUDA tensors: signed maps, losses, and that the host waits for nothing.

Run as `test_numba_cuda_values.py` is.
"""

import loss_oracle
import numpy as np
import oracles
import pytest
import torch
from cuda_calls import CALLS, CLASSES, batch, tolerance
from cuda_support import (
    DEVICE,
    REHEARSE,
    Captured,
    answer,
    assert_near,
    current_stream,
    keep_busy,
    new_stream,
    no_synchronisation,
    on,
)
from test_labels import random_labels
from test_numba_cuda_values import _numba_answers, pytestmark  # noqa: F401
from test_signed import NORMALIZATIONS, ZEROS, assert_is_map

from fastdist import edt, signed_distance_maps
from fastdist.functional import boundary_loss

# ------------------------------------------------------------------ signed maps, losses


@pytest.mark.parametrize("zero", ZEROS)
@pytest.mark.parametrize("ignore_index", [None, 2, 255])
@pytest.mark.parametrize("border", [False, True], ids=["open", "border"])
def test_signed_maps_of_labels(zero, ignore_index, border):
    labels = random_labels((3, 4, 7), 4)
    labels[1][labels[1] == 3] = 0  # absent from one item
    labels[2] = 1  # fills another
    if ignore_index is not None:
        labels[np.random.default_rng(2).random(labels.shape) < 0.15] = ignore_index
    rows = np.array([[1.0, 1.0], [0.7, 1.9], [2.0, 3.0]])
    options = {"zero": zero, "ignore_index": ignore_index, "border": border, "full": "diagonal"}
    for sampling in (None, (0.6, 2.2), rows):
        expected = oracles.signed_maps_of_labels(labels, 4, sampling, **options)
        given = torch.from_numpy(rows) if sampling is rows else sampling
        got = answer(signed_distance_maps, torch.from_numpy(labels), 4, given, **options)
        assert_is_map(got, expected, 3.0)


@pytest.mark.parametrize("normalize", NORMALIZATIONS)
def test_signed_maps_clipped_and_normalised(normalize):
    labels = random_labels((2, 6, 7), 3)
    options = {"clip": 1.25, "normalize": normalize, "empty": "diagonal", "full": -7.5}
    expected = oracles.signed_maps_of_labels(labels, 4, **options)
    got = answer(signed_distance_maps, torch.from_numpy(labels), 4, **options)
    assert_is_map(got, expected)


def test_a_label_out_of_range_counts_as_ignored():
    labels = torch.from_numpy(random_labels((2, 5, 6), 3))
    wrong = torch.rand(labels.shape, generator=torch.Generator().manual_seed(0)) < 0.15
    expected = oracles.signed_maps_of_labels(
        labels.masked_fill(wrong, -100).numpy(), 3, ignore_index=-100
    )
    logits = torch.randn(2, 3, 5, 6, generator=torch.Generator().manual_seed(1))
    logits = logits.masked_fill(wrong[:, None], torch.nan)
    foreground = loss_oracle.channels(labels, 3)
    right = loss_oracle.with_gradient(
        lambda z: loss_oracle.loss(z, foreground, ~wrong, activation="softmax"), logits.double()
    )
    for stray, dtype in ((3, torch.uint8), (255, torch.uint8), (-1, torch.int64),
                         (0.5, torch.float32), (torch.nan, torch.float32)):  # fmt: skip
        given = labels.to(dtype).masked_fill(wrong, stray)
        for ignore_index in (None, -1):
            options = {"ignore_index": ignore_index}
            assert_is_map(answer(signed_distance_maps, given, 3, **options), expected)
            got = answer(
                lambda z, y, options=options: loss_oracle.with_gradient(
                    lambda leaf: boundary_loss(leaf, y, softmax=True, **options), z
                ),
                logits,
                given,
            )
            for mine, theirs in zip(got, right, strict=True):
                torch.testing.assert_close(mine.double(), theirs, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("wrong", [0.0, -1.0, torch.inf, torch.nan])
def test_an_item_whose_spacing_is_no_length_counts_as_ignored(wrong):
    labels = torch.from_numpy(random_labels((2, 5, 6), 3))
    rows = torch.tensor([[1.0, 2.0], [1.0, wrong]], dtype=torch.float64)
    options = {"ndim": 2, "return_indices": True}
    got, indices = answer(edt, labels, rows, **options)
    alone = answer(edt, labels[:1], rows[:1], **options)
    torch.testing.assert_close((got[:1], indices[:, :1]), alone, rtol=0, atol=0)
    assert (got[1] == 0).all()
    assert (indices[:, 1] == -1).all()
    maps = answer(signed_distance_maps, labels, 3, rows, empty="diagonal", normalize="max")
    assert (maps[1] == 0).all()
    assert maps[0].any()
    logits = torch.randn(2, 3, 5, 6, generator=torch.Generator().manual_seed(1))
    logits[1] = torch.nan

    def loss(z, y, rows):
        return loss_oracle.with_gradient(
            lambda leaf: boundary_loss(leaf, y, softmax=True, reduction="none", spacing=rows), z
        )

    value, gradient = answer(loss, logits, labels, rows)
    assert (value[1] == 0).all()
    assert (gradient[1] == 0).all()
    value_alone, gradient_alone = answer(loss, logits[:1], labels[:1], rows[:1])
    torch.testing.assert_close(value[:1], value_alone)
    assert gradient[0].any()
    assert gradient_alone.any()


@pytest.mark.parametrize("activation", ["none", "sigmoid", "softmax"])
@pytest.mark.parametrize("space", [(7,), (4, 5), (3, 4, 3)], ids=str)
def test_the_boundary_loss_is_its_definitions(activation, space):
    labels = loss_oracle.lesion_labels(2, space, 3)
    known = torch.rand(labels.shape, generator=torch.Generator().manual_seed(0)) > 0.2
    logits = torch.randn(2, 3, *space, generator=torch.Generator().manual_seed(1))
    spacing = torch.rand(2, len(space), generator=torch.Generator().manual_seed(2)).double() + 0.5
    foreground = loss_oracle.channels(labels, 3)
    right = loss_oracle.with_gradient(
        lambda z: loss_oracle.loss(
            z, foreground, known, activation=activation, spacing=spacing, include_background=False
        ),
        logits.double(),
    )
    settings = loss_oracle.settings(activation)

    def loss(z, y, mask, spacing):
        return loss_oracle.with_gradient(
            lambda leaf: boundary_loss(
                leaf, y, mask=mask, spacing=spacing, include_background=False, **settings
            ),
            z,
        )

    got = answer(loss, logits, labels, known, spacing)
    for mine, theirs in zip(got, right, strict=True):
        torch.testing.assert_close(mine.double(), theirs, rtol=1e-5, atol=1e-6)


# ------------------------------------------------------------------ on the device

SPACES = [(5,), (3, 4), (2, 3, 4)] if REHEARSE else [(33,), (31, 65), (5, 33, 9)]


@pytest.mark.parametrize("call", CALLS.values(), ids=CALLS.keys())
@pytest.mark.parametrize("space", SPACES, ids=str)
def test_no_call_waits_for_the_device_and_a_graph_records_it(call, space):
    kept, other = batch(space, DEVICE), batch(space, DEVICE, seed=1)
    expected = [call(kept), call(other)]
    with no_synchronisation():
        call(kept)
    graph = Captured(lambda: call(kept))
    kept.copy_(other)
    graph.replay()
    for got, right in zip(graph.outputs, expected[1], strict=True):
        assert_near(got, right, tolerance(right.dtype))


def test_it_works_on_the_current_stream():
    space = SPACES[-1]
    b, late = batch(space, DEVICE), batch(space, DEVICE, seed=1)
    right = signed_distance_maps(late.labels, CLASSES)
    stream = new_stream()
    stream.wait_stream(current_stream())
    with on(stream):
        keep_busy(50)  # whoever does not wait for this stream reads the old labels
        b.copy_(late)
        got = signed_distance_maps(b.labels, CLASSES)
    stream.synchronize()
    assert torch.equal(got, right)
