"""Files of bench: the results of a device, locks, and pages of reports."""
