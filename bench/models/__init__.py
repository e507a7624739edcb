"""Networks by name, and their re-parameterised forms: `build` and `fuse`.

Importing this package imports no torch; building does.
"""

from bench.models.build import build
from bench.models.fuse import fuse

__all__ = ["build", "fuse"]
