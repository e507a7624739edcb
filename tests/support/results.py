"""Records as a report finds them: in the folder of a device, and as its rows."""

import itertools
from pathlib import Path

import msgspec

from bench import report
from bench.report import devices
from bench.storage.reader import FILE_NAME
from support.records import ENVIRONMENT


def write(folder: Path, records) -> Path:
    """Make a device's folder with these records; the folder above it."""
    folder.mkdir(parents=True, exist_ok=True)
    lines = [msgspec.json.encode(record) + b"\n" for record in records]
    (folder / FILE_NAME).write_bytes(b"".join(lines))
    return folder.parent


def device(*groups, environment=ENVIRONMENT, given=(), slug=None):
    """The one device of these lists of records, in the folder of its name unless told."""
    folder = slug or environment.chip.slug
    (found,) = devices.of(folder, [environment, *itertools.chain(*groups)], given)
    return found


def pages_of(records):
    """The pages of a device's folder."""
    return report.of_device(devices.of("chip", records))
