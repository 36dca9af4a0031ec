"""Mistakes that only a GPU makes possible: tensors on several devices, memory that runs out."""

from contextlib import nullcontext

import pytest
import torch
from cuda_calls import CALLS, CLASSES, batch
from cuda_support import (
    DEVICE,
    REHEARSE,
    assert_same_bits,
    needs_cuda,
    needs_two_gpus,
)

from fastdist import distance_transform_edt, edt, edt_labels, signed_distance, signed_distance_maps
from fastdist.functional import boundary_loss

pytestmark = needs_cuda

#: A device that the tensors are not on.
OTHER = "meta" if REHEARSE else "cpu"

# Every argument that is a tensor, once on the other device.
MIXED = {
    "edt, sampling": ("sampling", lambda b, o: edt(b.mask, o.spacing, ndim=2)),
    "edt_labels, sampling": ("sampling", lambda b, o: edt_labels(b.labels, o.spacing, ndim=2)),
    "signed_distance, sampling": (
        "sampling",
        lambda b, o: signed_distance(b.mask, o.spacing, ndim=2),
    ),
    "maps, sampling": (
        "sampling",
        lambda b, o: signed_distance_maps(b.labels, CLASSES, o.spacing[0]),
    ),
    "loss, spacing": (
        "spacing",
        lambda b, o: boundary_loss(b.logits, b.labels, spacing=o.spacing),
    ),
    "loss, target": ("target", lambda b, o: boundary_loss(b.logits, o.labels)),
    "loss, mask": ("mask", lambda b, o: boundary_loss(b.logits, b.labels, mask=o.valid)),
    "loss, dist_map": (
        "dist_map",
        lambda b, o: boundary_loss(b.logits, b.labels, dist_map=o.maps),
    ),
}
OUTPUTS = {
    "edt": lambda b, o: edt(b.mask, ndim=2, out=o.maps[:, 0].contiguous()),
    "edt_labels": lambda b, o: edt_labels(b.labels, ndim=2, out=o.maps[:, 0].contiguous()),
    "maps": lambda b, o: signed_distance_maps(b.labels, CLASSES, out=o.maps),
}


def assert_names_what_to_do(error, name, device) -> None:
    message = str(error.value)
    assert message.startswith(f"{name}: got a tensor on ")
    assert f"{name}.to({device!r})" in message


@pytest.mark.parametrize("name", MIXED)
def test_a_tensor_on_another_device_is_an_error_that_says_how_to_move_it(name):
    argument, call = MIXED[name]
    here, there = (batch((12, 40), device) for device in (DEVICE, OTHER))
    with pytest.raises(ValueError, match=argument) as error:
        call(here, there)
    assert_names_what_to_do(error, argument, str(here.labels.device))


@needs_two_gpus
@pytest.mark.parametrize("name", MIXED)
def test_tensors_on_two_gpus_are_an_error_that_says_how_to_move_them(name):
    argument, call = MIXED[name]
    here, there = (batch((12, 40), device) for device in ("cuda:0", "cuda:1"))
    with pytest.raises(ValueError, match=argument) as error:
        call(here, there)
    assert_names_what_to_do(error, argument, "cuda:0")


@pytest.mark.parametrize("name", OUTPUTS)
def test_an_output_on_another_device_is_an_error(name):
    with pytest.raises(ValueError, match=f"out: got a tensor on {OTHER}.*expected {DEVICE}"):
        OUTPUTS[name](batch((12, 40), DEVICE), batch((12, 40), OTHER))


def test_scipys_function_refuses_outputs_on_another_device():
    mask = batch((12, 40), DEVICE).mask
    out = torch.zeros(mask.shape, dtype=torch.float64, device=OTHER)
    with pytest.raises(ValueError, match=f"distances: got an array on {OTHER}, expected {DEVICE}"):
        distance_transform_edt(mask, distances=out)


def test_mistakes_that_need_no_values_read_as_on_the_cpu():
    b = batch((12, 40), DEVICE)
    with pytest.raises(ValueError, match="ndim: got 4, expected 1, 2 or 3"):
        edt(b.mask, ndim=4)
    with pytest.raises(TypeError, match="dtype"):
        edt(b.mask, ndim=2, dtype=torch.float16)
    with pytest.raises(ValueError, match="sampling"):
        edt(b.mask, -1.0, ndim=2)
    with pytest.raises(ValueError, match="target: got shape"):
        boundary_loss(b.logits, b.labels[:, 1:])
    room = torch.zeros(40, device=DEVICE)
    with pytest.raises(ValueError, match="shares memory"):
        edt(room, ndim=1, out=room)


# ------------------------------------------------------------------ memory that runs out

# Outputs are there already: what is asked for is scratch, or the loss's maps.
WITH_OUTPUT = {
    "edt": lambda b, out: edt(b.mask, ndim=3, out=out),
    "edt, spacing": lambda b, out: edt(b.mask, (0.7, 2.0, 1.0), ndim=3, out=out),
    "edt_labels": lambda b, out: edt_labels(b.labels, ndim=3, out=out),
    "signed_distance": lambda b, out: signed_distance(b.mask, ndim=3, out=out),
    "inner": lambda b, out: signed_distance(b.mask, ndim=3, zero="inner", out=out),
}


@pytest.fixture(scope="module")
def large():
    """A batch whose tensors lie in blocks of their own: what they leave free is soon used up."""
    return batch((9, 33, 17) if REHEARSE else (256, 256, 256), DEVICE, items=1)


@pytest.fixture
def no_memory():
    """A function that leaves torch no memory beyond what it holds, until the test ends."""

    def take_all() -> None:
        if not REHEARSE:
            torch.cuda.synchronize()
            torch.cuda.empty_cache()
            held = torch.cuda.memory_reserved()
            total = torch.cuda.get_device_properties(0).total_memory
            torch.cuda.set_per_process_memory_fraction(held / total)

    yield take_all
    give_back()


def give_back() -> None:
    if not REHEARSE:
        torch.cuda.set_per_process_memory_fraction(1.0)


@pytest.mark.parametrize("name", WITH_OUTPUT)
def test_a_failed_allocation_leaves_no_partial_output_and_the_next_call_works(
    name, large, no_memory
):
    call = WITH_OUTPUT[name]
    out = torch.full(large.mask.shape, -9.0, device=DEVICE)
    expected = call(large, torch.empty_like(out)).cpu()
    no_memory()
    try:
        call(large, out)
    except RuntimeError:
        assert (out.cpu() == -9).all()
    else:  # it needs no more than torch still holds
        assert_same_bits(out, expected)
    give_back()
    call(large, out)
    assert_same_bits(out, expected)


@pytest.mark.parametrize("name", ["maps", "loss, softmax", "loss, half", "edt, indices"])
def test_a_new_output_that_does_not_fit_is_an_error_and_the_next_call_works(name, large, no_memory):
    expected = [part.cpu() for part in CALLS[name](large)]
    no_memory()
    with nullcontext() if REHEARSE else pytest.raises(RuntimeError):
        CALLS[name](large)
    give_back()
    assert_same_bits(CALLS[name](large), expected)
