"""Around long work in a terminal: a bar with the rate and the time left."""

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    ProgressColumn,
    Task,
    TextColumn,
    TimeRemainingColumn,
)
from rich.text import Text


class RateColumn(ProgressColumn):
    """How many of the task's pieces are done in a second; `unit` names them."""

    def __init__(self, unit: str = "") -> None:
        super().__init__()
        self.unit = f" {unit}" if unit else ""

    def render(self, task: Task) -> Text:
        """Such as "41,000/s" or "8.3 scans/s"; nothing before the first are done."""
        speed = task.finished_speed or task.speed
        number = "" if not speed else f"{speed:,.0f}" if speed >= 100 else f"{speed:.1f}"
        return Text(f"{number}{self.unit}/s" if number else "", style="progress.data.speed")


def progress_bar(console: Console | None = None, *, unit: str = "", disable: bool = False) -> Progress:
    """A bar with count, rate and time left, for one or several tasks; `disable` shows nothing."""
    return Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        RateColumn(unit),
        TimeRemainingColumn(),
        console=console,
        disable=disable,
    )
