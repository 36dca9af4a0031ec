"""The schedules follow the paper's epochs, scaled to the run, and change their weight in place."""

import pytest
import torch
import torch._dynamo.testing

from fastdist.losses import ConstantSchedule, IncreaseSchedule, RebalanceSchedule

SCHEDULES = [RebalanceSchedule(10), IncreaseSchedule(10), ConstantSchedule(0.1)]


def weights(schedule, epochs):
    """alpha in each of the epochs."""
    values = []
    for _ in range(epochs):
        values.append(schedule.alpha.item())
        schedule.step()
    return values


def test_rebalance_takes_the_papers_steps_over_a_hundred_epochs():
    expected = [1 - 0.01 * epoch for epoch in range(100)]
    assert weights(RebalanceSchedule(100), 100) == pytest.approx(expected, abs=1e-6)


@pytest.mark.parametrize("epochs", [2, 7, 30, 500])
def test_rebalance_scales_the_decrement_to_the_run_and_ends_at_the_floor(epochs):
    values = weights(RebalanceSchedule(epochs), epochs + 5)
    decrement = 0.99 / (epochs - 1)
    expected = [max(0.01, 1 - decrement * epoch) for epoch in range(epochs + 5)]
    assert values == pytest.approx(expected, abs=1e-6)
    assert values[epochs - 1 :] == pytest.approx([0.01] * 6, abs=1e-9)


def test_rebalance_start_and_floor():
    values = weights(RebalanceSchedule(5, start=0.9, floor=0.5), 7)
    assert values == pytest.approx([0.9, 0.8, 0.7, 0.6, 0.5, 0.5, 0.5])


def test_increase_grows_and_stays():
    assert weights(IncreaseSchedule(100), 100) == pytest.approx(
        [0.01 * (epoch + 1) for epoch in range(100)], abs=1e-6
    )
    values = weights(IncreaseSchedule(3, start=0.0, stop=2.0), 5)
    assert values == pytest.approx([0, 1, 2, 2, 2])


def test_constant_stays():
    assert weights(ConstantSchedule(0.1), 4) == pytest.approx([0.1] * 4)
    assert ConstantSchedule().alpha.item() == pytest.approx(0.01)


def test_a_run_of_one_epoch_trains_with_the_start():
    assert weights(RebalanceSchedule(1), 3) == pytest.approx([1, 0.01, 0.01])
    assert weights(IncreaseSchedule(1), 2) == pytest.approx([0.01, 1])


def test_combine_weighs_both_losses():
    regional = torch.tensor(2.0, requires_grad=True)
    boundary = torch.tensor(-4.0, requires_grad=True)
    rebalance, increase = RebalanceSchedule(5), IncreaseSchedule(5, start=0.5)
    for _ in range(2):
        rebalance.step()
    alpha = rebalance.alpha.item()
    total = rebalance.combine(regional, boundary)
    assert total.item() == pytest.approx(alpha * 2 - (1 - alpha) * 4)
    total.backward()
    assert regional.grad.item() == pytest.approx(alpha)
    assert boundary.grad.item() == pytest.approx(1 - alpha)
    assert increase.combine(regional, boundary).item() == pytest.approx(2 - 0.5 * 4)
    assert ConstantSchedule(0.25).combine(regional, boundary).item() == pytest.approx(1)


def test_combine_keeps_the_dtype_of_the_losses():
    for dtype in (torch.float32, torch.float64):
        losses = torch.ones(3, dtype=dtype), torch.ones(3, dtype=dtype)
        assert RebalanceSchedule(5).combine(*losses).dtype == dtype


@pytest.mark.parametrize("schedule", SCHEDULES, ids=lambda s: type(s).__name__)
def test_alpha_is_one_tensor_overwritten_in_place(schedule):
    alpha, place = schedule.alpha, schedule.alpha.data_ptr()
    assert (alpha.shape, alpha.dtype, alpha.requires_grad) == ((), torch.float32, False)
    schedule.step()
    assert schedule.alpha is alpha
    assert alpha.data_ptr() == place
    assert list(schedule.parameters()) == []


def test_to_moves_alpha_and_the_epoch():
    schedule = RebalanceSchedule(10).to("meta")
    assert schedule.alpha.device.type == "meta"
    schedule.step()  # would fail if it mixed devices or read a value


def test_state_dict_resumes_a_run():
    schedule, resumed = RebalanceSchedule(10), RebalanceSchedule(10)
    for _ in range(4):
        schedule.step()
    resumed.load_state_dict(schedule.state_dict())
    assert resumed.alpha.item() == schedule.alpha.item()
    assert weights(resumed, 8) == weights(schedule, 8)


def test_a_compiled_step_reads_the_new_alpha_without_being_rebuilt():
    schedule = RebalanceSchedule(10)
    counter = torch._dynamo.testing.CompileCounter()
    combine = torch.compile(schedule.combine, backend=counter, fullgraph=True)
    regional, boundary = torch.tensor(2.0), torch.tensor(-4.0)
    for _ in range(3):
        assert torch.equal(combine(regional, boundary), schedule.combine(regional, boundary))
        schedule.step()
    assert counter.frame_count == 1


@pytest.mark.parametrize(
    ("make", "error", "names"),
    [
        (lambda: RebalanceSchedule(0), ValueError, ["epochs", "0", "at least 1"]),
        (lambda: RebalanceSchedule(2.5), TypeError, ["epochs", "2.5", "integer"]),
        (lambda: RebalanceSchedule(True), TypeError, ["epochs", "True"]),
        (lambda: RebalanceSchedule(5, start=1.5), ValueError, ["start", "1.5", "[0, 1]"]),
        (lambda: RebalanceSchedule(5, floor=-0.1), ValueError, ["floor", "-0.1"]),
        (lambda: RebalanceSchedule(5, start=0.2, floor=0.3), ValueError, ["floor", "0.3", "0.2"]),
        (lambda: RebalanceSchedule(5, floor=float("nan")), ValueError, ["floor", "nan"]),
        (lambda: IncreaseSchedule(5, start=-1.0), ValueError, ["start", "-1.0"]),
        (lambda: IncreaseSchedule(5, start=0.5, stop=0.1), ValueError, ["stop", "0.1", "0.5"]),
        (lambda: IncreaseSchedule(5, stop=float("inf")), ValueError, ["stop", "inf"]),
        (lambda: ConstantSchedule(float("nan")), ValueError, ["alpha", "nan"]),
        (lambda: ConstantSchedule(-0.5), ValueError, ["alpha", "-0.5"]),
    ],
)
def test_mistakes_are_named(make, error, names):
    with pytest.raises(error) as caught:
        make()
    for name in names:
        assert name in str(caught.value)
