"""Checks of the machine (`doctor`, `leftovers`) and of the harness (`selfcheck`)."""
