"""While a run is drawn: its pictures as TensorBoard takes them."""

from collections.abc import Mapping

from matplotlib.image import imread
from pytorch_lightning.loggers import TensorBoardLogger

from also_selfsup.reporting.report import Picture


def add_pictures(logger: TensorBoardLogger, pictures: Mapping[str, Picture], *, step: int) -> None:
    """Add pictures under their names, at an optimiser step."""
    for name, picture in pictures.items():
        pixels = (255 * imread(picture.path)[:, :, :3]).round().astype("uint8")
        logger.experiment.add_image(name, pixels, global_step=step, dataformats="HWC")
