"""`bench selfcheck --hardware`: decides what matters first on a device that `bench` never met.

A step measures and judges a few lines of the page. Its lines and its raw numbers are on disk as
soon as it ends. The next call runs the steps that are missing, and those with a line that failed.
`steps.py` lists the steps, `first_contact.py` runs them, and `page.py` renders `hardware.md`.
"""
