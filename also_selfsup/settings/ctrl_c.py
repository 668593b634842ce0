"""Around processes that a script starts: a terminal sends Ctrl-C to all of them, and one is to answer."""

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def ctrl_c_later() -> Iterator[None]:
    """Hold Ctrl-C back while processes are started: Python would lose one that comes in the middle of a fork.

    They inherit it, and never see Ctrl-C unless they call `end_at_ctrl_c`. In another thread than the main
    one, which never sees it either, this does nothing.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    came: list[int] = []
    # Both: the system may hand the signal to a thread of a library, and a new interpreter has no handler yet.
    handler = signal.signal(signal.SIGINT, lambda number, _: came.append(number))
    mask = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, mask)
        signal.signal(signal.SIGINT, handler)
        if came:
            signal.raise_signal(signal.SIGINT)


def end_at_ctrl_c() -> None:
    """Let a worker process end at Ctrl-C without a word: the process that started it has one to say."""
    if signal.getsignal(signal.SIGINT) is not signal.SIG_IGN:  # as of a script in the background
        signal.signal(signal.SIGINT, signal.SIG_DFL)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGINT})
