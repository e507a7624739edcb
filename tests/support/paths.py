"""Where things are in the checkout."""

from pathlib import Path

TESTS = Path(__file__).parents[1]
ROOT = TESTS.parent
GOLDEN = TESTS / "golden"
MEASURED = ROOT / "reports" / "amd-epyc" / "results.jsonl"  # a real device
