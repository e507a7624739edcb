"""Build networks by name (`build`) and re-parameterise them (`fuse`).

Importing this package does not import torch; building a network does.
"""

from bench.models.build import build
from bench.models.fuse import fuse

__all__ = ["build", "fuse"]
