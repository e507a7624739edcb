"""The command line: each command parses its flags, calls one function and returns an exit code."""
