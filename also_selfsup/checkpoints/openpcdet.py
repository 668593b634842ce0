"""Between pre-training and detection: SECOND's backbone as OpenPCDet reads it with `--pretrained_model`.

OpenPCDet takes `model_state` of the file and copies every entry whose name and shape the detector has; it
leaves out the others with a line in its log. SECOND and PV-RCNN share the names and shapes of the backbone.
"""

from collections.abc import Mapping

from torch import Tensor

from also_selfsup.checkpoints.naming import State
from also_selfsup.checkpoints.second import split_backbone, to_layout

TABLE = "model_state"


def write_second(state: Mapping[str, Tensor], *, spconv: int) -> tuple[State, tuple[str, ...]]:
    """The backbone's weights for OpenPCDet with spconv 1.x or 2.x, and the names of what it has no place for.

    Raises:
        CheckpointError: A weight of the backbone is missing, or a kernel has no known layout.
    """
    backbone, left_out = split_backbone(state)
    return to_layout(backbone, spconv), left_out


def read_second(table: Mapping[str, Tensor]) -> tuple[State, tuple[str, ...]]:
    """The backbone's weights out of a detector of OpenPCDet, of either spconv, and the names left out.

    Raises:
        CheckpointError: As `write_second`.
    """
    return write_second(table, spconv=2)
