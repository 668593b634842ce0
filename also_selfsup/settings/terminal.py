"""Before the first file is read: what a script shows besides its own lines, and how it ends."""

import logging
import signal
import sys
import warnings
from collections.abc import Iterator
from contextlib import contextmanager

from also_selfsup.settings.names import UserError, message

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
    for noise in NOISE:
        warnings.filterwarnings("ignore", message=noise)


@contextmanager
def one_line_endings(*more: type[Exception]) -> Iterator[None]:
    """Around a script's work: what a user can mend, and Ctrl-C, end it with one line instead of a traceback.

    Args:
        more: Errors that are the user's to mend besides `UserError`: OSError where a script writes files.

    Raises:
        SystemExit: With the message and status 1; after Ctrl-C with 130, as of a process that it ended.
    """
    try:
        yield
    except UserError as error:
        sys.exit(f"error: {message(error)}")
    except more as error:
        sys.exit(f"error: {error}")
    except KeyboardInterrupt:
        sys.stderr.write("Stopped by Ctrl-C.\n")
        sys.exit(128 + signal.SIGINT)
