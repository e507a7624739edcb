"""What the parent and its children say to each other."""
