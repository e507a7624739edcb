"""Build commands that start Python with the module search path of this process.

`python -m` and `python -c` search the working folder first. A user's file `torch.py` or `bench.py`
in that folder would be imported instead of the package of the same name.
"""

from __future__ import annotations

import sys


def command_for_code(code: str, *arguments: str) -> list[str]:
    """Return the command that runs `code` in a new Python with this process's `sys.path`."""
    return [sys.executable, "-c", f"import sys; sys.path[:] = {sys.path!r}\n{code}", *arguments]


def command_for_module(name: str, *arguments: str) -> list[str]:
    """Return the command that runs the module `name` as `python -m` does."""
    code = f"import runpy; runpy.run_module({name!r}, run_name='__main__', alter_sys=True)"
    command = command_for_code(code, *arguments)
    command[2] = f"# {name}\n{command[2]}"  # `ps` then shows the module's name
    return command
