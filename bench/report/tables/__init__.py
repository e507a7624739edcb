"""The tables of a report, as Markdown, CSV and LaTeX."""
