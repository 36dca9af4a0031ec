"""The ops: ``torch.ops.fastdist.*``, defined once, whoever implements them.

Schemas, fake kernels and vmap rules live here, the losses' own op and its
derivatives in ``fastdist.loss_op``. The seven ops of ``PROVIDED`` are
implemented by a provider (see ``fastdist.providers``); the functional forms of the four ``*_out``
ops allocate their outputs here and call the provider through them. Names of shapes below: N images
(the product of the batch axes), C channels of the logits, K = C - first_class maps, S the space.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor

_GEOMETRY = "float[] sampling, Tensor? item_sampling"
_TRANSFORM = f"int ndim, {_GEOMETRY}, bool squared, bool border"
_CONVENTION = "str zero, str normalize, float? clip, float? empty, float? full, bool border"
_TARGET = "Tensor target, Tensor? valid, str layout, int first_class, int? ignore_index"
_SUMS = "(Tensor sums, Tensor counts, Tensor perfect"

SCHEMAS = {
    "edt_out": f"(Tensor mask, {_TRANSFORM}, Tensor(a!) distances) -> ()",
    "edt_indices_out": (
        f"(Tensor mask, {_TRANSFORM}, Tensor(a!) distances, Tensor(b!) indices) -> ()"
    ),
    "edt_labels_out": f"(Tensor labels, {_TRANSFORM}, Tensor(a!) distances) -> ()",
    "signed_maps_out": (
        f"({_TARGET}, int ndim, {_GEOMETRY}, {_CONVENTION}, Tensor(a!) maps) -> ()"
    ),
    "weighted_sums": (
        "(Tensor input, Tensor maps, Tensor target, Tensor? valid, str layout, int first_class,"
        f" int? ignore_index, str activation) -> {_SUMS})"
    ),
    "weighted_sums_backward": (
        "(Tensor grad_sums, Tensor input, Tensor maps, Tensor target, Tensor? valid, str layout,"
        " int first_class, int? ignore_index, str activation) -> Tensor"
    ),
    "boundary_loss": (
        f"(Tensor input, {_TARGET}, str activation, {_GEOMETRY}, {_CONVENTION})"
        f" -> {_SUMS}, Tensor maps)"
    ),
    "distance_loss": (
        f"(Tensor input, Tensor? dist_map, {_TARGET}, str activation, {_GEOMETRY}, {_CONVENTION},"
        " str reduction, bool batch, bool offset) -> (Tensor loss, Tensor divisor, Tensor maps)"
    ),
    "edt": f"(Tensor mask, {_TRANSFORM}, ScalarType dtype) -> Tensor",
    "edt_indices": (
        f"(Tensor mask, {_TRANSFORM}, ScalarType dtype) -> (Tensor distances, Tensor indices)"
    ),
    "edt_labels": f"(Tensor labels, {_TRANSFORM}, ScalarType dtype) -> Tensor",
    "signed_maps": (
        f"({_TARGET}, int ndim, {_GEOMETRY}, {_CONVENTION}, SymInt num_maps, ScalarType dtype)"
        " -> Tensor"
    ),
    "build_info": "() -> str",
}
#: What a provider has to implement.
PROVIDED = (
    "edt_out",
    "edt_indices_out",
    "edt_labels_out",
    "signed_maps_out",
    "weighted_sums",
    "weighted_sums_backward",
    "boundary_loss",
)

_library = torch.library.Library("fastdist", "DEF")
for _name, _schema in SCHEMAS.items():
    _library.define(_name + _schema, tags=(torch.Tag.pt2_compliant_tag,))

_fastdist = torch.ops.fastdist
edt_out = _fastdist.edt_out.default
edt_indices_out = _fastdist.edt_indices_out.default
edt_labels_out = _fastdist.edt_labels_out.default
signed_maps_out = _fastdist.signed_maps_out.default
weighted_sums = _fastdist.weighted_sums.default
weighted_sums_backward = _fastdist.weighted_sums_backward.default
boundary_loss = _fastdist.boundary_loss.default
distance_loss = _fastdist.distance_loss.default
edt = _fastdist.edt.default
edt_indices = _fastdist.edt_indices.default
edt_labels = _fastdist.edt_labels.default
signed_maps = _fastdist.signed_maps.default
build_info = _fastdist.build_info.default


def index_dtype(shape: Sequence[int]) -> torch.dtype:
    """The dtype of indices into a space of this shape: int32, or int64 where an axis needs it."""
    return torch.int64 if any(size > 2**31 for size in shape) else torch.int32


def accumulation_dtype(input: Tensor) -> torch.dtype:
    """The dtype of sums and maps for logits of this dtype."""
    return torch.float64 if input.dtype == torch.float64 else torch.float32


def mark_written(out: Tensor) -> None:
    """Tell autograd that an `*_out` op wrote `out`, should it be saved for a backward pass."""
    if not torch.compiler.is_compiling() and not out.is_inference():
        torch.autograd.graph.increment_version(out)


# --- Functional forms: allocate, then call the provider's op. -----------------------------------


def _allocate_edt(mask: Tensor, *rest: Any) -> Tensor:
    return torch.empty(mask.shape, dtype=rest[-1], device=mask.device)


def _allocate_edt_indices(mask: Tensor, ndim: int, *rest: Any) -> tuple[Tensor, Tensor]:
    shape, dtype = mask.shape, rest[-1]
    indices = index_dtype(shape[len(shape) - ndim :])
    return (
        torch.empty(shape, dtype=dtype, device=mask.device),
        torch.empty((ndim, *shape), dtype=indices, device=mask.device),
    )


def _allocate_signed_maps(target: Tensor, valid: Tensor | None, layout: str, *rest: Any) -> Tensor:
    num_maps, dtype = rest[-2:]
    space = target.shape[1:] if layout == "labels" else target.shape[2:]
    return torch.empty((target.shape[0], num_maps, *space), dtype=dtype, device=target.device)


def _edt(*arguments: Any) -> Tensor:
    distances = _allocate_edt(*arguments)
    edt_out(*arguments[:-1], distances)
    return distances


def _edt_indices(*arguments: Any) -> tuple[Tensor, Tensor]:
    distances, indices = _allocate_edt_indices(*arguments)
    edt_indices_out(*arguments[:-1], distances, indices)
    return distances, indices


def _edt_labels(*arguments: Any) -> Tensor:
    distances = _allocate_edt(*arguments)
    edt_labels_out(*arguments[:-1], distances)
    return distances


def _signed_maps(*arguments: Any) -> Tensor:
    maps = _allocate_signed_maps(*arguments)
    signed_maps_out(*arguments[:-2], maps)
    return maps


for _name, _function, _fake in (
    ("edt", _edt, _allocate_edt),
    ("edt_indices", _edt_indices, _allocate_edt_indices),
    ("edt_labels", _edt_labels, _allocate_edt),
    ("signed_maps", _signed_maps, _allocate_signed_maps),
):
    _library.impl(_name, _function, "CompositeExplicitAutograd")
    torch.library.register_fake(f"fastdist::{_name}", _fake, lib=_library)

# --- Fake kernels of what the providers implement. -----------------------------------------------


def _fake_nothing(*arguments: Any) -> None:
    return None


def _fake_sums(input: Tensor, first_class: int) -> tuple[Tensor, Tensor, Tensor]:
    images, maps = input.shape[0], input.shape[1] - first_class
    accumulation = accumulation_dtype(input)
    return (
        input.new_empty((images, maps), dtype=accumulation),
        input.new_empty((images,), dtype=torch.int64),
        input.new_empty((images, maps), dtype=accumulation),
    )


def _fake_weighted_sums(
    input: Tensor,
    maps: Tensor,
    target: Tensor,
    valid: Any,
    layout: str,
    first_class: int,
    *rest: Any,
) -> tuple[Tensor, Tensor, Tensor]:
    return _fake_sums(input, first_class)


def _fake_weighted_sums_backward(grad_sums: Tensor, input: Tensor, *rest: Any) -> Tensor:
    return torch.empty_like(input)


def _fake_boundary_loss(
    input: Tensor, target: Tensor, valid: Any, layout: str, first_class: int, *rest: Any
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    shape = (input.shape[0], input.shape[1] - first_class, *input.shape[2:])
    maps = input.new_empty(shape, dtype=accumulation_dtype(input))
    return *_fake_sums(input, first_class), maps


for _name in ("edt_out", "edt_indices_out", "edt_labels_out", "signed_maps_out"):
    torch.library.register_fake(f"fastdist::{_name}", _fake_nothing, lib=_library)
torch.library.register_fake("fastdist::weighted_sums", _fake_weighted_sums, lib=_library)
torch.library.register_fake(
    "fastdist::weighted_sums_backward", _fake_weighted_sums_backward, lib=_library
)
torch.library.register_fake("fastdist::boundary_loss", _fake_boundary_loss, lib=_library)

# --- Autograd: distances of labels have no derivative; those of the losses are in `loss_op`. ------

for _name in (
    *("edt", "edt_indices", "edt_labels", "signed_maps"),
    *("edt_out", "edt_indices_out", "edt_labels_out", "signed_maps_out"),
):
    _library.impl(_name, torch.library.fallthrough_kernel, "Autograd")

# --- vmap: the mapped axis becomes one more batch axis, or part of N. ----------------------------


def leading(tensor: Tensor, dim: int | None, size: int) -> Tensor:
    """The tensor with the mapped axis first; repeated along it where it is not mapped."""
    return tensor.expand(size, *tensor.shape) if dim is None else tensor.movedim(dim, 0)


def folded(tensor: Tensor | None, dim: int | None, size: int) -> Tensor | None:
    """The tensor with the mapped axis folded into its first axis."""
    return None if tensor is None else leading(tensor, dim, size).flatten(0, 1)


def unfolded(tensor: Tensor, size: int) -> Tensor:
    return tensor.unflatten(0, (size, tensor.shape[0] // size if size else 0))


def _vmap_edt(op: Callable, out_dims: int | tuple[int, int]) -> Callable:
    def rule(
        info: Any,
        in_dims: tuple,
        mask: Tensor,
        ndim: int,
        sampling: Any,
        item_sampling: Tensor | None,
        *rest: Any,
    ) -> tuple:
        size = info.batch_size
        mask = leading(mask, in_dims[0], size)
        item_sampling = folded(item_sampling, in_dims[3], size)
        return op(mask, ndim, sampling, item_sampling, *rest), out_dims

    return rule


def _vmap_images(op: Callable, tensors: tuple[int, ...], single: bool) -> Callable:
    """The rule of an op whose tensors, at these positions, all have the images as first axis."""

    def rule(info: Any, in_dims: tuple, *arguments: Any) -> tuple:
        size = info.batch_size
        parts = list(arguments)
        for position in tensors:
            parts[position] = folded(arguments[position], in_dims[position], size)
        result = op(*parts)
        if single:
            return unfolded(result, size), 0
        return tuple(unfolded(part, size) for part in result), (0,) * len(result)

    return rule


for _name, _rule in (
    ("edt", _vmap_edt(edt, 0)),
    ("edt_indices", _vmap_edt(edt_indices, (0, 1))),
    ("edt_labels", _vmap_edt(edt_labels, 0)),
    ("signed_maps", _vmap_images(signed_maps, (0, 1, 7), single=True)),
    ("weighted_sums", _vmap_images(weighted_sums, (0, 1, 2, 3), single=False)),
    ("weighted_sums_backward", _vmap_images(weighted_sums_backward, (0, 1, 2, 3, 4), single=True)),
    ("boundary_loss", _vmap_images(boundary_loss, (0, 1, 2, 8), single=False)),
):
    torch.library.register_vmap(f"fastdist::{_name}", _rule, lib=_library)
