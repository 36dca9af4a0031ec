"""Synthetic lesions of known shape in real FLAIR slices: as much training data as one likes.

Three patients say as much of themselves as of a loss. Here the brains are real and the lesions are
made, each from numbers drawn for it: area, elongation, outline, contrast, texture, and how wide its
edge is smeared. The label is the shape itself. A seed fixes every slice, each by its own number.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional

import fastdist
from examples import slices

SHARE = (0.0005, 0.01)  # of a slice's pixels that are lesion
MOST_REAL = 0.005  # slices with more real lesion than this are not used, in others it is covered
MOST_LESIONS = 6
SMALLEST = 3.0  # pixels
FINE = 4  # a pixel is sampled this often along each axis
# The real lesions of the three patients: median 1.3 above the brain's median, 0.4 to 1.9 for most.
CONTRAST = (0.4, 1.6)
TEXTURE = (0.0, 0.25)  # standard deviation within a lesion, in units of its contrast
SMEAR = (0.3, 0.9)  # pixels, standard deviation of the blur of its edge
ELONGATION = (1.0, 4.0)


class Bases(NamedTuple):
    """Real slices to put lesions into."""

    images: Tensor  # (N, H, W), real lesions painted over
    inside: Tensor  # (N, H, W) bool: where the middle of a lesion may be
    brightest: Tensor  # (N,) the value at which the patient's images are cut off


def bases(patient: slices.Patient, used: Tensor | None = None) -> Bases:
    """The slices of a patient that hold brain and hardly any real lesion, of those in `used`."""
    images, lesions = patient.images[:, 0], patient.labels == 1
    brain = images > slices.AIR
    good = (brain.float().mean(dim=(1, 2)) > 0.05) & (lesions.float().mean(dim=(1, 2)) <= MOST_REAL)
    if used is not None:
        good &= used
    images, lesions, brain = images[good], lesions[good], brain[good]
    inside = fastdist.edt(brain, ndim=2) >= 4
    brightest = torch.full((len(images),), patient.images.max().item())
    return Bases(painted_over(images, lesions, brain), inside, brightest)


def joined(several: list[Bases]) -> Bases:
    """The slices of several patients together."""
    return Bases(*(torch.cat(part) for part in zip(*several, strict=True)))


def painted_over(images: Tensor, lesions: Tensor, brain: Tensor) -> Tensor:
    """The slices with the mean of the tissue around them where there are lesions."""
    if not lesions.any():
        return images
    wide = (fastdist.edt(~lesions, ndim=2) <= 2) & lesions.any(dim=2).any(dim=1)[:, None, None]
    tissue = (brain & ~wide).float()
    weight = blurred(tissue, 3.0)
    around = blurred(images * tissue, 3.0) / weight.clamp(min=1e-6)
    return torch.where(wide & brain & (weight > 1e-3), around, images)


def blurred(images: Tensor, width: float) -> Tensor:
    """Gaussian blur of the last two axes, `width` its deviation in pixels; zero outside."""
    reach = math.ceil(3 * width)
    kernel = torch.exp(-0.5 * (torch.arange(-reach, reach + 1) / width) ** 2)
    kernel = kernel / kernel.sum()
    flat = images.reshape(-1, 1, *images.shape[-2:])
    flat = functional.conv2d(flat, kernel[None, None, :, None], padding=(reach, 0))
    return functional.conv2d(flat, kernel[None, None, None, :], padding=(0, reach)).view_as(images)


def made(sources: Bases, count: int, seed: int) -> tuple[Tensor, Tensor]:
    """Slices with synthetic lesions: images (count, 1, H, W), labels (count, H, W) uint8."""
    both = [made_slice(sources, seed, index) for index in range(count)]
    images, labels = (torch.stack(part) for part in zip(*both, strict=True))
    return images[:, None], labels


def made_slice(sources: Bases, seed: int, index: int) -> tuple[Tensor, Tensor]:
    """One of them, the same whether or not the others are made."""
    generator = torch.Generator().manual_seed(seed * 1_000_003 + index)
    chosen = int(torch.randint(len(sources.images), (), generator=generator))
    while True:  # until the share of lesion is in its range
        image, label = filled(sources, chosen, generator)
        if SHARE[0] <= label.float().mean().item() <= SHARE[1]:
            return image, label


def filled(sources: Bases, chosen: int, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """The slice of that number with a few lesions, no two of which touch."""
    image = sources.images[chosen].clone()
    label = torch.zeros(image.shape, dtype=torch.uint8)
    brain = image > slices.AIR
    places = sources.inside[chosen].nonzero()  # (M, 2)

    low, high = (math.log(share * image.numel()) for share in SHARE)
    total = math.exp(uniform(low, high, generator))
    most = max(1, min(MOST_LESIONS, int(total / SMALLEST)))
    number = int(torch.randint(1, most + 1, (), generator=generator))
    parts = -torch.rand(number, generator=generator).clamp(min=1e-6).log()  # evenly on a simplex
    for area in (parts / parts.sum() * total).clamp(min=SMALLEST).tolist():
        shape, edge, brightness = lesion(area, generator)
        half = shape.shape[0] // 2
        for _ in range(20):
            place = places[int(torch.randint(len(places), (), generator=generator))]
            row, column = place.tolist()
            at, part = overlap(row, column, half, image.shape)
            near, _ = overlap(row, column, half + 2, image.shape)
            here = shape[part] & brain[at]
            if here.any() and not label[near].any():
                label[at] |= here.to(torch.uint8)
                image[at] += torch.where(brain[at], edge[part] * brightness[part], 0.0)
                break
    return image.clamp(max=sources.brightest[chosen].item()), label


def overlap(row: int, column: int, half: int, shape: tuple[int, ...]) -> tuple[tuple, tuple]:
    """Where a window around a pixel lies in the slice, and what of the window lies there."""
    at, part = [], []
    for middle, size in zip((row, column), shape, strict=True):
        start, stop = max(middle - half, 0), min(middle + half + 1, size)
        at.append(slice(start, stop))
        part.append(slice(start - middle + half, stop - middle + half))
    return tuple(at), tuple(part)


def lesion(area: float, generator: torch.Generator) -> tuple[Tensor, Tensor, Tensor]:
    """Shape (bool), smeared edge (0 to 1) and brightness of one lesion in a square window.

    An ellipse, its outline wavy by a few harmonics, at an offset within the pixel. The label has
    the pixels of which it covers at least half; a pixel's grey is that of the share it covers.
    """
    longer = math.exp(uniform(*(math.log(value) for value in ELONGATION), generator)) ** 0.5
    radius = math.sqrt(area / math.pi)
    half = math.ceil(radius * longer * 1.4) + 3
    angle = uniform(0.0, math.pi, generator)
    shift = torch.rand(2, generator=generator) - 0.5

    size = 2 * half + 1
    axis = (torch.arange(size * FINE) + 0.5) / FINE - size / 2  # pixels from the middle
    y, x = torch.meshgrid(axis - shift[0], axis - shift[1], indexing="ij")
    along = (x * math.cos(angle) + y * math.sin(angle)) / (radius * longer)
    across = (y * math.cos(angle) - x * math.sin(angle)) / (radius / longer)
    turn = torch.atan2(across, along)
    outline = torch.ones_like(turn)
    for harmonic in range(2, 6):
        height = uniform(-0.3, 0.3, generator) / harmonic
        outline += height * torch.cos(harmonic * turn + uniform(0.0, 2 * math.pi, generator))
    covered = (torch.hypot(along, across) <= outline).float()

    def pixels(fine: Tensor) -> Tensor:
        return functional.avg_pool2d(fine[None], FINE)[0]

    edge = pixels(blurred(covered, uniform(*SMEAR, generator) * FINE))
    noise = blurred(torch.randn(size, size, generator=generator), 1.0)
    strength = uniform(*TEXTURE, generator)
    brightness = uniform(*CONTRAST, generator) * (1 + strength * noise / noise.std())
    return pixels(covered) >= 0.5, edge, brightness


def uniform(low: float, high: float, generator: torch.Generator) -> float:
    return torch.rand((), generator=generator).item() * (high - low) + low
