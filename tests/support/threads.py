"""Threads that the system refuses to start."""

import threading


def start_refused():
    """Ask for a thread with more memory than there is, which Linux refuses as it does at a limit.

    RLIMIT_NPROC does not bind root, so a test cannot lower the limit itself.
    """
    before = threading.stack_size(2**46)
    try:
        threading.Thread(target=print, daemon=True).start()
    finally:
        threading.stack_size(before)
