"""After a comparison over label fractions: what its outcomes say, as rows of tables.

Spread is the sample standard deviation over the seeds; a gain is that of a pair, the same head, fraction and
seed from a file of weights and from scratch. S seeds, C classes.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import fmean, stdev
from typing import Any

from also_selfsup.evaluation.confusion import iou_per_class, labelled
from also_selfsup.reporting.comparison import Comparison, percent_miou
from also_selfsup.settings.study import SCRATCH
from also_selfsup.training.cells import Outcome


@dataclass(frozen=True)
class Group:
    """Outcomes that differ by their seed, and those from scratch that they are held against.

    Attributes:
        head: What learnt.
        fraction: Of the labels.
        start: Label of the weights.
        outcomes: S of them, by seed.
        scratch: Those from scratch of the same head and fraction, by seed.
    """

    head: str
    fraction: float
    start: str
    outcomes: Sequence[Outcome]
    scratch: Sequence[Outcome]

    @property
    def scores(self) -> list[float]:
        """Mean IoU of each seed, percent."""
        return percent_miou([outcome.matrix for outcome in self.outcomes])

    @property
    def comparison(self) -> Comparison | None:
        """The pairs with a common seed; None from scratch itself, and where there is none."""
        before = {outcome.seed: outcome for outcome in self.scratch}
        pairs = [(before[after.seed], after) for after in self.outcomes if after.seed in before]
        if self.start == SCRATCH or not pairs:
            return None
        return Comparison(
            seeds=[after.seed for _, after in pairs],
            scratch=[before.matrix for before, _ in pairs],
            pretrained=[after.matrix for _, after in pairs],
            class_names=self.outcomes[0].class_names,
        )

    @property
    def gains(self) -> list[float]:
        """Gain of each pair in mean IoU, percentage points."""
        comparison = self.comparison
        return comparison.gains if comparison else []

    @property
    def class_scores(self) -> list[list[float]]:
        """IoU in percent of the classes 1..C-1, S values each; NaN for a class that no label names."""
        runs = [(100 * iou_per_class(labelled(outcome.matrix))).tolist() for outcome in self.outcomes]
        return [list(values) for values in zip(*runs, strict=True)][1:]

    def mean(self, cost: str) -> float | None:
        """Mean over the seeds of a number that outcomes hold; None where none of them has it."""
        values = [value for one in self.outcomes if (value := getattr(one, cost)) is not None]
        return fmean(values) if values else None


def groups_of(outcomes: Sequence[Outcome]) -> list[Group]:
    """The groups, by head and start in the order of their first outcomes, and by rising fraction."""
    found: dict[tuple[str, float, str], list[Outcome]] = {}
    for one in outcomes:
        found.setdefault((one.head, one.fraction, one.start), []).append(one)
    heads, starts = (list(dict.fromkeys(key[place] for key in found)) for place in (0, 2))
    keys = sorted(found, key=lambda key: (heads.index(key[0]), key[1], starts.index(key[2])))
    by_seed = {key: sorted(found[key], key=lambda one: one.seed) for key in keys}
    return [
        Group(
            head, fraction, start, by_seed[head, fraction, start], by_seed.get((head, fraction, SCRATCH), [])
        )
        for head, fraction, start in keys
    ]


def score_table(groups: Sequence[Group]) -> list[list[str]]:
    """Header and rows of one head: mean IoU of each start and the gains, one row a fraction."""
    starts = list(dict.fromkeys(group.start for group in groups))
    others = [start for start in starts if start != SCRATCH]
    gains = [f"gain of {start}" for start in others] if SCRATCH in starts else []
    rows = [["labels", "scans", "seeds", *starts, *gains]]
    for fraction in dict.fromkeys(group.fraction for group in groups):
        here = {group.start: group for group in groups if group.fraction == fraction}
        seeds = sorted({len(group.outcomes) for group in here.values()})
        row = [percent(fraction), str(next(iter(here.values())).outcomes[0].scans)]
        row += ["–".join(map(str, seeds[:: max(len(seeds) - 1, 1)]))]
        row += [mean_spread(here[start].scores) if start in here else "" for start in starts]
        if gains:
            row += [mean_spread(here[start].gains, sign="+") if start in here else "" for start in others]
        rows.append(row)
    return rows


def class_table(groups: Sequence[Group]) -> list[list[str]]:
    """Header and rows of one head and fraction: IoU of each class by start, and the paired gains."""
    compared = [group for group in groups if group.comparison]
    rows = [["class", *(g.start for g in groups), *(f"gain of {g.start}" for g in compared)]]
    for index, name in enumerate(groups[0].outcomes[0].class_names[1:]):
        gains = [_class_gains(group, index) for group in compared]
        values = [mean_spread(group.class_scores[index]) for group in groups]
        rows.append([name, *values, *(mean_spread(gain, sign="+") for gain in gains)])
    return rows


def cost_table(groups: Sequence[Group]) -> list[list[str]]:
    """Header and rows: what one run of each group took, mean over its seeds."""
    rows = [["head", "labels", "start", "scans", "epochs", "steps", "training s", "scoring s", "GPU GiB"]]
    for group in groups:
        names = ("scans", "epochs", "steps", "train_seconds", "score_seconds")
        costs = [f"{group.mean(name):.0f}" for name in names]
        peak = group.mean("peak_gib")
        row = [group.head, percent(group.fraction), group.start, *costs]
        rows.append([*row, "" if peak is None else f"{peak:.1f}"])
    return rows


def summary_rows(groups: Sequence[Group]) -> list[dict[str, Any]]:
    """One row a group for a CSV: numbers in full, empty where there is none."""
    return [
        {
            **{"head": group.head, "fraction": group.fraction, "start": group.start},
            "scans": group.outcomes[0].scans,
            **_moments("miou", group.scores),
            **_moments("gain", group.gains),
            **{name: group.mean(name) for name in ("epochs", "steps", "train_seconds", "score_seconds")},
            "peak_gib": group.mean("peak_gib"),
        }
        for group in groups
    ]


def cell_rows(outcomes: Sequence[Outcome]) -> list[dict[str, Any]]:
    """One row a run for a CSV: its costs, mean IoU and that of each class in percent."""
    rows = []
    for one in outcomes:
        costs = {k: v for k, v in vars(one).items() if k not in ("class_names", "counts")}
        classes = zip(one.class_names, (100 * iou_per_class(labelled(one.matrix))).tolist(), strict=True)
        scores = {f"iou {name}": None if math.isnan(iou) else iou for name, iou in list(classes)[1:]}
        rows.append({**costs, "miou": percent_miou([one.matrix])[0], **scores})
    return rows


def percent(fraction: float) -> str:
    """A fraction of the labels in words."""
    return f"{100 * fraction:g} %"


def mean_spread(values: Sequence[float], *, sign: str = "") -> str:
    """Mean ± sample standard deviation; the mean alone of one value; "–" where there is none."""
    known = [value for value in values if not math.isnan(value)]
    if not known:
        return "–"
    mean = f"{fmean(known):{sign}.1f}"
    return f"{mean} ± {stdev(known):.1f}" if len(known) > 1 else mean


def _class_gains(group: Group, index: int) -> list[float]:
    """Gain of each pair in the IoU of one class, percentage points; NaN where a class has no score."""
    before = {one.seed: scores for one, scores in _class_runs(group.scratch)}
    return [
        scores[index + 1] - before[one.seed][index + 1]
        for one, scores in _class_runs(group.outcomes)
        if one.seed in before
    ]


def _class_runs(outcomes: Sequence[Outcome]) -> list[tuple[Outcome, list[float]]]:
    return [(one, (100 * iou_per_class(labelled(one.matrix))).tolist()) for one in outcomes]


def _moments(name: str, values: Sequence[float]) -> dict[str, Any]:
    return {
        f"{name}_mean": fmean(values) if values else None,
        f"{name}_spread": stdev(values) if len(values) > 1 else None,
        f"{name}_count": len(values),
    }
