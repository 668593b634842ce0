"""Between voxels and decoder: MinkUNet with a second branch on points, at full resolution all the way.

Tang et al., ECCV 2020, as published in SPVNAS. The points are the cells of level 0, not those of the lidar.
Letters: V voxels (here also the points), C channels.
"""

from itertools import pairwise
from typing import cast

from torch import Tensor, nn

from also_selfsup.networks.minkunet import MinkUNet, climb
from also_selfsup.sparseconv import Voxels
from also_selfsup.sparseconv.points import devoxelize, voxelize_mean
from also_selfsup.sparseconv.units import normalise


class SPVCNN(MinkUNet):
    """The U of MinkUNet18SC; at the bottom, halfway up and at the top the two branches are added."""

    stem_convs = 2
    dropout_rate = 0.3
    halvings = None  # its points look for cells of their own

    def __init__(self, in_channels: int, out_channels: int, *, framework: str = "native") -> None:
        """Build the layers; arguments as in `MinkUNet`."""
        super().__init__(in_channels, out_channels, framework=framework)
        width = self.channels
        ends = pairwise((width[0], width[4], width[6], width[8]))
        self.point_transforms = nn.ModuleList([_point_transform(first, last) for first, last in ends])
        self.dropout = nn.Dropout(self.dropout_rate)

    def features(self, x: Voxels) -> Voxels:
        """Run both branches; level-0 voxels in and out."""
        x0, x1, x2, x3, x4 = self.down(x)
        z = self._join(x4, x0.feats, points=x0, branch=0)
        y = climb(self.up1, self._spread(z, points=x0, cells=x4), skip=x3)
        y = climb(self.up2, y, skip=x2)
        z = self._join(y, z, points=x0, branch=1)
        y = climb(self.up3, self._spread(z, points=x0, cells=y), skip=x1)
        y = climb(self.up4, y, skip=x0)
        return x0.with_feats(self._join(y, z, points=x0, branch=2))

    def _join(self, y: Voxels, z: Tensor, *, points: Voxels, branch: int) -> Tensor:
        """Add the voxels' features, read at the points, to the transformed ones of the points."""
        linear, norm, relu = cast(nn.Sequential, self.point_transforms[branch])
        # Not the norm itself: it could not train on the one point or none that a batch may have.
        transformed: Tensor = relu(normalise(linear(z), norm))
        return devoxelize(y, points) + transformed

    def _spread(self, z: Tensor, *, points: Voxels, cells: Voxels) -> Voxels:
        """Bring the points' features back to voxels, with dropout."""
        return cells.with_feats(self.dropout(voxelize_mean(z, points, cells)))


class SPVCNN0p5(SPVCNN):
    """SPVCNN with half the channels."""

    channels = tuple(width // 2 for width in SPVCNN.channels)


def _point_transform(in_channels: int, out_channels: int) -> nn.Sequential:
    """Layer of the point branch."""
    return nn.Sequential(nn.Linear(in_channels, out_channels), nn.BatchNorm1d(out_channels), nn.ReLU())
