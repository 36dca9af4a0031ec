"""A small 2-D U-Net (Ronneberger et al. 2015) in plain PyTorch: the network the demo trains."""

from __future__ import annotations

import torch
from torch import Tensor, nn


def double_convolution(inputs: int, outputs: int) -> nn.Sequential:
    """Two 3 x 3 convolutions, each normalised per image: batches of sparse lesions differ a lot."""
    layers: list[nn.Module] = []
    for channels in (inputs, outputs):
        layers += [
            nn.Conv2d(channels, outputs, kernel_size=3, padding=1, bias=False),
            nn.GroupNorm(num_groups=4, num_channels=outputs),
            nn.ReLU(inplace=True),
        ]
    return nn.Sequential(*layers)


class UNet(nn.Module):
    """Image (B, inputs, H, W) to logits (B, classes, H, W); H and W multiples of 2 ** (levels - 1).

    Parameters
    ----------
    inputs, classes
        Channels of the image and of the logits.
    width
        Channels at full resolution; each coarser level has twice as many.
    levels
        Resolutions, the finest included.
    """

    def __init__(self, inputs: int = 1, classes: int = 2, width: int = 8, levels: int = 4) -> None:
        super().__init__()
        widths = [width * 2**level for level in range(levels)]
        self.encoders = nn.ModuleList(
            double_convolution(before, after)
            for before, after in zip([inputs, *widths[:-1]], widths, strict=True)
        )
        self.upsamplers = nn.ModuleList(
            nn.ConvTranspose2d(2 * channels, channels, kernel_size=2, stride=2)
            for channels in reversed(widths[:-1])
        )
        self.decoders = nn.ModuleList(
            double_convolution(2 * channels, channels) for channels in reversed(widths[:-1])
        )
        self.head = nn.Conv2d(width, classes, kernel_size=1)

    def forward(self, features: Tensor) -> Tensor:
        skipped: list[Tensor] = []
        for level, encoder in enumerate(self.encoders):
            if level > 0:
                features = nn.functional.max_pool2d(features, 2)
            features = encoder(features)
            skipped.append(features)
        skipped.pop()  # the coarsest features go on, they are not skipped
        for upsampler, decoder in zip(self.upsamplers, self.decoders, strict=True):
            features = decoder(torch.cat([skipped.pop(), upsampler(features)], dim=1))
        return self.head(features)
