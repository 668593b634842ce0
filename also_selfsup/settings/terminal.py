"""Before the first file is read: what a script shows in the terminal besides its own lines and bars."""

import logging
import warnings

# Notices of Lightning and torch that tell a user of these scripts nothing to act on.
NOISE = (
    ".*Checkpoint directory .* exists and is not empty.*",
    ".*isinstance\\(treespec, LeafSpec\\).*",
    ".*smaller than the logging interval.*",
    ".*does not have many workers.*",
    ".*This DataLoader will create .* worker processes.*",
    ".*module\\(s\\) in eval mode at the start of training.*",  # of a probe
    ".*could not find the monitored key.*",  # of a run without validation
    ".*You're resuming from a checkpoint that ended before the epoch ended.*",  # training/position.py does it
    ".*Trainer already configured with model summary callbacks.*",
)


def set_up_terminal() -> None:
    """Show our log lines, keep Lightning's to warnings, and leave out what is only noise."""
    logging.basicConfig(level=logging.INFO, format="%(levelname)s: %(message)s")
    logging.getLogger("pytorch_lightning").setLevel(logging.WARNING)
    for message in NOISE:
        warnings.filterwarnings("ignore", message=message)
