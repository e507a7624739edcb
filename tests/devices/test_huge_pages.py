"""Huge pages: how a process asks for them, and whether it got any."""

import pytest
from support.shells import printed

from bench.devices import huge_pages

FOUND = "from bench.devices import huge_pages; print(huge_pages.found())"
needs_madvise = pytest.mark.skipif(
    huge_pages.mode() != "madvise", reason="the kernel's mode of huge pages is not madvise"
)


@needs_madvise
def test_the_setting_is_found_by_the_pages_that_the_process_gets():
    assert printed(FOUND) == "default"
    assert printed(FOUND, **huge_pages.variables("madvise", {})) == "madvise"
    never = f"from bench.devices import huge_pages\nhuge_pages.apply('never')\n{FOUND}"
    assert printed(never, **huge_pages.variables("madvise", {})) == "never"


@pytest.mark.parametrize(
    ("mode", "share", "asks", "expected"),
    [
        ("madvise", 0.0, False, "default"),
        ("madvise", 1.0, False, "madvise"),  # something of the shell that nobody knows
        ("madvise", 1.0, True, "madvise"),
        ("madvise", 0.1, True, "denied"),
        ("madvise", None, True, "unreadable"),
        ("madvise", None, False, None),
        ("always", 1.0, False, "default"),
        ("always", 0.0, False, "default"),
        ("always", 1.0, True, "madvise"),
        (None, None, False, "default"),
    ],
)
def test_a_case_that_gets_no_huge_pages_says_so(monkeypatch, mode, share, asks, expected):
    monkeypatch.setattr(huge_pages, "mode", lambda: mode)
    monkeypatch.setattr(huge_pages, "_is_disabled", lambda: False)
    monkeypatch.setattr(huge_pages, "_share_of_a_tensor", lambda: share)
    environ = huge_pages.variables("madvise", {}) if asks else {}
    assert huge_pages.found(environ) == expected


def test_the_share_is_that_of_the_mapping_at_the_address(tmp_path):
    path = tmp_path / "smaps"
    path.write_text(
        "1000-2000 rw-p 00000000 00:00 0\nRss:     4 kB\nAnonHugePages:     0 kB\n"
        "4000-8000 rw-p 00000000 00:00 0 \nSize: 16 kB\nRss:    16 kB\nAnonHugePages:    12 kB\n"
        "8000-9000 rw-p 00000000 00:00 0\nRss:     4 kB\nAnonHugePages:     4 kB\n"
    )
    assert huge_pages._share_at(0x5000, path) == 0.75
    assert huge_pages._share_at(0x3000, path) is None
    assert huge_pages._share_at(0x5000, tmp_path / "none") is None


def test_a_kernel_without_huge_pages_is_named(tmp_path):
    assert huge_pages.missing("madvise", tmp_path) is not None
    assert huge_pages.missing("never", tmp_path) is None
    path = tmp_path / huge_pages.MODES
    path.parent.mkdir(parents=True)
    path.write_text("always madvise [never]\n")
    why, remedy = huge_pages.missing("madvise", tmp_path)
    assert why == "the kernel gives no huge pages"
    assert f"sudo tee /{huge_pages.MODES}" in remedy
    path.write_text("always [madvise] never\n")
    assert huge_pages.missing("madvise", tmp_path) is None


def test_the_variables_keep_the_tunables_of_the_shell():
    found = huge_pages.variables("madvise", {"GLIBC_TUNABLES": "glibc.pthread.rseq=0"})
    assert found == {
        "GLIBC_TUNABLES": f"glibc.pthread.rseq=0:{huge_pages.ASKING}",
        "THP_MEM_ALLOC_ENABLE": "1",
    }
    assert huge_pages.variables("never", {}) == huge_pages.variables("default", {}) == {}
