"""Turn records into a folder of results, a device of a report, or its pages."""

import itertools
from pathlib import Path

import msgspec

from bench import report
from bench.report import devices
from bench.storage.reader import FILE_NAME
from support.records import ENVIRONMENT


def write(folder: Path, records) -> Path:
    """Write the records to the folder of a device; return the folder above it."""
    folder.mkdir(parents=True, exist_ok=True)
    lines = [msgspec.json.encode(record) + b"\n" for record in records]
    (folder / FILE_NAME).write_bytes(b"".join(lines))
    return folder.parent


def device(*groups, environment=ENVIRONMENT, given=(), slug=None):
    """Return the single device that these lists of records give; `slug` names its folder."""
    folder = slug or environment.chip.slug
    (found,) = devices.of(folder, [environment, *itertools.chain(*groups)], given)
    return found


def pages_of(records):
    """Return the pages that a report writes for these records of one device."""
    return report.of_device(devices.of("chip", records))
