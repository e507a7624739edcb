"""Files: results, locks, pages."""
