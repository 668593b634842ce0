"""Between voxels and decoder: the sparse U-Nets of the MinkUNet family, on any sparse-convolution library.

Choy et al., CVPR 2019, as published in SPVNAS. Letters: V voxels, C channels.
"""

from torch import nn

from also_selfsup.networks.activation_checkpointing import CheckpointedBlock
from also_selfsup.networks.backbone import Backbone
from also_selfsup.sparseconv import (
    BatchNorm,
    Chain,
    DownsampleConv3d,
    ReLU,
    SubmanifoldConv3d,
    UpsampleConv3d,
    Voxels,
    concatenate,
)
from also_selfsup.sparseconv.layers import SparseConv3d


class ConvBlock(nn.Module):
    """Convolution, batch-norm, ReLU: the change of level at the head of a stage."""

    def __init__(self, conv: SparseConv3d) -> None:
        super().__init__()
        self.net = Chain(conv, BatchNorm(conv.kernel.shape[-1]), ReLU())

    def forward(self, x: Voxels) -> Voxels:
        """Voxels of the other level."""
        out: Voxels = self.net(x)
        return out


class ResidualBlock(CheckpointedBlock):
    """Two 3x3x3 convolutions beside a shortcut, which is 1x1x1 where the channels change."""

    def __init__(self, in_channels: int, out_channels: int) -> None:
        super().__init__()
        self.net = Chain(
            SubmanifoldConv3d(in_channels, out_channels),
            BatchNorm(out_channels),
            ReLU(),
            SubmanifoldConv3d(out_channels, out_channels),
            BatchNorm(out_channels),
        )
        self.downsample: nn.Module = nn.Identity()
        if in_channels != out_channels:
            self.downsample = Chain(SubmanifoldConv3d(in_channels, out_channels, 1), BatchNorm(out_channels))

    def compute(self, x: Voxels) -> Voxels:
        """Voxels with `out_channels`."""
        out: Voxels = self.net(x, residual=lambda: self.downsample(x))
        return out


class MinkUNet(Backbone):
    """Stem, four levels down, four up with skips; module names are those of the published checkpoints."""

    # Residual blocks of each level down; convolutions of the stem; channels of stem, levels down, levels up.
    blocks: tuple[int, ...] = (2, 2, 2, 2)
    stem_convs = 1
    channels: tuple[int, ...] = (32, 32, 64, 128, 256, 256, 128, 96, 96)
    halvings: int | None = 4

    def __init__(self, in_channels: int, out_channels: int, *, framework: str = "native") -> None:
        """Build the layers.

        Args:
            in_channels: channels of `voxel_x`.
            out_channels: latents, or classes, per point.
            framework: name in `sparseconv.BACKENDS`, or "auto".
        """
        super().__init__(framework)
        width = self.channels
        self.stem = _stem(in_channels, width[0], convs=self.stem_convs)
        self.stage1 = _level_down(width[0], width[1], blocks=self.blocks[0])
        self.stage2 = _level_down(width[1], width[2], blocks=self.blocks[1])
        self.stage3 = _level_down(width[2], width[3], blocks=self.blocks[2])
        self.stage4 = _level_down(width[3], width[4], blocks=self.blocks[3])
        self.up1 = _level_up(width[4], width[5], skip=width[3])
        self.up2 = _level_up(width[5], width[6], skip=width[2])
        self.up3 = _level_up(width[6], width[7], skip=width[1])
        self.up4 = _level_up(width[7], width[8], skip=width[0])
        self.classifier = nn.Sequential(nn.Linear(width[8], out_channels))

    def features(self, x: Voxels) -> Voxels:
        """Run the U; level-0 voxels in and out."""
        levels = self.down(x)
        y = levels[4]
        for level, up in zip((3, 2, 1, 0), (self.up1, self.up2, self.up3, self.up4), strict=True):
            y = climb(up, y, skip=levels[level])
        return y

    def down(self, x: Voxels) -> list[Voxels]:
        """Run stem and stages: the voxels of levels 0 to 4."""
        levels = [self.stem(x)]
        for stage in (self.stage1, self.stage2, self.stage3, self.stage4):
            levels.append(stage(levels[-1]))
        return levels


def climb(up: nn.ModuleList, y: Voxels, *, skip: Voxels) -> Voxels:
    """Go one level up: back to the cells of the skip, side by side with it, then the residual blocks."""
    out: Voxels = up[1](concatenate(up[0](y), skip))
    return out


def _stem(in_channels: int, channels: int, *, convs: int) -> Chain:
    """Convolutions on the input cells."""
    layers: list[nn.Module] = []
    for index in range(convs):
        conv = SubmanifoldConv3d(in_channels if index == 0 else channels, channels)
        layers += [conv, BatchNorm(channels), ReLU()]
    return Chain(*layers)


def _level_down(in_channels: int, out_channels: int, *, blocks: int) -> nn.Sequential:
    """Halve the resolution, then `blocks` residual blocks."""
    head = ConvBlock(DownsampleConv3d(in_channels, in_channels))
    rest = [ResidualBlock(out_channels if index else in_channels, out_channels) for index in range(blocks)]
    return nn.Sequential(head, *rest)


def _level_up(in_channels: int, out_channels: int, *, skip: int) -> nn.ModuleList:
    """Double the resolution, then two residual blocks on the result beside the skip."""
    head = ConvBlock(UpsampleConv3d(in_channels, out_channels))
    rest = [ResidualBlock(out_channels + skip, out_channels), ResidualBlock(out_channels, out_channels)]
    return nn.ModuleList([head, nn.Sequential(*rest)])


class MinkUNet18(MinkUNet):
    """Two residual blocks a level."""


class MinkUNet18SC(MinkUNet):
    """MinkUNet18 with a stem of two convolutions, as in SegContrast."""

    stem_convs = 2


class MinkUNet34(MinkUNet):
    """More residual blocks on the deeper levels."""

    blocks = (2, 3, 4, 6)
