"""While pre-training is drawn: predicted occupancy around the same few validation scans."""

from collections.abc import Sequence
from pathlib import Path

from pytorch_lightning import LightningModule, Trainer
from pytorch_lightning.strategies import DDPStrategy, SingleDeviceStrategy

from also_selfsup.data.scan import Scan
from also_selfsup.reporting import epoch_strip
from also_selfsup.reporting.attempts import Attempts
from also_selfsup.reporting.drawn import Drawn, as_in_validation
from also_selfsup.reporting.occupancy import Plane
from also_selfsup.reporting.pictures import occupancy_picture
from also_selfsup.reporting.report import Picture, Section, Text
from also_selfsup.reporting.run_curves import PRETRAINING
from also_selfsup.reporting.scan_planes import ask, planes_of
from also_selfsup.training.datamodule import LidarDataModule
from also_selfsup.training.pretraining import PretrainingModule

MEANING = (
    "Pale blue is predicted free, orange occupied; hatched grey is unknown, where no point lies near enough "
    "for the network to be asked. Black dots are the scan's points near the slice."
)


class OccupancyArtist:
    """Asks the network in training about a few validation scans.

    Args:
        data: Of the run.
        count: Scans, spread evenly over those that validate; 0 draws none.
    """

    title = "Pre-training"
    curves = PRETRAINING
    score = ("iou", "IoU of free and occupied space")

    def __init__(self, data: LidarDataModule, *, count: int) -> None:
        self.data = data
        indices = data.val_indices
        self.indices = [
            indices[(2 * place + 1) * len(indices) // (2 * count)]
            for place in range(min(count, len(indices)))
        ]
        self._scans: dict[int, Scan] = {}

    def draw(self, trainer: Trainer, module: LightningModule, *, folder: Path, attempts: Attempts) -> Drawn:
        """Draw each scan as it is seen now, and all of them over the epochs."""
        if not self.indices or not isinstance(module, PretrainingModule):
            return Drawn()
        if not isinstance(trainer.strategy, SingleDeviceStrategy | DDPStrategy):
            kind = type(trainer.strategy).__name__
            said = f"Not drawn: with {kind} no process has the whole network."
            return Drawn([Section("Predicted occupancy", [Text(said)])])
        epoch, pictures = trainer.current_epoch, {}
        for number in range(1, len(self.indices) + 1):
            with as_in_validation(trainer, module):
                picture = attempts.in_time(
                    f"occupancy of validation scan {number}",
                    lambda n=number: self._draw_scan(module, n, epoch, folder, attempts),  # type: ignore[misc]
                )
            if picture is not None:
                pictures[f"occupancy/scan_{number}"] = picture
        drawn = [int(name.rpartition("_")[2]) for name in pictures]
        strip = attempts.in_time("occupancy over the epochs", lambda: self._draw_strip(drawn, epoch, folder))
        if strip is not None:
            pictures = {"occupancy/epochs": strip, **pictures}
        return Drawn([Section("Predicted occupancy", list(pictures.values()))] if pictures else (), pictures)

    def _draw_scan(
        self, module: PretrainingModule, number: int, epoch: int, folder: Path, attempts: Attempts
    ) -> Picture:
        scan, planes = self._scan(number), self._planes(number)
        answers = ask(module, scan, planes, check=attempts.check)
        epoch_strip.keep(folder / "epochs", epoch, number=number, answer=answers[0])
        path = occupancy_picture(scan, planes, answers=answers, path=folder / f"occupancy_scan_{number}.png")
        caption = f"Validation scan {number} ({scan.name}) after epoch {epoch + 1}. {MEANING}"
        return Picture(
            path, caption, "Predicted occupancy around one scan, from above and as a vertical slice."
        )

    def _draw_strip(self, numbers: Sequence[int], epoch: int, folder: Path) -> Picture | None:
        answers = {n: epoch_strip.kept(folder / "epochs", number=n, last=epoch) for n in numbers}
        if max(map(len, answers.values()), default=0) < 2:
            return None
        path = epoch_strip.strip_picture(
            [self._scan(number) for number in numbers],
            [self._planes(number)[0] for number in numbers],
            answers=list(answers.values()),
            path=folder / "occupancy_epochs.png",
        )
        caption = f"The same validation scans from above, as training goes on. {MEANING}"
        return Picture(path, caption, "Predicted occupancy from above, one row a scan, one column an epoch.")

    def _scan(self, number: int) -> Scan:
        """Read once, and kept: a few megabytes."""
        index = self.indices[number - 1]
        if index not in self._scans:
            scan = self.data.val_set[index]
            if not len(scan.pos):
                raise ValueError(scan.finding or f"{scan.name} has no points")
            self._scans[index] = scan
        return self._scans[index]

    def _planes(self, number: int) -> tuple[Plane, Plane]:
        return planes_of(self._scan(number), extent=self.data.settings.network.extent)
