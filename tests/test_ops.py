"""torch.ops.fastdist.*: schemas, fake kernels, vmap, torch.compile, inference mode."""

import json
import shutil

import numpy as np
import oracles
import pytest
import torch
from conftest import PROVIDERS, REQUIRE_EXTENSION
from test_labels import random_labels

from fastdist import edt, edt_labels, providers, signed_distance, signed_distance_maps

OPS = torch.ops.fastdist
LABELS = torch.from_numpy(random_labels((2, 9, 11), 3))
MASK = LABELS == 1
CHANNELS = torch.nn.functional.one_hot(LABELS, 3).movedim(-1, 1).contiguous()
VALID = torch.from_numpy(np.random.default_rng(17).random((2, 9, 11)) > 0.2)
UNIT = [1.0, 1.0]
ROWS = torch.tensor([[1.0, 2.5], [0.5, 0.5]], dtype=torch.float64)
LOGITS = torch.from_numpy(np.random.default_rng(18).standard_normal((2, 3, 9, 11))).float()
PLAIN = ("shifted", "none", None, 0.0, 0.0, False)
FULLY = ("midpoint", "max", 4.0, None, None, True)


def empty(*shape, dtype=torch.float32):
    return torch.full(shape, -9, dtype=dtype)


# One line per call; every op, every optional argument given and left out.
CALLS = {
    "edt_out": [
        (MASK, 2, UNIT, None, False, False, empty(2, 9, 11)),
        (LABELS, 2, [0.5, 2.0], None, True, True, empty(2, 9, 11, dtype=torch.float64)),
        (MASK, 2, UNIT, ROWS, False, False, empty(2, 9, 11)),
        (MASK, 1, [1.0], None, True, False, empty(2, 9, 11, dtype=torch.int32)),
    ],
    "edt_indices_out": [
        (MASK, 2, UNIT, None, False, False, empty(2, 9, 11), empty(2, 2, 9, 11, dtype=torch.int32)),
        (MASK, 3, [1.0, 2.0, 3.0], None, True, False, empty(2, 9, 11, dtype=torch.float64),
         empty(3, 2, 9, 11, dtype=torch.int64)),
    ],
    "edt_labels_out": [
        (LABELS, 2, UNIT, None, False, False, empty(2, 9, 11)),
        (LABELS.float(), 2, UNIT, ROWS, False, True, empty(2, 9, 11)),
    ],
    "signed_maps_out": [
        (LABELS, None, "labels", 0, None, 2, UNIT, None, *PLAIN, empty(2, 3, 9, 11)),
        (LABELS, VALID, "labels", 1, 2, 2, UNIT, ROWS, *FULLY, empty(2, 2, 9, 11)),
        (CHANNELS, None, "nonzero", 0, None, 2, [0.7, 1.0], None, *FULLY,
         empty(2, 3, 9, 11, dtype=torch.float64)),
        (CHANNELS * 0.7, VALID, "above_half", 0, None, 2, UNIT, None, *PLAIN, empty(2, 3, 9, 11)),
    ],
    "edt": [
        (MASK, 2, UNIT, None, False, False, torch.float32),
        (MASK, 2, UNIT, ROWS, False, True, torch.float64),
        (MASK, 2, UNIT, None, True, False, torch.int32),
    ],
    "edt_indices": [(MASK, 2, UNIT, None, False, False, torch.float32)],
    "edt_labels": [(LABELS, 2, UNIT, None, False, True, torch.float32)],
    "signed_maps": [
        (LABELS, None, "labels", 0, 255, 2, UNIT, None, *PLAIN, 3, torch.float32),
        (CHANNELS, VALID, "nonzero", 0, None, 2, UNIT, ROWS, *FULLY, 3, torch.float64),
    ],
    "weighted_sums": [
        (LOGITS, LOGITS.abs(), LABELS, None, "labels", 0, None, "softmax"),
        (LOGITS, LOGITS.abs(), CHANNELS, VALID, "above_half", 0, None, "sigmoid"),
    ],
    "weighted_sums_backward": [
        (torch.ones(2, 3), LOGITS, LOGITS.abs(), LABELS, None, "labels", 0, None, "softmax"),
        (torch.ones(2, 3), LOGITS, LOGITS.abs(), CHANNELS, VALID, "nonzero", 0, None, "none"),
    ],
    "boundary_loss": [
        (LOGITS, LABELS, None, "labels", 0, None, "softmax", UNIT, None, *PLAIN),
        (LOGITS, LABELS, VALID, "labels", 1, None, "softmax", UNIT, ROWS, *FULLY),
    ],
    "distance_loss": [
        (LOGITS.clone().requires_grad_(), None, LABELS, None, "labels", 0, None, "softmax", UNIT,
         None, *PLAIN, "mean", False, False),
        (LOGITS.clone().requires_grad_(), LOGITS.abs(), LABELS, VALID, "labels", 0, 1, "sigmoid",
         UNIT, None, *PLAIN, "none", True, False),
        (LOGITS, None, LABELS, VALID, "labels", 1, None, "none", UNIT, ROWS, *FULLY, "sum", False,
         True),
    ],
}  # fmt: skip


def test_every_op_is_tried_here():
    from fastdist.ops import SCHEMAS

    assert set(SCHEMAS) - {"build_info"} == set(CALLS)


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize(
    ("name", "arguments"),
    [(name, arguments) for name, calls in CALLS.items() for arguments in calls],
    ids=[f"{name}-{i}" for name, calls in CALLS.items() for i in range(len(calls))],
)
def test_opcheck(name, arguments, provider):
    torch.library.opcheck(getattr(OPS, name).default, arguments)


@pytest.mark.parametrize("name", ["edt", "edt_indices", "edt_labels", "signed_maps"])
def test_functional_forms_are_their_out_variants(name, provider):
    for arguments in CALLS[name]:
        got = getattr(OPS, name)(*arguments)
        got = got if isinstance(got, tuple) else (got,)
        written = [torch.full_like(part, -9) for part in got]
        front = arguments[: -2 if name == "signed_maps" else -1]
        assert getattr(OPS, f"{name}_out")(*front, *written) is None
        for mine, theirs in zip(written, got, strict=True):
            np.testing.assert_array_equal(mine, theirs)


@pytest.mark.parametrize("zero", ["shifted", "unit", "inner", "midpoint", "none"])
@pytest.mark.parametrize("layout", ["labels", "nonzero", "above_half"])
def test_voxels_that_are_not_valid_are_ignored(layout, zero, provider):
    target = {"labels": LABELS, "nonzero": CHANNELS, "above_half": CHANNELS * 0.8 + 0.1}[layout]
    valid = VALID.numpy()
    for item_sampling in (None, ROWS):
        maps = empty(2, 3, 9, 11, dtype=torch.float64)
        OPS.signed_maps_out(
            target, VALID, layout, 0, None, 2, UNIT, item_sampling, zero, "none", None, 1.5, 2.5,
            False, maps,
        )  # fmt: skip
        for item, k in np.ndindex(2, 3):
            fg = (LABELS[item] == k).numpy()
            expected = oracles.signed_map(
                fg & valid[item], ~fg & valid[item], zero=zero, empty=1.5, full=2.5,
                sampling=None if item_sampling is None else item_sampling[item].numpy(),
            )  # fmt: skip
            np.testing.assert_allclose(maps[item, k], expected, rtol=1e-12, atol=1e-12)


def test_above_half_means_above_half(provider):
    target = torch.tensor([[[0.0, 0.5, 0.5001, 1.0, float("nan"), 0.2, 7.0]]])
    maps = empty(1, 1, 7)
    OPS.signed_maps_out(
        target, None, "above_half", 0, None, 1, [1.0], None, "none", "none", None, 0.0, 0.0, False,
        maps,
    )  # fmt: skip
    np.testing.assert_array_equal(maps[0, 0], [2, 1, -1, -1, 1, 1, -1])


def test_labels_that_are_not_valid_may_be_anything(provider):
    labels, valid = LABELS.clone(), VALID.clone()
    labels[~valid] = 77
    maps, expected = empty(2, 3, 9, 11), empty(2, 3, 9, 11)
    rest = ("labels", 0, None, 2, UNIT, None, *PLAIN)
    OPS.signed_maps_out(labels, valid, *rest, maps)
    OPS.signed_maps_out(LABELS, valid, *rest, expected)
    np.testing.assert_array_equal(maps, expected)


def test_first_class_leaves_the_background_out(provider):
    rest = (None, 2, UNIT, None, *PLAIN)
    all_maps, some = empty(2, 3, 9, 11), empty(2, 2, 9, 11)
    OPS.signed_maps_out(LABELS, None, "labels", 0, *rest, all_maps)
    OPS.signed_maps_out(LABELS, None, "labels", 1, *rest, some)
    np.testing.assert_array_equal(some, all_maps[:, 1:])


# ------------------------------------------------------------------ torch.compile

FUNCTIONS = {
    "edt": lambda x, h: edt(x, ndim=2),
    "edt, spacing": lambda x, h: edt(x, (0.5, 2.0), ndim=2, border=True),
    "edt, item spacing": lambda x, h: edt(x, h, ndim=2, dtype=torch.float64),
    "edt, squared": lambda x, h: edt(x, ndim=2, squared=True),
    "edt, indices": lambda x, h: edt(x, ndim=2, return_indices=True)[1],
    "edt_labels": lambda x, h: edt_labels(x, ndim=2) + 1,
    "signed_distance": lambda x, h: signed_distance(x, ndim=2, zero="inner", clip=3.0) * 2,
    "maps": lambda x, h: signed_distance_maps(x, 3, h, normalize="max").sum(1),
    "maps, channels": lambda x, h: signed_distance_maps(x[:, None], 1, onehot=True),
    "out": lambda x, h: edt(x, ndim=2, out=torch.empty(x.shape)),
}


@pytest.mark.parametrize("function", FUNCTIONS.values(), ids=FUNCTIONS.keys())
def test_compiles_into_one_graph_for_any_shape(function, provider):
    torch._dynamo.reset()
    compiled = torch.compile(function, fullgraph=True, dynamic=True, backend="aot_eager")
    for shape in [(2, 9, 11), (2, 12, 5), (3, 7, 8)]:
        labels = torch.from_numpy(random_labels(shape, 3))
        spacing = torch.rand(shape[0], 2, dtype=torch.float64) + 0.5
        np.testing.assert_array_equal(compiled(labels, spacing), function(labels, spacing))


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("g++") is None, reason="inductor needs a C++ compiler")
def test_compiles_with_inductor(provider):
    torch._dynamo.reset()

    def step(labels, weight):
        return (signed_distance_maps(labels, 3) * weight).sum() + edt(labels, ndim=2).mean()

    weight = torch.rand(2, 3, 9, 11)
    compiled = torch.compile(step, fullgraph=True, dynamic=True)
    torch.testing.assert_close(compiled(LABELS, weight), step(LABELS, weight))


# ------------------------------------------------------------------ vmap and modes

VMAPPED = {
    "edt": (lambda x: edt(x, ndim=2), 0),
    "edt, indices": (lambda x: edt(x, ndim=2, return_indices=True)[1], 0),
    "edt, squared": (lambda x: edt(x, ndim=2, squared=True, border=True), 0),
    "edt_labels": (lambda x: edt_labels(x, ndim=2), 0),
    "signed_distance": (lambda x: signed_distance(x, (0.5, 2.0), ndim=2), 0),
    "maps": (lambda x: signed_distance_maps(x[None], 3), 0),
}


@pytest.mark.parametrize("in_dim", [0, 1, 2])
@pytest.mark.parametrize("name", VMAPPED)
def test_vmap_is_a_loop(name, in_dim, provider):
    function, _ = VMAPPED[name]
    images = torch.from_numpy(random_labels((4, 9, 11), 3))
    expected = torch.stack([function(image) for image in images])
    moved = images.movedim(0, in_dim)
    np.testing.assert_array_equal(torch.vmap(function, in_dims=in_dim)(moved), expected)


def test_vmap_over_a_batch_with_item_spacing(provider):
    images = torch.from_numpy(random_labels((3, 2, 9, 11), 3))
    spacing = torch.rand(3, 2, 2, dtype=torch.float64) + 0.5
    for function in (
        lambda x, h: edt(x, h, ndim=2),
        lambda x, h: edt_labels(x, h, ndim=2),
        lambda x, h: signed_distance(x, h, ndim=2),
        lambda x, h: signed_distance_maps(x, 3, h),
    ):
        expected = torch.stack([function(*pair) for pair in zip(images, spacing, strict=True)])
        np.testing.assert_array_equal(torch.vmap(function)(images, spacing), expected)
        shared = torch.stack([function(image, spacing[0]) for image in images])
        np.testing.assert_array_equal(
            torch.vmap(function, in_dims=(0, None))(images, spacing[0]), shared
        )
        turned = torch.stack([function(images[0], h) for h in spacing])
        np.testing.assert_array_equal(
            torch.vmap(function, in_dims=(None, 0))(images[0], spacing), turned
        )


def test_vmap_of_vmap(provider):
    images = torch.from_numpy(random_labels((2, 3, 9, 11), 3))
    nested = torch.vmap(torch.vmap(lambda x: edt(x, ndim=2)))(images)
    np.testing.assert_array_equal(nested, edt(images, ndim=2))


@pytest.mark.parametrize("mode", [torch.inference_mode, torch.no_grad])
def test_modes_change_nothing(mode, provider):
    expected = [edt(MASK, ndim=2), edt_labels(LABELS, ndim=2), signed_distance_maps(LABELS, 3)]
    with mode():
        labels = LABELS.clone()
        got = [
            edt(labels == 1, ndim=2),
            edt_labels(labels, ndim=2),
            signed_distance_maps(labels, 3),
        ]
        out = torch.empty(2, 9, 11)
        edt(labels == 1, ndim=2, out=out)
    for mine, theirs in zip([*got, out], [*expected, expected[0]], strict=True):
        np.testing.assert_array_equal(mine, theirs)


def test_autocast_changes_nothing(provider):
    expected = signed_distance_maps(LABELS, 3)
    with torch.autocast("cpu", torch.bfloat16):
        got = signed_distance_maps(LABELS, 3)
    assert got.dtype == torch.float32
    np.testing.assert_array_equal(got, expected)


def test_meta_tensors_give_shapes_and_dtypes():
    mask = torch.empty(2, 3, 40_000, 50_000, device="meta")
    squared = edt(mask, ndim=2, squared=True)
    assert (squared.shape, squared.dtype) == (mask.shape, torch.int64)
    distances, indices = edt(mask, ndim=2, return_indices=True)
    assert (distances.dtype, indices.dtype) == (torch.float32, torch.int32)
    assert indices.shape == (2, *mask.shape)
    assert signed_distance_maps(mask[:, 0], 5, dtype=torch.float64).shape == (2, 5, 40_000, 50_000)


def test_written_outputs_are_known_to_autograd(provider):
    # A tensor saved for backward and then overwritten by out= must be noticed.
    out = torch.ones(2, 9, 11)
    x = torch.ones(2, 9, 11, requires_grad=True)
    y = (x * out).sum()
    edt(MASK, ndim=2, out=out)
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        y.backward()


def test_the_extension_is_here_where_it_is_required():
    if not REQUIRE_EXTENSION:
        pytest.skip("FASTDIST_REQUIRE_EXTENSION is not set")
    assert providers.reasons()["extension"] is None
    assert "extension" in PROVIDERS


def test_build_info_of_the_compiled_library_is_json():
    if "extension" not in providers.available():
        pytest.skip(f"extension: {providers.reasons()['extension']}")
    assert isinstance(json.loads(OPS.build_info()), dict)
