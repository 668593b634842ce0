"""Before a run goes on: is its checkpoint whole, of this network, and with something left to do."""

from pathlib import Path
from typing import Any

from pytorch_lightning import LightningModule

from also_selfsup.checkpoints.naming import kind_of
from also_selfsup.checkpoints.reading import CheckpointError, read_checkpoint
from also_selfsup.settings.files import flat_values
from also_selfsup.settings.limits import SettingsError
from also_selfsup.training.task import TaskModule

# Settings that decide which weights there are; the library only computes with them.
OF_WEIGHTS = ("inputs", "network.")
NOT_OF_WEIGHTS = ("network.framework",)


def refuse_unresumable(path: Path, module: LightningModule, *, epochs: int) -> None:
    """Refuse a checkpoint that a run cannot go on from, before anything of its folder is changed.

    Args:
        path: The checkpoint.
        module: That is to be trained.
        epochs: Most epochs, those that are done included.

    Raises:
        CheckpointError: It cannot be read, or is of another kind of run.
        SettingsError: It is of another network, or has had more epochs than the run is to have.
    """
    content = read_checkpoint(path)
    there, here = content.get("state_dict") or {}, module.state_dict()
    if {name: tensor.shape for name, tensor in there.items()} != {k: v.shape for k, v in here.items()}:
        changed = _changes(content.get("settings"), module)
        if changed:
            raise SettingsError(
                f"cfg.resume: {path} is of another network: {', '.join(changed)}. Go on with the settings of "
                "its run (config.yaml beside it), or leave cfg.resume out and begin a new one."
            )
        raise CheckpointError(
            f"cfg.resume: {path} does not fit: the checkpoint of a {kind_of(there)} run has {len(there)} "
            f"weights, this run {len(here)}. Name the checkpoint of such a run as this one."
        )
    done = _finished_epochs(content)
    if done > epochs:
        raise SettingsError(
            f"cfg.resume: {path} has had {done} epochs, and this run is to have {epochs}: raise "
            "cfg.training.max_epochs (cfg.downstream.max_epochs), or leave cfg.resume out and begin anew."
        )


def _changes(there: Any, module: LightningModule) -> list[str]:
    """Settings of the network that differ, in words."""
    if not isinstance(there, dict) or not isinstance(module, TaskModule):
        return []
    network = there.get("network")
    before = {f"network.{key}": value for key, value in network.items()} if isinstance(network, dict) else {}
    before["inputs"] = there.get("inputs")
    return [
        f"cfg.{key}={before[key]} there, {value} here"
        for key, value in flat_values(module.settings).items()
        if key.startswith(OF_WEIGHTS) and key not in NOT_OF_WEIGHTS and before.get(key, value) != value
    ]


def _finished_epochs(content: dict[str, Any]) -> int:
    """Epochs that Lightning counts as done; 0 where the file does not say."""
    try:
        return int(content["loops"]["fit_loop"]["epoch_progress"]["current"]["processed"])
    except (KeyError, TypeError):
        return 0
