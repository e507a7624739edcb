"""Measuring on many machines at once, over Dask: `bench fleet`."""
