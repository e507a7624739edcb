"""The parent process: decides what runs when, and writes the records."""
