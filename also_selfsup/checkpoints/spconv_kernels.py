"""Beside training: MinkUNet's and SPVCNN's kernels as spconv holds them, under the names they have.

Letters: K cells of a kernel, I input channels, O output channels, k its edge. Ours and torchsparse's kernels
are (K, I, O), or (I, O) for K = 1, in the order of cells of `also_selfsup.sparseconv.kernels`; those for
spconv, on `[batch, x, y, z]` indices, are (O, k, k, k, I) for 2.x and (k, k, k, I, O) for 1.x.
"""

from collections.abc import Mapping

from torch import Tensor

from also_selfsup.checkpoints.naming import State
from also_selfsup.checkpoints.reading import CheckpointError
from also_selfsup.sparseconv.kernels import from_spconv, to_spconv

EDGES = {1: 1, 8: 2, 27: 3}  # of a kernel by its number of cells
TO_FIRST, FROM_FIRST = (1, 2, 3, 4, 0), (4, 0, 1, 2, 3)  # between the layouts of 2.x and 1.x


def write_minkunet(state: Mapping[str, Tensor], *, spconv: int) -> tuple[State, tuple[str, ...]]:
    """All weights with their kernels in the layout of spconv 1.x or 2.x; nothing is left out.

    Raises:
        CheckpointError: A kernel has another number of cells than 1, 8 or 27.
    """
    written = {}
    for name, tensor in state.items():
        if is_kernel(name):
            count = 1 if tensor.dim() == 2 else tensor.shape[0]
            if tensor.dim() not in (2, 3) or count not in EDGES:
                raise CheckpointError(
                    f"{name} has shape {tuple(tensor.shape)}, expected (K, I, O) or (I, O)."
                )
            edge = EDGES[count]
            tensor = to_spconv(tensor, (edge, edge, edge))
            tensor = tensor if spconv == 2 else tensor.permute(TO_FIRST).contiguous()
        written[name] = tensor
    return written, ()


def read_minkunet(table: Mapping[str, Tensor]) -> tuple[State, tuple[str, ...]]:
    """The inverse of `write_minkunet`, for either version of spconv.

    Raises:
        CheckpointError: The kernels have neither layout.
    """
    shapes = {name: tuple(tensor.shape) for name, tensor in table.items() if is_kernel(name)}
    first = all(_is_cube(shape[:3]) for shape in shapes.values())
    if not first and not all(_is_cube(shape[1:4]) for shape in shapes.values()):
        name = next(name for name, shape in shapes.items() if not _is_cube(shape[1:4]))
        raise CheckpointError(
            f"{name} has shape {shapes[name]}, expected (O, k, k, k, I) of spconv 2.x or (k, k, k, I, O) of "
            "spconv 1.x; weights of our own layout need no --from spconv."
        )
    read = dict(table)
    for name in shapes:
        weight = table[name].permute(FROM_FIRST) if first else table[name]
        edge = weight.shape[1]
        read[name] = from_spconv(weight, (edge, edge, edge))
    return read, ()


def is_kernel(name: str) -> bool:
    """Whether a name is that of a sparse convolution's weight."""
    return name.rpartition(".")[2] == "kernel"


def _is_cube(edges: tuple[int, ...]) -> bool:
    return len(edges) == 3 and len(set(edges)) == 1 and edges[0] in EDGES.values()
