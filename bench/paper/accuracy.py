"""Top-1 accuracies of networks, each with its source, data set and input size.

`bench/paper/data/timm_imagenet1k.csv` has the names, sizes and top-1 accuracies from
`results/results-imagenet.csv` in https://github.com/huggingface/pytorch-image-models (code:
Apache-2.0) at commit aa4b5850 of 2026-08-08; see docs/accuracy.md. Nothing here needs torch.
"""

from __future__ import annotations

import csv
import functools
import io
import itertools
import math
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Literal, NamedTuple

import msgspec

from bench.errors import UsageError
from bench.models import zoo
from bench.models.naming import without_hash
from bench.paper import tables
from bench.text import from_csv_cell

IMAGENET = "imagenet1k"
DATASETS = {IMAGENET: "ImageNet-1K", "imagewoof": "ImageWoof", "cifar100": "CIFAR-100"}
TIMM_FILE = tables.DATA / "timm_imagenet1k.csv"

# The columns of the user's file, and the value of an empty or absent cell.
COLUMNS = {
    "model": "",
    "top1": "",
    "dataset": IMAGENET,
    "input_size": "224",
    "detail": "",
    "label": "",
}
REQUIRED = ("model", "top1")
MAX_BYTES = 1_000_000
EXACT = "fp32"  # in which all forms and backends compute the same
SHOWN = 40  # maximum number of characters of a cell in a message
FORMAT = "The file is CSV, for example two lines: `model,top1` and `nets/mine.py:net,81.3`."
HEADER = (
    f"It must have {' and '.join(REQUIRED)}, and may have "
    f"{', '.join(name for name in COLUMNS if name not in REQUIRED)}, separated by commas."
)

DATASET_NAME = re.compile("[a-z0-9]+")

# A part of timm's tag that means training on more images than ImageNet-1K: the name of a data set,
# a number of images (`m38m`, `ig1b`), or a method that uses more images (CLIP, SWAG, SEER, SSLD).
_MORE_DATA = re.compile(
    r"in(?!1k)[0-9]+k|.*[0-9]+[mb]|laion.*|webli|jft|clip|openai|swag|seer|ssld"
)

Source = Literal["measured", "evaluated", "paper", "timm"]


class How(NamedTuple):
    """How a network computes, as far as its accuracy depends on it."""

    form: str
    backend: str
    precision: str


class Accuracy(msgspec.Struct, frozen=True):
    """Top-1 accuracy in per cent on a data set, for images of `input_size` x `input_size` pixels.

    `source` is `paper` (a table of the paper), `timm` (timm's published results for the weights
    in `detail`), `measured` (from the user's file), or `evaluated` (by `bench eval`). An evaluated
    one has the ends of its 95 % interval.
    """

    top1: float
    dataset: str
    input_size: int
    source: Source
    detail: str
    low: float | None = None
    high: float | None = None

    @property
    def more_data(self) -> bool:
        """Whether timm's weights were trained on more images than ImageNet-1K, by their tag.

        False for the user's accuracies: their training data is unknown. The training data of the
        teachers of distilled weights is unknown too.
        """
        words = self.detail.partition(".")[2].split("_")
        return self.source == "timm" and any(map(_MORE_DATA.fullmatch, words))


class Given(msgspec.Struct, frozen=True):
    """A model, and an accuracy of it from the user's file or from `bench eval`.

    `label` is what tables call the model, "" for its usual title. `line` is the file and the number
    of the line, for messages. An evaluated accuracy is that of the form, backend and precision in
    `how`; an accuracy from a file is that of all, None.
    """

    model: str
    accuracy: Accuracy
    label: str = ""
    line: str = ""
    how: How | None = None


class Published(msgspec.Struct, frozen=True):
    """timm's published accuracy of one set of weights, `<name>.<tag>`, at one input size.

    `default` marks the weights that timm uses for the name without a tag.
    """

    model: str
    default: bool
    input_size: int
    top1: float


def of(
    model: str, input_size: int, given: Sequence[Given] = (), how: How | None = None
) -> list[Accuracy]:
    """Return the accuracies of `model` at `input_size` pixels, one for each data set.

    `model` is the name in a case. An accuracy from the user's file takes precedence over an
    evaluated one, that over the paper, and the paper over timm. In fp32, an evaluation of the model
    in any other form and backend counts where it was not evaluated as in `how`.
    """
    known = [
        entry
        for name in _names(model)
        for entry in given
        if entry.model == name and entry.accuracy.input_size == input_size
    ]
    known.sort(key=lambda entry: (entry.how is not None, entry.how != how))
    own = [each.accuracy for each in known if each.how is None or _counts(each.how, how)]
    found: dict[str, Accuracy] = {}
    for accuracy in [*own, *_known().get((model, input_size), [])]:
        found.setdefault(accuracy.dataset, accuracy)
    return list(found.values())


def _counts(evaluated: How, wanted: How | None) -> bool:
    """Whether an accuracy that was evaluated in one way holds for another one."""
    return evaluated == wanted or (
        wanted is not None and wanted.precision == evaluated.precision == EXACT
    )


def unmatched(given: Sequence[Given], measured: Iterable[tuple[str, int]]) -> list[Given]:
    """Return the entries of `given` without a measurement, which often have a mistyped name.

    `measured` has pairs of model and resolution.
    """
    names = {(name, size) for model, size in measured for name in _names(model)}
    return [entry for entry in given if (entry.model, entry.accuracy.input_size) not in names]


def read(path: Path) -> list[Given]:
    """Return the accuracies in the user's file, a CSV with COLUMNS as header (docs/accuracy.md).

    Raises UsageError, with the number of the line, if the file cannot be read or has an error.
    """
    lines = _lines(path)
    number, header = next(lines, (1, []))
    if not set(REQUIRED) <= set(header) <= set(COLUMNS) or len(set(header)) < len(header):
        raise _wrong(path, number, f"the header is {_shown(','.join(header))}", HEADER)
    first: dict[tuple[str, str, int], int] = {}
    found = []
    for number, cells in lines:
        if len(cells) > len(header):
            raise _wrong(path, number, f"{len(cells)} cells under a header of {len(header)}")
        filled = {name: cell for name, cell in zip(header, cells, strict=False) if cell}
        try:
            given = _given({**COLUMNS, "detail": path.name, **filled}, f"{path}:{number}")
        except ValueError as error:
            raise _wrong(path, number, str(error)) from error
        key = (given.model, given.accuracy.dataset, given.accuracy.input_size)
        if first.setdefault(key, number) != number:
            raise _wrong(
                path,
                number,
                f"{_shown(given.model)} on {key[1]} at {key[2]} stands in line {first[key]} too",
                "Leave one of them.",
            )
        found.append(given)
    return found


@functools.lru_cache(maxsize=1)
def _known() -> dict[tuple[str, int], list[Accuracy]]:
    """Return all accuracies by model and input size; the paper's come before timm's."""
    found: dict[tuple[str, int], list[Accuracy]] = {}
    for model, accuracy in itertools.chain(_of_paper(), _of_timm()):
        found.setdefault((model, accuracy.input_size), []).append(accuracy)
    return found


def _of_paper() -> Iterator[tuple[str, Accuracy]]:
    for row in tables.reported():
        if row.top1 is not None:
            source = f"Table {row.table}"
            yield row.model, Accuracy(row.top1, row.dataset, row.input_size, "paper", source)


def _of_timm() -> Iterator[tuple[str, Accuracy]]:
    """Yield each accuracy by its full name; default weights also by the bare and the zoo's name."""
    ours: dict[str, list[str]] = {}
    for name, there in zoo.TIMM_NAMES.items():
        ours.setdefault(there.timm, []).append(name)
    for row in published():
        accuracy = Accuracy(row.top1, IMAGENET, row.input_size, "timm", row.model)
        yield zoo.TIMM_PREFIX + row.model, accuracy
        if row.default:
            bare = row.model.partition(".")[0]
            for name in (zoo.TIMM_PREFIX + bare, *ours.get(bare, [])):
                yield name, accuracy


def published() -> list[Published]:
    """Return timm's results on ImageNet-1K, in the order of the file."""
    with TIMM_FILE.open(newline="", encoding="utf-8") as file:
        return [msgspec.convert(row, Published, strict=False) for row in csv.DictReader(file)]


def timm_names() -> list[str]:
    """Return the names of the networks of timm with a published accuracy, each once, sorted."""
    return sorted({each.model.partition(".")[0] for each in published()})


def _names(model: str) -> list[str]:
    """Return the valid names for `model` in the user's file: with and without hashes of files."""
    return list(dict.fromkeys([model, without_hash(model)]))


def _lines(path: Path) -> Iterator[tuple[int, list[str]]]:
    """Yield the number and the cells of each line that is not empty."""
    reader = csv.reader(io.StringIO(_text(path), newline=""), strict=True)
    try:
        for cells in reader:
            stripped = [from_csv_cell(cell).strip() for cell in cells]
            if any(stripped):
                yield reader.line_num, stripped
    except csv.Error as error:
        raise _wrong(path, reader.line_num, f"not CSV: {error}") from error


def _text(path: Path) -> str:
    if path.exists() and not (path.is_file() or path.is_dir()):
        raise UsageError(f"{path} is not a file", FORMAT)  # a pipe might never end
    try:
        with path.open("rb") as file:
            data = file.read(MAX_BYTES + 1)
    except OSError as error:
        raise UsageError(f"cannot read {path}: {error.strerror}", FORMAT) from error
    if len(data) > MAX_BYTES:
        raise UsageError(f"{path} is larger than {MAX_BYTES / 1e6:g} MB", FORMAT)
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        number = error.object[: error.start].count(b"\n") + 1
        raise _wrong(path, number, "not UTF-8", "Save it as CSV in UTF-8.") from error
    before, nul, _ = text.partition("\0")
    if nul:
        raise _wrong(path, before.count("\n") + 1, "a NUL byte", "Save it as CSV in UTF-8.")
    return text


def _given(cells: Mapping[str, str], line: str) -> Given:
    """Convert one line, called `line`. Raises ValueError with the reason if a cell is invalid."""
    if not cells["model"]:
        raise ValueError("no model")
    if not DATASET_NAME.fullmatch(cells["dataset"]):
        raise ValueError(
            f"dataset is {_shown(cells['dataset'])}, not lower-case letters and digits "
            f"such as {IMAGENET}"
        )
    top1 = _number(cells["top1"])
    if not 0 <= top1 <= 100:  # also False for NaN
        raise ValueError(f"top1 is {_shown(cells['top1'])}, not a number from 0 to 100 (per cent)")
    size = _number(cells["input_size"])
    if not (size > 0 and size.is_integer()):
        raise ValueError(
            f"input_size is {_shown(cells['input_size'])}, not a positive whole number of pixels"
        )
    accuracy = Accuracy(top1, cells["dataset"], int(size), "measured", cells["detail"])
    return Given(cells["model"], accuracy, cells["label"], line if cells["label"] else "")


def _number(cell: str) -> float:
    """Convert to a number; NaN if that is not possible."""
    try:
        return float(cell)
    except ValueError:
        return math.nan


def _shown(cell: str) -> str:
    return repr(cell if len(cell) <= SHOWN else cell[:SHOWN] + "…")


def _wrong(path: Path, number: int, what: str, remedy: str = FORMAT) -> UsageError:
    return UsageError(f"{path}:{number}: {what}", remedy)
