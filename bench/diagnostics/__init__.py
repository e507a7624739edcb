"""Is this machine fit to measure on, and does the harness tell the truth?"""
