"""Version, citation and changelog agree, and the citation is a valid CFF file."""

import re

import pytest
import yaml
from support.paths import ROOT

from bench import __version__

DATED_SECTION = re.compile(r"^## (\S+) \((\d{4}-\d\d-\d\d)\)$", re.MULTILINE)


@pytest.fixture(scope="module")
def citation():
    """CITATION.cff as a dictionary."""
    return yaml.safe_load((ROOT / "CITATION.cff").read_text())


def test_the_newest_dated_section_of_the_changelog_is_this_version():
    version, _ = DATED_SECTION.findall((ROOT / "CHANGELOG.md").read_text())[0]
    assert version == __version__


def test_the_citation_has_version_and_date_of_the_changelog(citation):
    section = DATED_SECTION.findall((ROOT / "CHANGELOG.md").read_text())[0]
    assert (citation["version"], str(citation["date-released"])) == section


def test_the_citation_has_what_its_format_requires(citation):
    assert citation["cff-version"] == "1.2.0"
    assert citation["message"]
    assert citation["license"] == "Apache-2.0"
    assert citation["authors"] == [{"name": "The bench authors"}]


def test_the_citation_names_the_paper_as_printed(citation):
    (paper,) = citation["references"]
    assert paper["title"].startswith("Accurate and Fast Convolutional Networks: Optimization via")
    names = [f"{each['given-names']} {each['family-names']}" for each in paper["authors"]]
    assert names == ["Guanchen Li", "Wenjin Yang", "Jie He", "Yue Qi"]
