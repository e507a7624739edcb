"""A fake of CUDA events, which need no GPU."""


class Event:
    """A fake CUDA event: it stores the clock of the fake chip, in milliseconds."""

    chip = 0.0
    log: list = []  # noqa: RUF012

    def __init__(self, enable_timing):
        assert enable_timing
        Event.log.append("made")

    def record(self):
        Event.log.append("recorded")
        self.at = Event.chip

    def synchronize(self):
        Event.log.append("waited")

    def elapsed_time(self, end):
        return end.at - self.at  # milliseconds
