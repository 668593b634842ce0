"""Between voxels and decoder: SECOND, whose latents belong to the cells of a bird's-eye view.

Yan et al., Sensors 2018, as in OpenPCDet (VoxelBackBone8x, HeightCompression, BaseBEVBackbone), then a 1x1
convolution to the latents. Letters: B scans, V voxels, C channels, L latent size, D, H, W cells of the view
along z, y, x, M = B * H * W.

OpenPCDet numbers axes z, y, x and stores kernels as spconv 2.x does; here, and nowhere else, that is turned
into the x, y, z of the rest.
"""

import logging
from collections.abc import Sequence
from typing import Any, Literal

import torch
from torch import Tensor, nn

from also_selfsup.networks.backbone import Encoder
from also_selfsup.networks.second_bev import (
    EPS,
    HEIGHT_CELLS,
    MOMENTUM,
    BaseBEVBackbone,
    compress_height,
)
from also_selfsup.settings.extent import VIEW_STRIDE, edges_of, grid_cells, view_cells
from also_selfsup.sparseconv import BatchNorm, Chain, ReLU, Voxels
from also_selfsup.sparseconv.interface import Geometry, Triple
from also_selfsup.sparseconv.kernels import from_spconv, new_kernel, to_spconv
from also_selfsup.sparseconv.layers import SparseConvolution

logger = logging.getLogger(__name__)

# In the names of published files: the detector around the network, its step counter; and our last layer.
WRAPPER, COUNTER, HEAD = "model.", "global_step", "dense_head"

BevCentres = Literal["exact", "published"]


class SpconvConv3d(SparseConvolution):
    """A sparse convolution whose parameter is spconv's: `weight` (O, kz, ky, kx, I)."""

    def __init__(self, in_channels: int, out_channels: int, *, geometry: Geometry) -> None:
        super().__init__(geometry)
        kernel = new_kernel(geometry.size, in_channels, out_channels=out_channels)
        weight = to_spconv(kernel, geometry.size).permute(0, 3, 2, 1, 4)
        self.weight = nn.Parameter(weight.contiguous())

    def cells(self) -> Tensor:
        """(K, I, O): the same numbers, with axes in the order x, y, z."""
        return from_spconv(self.weight.permute(0, 3, 2, 1, 4), self.geometry.size)

    def extra_repr(self) -> str:
        """Channels and geometry, for `print(network)`."""
        return f"{self.weight.shape[4]}, {self.weight.shape[0]}, {self.geometry}"


class VoxelBackBone8x(nn.Module):
    """The sparse part: four stages, each but the first at half the resolution, and a last step in z."""

    def __init__(self, in_channels: int) -> None:
        super().__init__()
        self.conv_input = _unit(in_channels, 16)
        self.conv1 = nn.Sequential(_unit(16, 16))
        self.conv2 = _stage(16, 32, padding=(1, 1, 1))
        self.conv3 = _stage(32, 64, padding=(1, 1, 1))
        self.conv4 = _stage(64, 64, padding=(1, 1, 0))  # no padding in z
        self.conv_out = _unit(64, 128, size=(1, 1, 3), stride=(1, 1, 2))

    def forward(self, x: Voxels) -> Voxels:
        """Voxels of the input to 128 channels on (W, H, D) cells."""
        for stage in (self.conv_input, self.conv1, self.conv2, self.conv3, self.conv4, self.conv_out):
            x = stage(x)
        return x


class SECOND(Encoder):
    """OpenPCDet's backbone for detection; names and shapes of the parameters are OpenPCDet's.

    `dense_head` is ours: the 1x1 convolution to the latents, which detection does not need.

    The view has a cell for 8 x 8 columns of voxels. OpenPCDet's 2-D part takes two cells of height, which its
    40 voxels in z give. Of a taller extent the lower and the upper half of the cells become one cell each, by
    their maximum, so that the parameters are the same whatever the extent.
    """

    birds_eye = True

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        *,
        framework: str = "native",
        voxel_size: float | Sequence[float] = (0.05, 0.05, 0.1),
        extent: Sequence[float] = (0.0, -40.0, -3.0, 70.4, 40.0, 1.0),
        bev_centres: BevCentres = "exact",
    ) -> None:
        """Build the layers.

        Args:
            in_channels: Channels of `voxel_x`.
            out_channels: L.
            framework: Name in `sparseconv.BACKENDS` that knows bounded grids, or "auto".
            voxel_size: Edge of the voxels in metres, or one for each of x, y, z.
            extent: [x_min, y_min, z_min, x_max, y_max, z_max] of the voxels' grid, metres.
            bev_centres: Where the latents of the W cells along x lie (y alike): "exact", at the cells'
                centres x_min + (i + 1/2) (x_max - x_min) / W; or "published", where the published ALSO code
                had them, at W equidistant places of which the first is x_min and the last is x_max:
                x_min + i (x_max - x_min) / (W - 1). For weights that were trained so.

        Raises:
            ExtentError: The extent does not hold a whole number of voxels, or not a whole number of cells.
        """
        super().__init__(framework)
        x, y, z = grid_cells(extent, voxel_size)
        self.view = view_cells(extent, voxel_size)
        self.grid: Triple = (x, y, z + 1)  # OpenPCDet adds one in z
        self.extent, self.voxel_size = tuple(map(float, extent)), edges_of(voxel_size)
        self.bev_centres = bev_centres
        self.backbone_3d = VoxelBackBone8x(in_channels)
        self.backbone_2d = BaseBEVBackbone(HEIGHT_CELLS * 128)
        self.dense_head = nn.Conv2d(self.backbone_2d.out_channels, out_channels, 1)

    def forward(self, batch: dict[str, Any]) -> dict[str, Tensor]:
        """Compute latents; the batch is left as it is.

        Args:
            batch: `voxel_coords` (V, 3) and `voxel_coords_batch` (V,) integer cells of the extent, no two
                alike, in any order; `voxel_x` (V, C); `sensor` (B, 3), whose length is the number of scans
                (without it, the host reads the largest scan index).

        Returns:
            `latents` (M, L); `latents_pos` (M, 3) metres, z = 0; `latents_batch` (M,) int64. By scan, y, x.
        """
        coords = batch["voxel_coords"]
        coords = torch.cat([batch["voxel_coords_batch"].to(coords.dtype)[:, None], coords], dim=1)
        voxel_x = batch["voxel_x"].to(self.dense_head.weight.dtype)
        out = self.backbone_3d(self.backend.voxels(voxel_x, coords, grid=self.grid))
        image = compress_height(out, self.view, scan_count=_scan_count(batch))
        latents = self.dense_head(self.backbone_2d(image))
        latents = latents.permute(0, 2, 3, 1).flatten(0, 2)
        return {"latents": latents, **self.supports(batch)}

    def supports(self, batch: dict[str, Any]) -> dict[str, Tensor]:
        """Places of the latents, known before the latents are: `latents_pos`, `latents_batch`."""
        width, height, _ = self.view
        device, scans = batch["voxel_coords"].device, _scan_count(batch)
        x, y = self._centres(0, width, device), self._centres(1, height, device)
        pos = x.new_zeros(scans, height, width, 3)
        pos[..., 0], pos[..., 1] = x, y[:, None]
        scan = torch.arange(scans, device=device)[:, None].expand(-1, height * width)
        return {"latents_pos": pos.view(-1, 3), "latents_batch": scan.flatten()}

    def _centres(self, axis: int, count: int, device: torch.device) -> Tensor:
        """(count,) metres, rounded once to the network's precision."""
        low, high = self.extent[axis], self.extent[axis + 3]
        number = torch.arange(count, dtype=torch.float64, device=device)
        if self.bev_centres == "published":
            pos = low + number * ((high - low) / max(count - 1, 1))
        else:
            pos = low + (number + 0.5) * (VIEW_STRIDE * self.voxel_size[axis])
        return pos.to(torch.promote_types(self.dense_head.weight.dtype, torch.float32))

    def _load_from_state_dict(self, state_dict: dict[str, Any], prefix: str, *args: Any) -> None:
        """Take published names too: with `model.`, with a step counter, without the last layer."""
        own = {name: tensor for name, tensor in state_dict.items() if name.startswith(prefix)}
        for name in own:
            del state_dict[name]
        bare = {name[len(prefix) :].removeprefix(WRAPPER): tensor for name, tensor in own.items()}
        bare.pop(COUNTER, None)
        state_dict.update({prefix + name: tensor for name, tensor in self._with_head(bare).items()})
        super()._load_from_state_dict(state_dict, prefix, *args)

    def _with_head(self, state: dict[str, Any]) -> dict[str, Any]:
        """The last layer under its name here; as it is now where the file (of OpenPCDet, say) has none."""
        if f"{HEAD}.weight" in state:
            return state
        shape = self.dense_head.weight.shape
        found = [name for name, tensor in state.items() if tensor.shape == shape and "backbone_" not in name]
        if len(found) == 1:
            stem = found[0].removesuffix("weight")
            return {name.replace(stem, f"{HEAD}.", 1): tensor for name, tensor in state.items()}
        logger.warning("SECOND: the weights hold no 1x1 convolution to latents; %s stays as it is.", HEAD)
        return {
            **state,
            **{f"{HEAD}.{name}": tensor for name, tensor in self.dense_head.state_dict().items()},
        }


def _scan_count(batch: dict[str, Any]) -> int:
    if "sensor" in batch:
        return int(batch["sensor"].shape[0])
    scans = batch["voxel_coords_batch"]
    return int(scans.max()) + 1 if len(scans) else 1


def _unit(
    in_channels: int,
    out_channels: int,
    *,
    size: Triple = (3, 3, 3),
    stride: Triple = (1, 1, 1),
    padding: Triple = (0, 0, 0),
) -> Chain:
    """Convolution, batch-norm, ReLU; on the same cells unless there is a stride."""
    kind: Literal["submanifold", "downsample"] = "submanifold" if stride == (1, 1, 1) else "downsample"
    conv = SpconvConv3d(in_channels, out_channels, geometry=Geometry(kind, size, stride, padding))
    return Chain(conv, BatchNorm(out_channels, eps=EPS, momentum=MOMENTUM), ReLU())


def _stage(in_channels: int, out_channels: int, *, padding: Triple) -> nn.Sequential:
    """Half the resolution, then two convolutions there."""
    head = _unit(in_channels, out_channels, stride=(2, 2, 2), padding=padding)
    return nn.Sequential(head, _unit(out_channels, out_channels), _unit(out_channels, out_channels))
