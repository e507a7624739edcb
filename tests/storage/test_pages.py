"""Pages that two processes write at once: each page is whole, and nothing is left behind."""

import os

from bench.storage import pages
from bench.storage.pages import write_pages


def test_two_reports_at_once_write_whole_pages(tmp_path, monkeypatch):
    """The other report writes the same page while the first one is about to finish."""
    ours, theirs = b"ours" * 1000, b"theirs" * 10
    replace, seen = os.replace, []

    def interrupted(partial, page):
        monkeypatch.setattr(pages.os, "replace", replace)
        assert write_pages(tmp_path, {"report.md": theirs}) == [page]
        seen.append(page.read_bytes())
        replace(partial, page)

    monkeypatch.setattr(pages.os, "replace", interrupted)
    (page,) = write_pages(tmp_path, {"report.md": ours})
    assert (seen, page.read_bytes()) == ([theirs], ours)
    assert os.listdir(tmp_path) == ["report.md"]
