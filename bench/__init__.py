"""A benchmarking suite for vision backbones that knows which form of a network it timed."""

__version__ = "0.1.0"
