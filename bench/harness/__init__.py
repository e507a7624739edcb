"""Runs suites: expands them to cases, schedules processes, measures, and writes records."""
