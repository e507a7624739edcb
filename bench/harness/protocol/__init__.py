"""The messages between the parent and its child processes, and the channel that carries them."""
