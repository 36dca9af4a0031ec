"""Mistakes in a loss's arguments are named: the argument, what came, what was expected."""

import pytest
import torch

from fastdist.functional import boundary_loss
from fastdist.losses import BoundaryLoss

NAN, INF = float("nan"), float("inf")
LOGITS = torch.randn(2, 3, 4, 5)
LABELS = torch.zeros(2, 4, 5, dtype=torch.int64)


def assert_refused(function, error, fragments):
    with pytest.raises(error) as caught:
        function()
    for fragment in fragments:
        assert fragment in str(caught.value)


@pytest.mark.parametrize(
    ("arguments", "error", "fragments"),
    [
        ({"sigmoid": True, "softmax": True}, ValueError, ["sigmoid", "softmax", "at most one"]),
        ({"sigmoid": True, "other_act": torch.tanh}, ValueError, ["other_act", "at most one"]),
        ({"other_act": "tanh"}, TypeError, ["other_act", "str", "callable"]),
        ({"reduction": "average"}, ValueError, ["reduction", "'average'", "mean"]),
        ({"reduction": None}, ValueError, ["reduction", "None", "mean"]),
        ({"zero": "kervadec"}, ValueError, ["zero", "'kervadec'", "shifted"]),
        ({"normalize": "minmax"}, ValueError, ["normalize", "'minmax'", "max"]),
        ({"clip": 0}, ValueError, ["clip", "0", "> 0"]),
        ({"clip": -1.0}, ValueError, ["clip", "-1.0"]),
        ({"clip": NAN}, ValueError, ["clip", "nan"]),
        ({"clip": "five"}, TypeError, ["clip", "'five'", "number"]),
        ({"empty": "max"}, ValueError, ["empty", "'max'", "diagonal"]),
        ({"full": INF}, ValueError, ["full", "inf", "finite"]),
        ({"ignore_index": 1.5}, TypeError, ["ignore_index", "1.5", "integer"]),
        ({"ignore_index": True}, TypeError, ["ignore_index", "True", "integer"]),
        ({"spacing": 0}, ValueError, ["spacing", "0.0", "> 0"]),
        ({"spacing": -1.0}, ValueError, ["spacing", "-1.0"]),
        ({"spacing": (1.0, NAN)}, ValueError, ["spacing", "nan", "finite"]),
        ({"spacing": [INF, 1]}, ValueError, ["spacing", "inf", "finite"]),
        ({"spacing": ["a", "b"]}, TypeError, ["spacing", "expected"]),
    ],
    ids=str,
)
def test_settings(arguments, error, fragments):
    """At once where the loss is made, and alike in the functional form."""
    assert_refused(lambda: BoundaryLoss(**arguments), error, fragments)
    assert_refused(lambda: boundary_loss(LOGITS, LABELS, **arguments), error, fragments)


@pytest.mark.parametrize(
    ("input", "error", "fragments"),
    [
        ([[0.0]], TypeError, ["input", "list", "torch.Tensor"]),
        (LOGITS.long(), TypeError, ["input", "torch.int64", "float32"]),
        (LOGITS.to(torch.complex64), TypeError, ["input", "complex64"]),
        (LOGITS[0, 0], ValueError, ["input", "(4, 5)", "(B, C, *S)"]),
        (torch.zeros(2, 3, 4, 5, 6, 7), ValueError, ["input", "(2, 3, 4, 5, 6, 7)", "1 to 3"]),
        (torch.zeros(2, 0, 4, 5), ValueError, ["input", "(2, 0, 4, 5)", "channel"]),
    ],
    ids=str,
)
def test_input(input, error, fragments):
    assert_refused(lambda: BoundaryLoss()(input, LABELS), error, fragments)


@pytest.mark.parametrize(
    ("target", "error", "fragments"),
    [
        ([[0]], TypeError, ["target", "list", "torch.Tensor"]),
        (LABELS.to(torch.complex64), TypeError, ["target", "complex64"]),
        (LABELS[:1], ValueError, ["target", "(1, 4, 5)", "(2, 3, 4, 5)", "(2, 4, 5)"]),
        (LABELS[..., :4], ValueError, ["target", "(2, 4, 4)", "(2, 4, 5)"]),
        (LABELS[0], ValueError, ["target", "(4, 5)", "(2, 4, 5)"]),
        (torch.zeros(2, 2, 4, 5), ValueError, ["target", "(2, 2, 4, 5)", "(2, 1, 4, 5)"]),
        (torch.zeros(2, 1, 1, 4, 5), ValueError, ["target", "(2, 1, 1, 4, 5)", "(2, 4, 5)"]),
        (LABELS.to("meta"), ValueError, ["target", "meta", "cpu", ".to("]),
    ],
    ids=lambda value: str(getattr(value, "shape", value)),
)
def test_target(target, error, fragments):
    assert_refused(lambda: BoundaryLoss()(LOGITS, target), error, fragments)


def test_single_channel_target():
    assert_refused(
        lambda: BoundaryLoss()(LOGITS[:, :1], torch.zeros(2, 3, 4, 5)),
        ValueError,
        ["target", "(2, 3, 4, 5)", "(2, 1, 4, 5)"],
    )


@pytest.mark.asks_values
@pytest.mark.parametrize("given_maps", [False, True])
@pytest.mark.parametrize(
    ("value", "fragments"),
    [
        (3, ["labels", "3", "from 0 to 2"]),
        (-1, ["labels", "-1", "from 0 to 2"]),
        (255, ["labels", "255", "from 0 to 2"]),
        (0.5, ["labels", "0.5", "from 0 to 2"]),
        (NAN, ["labels", "nan", "from 0 to 2"]),
        (INF, ["labels", "inf", "from 0 to 2"]),
    ],
)
def test_labels_that_are_no_classes(value, fragments, given_maps, provider):
    labels = LABELS.clone() if isinstance(value, int) else LABELS.float()
    labels[1, 2, 3] = value
    maps = torch.zeros(LOGITS.shape) if given_maps else None
    for loss in (BoundaryLoss(), BoundaryLoss(softmax=True, ignore_index=7)):
        assert_refused(lambda loss=loss: loss(LOGITS, labels, dist_map=maps), ValueError, fragments)
    labels[1, 2, 3] = 2
    assert BoundaryLoss()(LOGITS, labels, dist_map=maps).isfinite()


@pytest.mark.parametrize(
    ("mask", "error", "fragments"),
    [
        ([[True]], TypeError, ["mask", "list", "torch.Tensor"]),
        (torch.ones(2, 4, 4), ValueError, ["mask", "(2, 4, 4)", "(2, 4, 5)"]),
        (torch.ones(4, 5), ValueError, ["mask", "(4, 5)", "(2, 4, 5)"]),
        (torch.ones(2, 3, 4, 5), ValueError, ["mask", "(2, 3, 4, 5)", "(2, 1, 4, 5)"]),
        (torch.ones(2, 4, 5, device="meta"), ValueError, ["mask", "meta", "cpu"]),
        (torch.ones(2, 4, 5, dtype=torch.complex64), TypeError, ["mask", "complex64"]),
    ],
    ids=lambda value: str(getattr(value, "shape", value)),
)
def test_mask(mask, error, fragments):
    assert_refused(lambda: BoundaryLoss()(LOGITS, LABELS, mask=mask), error, fragments)


@pytest.mark.parametrize(
    ("maps", "error", "fragments"),
    [
        ([[1.0]], TypeError, ["dist_map", "list", "torch.Tensor"]),
        (torch.zeros(2, 3, 4, 5, dtype=torch.int32), TypeError, ["dist_map", "int32"]),
        (torch.zeros(2, 1, 4, 5), ValueError, ["dist_map", "(2, 1, 4, 5)", "(2, 3, 4, 5)"]),
        (torch.zeros(2, 4, 5), ValueError, ["dist_map", "(2, 4, 5)", "(2, 3, 4, 5)"]),
        (torch.zeros(2, 3, 4, 5, device="meta"), ValueError, ["dist_map", "meta", "cpu"]),
        (torch.zeros(2, 3, 4, 5, requires_grad=True), ValueError, ["dist_map", "requires grad"]),
    ],
    ids=lambda value: str(getattr(value, "shape", value)),
)
def test_dist_map(maps, error, fragments):
    assert_refused(lambda: BoundaryLoss()(LOGITS, LABELS, dist_map=maps), error, fragments)


@pytest.mark.parametrize(
    ("spacing", "error", "fragments"),
    [
        ((1.0, 1.0, 1.0), ValueError, ["spacing", "3", "2"]),
        ((1.0,), ValueError, ["spacing", "1", "2"]),
        ((1.0, 0.0), ValueError, ["spacing", "0.0", "> 0"]),
        ("ab", TypeError, ["spacing", "'ab'"]),
        (torch.ones(3, 2), ValueError, ["spacing", "(3, 2)", "(2, 2)"]),
        (torch.ones(2, 3), ValueError, ["spacing", "(2, 3)", "(2, 2)"]),
        (torch.ones(2, 2, device="meta"), ValueError, ["spacing", "meta", "cpu", ".to("]),
        (torch.ones(2, 2, dtype=torch.bool), TypeError, ["spacing", "bool"]),
    ],
    ids=str,
)
def test_spacing_of_the_call(spacing, error, fragments):
    assert_refused(lambda: BoundaryLoss()(LOGITS, LABELS, spacing=spacing), error, fragments)


@pytest.mark.asks_values
@pytest.mark.parametrize("value", [0.0, -1.0, NAN, INF])
def test_values_of_a_spacing_tensor(value, provider):
    spacing = torch.ones(2, 2)
    spacing[1, 0] = value
    assert_refused(
        lambda: BoundaryLoss()(LOGITS, LABELS, spacing=spacing), ValueError, ["spacing", "finite"]
    )


def test_channels_have_no_index_to_ignore():
    loss = BoundaryLoss(ignore_index=255)
    assert_refused(
        lambda: loss(LOGITS, torch.zeros(2, 3, 4, 5)), ValueError, ["ignore_index", "255", "mask="]
    )


def test_an_activation_that_changes_the_shape():
    for other_act, error in ((lambda z: z[:, :1], ValueError), (lambda z: 1.0, TypeError)):
        loss = BoundaryLoss(other_act=other_act)
        assert_refused(lambda loss=loss: loss(LOGITS, LABELS), error, ["other_act", "returned"])


@pytest.mark.asks_values
def test_a_narrow_label_is_not_mistaken_for_a_negative_ignore_index(provider):
    labels = LABELS.to(torch.uint8)
    labels[1, 2, 3] = 255  # modulo 2^8 it would be -1
    loss = BoundaryLoss(softmax=True, ignore_index=-1)
    for maps in (None, torch.zeros(LOGITS.shape)):
        assert_refused(lambda m=maps: loss(LOGITS, labels, dist_map=m), ValueError, ["255"])
