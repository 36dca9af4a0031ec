"""Derivatives of the boundary loss, whoever asks: right, or refused in words of ours."""

import pytest
import torch
from loss_oracle import ACTIVATIONS, lesion_labels, settings
from torch.autograd import forward_ad
from torch.utils.checkpoint import checkpoint

from fastdist import ops
from fastdist.functional import boundary_loss

SECOND = "no second derivative"
REDUCTIONS = [
    {"reduction": "mean"},
    {"reduction": "sum", "batch": True, "offset": True},
    {"reduction": "mean", "batch": True, "include_background": False},
]


@pytest.fixture(params=[torch.float32, torch.float64], ids=str)
def logits(request):
    generator = torch.Generator().manual_seed(3)
    return torch.randn(4, 3, 5, 6, generator=generator).to(request.param)


@pytest.fixture
def labels():
    labels = lesion_labels(4, (5, 6), 3)
    labels[1, 2:4, :3] = 255
    return labels


def with_gradient(loss, logits):
    """Value and gradient, by the way that everybody takes."""
    leaf = logits.clone().requires_grad_()
    value = loss(leaf)
    value.backward()
    return value.detach(), leaf.grad


def loss_of(labels, activation, more):
    arguments = settings(activation) | more | {"ignore_index": 255}
    return lambda z: boundary_loss(z, labels, **arguments)


@pytest.mark.parametrize("more", REDUCTIONS, ids=str)
@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_every_way_to_the_gradient_gives_that_of_backward(
    activation, more, logits, labels, provider
):
    loss = loss_of(labels, activation, more)
    value, expected = with_gradient(loss, logits)

    torch.testing.assert_close(torch.func.grad(loss)(logits), expected)
    gradient, again = torch.func.grad_and_value(loss)(logits)
    torch.testing.assert_close((gradient, again), (expected, value))
    torch.testing.assert_close(torch.func.jacrev(loss)(logits), expected)
    _, pullback = torch.func.vjp(loss, logits)
    torch.testing.assert_close(pullback(torch.full_like(value, 2.0))[0], 2 * expected)
    checkpointed = with_gradient(lambda z: checkpoint(loss, z, use_reentrant=False), logits)
    torch.testing.assert_close(checkpointed, (value, expected))
    (autograd,) = torch.autograd.grad(loss(leaf := logits.clone().requires_grad_()), leaf)
    assert torch.equal(autograd, expected)


@pytest.mark.parametrize("more", REDUCTIONS, ids=str)
@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_gradients_sample_by_sample(activation, more, logits, labels, provider):
    def loss(z, y):
        return loss_of(y[None], activation, more)(z[None])

    per_sample = torch.vmap(torch.func.grad(loss))(logits, labels)
    pairs = zip(logits, labels, strict=True)
    expected = [with_gradient(lambda z, y=y: loss(z, y), x)[1] for x, y in pairs]
    torch.testing.assert_close(per_sample, torch.stack(expected))
    swapped = torch.func.grad(lambda z: torch.vmap(loss)(z, labels).sum())(logits)
    torch.testing.assert_close(swapped, torch.stack(expected))
    jacobian = torch.func.jacrev(lambda z: torch.vmap(loss)(z, labels))(logits)  # [N, N, C, *S]
    torch.testing.assert_close(jacobian.diagonal().movedim(-1, 0), torch.stack(expected))


@pytest.mark.parametrize("more", REDUCTIONS, ids=str)
@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_the_tangent_is_the_gradient_along_it(activation, more, logits, labels, provider):
    loss = loss_of(labels, activation, more)
    value, gradient = with_gradient(loss, logits)
    tangent = torch.randn(logits.shape, generator=torch.Generator().manual_seed(4)).to(logits)
    expected = (gradient * tangent).sum()
    torch.testing.assert_close(
        torch.func.jvp(loss, (logits,), (tangent,)), (value, expected), rtol=1e-4, atol=1e-5
    )
    with forward_ad.dual_level():
        dual = loss(forward_ad.make_dual(logits, tangent))
        torch.testing.assert_close(
            forward_ad.unpack_dual(dual).tangent, expected, rtol=1e-4, atol=1e-5
        )
    torch.testing.assert_close(torch.func.jacfwd(loss)(logits), gradient)


def test_forward_mode_is_checked_by_finite_differences(labels, provider):
    logits = torch.randn(4, 3, 5, 6, dtype=torch.float64).requires_grad_()
    loss = loss_of(labels, "softmax", {"reduction": "none"})
    assert torch.autograd.gradcheck(loss, (logits,), check_forward_ad=True, fast_mode=True)


@pytest.mark.parametrize(
    "twice",
    {
        "hessian": lambda loss, z: torch.func.hessian(loss)(z),
        "forward over reverse": lambda loss, z: torch.func.jvp(torch.func.grad(loss), (z,), (z,)),
        "reverse over forward": lambda loss, z: torch.func.grad(
            lambda x: torch.func.jvp(loss, (x,), (z,))[1]
        )(z),
        "reverse over reverse": lambda loss, z: torch.func.grad(
            lambda x: torch.func.grad(loss)(x).sum()
        )(z),
        "per sample": lambda loss, z: torch.vmap(torch.func.hessian(loss))(z[None]),
    }.items(),
    ids=lambda item: item[0],
)
def test_second_derivatives_are_refused(twice, labels, provider):
    _, call = twice
    logits = torch.randn(4, 3, 5, 6)
    with pytest.raises(RuntimeError, match=SECOND):
        call(loss_of(labels, "softmax", {}), logits)


def test_the_tangent_of_a_gradient_is_refused(labels, provider):
    loss = loss_of(labels, "softmax", {})
    logits = torch.randn(4, 3, 5, 6, requires_grad=True)
    with forward_ad.dual_level():
        dual = forward_ad.make_dual(logits, torch.ones_like(logits))
        value = loss(dual)
        with pytest.raises(RuntimeError, match=SECOND):
            torch.autograd.grad(value, logits)


def test_maps_with_a_tangent_are_refused(labels, provider):
    logits, maps = torch.randn(4, 3, 5, 6), torch.randn(4, 3, 5, 6)
    with pytest.raises(RuntimeError, match="dist_map"):
        torch.func.jvp(
            lambda m: boundary_loss(logits, labels % 3, softmax=True, dist_map=m), (maps,), (maps,)
        )


def test_the_sums_of_a_provider_are_not_differentiated_in_silence(labels, provider):
    logits = torch.randn(4, 3, 5, 6, requires_grad=True)
    target = (labels % 3, None, "labels", 0, None, "softmax")
    sums, *_ = ops.weighted_sums(logits, torch.randn(4, 3, 5, 6), *target)
    with pytest.raises(RuntimeError, match="weighted_sums has no derivative"):
        sums.sum().backward()


def test_forward_mode_beside_parameters_that_require_gradients(labels, provider):
    loss = loss_of(labels, "softmax", {})
    logits, tangent = torch.randn(4, 3, 5, 6, requires_grad=True), torch.randn(4, 3, 5, 6)
    _, expected = torch.func.jvp(loss, (logits.detach(),), (tangent,))
    with forward_ad.dual_level():
        dual = loss(forward_ad.make_dual(logits, tangent))
        assert torch.equal(forward_ad.unpack_dual(dual).tangent, expected)


def test_torch_func_compiles_into_one_graph(labels, provider):
    torch._dynamo.reset()
    logits = torch.randn(4, 3, 5, 6)
    gradient = torch.func.grad(loss_of(labels, "softmax", {}))
    compiled = torch.compile(gradient, fullgraph=True, backend="aot_eager")
    torch.testing.assert_close(compiled(logits), gradient(logits))
