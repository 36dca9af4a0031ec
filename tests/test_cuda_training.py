"""What a training loop does around the loss, on the CPU and on the GPU: autocast, DDP."""

import pytest
import torch
import torch.distributed as dist
from cuda_calls import batch
from cuda_support import assert_same_bits, on_both_devices, with_gradient
from torch import nn
from torch.utils._python_dispatch import TorchDispatchMode

from fastdist import signed_distance_maps
from fastdist.losses import BoundaryLoss


class Dispatched(TorchDispatchMode):
    """The ops that torch is asked for, with the number of elements of their largest output."""

    def __init__(self):
        super().__init__()
        self.calls = []

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        result = function(*args, **(kwargs or {}))
        outputs = result if isinstance(result, tuple | list) else (result,)
        sizes = [part.numel() for part in outputs if isinstance(part, torch.Tensor)]
        self.calls.append((function, max(sizes, default=0)))
        return result


@on_both_devices
@pytest.mark.parametrize("activation", ["sigmoid", "softmax"])
@pytest.mark.parametrize("logits", ["half", "logits"])
def test_under_autocast_logits_of_any_dtype_are_read_as_they_are(logits, activation, device):
    b = batch((31, 65), device)
    loss = BoundaryLoss(**{activation: True})
    leaf = getattr(b, logits)
    expected = with_gradient(lambda z: loss(z, b.labels), leaf)
    with Dispatched() as dispatched, torch.autocast(device, dtype=torch.bfloat16):
        got = with_gradient(lambda z: loss(z, b.labels), leaf)
    assert_same_bits(got, expected)
    large = [str(op) for op, size in dispatched.calls if size >= leaf.numel()]
    assert "fastdist.boundary_loss.default" in large
    casts = ("aten._to_copy", "aten.copy_", "aten.clone", "aten.to")
    assert not [op for op in large if op.startswith(casts)]


@on_both_devices
def test_maps_are_float32_under_autocast(device):
    b = batch((31, 65), device)
    expected = signed_distance_maps(b.labels, 3, b.spacing)
    with torch.autocast(device, dtype=torch.bfloat16):
        got = signed_distance_maps(b.labels, 3, b.spacing)
    assert_same_bits(got, expected)


@pytest.fixture
def one_process(device, tmp_path):
    """A process group of this process alone."""
    backend = "nccl" if device == "cuda" else "gloo"
    available = dist.is_nccl_available() if device == "cuda" else dist.is_gloo_available()
    if not (dist.is_available() and available):
        pytest.skip(f"torch was built without {backend}")
    dist.init_process_group(backend, init_method=f"file://{tmp_path}/group", rank=0, world_size=1)
    yield
    dist.destroy_process_group()


@on_both_devices
@pytest.mark.parametrize("first_bucket", [1, 25])
def test_distributed_data_parallel_trains_as_the_module_alone_does(
    device, first_bucket, one_process
):
    torch.manual_seed(0)
    b = batch((31, 65), device)
    images = torch.randn(2, 1, 31, 65, device=device)
    loss = BoundaryLoss(softmax=True)

    def network():
        torch.manual_seed(1)
        return nn.Sequential(
            nn.Conv2d(1, 8, 3, padding=1), nn.ReLU(), nn.Conv2d(8, 3, 3, padding=1)
        ).to(device)

    def weights_after_training(model):
        optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
        for _ in range(3):
            optimizer.zero_grad()
            loss(model(images), b.labels, spacing=b.spacing).backward()
            optimizer.step()
        return [parameter.detach() for parameter in model.parameters()]

    expected = weights_after_training(network())
    parallel = nn.parallel.DistributedDataParallel(network(), bucket_cap_mb=first_bucket)
    for mine, theirs in zip(weights_after_training(parallel), expected, strict=True):
        torch.testing.assert_close(mine, theirs)


@on_both_devices
def test_a_loss_scaler_and_half_precision_train(device):
    if not hasattr(torch.amp, "GradScaler"):
        pytest.skip("this torch has no torch.amp.GradScaler")
    torch.manual_seed(0)
    labels = torch.zeros(1, 16, 16, dtype=torch.int64, device=device)
    labels[:, 5:11, 4:12] = 1
    model = nn.Conv2d(2, 2, 1).to(device)
    images = nn.functional.one_hot(labels, 2).movedim(-1, 1).float()
    optimizer = torch.optim.Adam(model.parameters(), lr=0.3)
    scaler = torch.amp.GradScaler(device)
    loss = BoundaryLoss(softmax=True, offset=True)
    history = []
    for _ in range(40):
        optimizer.zero_grad()
        with torch.autocast(device, dtype=torch.bfloat16):
            value = loss(model(images), labels)
        scaler.scale(value).backward()
        scaler.step(optimizer)
        scaler.update()
        history.append(value.item())
    assert history[-1] < 0.1 * history[0]  # 0 is perfect
