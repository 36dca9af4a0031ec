"""The op behind the losses, ``fastdist::distance_loss``: sums of a provider, reduced.

A loss on distance maps is linear in the probabilities p: with maps m and the reduction's weights w
its value is sum_k w_k sum_x m_k p_k. Its gradient is a provider's op as well, and its tangent the
same loss of the tangent of p. Second derivatives are refused.

The derivatives stand at the dispatcher's Autograd key, as those of torch's own ops do, so that one
implementation serves eager calls, `torch.compile`, `torch.func.grad`, `jacrev`, `vmap` of them,
forward mode, and activation checkpointing. The reduction is part of the op: of a small batch, its
steps as ops of torch, forwards and backwards, would take longer than the kernels do.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch._C import _functorch
from torch._ops import OpOverload
from torch.autograd import forward_ad
from torch.autograd.function import _SingleLevelFunction

from fastdist import memory, ops


class Call(NamedTuple):
    """The arguments of ``distance_loss``, in the order of its schema."""

    input: Tensor  # [N, C, *S]
    dist_map: Tensor | None  # [N, K, *S], computed elsewhere; None: the maps are computed here
    target: Tensor
    valid: Tensor | None
    layout: str
    first_class: int
    ignore_index: int | None
    activation: str
    sampling: list[float]
    item_sampling: Tensor | None
    zero: str
    normalize: str
    clip: float | None
    empty: float | None
    full: float | None
    border: bool
    reduction: str  # "mean", "sum" or "none"
    batch: bool  # the items' sums are added, and so are their counts
    offset: bool  # less what a perfect prediction scores


class Result(NamedTuple):
    """What ``distance_loss`` returns."""

    loss: Tensor
    divisor: Tensor  # of the sums: the known voxels, at least 1; int64 [N, 1], or [1] with `batch`
    maps: Tensor  # [N, K, *S]


def _compute(*arguments: Any) -> Result:
    """The op without its derivatives."""
    call = Call(*arguments)
    of_target = call[2:7]
    if call.dist_map is None:
        sums, counts, perfect, maps = ops.boundary_loss(call.input, *call[2:16])
    else:
        maps = call.dist_map
        sums, counts, perfect = ops.weighted_sums(call.input, maps, *of_target, call.activation)
    if call.offset:
        sums = sums - perfect
    divisor = (counts.sum(0, keepdim=True) if call.batch else counts.unsqueeze(1)).clamp(min=1)
    return Result(_reduced(sums, divisor, call.reduction, call.batch), divisor, maps)


def _reduced(sums: Tensor, divisor: Tensor, reduction: str, batch: bool) -> Tensor:
    """Sums by counts, then over items and classes; nothing known, or nothing at all, gives 0."""
    losses = (sums.sum(0) if batch else sums) / divisor  # [N, K], or [K] with batch
    if reduction == "none":
        return losses
    return losses.mean() if reduction == "mean" and losses.numel() else losses.sum()


def _by_sums(
    gradient: Tensor, divisor: Tensor, shape: tuple[int, int], reduction: str, batch: bool
) -> Tensor:
    """The gradient by the sums, of shape [N, K], from that by the reduced loss."""
    items, classes = shape
    by_sums = gradient / divisor
    if reduction == "mean":
        by_sums = by_sums / max(1, classes if batch else items * classes)
    return by_sums.expand(items, classes)


def _tangent_of_probabilities(input: Tensor, tangent: Tensor, activation: str) -> Tensor:
    """The derivative of the activation at `input`, in the direction of `tangent`."""
    dtype = ops.accumulation_dtype(input)
    tangent = tangent.to(dtype)
    if activation == "softmax":
        p = input.softmax(1, dtype)
        return p * (tangent - (p * tangent).sum(1, keepdim=True))
    if activation == "sigmoid":
        p = input.to(dtype).sigmoid()
        return p * (1 - p) * tangent
    return tangent


# --- Derivatives, level by level: torch.func calls the dispatcher once for each of its levels. ---


def _below_autograd(op: OpOverload, compute: Callable[..., Any], *arguments: Any) -> Any:
    """What is below the derivatives of this level: the next level's, or the computation."""
    with torch._C._AutoDispatchBelowAutograd():
        if not torch._C._are_functorch_transforms_active():
            return compute(*arguments)
        # This level's function has turned off derivatives, and the next level may be one of them.
        with torch.enable_grad(), forward_ad._set_fwd_grad_enabled(True):
            return op(*arguments)


class _DistanceLoss(_SingleLevelFunction):
    @staticmethod
    def forward(ctx: Any, *arguments: Any) -> Result:
        result = Result(*_below_autograd(ops.distance_loss, _compute, *arguments))
        call = Call(*arguments)
        saved = call.input, result.maps, call.target, call.valid, result.divisor
        ctx.save_for_backward(*saved)
        ctx.save_for_forward(*saved)
        ctx.mark_non_differentiable(result.divisor, result.maps)
        # Undefined gradients stay undefined: zeros for the maps would be as large as the maps.
        ctx.set_materialize_grads(False)
        ctx.of_target = call[4:7]  # layout, first_class, ignore_index
        ctx.activation = call.activation
        ctx.reduction = call.reduction, call.batch
        return result

    @staticmethod
    def backward(ctx: Any, gradient: Tensor | None, *_: None) -> tuple[Tensor | None, ...]:
        others = (None,) * (len(Call._fields) - 1)
        if gradient is None:
            return (None, *others)
        input, maps, target, valid, divisor = ctx.saved_tensors
        by_sums = _by_sums(gradient, divisor, maps.shape[:2], *ctx.reduction)
        arguments = by_sums, input, maps, target, valid, *ctx.of_target, ctx.activation
        return (_gradient_of_sums(*arguments), *others)

    @staticmethod
    def jvp(
        ctx: Any, tangent: Tensor | None, of_dist_map: Tensor | None, *others: Any
    ) -> tuple[Tensor | None, None, None]:
        if of_dist_map is not None:
            raise RuntimeError("dist_map: got a tensor with a tangent, expected one without")
        if tangent is None:
            return None, None, None
        input, maps, target, valid, divisor = ctx.saved_tensors
        tangent = _tangent_of_probabilities(input, tangent, ctx.activation)
        sums, _, _ = ops.weighted_sums(tangent, maps, target, valid, *ctx.of_target, "none")
        return _reduced(sums, divisor, *ctx.reduction), None, None


def _apply(function: Any, *arguments: Any) -> Any:
    """``function.apply`` at this level; `torch.autograd.Function` would start at the first."""
    before = _functorch.get_single_level_autograd_function_allowed()
    _functorch.set_single_level_autograd_function_allowed(True)
    try:
        return function.apply(*arguments)
    finally:
        _functorch.set_single_level_autograd_function_allowed(before)


def _has_tangent(tensor: Tensor) -> bool:
    """In forward mode; of a tensor that vmap maps over nobody can tell, so it may."""
    try:
        return forward_ad.unpack_dual(tensor).tangent is not None
    except RuntimeError:
        return True


def _is_differentiated(tensor: Tensor) -> bool:
    return (torch.is_grad_enabled() and tensor.requires_grad) or _has_tangent(tensor)


def _distance_loss(input: Tensor, dist_map: Tensor | None, *rest: Any) -> Result:
    """The Autograd kernel."""
    maps_may_have_tangent = dist_map is not None and _has_tangent(dist_map)
    if _is_differentiated(input) or maps_may_have_tangent:
        return _apply(_DistanceLoss, input, dist_map, *rest)
    return _below_autograd(ops.distance_loss, _compute, input, dist_map, *rest)


def distance_loss(call: Call) -> Tensor:
    """The reduced loss. What torch neither traces nor transforms goes without the dispatcher."""
    if torch.compiler.is_compiling() or torch._C._are_functorch_transforms_active():
        return ops.distance_loss(*call)[0]
    return _distance_loss(*call)[0]


@memory.reported
def _gradient_of_sums(by_sums: Tensor, input: Tensor, *rest: Any) -> Tensor:
    """``weighted_sums_backward``; at once what computes it, where nobody differentiates it."""
    if torch.is_grad_enabled() or _has_tangent(input):
        return ops.weighted_sums_backward(by_sums, input, *rest)
    with torch._C._AutoDispatchBelowAutograd():
        return ops.weighted_sums_backward(by_sums, input, *rest)


def _not_differentiable(op: OpOverload) -> Callable[..., Any]:
    """The Autograd kernel of an op whose derivatives are refused once somebody asks for them.

    Not before: in forward mode the parameters of a network require gradients as they always do.
    """

    def refuse(ctx: Any, *_: Any) -> Any:
        raise RuntimeError(
            f"fastdist: {op._opname} has no derivative here, and the losses no second derivative; "
            "call backward() or torch.autograd.grad() with create_graph=False"
        )

    class Refused(_SingleLevelFunction):
        @staticmethod
        def forward(ctx: Any, *arguments: Any) -> Any:
            return _below_autograd(op, op, *arguments)

        backward = staticmethod(refuse)
        jvp = staticmethod(refuse)

    def kernel(*arguments: Any) -> Any:
        if any(isinstance(each, Tensor) and _is_differentiated(each) for each in arguments):
            return _apply(Refused, *arguments)
        return _below_autograd(op, op, *arguments)

    return kernel


# --- Registration. -------------------------------------------------------------------------------


def _fake(*arguments: Any) -> Result:
    call = Call(*arguments)
    input, dtype = call.input, ops.accumulation_dtype(call.input)
    items, classes = input.shape[0], input.shape[1] - call.first_class
    shape = ((classes,) if call.batch else (items, classes)) if call.reduction == "none" else ()
    return Result(
        input.new_empty(shape, dtype=dtype),
        input.new_empty((1,) if call.batch else (items, 1), dtype=torch.int64),
        input.new_empty((items, classes, *input.shape[2:]), dtype=dtype),
    )


def _vmap(
    info: Any, in_dims: tuple, *arguments: Any
) -> tuple[tuple[Tensor, ...], tuple[int, ...]]:
    """The mapped axis folded into that of the items, whose losses are then reduced one by one.

    With `batch` the sums of an entry's items belong together: one call for each entry.
    """
    size, call = info.batch_size, Call(*arguments)
    tensors = {i: each for i, each in enumerate(arguments) if isinstance(each, Tensor)}

    def replaced(by: dict[int, Any], reduction: str) -> tuple[Tensor, ...]:
        changed = [by.get(i, each) for i, each in enumerate(arguments)]
        return ops.distance_loss(*Call(*changed)._replace(reduction=reduction))

    if call.batch:
        leading = {i: ops.leading(each, in_dims[i], size) for i, each in tensors.items()}
        one_by_one = [
            replaced({i: each[entry] for i, each in leading.items()}, call.reduction)
            for entry in range(size)
        ]
        return tuple(map(torch.stack, zip(*one_by_one, strict=True))), (0, 0, 0)
    folded = {i: ops.folded(each, in_dims[i], size) for i, each in tensors.items()}
    loss, divisor, maps = (ops.unfolded(part, size) for part in replaced(folded, "none"))
    if call.reduction == "mean" and loss.numel():
        loss = loss.mean((1, 2))
    elif call.reduction != "none":
        loss = loss.sum((1, 2))
    return (loss, divisor, maps), (0, 0, 0)


_library = torch.library.Library("fastdist", "IMPL")
_library.impl("distance_loss", _compute, "CompositeExplicitAutograd")
_library.impl("distance_loss", _distance_loss, "Autograd")
for _op in (ops.weighted_sums, ops.weighted_sums_backward, ops.boundary_loss):
    _library.impl(_op._opname, _not_differentiable(_op), "Autograd")
torch.library.register_fake("fastdist::distance_loss", _fake, lib=_library)
torch.library.register_vmap("fastdist::distance_loss", _vmap, lib=_library)
