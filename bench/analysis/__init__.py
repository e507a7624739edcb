"""Analysis of records: pure functions, which read no clock and no device."""
