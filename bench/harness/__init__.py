"""From a suite to records: what is measured, how, and by which process."""
