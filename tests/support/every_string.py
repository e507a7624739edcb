"""Records in which every text is a canary, and checks that a canary acts nowhere.

A canary would act on a terminal (escape sequences, markup of rich, letters that turn the direction
of a line), in Markdown, HTML, LaTeX, in a spreadsheet, or in a picture, if it got there raw.
"""

import csv
import io
import json
import re
from collections.abc import Iterator
from xml.etree import ElementTree

import msgspec
from markdown_it import MarkdownIt
from msgspec import inspect

from bench.records import Case, Record

SEEN = "[red]<i>q</i>&lt;$q^{`*|_%#~\\[y](z)![q](r)"
UNSEEN = "\u202e\u2066\u200b\ufeff\u2028"
CONTROL = "\x00\x1b[31m\x07\x9b2J\x7f\r\n# head\n- item"
FILE = "=Canary{}" + SEEN.replace("/", "").replace("{", "{{") + "\u202e\x1b[31m\x07\n# head"
# What a terminal gets of rich itself: movements of the cursor.
SEQUENCE = re.compile(r"\x1b\[(\d+A|2K|\?25[lh]|1G)|\r")
MARKED = re.compile(r"Canary[A-Za-z]+")
FORMULA = tuple("=+-@\t\r")
NUMBER = re.compile(r"[+-]?[0-9.]+(e[+-]?[0-9]+)?( ?%)?")
LABEL = re.compile(r"\\label\{([^\n]*)\}")
DATA = re.compile(r'<script id="data" type="application/json">(.*?)</script>', re.DOTALL)


def canary(name: str, *, has_controls: bool = False) -> str:
    """The canary of the field `name`; with all control characters, where a field may have them."""
    word = "".join(part.capitalize() for part in re.findall("[A-Za-z]+", name))
    return f"=Canary{word}{SEEN}{UNSEEN}{CONTROL if has_controls else ''}"


def planted(record: Record, kept: frozenset[str] = frozenset()) -> bytes:
    """The line of a record with a canary in every text, but in the fields `kept`.

    A list of texts gets one item, a dictionary one entry more. Equal fields of two records are
    equal.
    """
    content = _fill(inspect.type_info(type(record)), msgspec.to_builtins(record), "", kept)
    if "parts_s" in content:  # whose lists are as long as the samples
        parts_s = {name: [1e-3] * len(content["samples_s"]) for name in content["parts_s"]}
        content = {**content, "parts_s": parts_s}
    return line_of(content)


def line_of(content: dict) -> bytes:
    """The line of a record as a dictionary, with the right `case_id`."""
    if "case" in content:
        content = {**content, "case_id": msgspec.convert(content["case"], Case).case_id}
    return msgspec.json.encode(content)


def renamed(line: bytes, model: str) -> bytes:
    """The line of `planted` as the case of another model, whose canary is called `model`."""
    return line_of(msgspec.json.decode(line.replace(b"CanaryModel", b"Canary" + model.encode())))


def places(record: Record) -> set[tuple[str, ...]]:
    """The names on the way to every canary that `planted` puts into a record."""
    return set(_marked(msgspec.json.decode(planted(record)), ()))


def schema(kind: inspect.Type, path: tuple[str, ...] = ()) -> Iterator[tuple[str, ...]]:
    """The names on the way to every text of a type."""
    if isinstance(kind, inspect.StrType):
        yield path
    elif isinstance(kind, inspect.StructType):
        for each in kind.fields:
            yield from schema(each.type, (*path, each.encode_name))
    elif isinstance(kind, inspect.ListType):
        yield from schema(kind.item_type, path)
    elif isinstance(kind, inspect.DictType):
        yield from schema(kind.key_type, (*path, "a key"))
        yield from schema(kind.value_type, path)
    elif isinstance(kind, inspect.UnionType):
        for each in kind.types:
            yield from schema(each, path)


def _fill(kind: inspect.Type, value: object, name: str, kept: frozenset[str]) -> object:
    if name in kept:
        return value
    if isinstance(kind, inspect.StrType):
        return canary(name, has_controls=kind.pattern is None)
    if isinstance(kind, inspect.StructType) and isinstance(value, dict):
        filled = {
            each.encode_name: _fill(each.type, value[each.encode_name], each.encode_name, kept)
            for each in kind.fields
        }
        return {**value, **filled}
    if isinstance(kind, inspect.ListType) and _has_text(kind):
        least = [] if isinstance(kind.item_type, inspect.StructType) else [None]
        return [_fill(kind.item_type, each, name, kept) for each in value or least]
    if isinstance(kind, inspect.DictType) and isinstance(value, dict) and _has_text(kind):
        key = _fill(kind.key_type, None, f"{name} key", kept)
        given = next(iter(value.values()), None)
        return {**value, key: _fill(kind.value_type, given, name, kept)}
    if isinstance(kind, inspect.UnionType):
        texts = [each for each in kind.types if _has_text(each)]
        return _fill(texts[0], value, name, kept) if texts else value
    return value


def _has_text(kind: inspect.Type) -> bool:
    return next(schema(kind), None) is not None


def _marked(part: object, path: tuple[str, ...]) -> Iterator[tuple[str, ...]]:
    if isinstance(part, dict):
        for key, value in part.items():
            if MARKED.search(key):
                yield (*path, "a key")
                yield from _marked(value, path)
            else:
                yield from _marked(value, (*path, key))
    elif isinstance(part, list):
        for each in part:
            yield from _marked(each, path)
    elif isinstance(part, str) and MARKED.search(part):
        yield path


def without_sequences(text: str) -> str:
    """What a terminal shows of `text`, which rich wrote: without its movements of the cursor."""
    return SEQUENCE.sub("", text)


# --- what is wrong with a text that was written ------------------------------------------------


def wrong_in(suffix: str, content: bytes) -> list[str]:
    """What is wrong with the content of a file with this suffix; `terminal` is one of them."""
    if suffix in (".png", ".pdf"):
        return []
    return list(CHECKS[suffix](content.decode()))


def _unprintable(text: str, allowed: str = "\n") -> Iterator[str]:
    found = {letter for letter in text if not letter.isprintable() and letter not in allowed}
    if found:
        yield f"characters that are not printable: {sorted(map(ascii, found))}"


def _of_terminal(text: str) -> Iterator[str]:
    """Markup of rich, if it were interpreted, would be missing after the marker."""
    yield from _unprintable(text)
    yield from (
        f"markup of rich after {found.group()}"
        for found in MARKED.finditer(text)
        if text[found.end() : found.end() + 1] not in ("[", "…", "\n", "\\", "")
    )


def _of_markdown(text: str) -> Iterator[str]:
    yield from _unprintable(text)
    for token in MarkdownIt("commonmark").enable("table").parse(text):
        if token.type.startswith("html"):
            yield f"HTML: {token.content[:60]}"
        said = ""
        for each in token.children or []:
            said += each.content if each.type in ("text", "softbreak") else ""
            if each.type.startswith("html") or (
                each.type == "code_inline" and MARKED.search(each.content)
            ):
                yield f"{each.type}: {each.content[:60]}"
            if {"z", "r"} & set(each.attrs.values()):
                yield f"a link or a picture: {each.attrs}"
        for found in MARKED.finditer(said):
            rest = said[found.end() :]
            whole = rest.replace("<i>q<i>", "<i>q</i>")  # the name of a file has no /
            if not whole.startswith(SEEN) and not SEEN.startswith(re.split("[ …]", whole)[0]):
                yield f"after {found.group()}: {rest[: len(SEEN)]}"


def _of_page(text: str) -> Iterator[str]:
    (data,) = DATA.findall(text)
    if "<" in data or MARKED.search(text.replace(data, "")):
        yield "markup in the data, or data in the markup"
    yield from _unprintable("".join(_texts(json.loads(data))), "\n\t\r")


def _texts(part: object) -> Iterator[str]:
    if isinstance(part, dict):
        part = [*part, *part.values()]
    if isinstance(part, list):
        for each in part:
            yield from _texts(each)
    elif isinstance(part, str):
        yield part


def _of_latex(text: str) -> Iterator[str]:
    yield from _unprintable(text)
    raw = [each for each in ("q^{", "<i>", "&lt", "_%", "#~") if each in text.replace("\\&", "")]
    yield from (f"raw {each}" for each in raw)
    yield from (f"a label: {each}" for each in LABEL.findall(text) if not _is_label(each))


def _is_label(text: str) -> bool:
    return re.fullmatch(r"tab:[A-Za-z0-9_.:+-]+", text) is not None


def _of_csv(text: str) -> Iterator[str]:
    yield from _unprintable(text, "\n\t\r")
    cells = [cell for line in csv.reader(io.StringIO(text)) for cell in line]
    for cell in cells:
        if cell.startswith(FORMULA) and not NUMBER.fullmatch(cell):
            yield f"a formula: {cell[:60]}"


def _of_json(text: str) -> Iterator[str]:
    yield from _unprintable(text)
    json.loads(text)


def _of_svg(text: str) -> Iterator[str]:
    yield from _unprintable(text)
    ElementTree.fromstring(text)


CHECKS = {
    "terminal": _of_terminal,
    ".md": _of_markdown,
    ".html": _of_page,
    ".tex": _of_latex,
    ".csv": _of_csv,
    ".json": _of_json,
    ".svg": _of_svg,
}
