"""Breakdown of latency: from a profiler's trace to rows that add up to the plain latency."""
