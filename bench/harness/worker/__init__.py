"""The child process: prepares one case and times it."""
