"""After evaluation: the same fine-tuning from two starts, seed by seed, and what its numbers allow to say.

S seeds, C classes.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import fmean, stdev

from torch import Tensor

from also_selfsup.evaluation.confusion import iou_per_class, labelled, mean_iou


@dataclass(frozen=True)
class Comparison:
    """Scores of runs from scratch and from pre-trained weights, paired by their seed.

    Attributes:
        seeds: S seeds.
        scratch: S confusion matrices (C, C) of the runs from scratch, rows labels, class 0 = ignored.
        pretrained: The same of the runs from pre-trained weights.
        class_names: C names, index 0 = "ignore".
    """

    seeds: Sequence[int]
    scratch: Sequence[Tensor]
    pretrained: Sequence[Tensor]
    class_names: Sequence[str]

    def __post_init__(self) -> None:
        if not len(self.seeds) == len(self.scratch) == len(self.pretrained) > 0:
            raise ValueError(
                f"{len(self.seeds)} seeds, {len(self.scratch)} scores from scratch and "
                f"{len(self.pretrained)} from pre-trained weights: need one of each a seed."
            )

    @property
    def gains(self) -> list[float]:
        """Gain in mean IoU of each seed's pair, percentage points."""
        pairs = zip(percent_miou(self.scratch), percent_miou(self.pretrained), strict=True)
        return [after - before for before, after in pairs]

    def rows(self) -> list[list[str]]:
        """Table of mean IoU in percent: one row a start and the gain; mean ± spread, then each seed."""
        starts = [("from scratch", self.scratch), ("pre-trained", self.pretrained)]
        rows = [_row(name, percent_miou(matrices)) for name, matrices in starts]
        return [*rows, _row("gain of the pairs", self.gains, sign="+")]

    def header(self) -> list[str]:
        """Header of `rows`."""
        return ["start", "mIoU %, mean ± spread", *(f"seed {seed}" for seed in self.seeds)]

    def class_rows(self) -> list[list[str]]:
        """Table of the classes: IoU in percent from scratch and pre-trained, mean over the seeds, and gain.

        A class that no label of the split names has no score: "–".
        """
        before, after = _mean_class_iou(self.scratch), _mean_class_iou(self.pretrained)
        return [
            [name, *(_number(x, sign=s) for x, s in ((b, ""), (a, ""), (a - b, "+")))]
            for name, b, a in zip(self.class_names[1:], before[1:], after[1:], strict=True)
        ]

    def verdict(self) -> str:
        """One sentence computed from the paired gains: pre-training helped, hurt, or made no difference."""
        gain = fmean(self.gains)
        if len(self.gains) < 2:
            return (
                f"The one seed that was run gained {gain:+.1f} points of mIoU with pre-trained weights; "
                "one seed does not tell this from chance."
            )
        spread = stdev(self.gains)
        said = f"{gain:+.1f} ± {spread:.1f} points of mIoU over {len(self.gains)} paired seeds"
        if gain > spread:
            return f"Pre-training helped here: {said}."
        if gain < -spread:
            return f"Pre-training did not help here, it hurt: {said}."
        return f"Pre-training did not help here: {said}, a difference within the spread of the seeds."


def percent_miou(matrices: Sequence[Tensor]) -> list[float]:
    """Mean IoU of each confusion matrix, in percent, over the classes that occur."""
    return [100 * float(mean_iou(labelled(matrix))) for matrix in matrices]


def _mean_class_iou(matrices: Sequence[Tensor]) -> list[float]:
    runs = [(100 * iou_per_class(labelled(matrix))).tolist() for matrix in matrices]
    return [fmean(values) for values in zip(*runs, strict=True)]


def _row(name: str, values: Sequence[float], *, sign: str = "") -> list[str]:
    mean = _number(fmean(values), sign=sign)
    summary = f"{mean} ± {stdev(values):.1f}" if len(values) > 1 else mean
    return [name, summary, *(_number(value, sign=sign) for value in values)]


def _number(value: float, *, sign: str = "") -> str:
    return "–" if math.isnan(value) else f"{value:{sign}.1f}"
