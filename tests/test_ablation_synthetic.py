"""The synthetic lesions: made from a seed, of the asked-for share, labelled where they are."""

import pytest
import torch

from examples import slices, synthetic
from examples.components import components


@pytest.fixture(autouse=True)
def one_thread():
    """Small tensors: a second thread would cost more time than it saves."""
    torch.set_num_threads(1)


@pytest.fixture(scope="module")
def bases():
    torch.set_num_threads(1)
    return synthetic.bases(slices.load_patient("07"))


@pytest.fixture(scope="module")
def made(bases):
    return synthetic.made(bases, 40, seed=3)


def test_a_seed_makes_the_same_slices_and_each_by_itself(bases, made):
    images, labels = made
    again = synthetic.made(bases, 10, seed=3)
    assert torch.equal(images[:10], again[0])
    assert torch.equal(labels[:10], again[1])
    image, label = synthetic.made_slice(bases, 3, 31)
    assert torch.equal(image, images[31, 0])
    assert torch.equal(label, labels[31])
    other = synthetic.made(bases, 10, seed=4)
    assert not (labels[:10] == other[1]).all(dim=2).all(dim=1).any()


def test_the_share_of_lesion_is_in_its_range_and_fills_it(made):
    share = made[1].float().mean(dim=(1, 2))
    low, high = synthetic.SHARE
    assert low <= share.min()
    assert share.max() <= high
    assert (share < 2 * low).any()
    assert (share > high / 2).any()


def test_lesions_lie_in_the_brain_and_brighten_it(bases, made):
    images, labels = made[0][:, 0], made[1].bool()
    assert (images[labels] > slices.AIR).all()
    number = [
        int(torch.randint(len(bases.images), (), generator=torch.Generator().manual_seed(seed)))
        for seed in (3 * 1_000_003 + index for index in range(40))
    ]
    before = bases.images[number]
    change = images - before
    assert change[labels].mean() > 0.5
    far = synthetic.fastdist.edt(~labels, ndim=2) > 12
    assert (change[far] == 0).all()
    assert not (change[before == slices.AIR] != 0).any()


def test_there_are_one_to_six_lesions_apart_from_each_other(made):
    counts = [int(components(label.bool()).max()) for label in made[1]]
    assert min(counts) == 1
    assert max(counts) >= 4


@pytest.mark.parametrize("area", [3.0, 30.0, 250.0])
def test_a_lesion_has_the_area_asked_for_and_a_smeared_edge(area):
    generator = torch.Generator().manual_seed(5)
    ratios = []
    for _ in range(20):
        shape, edge, _ = synthetic.lesion(area, generator)
        assert shape.shape == edge.shape
        assert not shape[[0, -1]].any()
        assert not shape[:, [0, -1]].any()
        assert edge.min() >= 0
        assert edge.max() <= 1 + 1e-5
        ratios.append(shape.sum().item() / area)
        partial = (edge > 0.1) & (edge < 0.9)
        assert partial.any()
    assert sum(ratios) / len(ratios) == pytest.approx(1, abs=0.2)


def test_real_lesions_are_painted_over():
    patient = slices.load_patient("26")
    lesions = patient.labels == 1
    used = lesions.float().mean(dim=(1, 2)).gt(0.001) & lesions.float().mean(dim=(1, 2)).le(0.005)
    covered = synthetic.bases(patient, used)
    images, truth = patient.images[used, 0], lesions[used]
    assert images[truth].mean() > 1.0
    assert covered.images[truth].mean().abs() < 0.4
    near = synthetic.fastdist.edt(~truth, ndim=2) <= 2
    assert torch.equal(covered.images[~near], images[~near])


def test_slices_full_of_real_lesions_are_not_used():
    patient = slices.load_patient("19")
    share = (patient.labels == 1).float().mean(dim=(1, 2))
    full = share > synthetic.MOST_REAL
    assert full.any()
    assert len(synthetic.bases(patient, full).images) == 0
