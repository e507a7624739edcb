"""What the parent and a round's template process say to each other: short commands, no JSON."""

from __future__ import annotations

READY = b"ready"  # from the template, once it has imported what the device needs
FORK = b"fork"  # to it, with the descriptors of the child's channel and of its output
REAP = b"reap "  # to it, followed by a child's process id
KILLED_AT_DEADLINE = -1  # in place of a wait status: the child did not end by itself
GRACE_S = 2.0  # that a process is given to end by itself
