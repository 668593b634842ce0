"""Between pre-training and fine-tuning: weights into a network, with every name accounted for."""

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path

from torch import Tensor, nn

from also_selfsup.checkpoints.naming import BACKBONE, COUNTERS, NET, State, some, weights
from also_selfsup.checkpoints.reading import CheckpointError, read_checkpoint
from also_selfsup.checkpoints.second import SHAPES, is_second, to_layout

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class LoadReport:
    """What became of every name when weights were loaded.

    Attributes:
        loaded: Names whose values the network now has.
        missing: Names of the network that the source lacks: freshly initialised.
        unexpected: Names of the source that the network lacks.
        mismatched: Names of both whose shapes differ, with the shapes: freshly initialised.
        dropped: Entries of the source that are no weights (step counters).
        source: The file, or what else the weights came from.
    """

    loaded: tuple[str, ...]
    missing: tuple[str, ...]
    unexpected: tuple[str, ...]
    mismatched: tuple[str, ...]
    dropped: tuple[str, ...]
    source: str

    def __str__(self) -> str:
        """One line: the counts, always, and the first names behind each that is not 0."""
        parts = [f"{len(self.loaded)} loaded"]
        for names, label in (
            (self.missing, "missing"),
            (self.unexpected, "unexpected"),
            (self.mismatched, "of another shape"),
        ):
            parts.append(f"{len(names)} {label}" + (f" ({some(names)})" if names else ""))
        line = f"{self.source}: weights {', '.join(parts)}"
        if fresh := len(self.missing) + len(self.mismatched):
            line += f"; {fresh} freshly initialised"
        if self.dropped:
            line += f"; dropped {', '.join(self.dropped)}"
        return line


def load_weights(
    module: nn.Module,
    state: Mapping[str, Tensor],
    *,
    allow_missing: Sequence[str] = (),
    source: str = "weights",
) -> LoadReport:
    """Load weights into a network, account for every name in one logged line, and refuse what does not fit.

    Args:
        module: The network; its parameters keep their type and device.
        state: Weights by plain name, as `weights` gives them.
        allow_missing: Patterns such as `classifier.*`: names that may be missing or of another shape, because
            this run trains them anew.
        source: Where `state` comes from, for the line and the messages.

    Raises:
        CheckpointError: No name matches, or one is missing or of another shape that is not allowed. The
            network is as it was then.
    """
    own = module.state_dict()
    fitting = {n: t for n, t in state.items() if n in own and t.shape == own[n].shape}
    differing = [n for n in state if n in own and n not in fitting]
    foreign = [n for n in state if n not in own]
    report = LoadReport(
        loaded=tuple(fitting),
        missing=tuple(n for n in own if n not in state),
        unexpected=tuple(n for n in foreign if n not in COUNTERS),
        mismatched=tuple(f"{n}: {_shape(state[n])} here, {_shape(own[n])} in the network" for n in differing),
        dropped=tuple(n for n in foreign if n in COUNTERS),
        source=source,
    )
    if not fitting:
        raise CheckpointError(
            f"{report}. Nothing matches: the source has {some(list(state))}, the network {some(list(own))}; "
            "is it another backbone (cfg.network.backbone), or another part of the model?"
        )
    if any(not _allowed(n, allow_missing) for n in (*report.missing, *differing)):
        raise CheckpointError(
            f"{report}. The network must be built as for the source: "
            "compare cfg.network and cfg.inputs with the config.yaml of its run."
        )
    module.load_state_dict({**own, **fitting})
    logger.log(logging.WARNING if report.unexpected else logging.INFO, "%s", report)
    return report


def load_file(
    module: nn.Module, path: Path | str, *, prefix: str, allow_missing: Sequence[str] = ()
) -> LoadReport:
    """Load a checkpoint file into a network: `read_checkpoint`, `weights` and `load_weights` in one.

    Raises:
        CheckpointError: As those do; the message names the file.
    """
    return load_weights(module, _read(path, prefix), allow_missing=allow_missing, source=str(path))


def load_backbone(net: nn.Module, path: Path | str) -> LoadReport:
    """Load pre-trained weights into a network that is to be fine-tuned; its classifier begins anew.

    Args:
        net: A backbone with one output a class.
        path: `pretrained_backbone_NNN.ckpt`, or a checkpoint of pre-training.

    Raises:
        CheckpointError: As `load_file`.
    """
    return load_file(net, path, prefix=BACKBONE, allow_missing=["classifier.*"])


def load_start(backbone: nn.Module, path: Path | str) -> LoadReport:
    """Load weights that pre-training starts from; the layer that makes latents may begin anew.

    Args:
        backbone: The backbone that is to be pre-trained.
        path: A file of convert_models.py in our format, a checkpoint of pre-training, or for SECOND one of
            OpenPCDet, whose heads are not used.

    Raises:
        CheckpointError: As `load_file`.
    """
    own, state = list(backbone.state_dict()), _read(path, BACKBONE)
    last = ["classifier.*"]
    if is_second(own):
        last = [name for name in own if name not in SHAPES]
        state = to_layout(state, 2)
    return load_weights(backbone, state, allow_missing=last, source=str(path))


def load_network(net: nn.Module, path: Path | str) -> LoadReport:
    """Load a fine-tuned network, all of it: `trained_model_NNN.ckpt`, or a checkpoint of fine-tuning.

    Raises:
        CheckpointError: As `load_file`.
    """
    return load_file(net, path, prefix=NET)


def _read(path: Path | str, prefix: str) -> State:
    checkpoint = read_checkpoint(path)
    try:
        return weights(checkpoint, prefix)
    except CheckpointError as error:
        raise CheckpointError(f"{path}: {error}") from error


def _allowed(name: str, patterns: Sequence[str]) -> bool:
    return any(fnmatchcase(name, pattern) for pattern in patterns)


def _shape(tensor: Tensor) -> str:
    return str(tuple(tensor.shape))
