"""Attacks on the whole suite, drawn from a seed: stores, networks, signals and environments."""
