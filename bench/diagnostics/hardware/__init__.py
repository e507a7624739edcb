"""`bench selfcheck --hardware`: decides what matters first on a device that `bench` never met.

A step measures and judges a few lines of the page. Each step runs at most once: its lines and its
raw numbers are on disk as soon as it ends, and the next call runs only the steps that are missing.
`steps.py` lists the steps, `first_contact.py` runs them, and `page.py` renders `hardware.md`.
"""
