"""Inside SECOND: from sparse voxels to a dense bird's-eye view, and the 2-D convolutions on it.

Letters: B scans, V voxels, C channels, D, H, W cells of the view along z, y, x.
"""

import torch
from torch import Tensor, nn

from also_selfsup.sparseconv import Voxels
from also_selfsup.sparseconv.interface import Triple

# Of every batch-norm, as in OpenPCDet.
EPS, MOMENTUM = 1e-3, 0.01
# Cells of height that the 2-D part takes.
HEIGHT_CELLS = 2


def compress_height(x: Voxels, view: Triple, *, scan_count: int) -> Tensor:
    """Spread voxels over a dense view, cells of height beside one another in the channels.

    Args:
        x: (V, C) voxels on the cells of the view.
        view: W, H, D.
        scan_count: B; known, so that a GPU need not wait.

    Returns:
        (B, C * 2, H, W) in the memory order of (B, H, W, C * 2), which is what GPUs convolve quickest;
        channel c * 2 + height. A view of more than two cells of height keeps the maximum of each half.
    """
    width, height, depth = view
    half = -(-depth // HEIGHT_CELLS)
    dense = x.feats.new_zeros(scan_count, height, width, x.feats.shape[1], HEIGHT_CELLS * half)
    scan, column, row, level = x.coords.long().unbind(1)
    dense[scan, row, column, :, level] = x.feats
    if half > 1:
        dense = dense.view(*dense.shape[:4], HEIGHT_CELLS, half).amax(5)
    return dense.flatten(3).permute(0, 3, 1, 2)


class BaseBEVBackbone(nn.Module):
    """The dense part: six convolutions at the view's resolution, six at half of it, side by side."""

    layers = (5, 5)  # after the first one of each block
    strides = (1, 2)
    filters = (128, 256)
    upsampled = (256, 256)

    def __init__(self, in_channels: int) -> None:
        super().__init__()
        self.out_channels = sum(self.upsampled)
        self.blocks, self.deblocks = nn.ModuleList(), nn.ModuleList()
        scale = 1
        for layers, stride, filters, channels in zip(
            self.layers, self.strides, self.filters, self.upsampled, strict=True
        ):
            scale *= stride
            self.blocks.append(_block(in_channels, filters, layers=layers, stride=stride))
            up = nn.ConvTranspose2d(filters, channels, scale, stride=scale, bias=False)
            self.deblocks.append(nn.Sequential(up, *_norm(channels)))
            in_channels = filters

    def forward(self, image: Tensor) -> Tensor:
        """(B, C, H, W) to (B, 512, H, W)."""
        levels = []
        for block, deblock in zip(self.blocks, self.deblocks, strict=True):
            image = block(image)
            levels.append(deblock(image))
        return torch.cat(levels, dim=1)


def _block(in_channels: int, filters: int, *, layers: int, stride: int) -> nn.Sequential:
    """Convolutions of 3 x 3, the first with the stride; each with batch-norm and ReLU."""
    first = nn.Conv2d(in_channels, filters, 3, stride=stride, bias=False)
    modules: list[nn.Module] = [nn.ZeroPad2d(1), first, *_norm(filters)]
    for _ in range(layers):
        modules += [nn.Conv2d(filters, filters, 3, padding=1, bias=False), *_norm(filters)]
    return nn.Sequential(*modules)


def _norm(channels: int) -> tuple[nn.Module, nn.Module]:
    return nn.BatchNorm2d(channels, eps=EPS, momentum=MOMENTUM), nn.ReLU()
