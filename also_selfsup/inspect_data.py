"""Look over a data set before a long run: `python inspect_data.py cfg=nuscenes [--labels] [max_scans=500]`.

Leaves a page and a list of findings in save_dir/Inspection/<name>; ends with 1 if there are problems, else 0.
"""

import sys

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from also_selfsup.checkpoints.writing import folders_for_results
from also_selfsup.reporting.inspection import examine, open_splits
from also_selfsup.reporting.inspection_findings import Finding, findings
from also_selfsup.reporting.inspection_page import CAPTION, numbers, sections, verdict, write_findings
from also_selfsup.reporting.report import write_report
from also_selfsup.settings.run import entry, resolve_path
from also_selfsup.settings.schema import Settings

SHOWN = 10  # findings in the terminal
SHORT = {"--labels": "cfg.inspect.labels=true", "max_scans=": "cfg.inspect.max_scans="}


def inspect(settings: Settings, console: Console) -> list[Finding]:
    """Read, judge, write, say."""
    splits = open_splits(settings)
    folder = resolve_path(settings.save_dir) / "Inspection" / settings.name
    with folders_for_results(folder):
        for split in splits:
            examine(split, settings, console=console)
    found = findings(splits, settings)
    page = write_report(
        folder / "report.html",
        sections(splits, found, settings=settings, folder=folder),
        title=f"Data of {settings.name}",
        subtitle=f"{settings.dataset_name} in {settings.dataset_root}",
    )
    table = Table("", *(f"{split.name} ({split.role})" for split in splits), caption=f"Of scans: {CAPTION}")
    for row in numbers(splits):
        table.add_row(*row)
    console.print(table)
    for finding in found[:SHOWN]:
        kind = "[red]problem[/]" if finding.problem else "note"
        said = ". ".join(part for part in (finding.found, finding.cure) if part)
        console.print(f"{kind}: {escape(f'{finding.where}: {said}')}", soft_wrap=True)
    console.print(f"Findings: {write_findings(folder / 'findings.csv', found)}", soft_wrap=True)
    console.print(f"{verdict(splits, found)} Report: {page}", soft_wrap=True)
    return found


def lengthen(words: list[str]) -> list[str]:
    """Write short words of the command line out as the settings that they stand for."""
    full = []
    for word in words:
        short = next((short for short in SHORT if word.startswith(short)), None)
        full.append(SHORT[short] + word.removeprefix(short) if short else word)
    return full


@entry
def run(settings: Settings) -> None:
    """Inspect; problems are an exit status of their own."""
    if any(finding.problem for finding in inspect(settings, Console(highlight=False))):
        sys.exit(1)


def main() -> None:
    """Entry of the command line."""
    sys.argv[1:] = lengthen(sys.argv[1:])
    run()


if __name__ == "__main__":
    main()
