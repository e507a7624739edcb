"""The commands between the parent and a round's template process: short byte strings, no JSON."""

from __future__ import annotations

READY = b"ready"  # from the template: it has imported the device's packages
FORK = b"fork"  # to the template, with two descriptors: the child's channel and its output
REAP = b"reap "  # to the template, followed by a child's process id
KILLED_AT_DEADLINE = -1  # sent instead of a wait status: the child was killed after GRACE_S
GRACE_S = 2.0  # how long a process may take to end by itself
