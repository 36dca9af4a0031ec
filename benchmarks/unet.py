"""A U-Net of nnU-Net's default shape, in plain PyTorch: what a training step costs without us."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

WIDTHS = (32, 64, 128, 256, 320, 320)  # nnU-Net's default in 3-D, about 30 M parameters


def _two_convolutions(before: int, after: int, ndim: int, stride: int) -> nn.Sequential:
    convolution = (nn.Conv2d, nn.Conv3d)[ndim - 2]
    norm = (nn.InstanceNorm2d, nn.InstanceNorm3d)[ndim - 2]
    layers: list[nn.Module] = []
    for channels, step in ((before, stride), (after, 1)):
        layers += [
            convolution(channels, after, kernel_size=3, stride=step, padding=1),
            norm(after, affine=True),
            nn.LeakyReLU(0.01, inplace=True),
        ]
    return nn.Sequential(*layers)


class UNet(nn.Module):
    """(B, 1, *S) to logits (B, classes, *S); sizes multiples of 2 ** (len(widths) - 1)."""

    def __init__(self, classes: int, widths: Sequence[int] = WIDTHS, ndim: int = 3) -> None:
        super().__init__()
        transposed = (nn.ConvTranspose2d, nn.ConvTranspose3d)[ndim - 2]
        self.encoders = nn.ModuleList(
            _two_convolutions(before, after, ndim, stride=1 if level == 0 else 2)
            for level, (before, after) in enumerate(zip([1, *widths[:-1]], widths, strict=True))
        )
        steps = list(zip(reversed(widths[1:]), reversed(widths[:-1]), strict=True))
        self.upsamplers = nn.ModuleList(
            transposed(before, after, kernel_size=2, stride=2) for before, after in steps
        )
        self.decoders = nn.ModuleList(
            _two_convolutions(2 * after, after, ndim, stride=1) for _, after in steps
        )
        self.head = (nn.Conv2d, nn.Conv3d)[ndim - 2](widths[0], classes, kernel_size=1)

    def forward(self, features: Tensor) -> Tensor:
        skipped = []
        for encoder in self.encoders:
            features = encoder(features)
            skipped.append(features)
        skipped.pop()  # the coarsest features go on, they are not skipped
        for upsampler, decoder in zip(self.upsamplers, self.decoders, strict=True):
            features = decoder(torch.cat([upsampler(features), skipped.pop()], dim=1))
        return self.head(features)
