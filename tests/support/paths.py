"""Paths of the checkout."""

from pathlib import Path

TESTS = Path(__file__).parents[1]
ROOT = TESTS.parent
GOLDEN = TESTS / "golden"
MEASURED = ROOT / "reports" / "amd-epyc" / "results.jsonl"  # results of a real device


def write_tree(root: Path, files: dict[str, str]) -> Path:
    """Write `files` (path -> text) below `root`; return `root`."""
    for path, text in files.items():
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        (root / path).write_text(text)
    return root
