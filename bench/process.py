"""Commands that start Python programs of ours, which find modules where this process does.

`python -m` and `python -c` look into the working folder first: a file called `torch.py` or
`bench.py` there would be run in place of what it is named like.
"""

from __future__ import annotations

import sys


def command_for_code(code: str, *arguments: str) -> list[str]:
    """The command of a process that runs `code`."""
    return [sys.executable, "-c", f"import sys; sys.path[:] = {sys.path!r}\n{code}", *arguments]


def command_for_module(name: str, *arguments: str) -> list[str]:
    """The command of a process that runs the module `name`, as `python -m` does."""
    code = f"import runpy; runpy.run_module({name!r}, run_name='__main__', alter_sys=True)"
    command = command_for_code(code, *arguments)
    command[2] = f"# {name}\n{command[2]}"  # what `ps` shows of it
    return command
