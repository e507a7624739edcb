"""A checkpoint that would do harm."""

import os


class Payload:
    """Unpickling it makes a folder called `harm`."""

    def __reduce__(self):
        return (os.mkdir, ("harm",))
