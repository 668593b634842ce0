"""Between pre-training and other libraries: weights under their names and in their layouts, and back.

A format says, for each family of networks that it can hold, how weights of ours become its own and the other
way round. What it has no place for (heads, the last layer of pre-training) is left out and named; what it
needs and does not find is refused.
"""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Literal

from torch import Tensor

from also_selfsup.checkpoints import mmdet3d, openpcdet, second, spconv_kernels
from also_selfsup.checkpoints.naming import State, kind_of, some, state_table
from also_selfsup.checkpoints.reading import CheckpointError
from also_selfsup.settings.names import choose

Family = Literal["SECOND", "MinkUNet"]
Split = tuple[State, tuple[str, ...]]  # weights, and the names of what was left out


@dataclass(frozen=True)
class Format:
    """How a library holds weights.

    Attributes:
        table: Key of its files under which the weights stand.
        either_spconv: Whether it can be written in the layout of spconv 1.x as well as in that of 2.x.
        write: By family of networks, our weights as the library's, for a version of spconv.
        read: The inverse.
        marks: By family, starts of names that only this library gives.
    """

    table: str
    either_spconv: bool
    write: Mapping[Family, Callable[[Mapping[str, Tensor], int], Split]]
    read: Mapping[Family, Callable[[Mapping[str, Tensor]], Split]]
    marks: Mapping[Family, tuple[str, ...]]


def _as_ours(state: Mapping[str, Tensor]) -> Split:
    return dict(state), ()


def _second_as_ours(state: Mapping[str, Tensor]) -> Split:
    return second.to_layout(second.plain_names(state), 2), ()


FORMATS: dict[str, Format] = {
    "also": Format(
        table="state_dict",
        either_spconv=False,
        write={
            "SECOND": lambda state, _: _second_as_ours(state),
            "MinkUNet": lambda state, _: _as_ours(state),
        },
        read={"SECOND": _second_as_ours, "MinkUNet": _as_ours},
        marks={"SECOND": second.PREFIXES, "MinkUNet": ("stem.",)},
    ),
    "openpcdet": Format(
        table=openpcdet.TABLE,
        either_spconv=True,
        write={"SECOND": lambda state, version: openpcdet.write_second(state, spconv=version)},
        read={"SECOND": openpcdet.read_second},
        marks={"SECOND": second.PREFIXES},
    ),
    "mmdet3d": Format(
        table="state_dict",
        either_spconv=False,
        write={
            "SECOND": lambda state, _: mmdet3d.write_second(state),
            "MinkUNet": lambda state, _: mmdet3d.write_minkunet(state),
        },
        read={"SECOND": mmdet3d.read_second, "MinkUNet": mmdet3d.read_minkunet},
        marks={"SECOND": ("middle_encoder.",), "MinkUNet": ("backbone.conv_input.0.",)},
    ),
    "spconv": Format(
        table="state_dict",
        either_spconv=True,
        write={
            "SECOND": lambda state, version: (second.to_layout(state, version), ()),
            "MinkUNet": lambda state, version: spconv_kernels.write_minkunet(state, spconv=version),
        },
        read={"SECOND": _second_as_ours, "MinkUNet": spconv_kernels.read_minkunet},
        marks={"SECOND": second.PREFIXES, "MinkUNet": ("stem.",)},
    ),
}


def usual_format(state: Iterable[str]) -> str:
    """The format that a backbone is used in after pre-training: SECOND in OpenPCDet, the others here."""
    return "openpcdet" if second.is_second(state) else "also"


def export(state: Mapping[str, Tensor], to: str, *, spconv: int | None = None) -> Split:
    """Weights of ours in another library's format.

    Args:
        state: A backbone's weights (or a whole segmentation network's) under our names.
        to: Name in `FORMATS`.
        spconv: Version of spconv whose layout is wanted, where the format has a choice.

    Raises:
        CheckpointError: The format cannot hold this network, or has no such layout.
        UserError: No such format; the message lists those there are.
    """
    target = choose(FORMATS, to, "format (--to)")
    version = _version(target, to, spconv)
    if to == "also" and not second.is_second(state):  # any network, also one that we know nothing of
        return _as_ours(state)
    family = _family(state, "also", what="one of our networks")
    if family not in target.write:
        fitting = [name for name, candidate in FORMATS.items() if family in candidate.write]
        raise CheckpointError(
            f"--to {to}: holds no network of the {family} family; for this one choose {' or '.join(fitting)}."
        )
    return target.write[family](second.plain_names(state), version)


def restore_ours(checkpoint: Mapping[str, Any], source: str) -> Split:
    """A backbone's weights under our names and in our layout, out of another library's checkpoint.

    Args:
        checkpoint: As `read_checkpoint` gives it.
        source: Name in `FORMATS`: whose checkpoint it is.

    Raises:
        CheckpointError: It is not one of that library, or of a network that we do not have.
        UserError: No such format; the message lists those there are.
    """
    origin = choose(FORMATS, source, "format (--from)")
    table = state_table(checkpoint)
    kind = kind_of(table)
    if source == "also" and kind != "plain" and foreign_format(table) is None:
        raise CheckpointError(f"the checkpoint of a {kind} run, not a converted file; leave --from out.")
    if source in ("also", "spconv"):
        table = second.plain_names(table)
    family = _family(table, source, what=f"a network of {source} that exists here")
    return origin.read[family](table)


def foreign_format(names: Iterable[str]) -> str | None:
    """The library whose names these are, when they cannot be those of a checkpoint of ours."""
    tops = list(names)
    for library in ("mmdet3d", "openpcdet"):
        if any(name.startswith(marks) for marks in FORMATS[library].marks.values() for name in tops):
            return library
    return None


def _family(table: Iterable[str], library: str, *, what: str) -> Family:
    names = list(table)
    for family, marks in FORMATS[library].marks.items():
        if any(name.removeprefix(second.PUBLISHED_PREFIX).startswith(marks) for name in names):
            return family
    other = foreign_format(names)
    cure = f"; its names are those of {other}: --from {other}" if other else ""
    raise CheckpointError(f"not the weights of {what}: its names are {some(names)}{cure}.")


def _version(target: Format, name: str, asked: int | None) -> int:
    """The version of spconv to write for."""
    if asked is None or target.either_spconv:
        return asked or 2
    offering = " and ".join(other for other, candidate in FORMATS.items() if candidate.either_spconv)
    raise CheckpointError(
        f"--spconv {asked}: {name} has one layout of its own; leave --spconv out, or choose {offering}, "
        "which can be written for spconv 1 and 2."
    )
