"""What records say: pure functions of what is on record."""
