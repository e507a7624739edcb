"""A program: `bench` in this process, which gets SIGTERM at one line of its code.

Called as `signal_at_line.py PLACE ARGUMENT...` in a folder. The lines count after the third round
was appended. With PLACE "list", no signal is sent, and the file `lines` gets the places that were
reached, one FILE:LINE in a line.
"""

import os
import signal
import sys
from pathlib import Path
from types import FrameType
from typing import Any

from bench.cli import main
from bench.records import Measurement, Record
from bench.storage.results import Store

ROUNDS = 3
HERE = Path(__file__).name


class Lines:
    """Follows the lines of all frames from the third round on; sends SIGTERM at the first `aim`."""

    def __init__(self, aim: str) -> None:
        self.reached: dict[str, None] = {}  # an ordered set
        self._aim = aim
        self._rounds = 0
        self._append = Store.append

    def appended(self, store: Store, record: Record) -> None:
        """Append the record in place of the store."""
        self._append(store, record)
        self._rounds += isinstance(record, Measurement)
        if self._rounds == ROUNDS and sys.gettrace() is None:
            frame: FrameType | None = sys._getframe()
            while frame:
                frame.f_trace = self._trace
                frame = frame.f_back
            sys.settrace(self._trace)

    def _trace(self, frame: FrameType, event: str, argument: Any) -> Any:
        place = f"{frame.f_code.co_filename}:{frame.f_lineno}"
        if event == "line" and not place.startswith(__file__):
            if place == self._aim and place not in self.reached:
                os.kill(os.getpid(), signal.SIGTERM)
            self.reached[place] = None
        return self._trace


if __name__ == "__main__":
    lines = Lines(sys.argv.pop(1))
    Store.append = lambda store, record: lines.appended(store, record)  # type: ignore[method-assign]
    try:
        main()
    finally:
        sys.settrace(None)
        Path("lines").write_text("\n".join(lines.reached))
