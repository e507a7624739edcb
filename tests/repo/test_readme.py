"""README and docs: tables match the committed reports; commands, links and names exist."""

import csv
import re
import shlex

import pytest
import typer
from support import command
from support.jetson_trees import NANO_MODES
from support.paths import ROOT

from bench.cli.entry_point import app_of
from bench.models.naming import network_title
from bench.text import significant

DOUBTED = {"VALID": "", "SUSPECT": " †"}
README = (ROOT / "README.md").read_text()
PAGES = [ROOT / "README.md", *sorted(ROOT.glob("docs/*.md"))]
LINES = 170
FENCE = re.compile(r"```(\w*)\n(.*?)```", re.DOTALL)
CODE = re.compile(r"`([^`]+)`")
TESTS = re.compile(r"\b(?:tests/)?((?:\w+/)+test_\w+\.py)")
GROUP = typer.main.get_command(app_of())
USAGE_ERROR = typer.BadParameter.__base__  # a class of click, or of the copy of click in typer


def first_table(text):
    """The cells of the lines of the first table in Markdown, by the first one of each."""
    lines = text[text.index("\n|") :].strip().partition("\n\n")[0].splitlines()[2:]
    found = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]
    return {name: cells for name, *cells in found}


def test_the_table_matches_the_committed_report():
    with (ROOT / "reports" / "amd-epyc" / "table6.csv").open() as file:
        lines = list(csv.DictReader(file))
    assert len(lines) == 7
    rows = first_table(README)
    for line in lines:
        cells = rows[network_title(line["model"], line["form"])]
        measured = [
            significant(float(line[f"{device}_{key}"])) + DOUBTED[line[f"{device}_{verdict}"]]
            for key, verdict in (("latency_ms", "verdict"), ("img_s", "img_s_verdict"))
            for device in ("amd_epyc", "amd_epyc_arena")
        ]
        assert [cells[2:4], cells[5:7]] == [measured[:2], measured[2:]]
        assert cells[4] == line["xeon_8260_latency_ms_paper"]
        assert cells[8] == line["amd_epyc_rank"]


def test_the_choice_that_is_shown_is_the_one_on_record():
    docs = (ROOT / "docs" / "choose.md").read_text()
    shown = next(text for _, text in FENCE.findall(docs) if text.startswith("$ bench choose"))
    typed, _, printed = shown.partition("\n")
    done = command.call(*shlex.split(typed)[2:], cwd=ROOT)
    assert (done.returncode, done.stdout) == (0, printed)
    answer = printed.split("\n\n")[1]
    (row,) = (line for line in README.splitlines() if line.startswith("| a network for a budget"))
    assert f'`{typed.removeprefix("$ ")}` | "{answer}": 19.2 ms (11.3 to 32.8), 81.6 %' in row
    assert re.search(
        r"^1 +EffNet-B3 executorch +19\.2 ms \(11\.3 to 32\.8\) +81\.6 %", printed, re.M
    )


@pytest.mark.parametrize(
    ("page", "heading", "batch"),
    [("README.md", "\n## As you deploy it\n", "1"), ("docs/tune.md", "Seven networks", "16")],
)
def test_the_tables_of_tunings_match_the_committed_page(page, heading, batch):
    lines = (ROOT / "reports" / "tuned" / "amd-epyc" / "tuned.md").read_text().splitlines()
    cells = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]
    known = {row[0]: row[2:6] for row in cells if len(row) > 5 and row[1] == batch}
    shown = first_table((ROOT / page).read_text().split(heading)[1])
    assert shown.keys() == known.keys()
    assert len(shown) == 7
    for name, (usual, best, *tuned) in known.items():
        assert shown[name][:2] == [usual, best.partition(" ")[0]]
        for ours, of_page in zip(shown[name][2:], tuned, strict=True):
            numbers, _, runtime = ours.rpartition(", ")
            assert of_page.startswith(f"{numbers}, " if numbers else ours)
            assert f" {runtime}, " in of_page or not numbers


def test_shown_output_matches_the_output_of_the_command(bench):
    pages = "\n".join(page.read_text() for page in PAGES)
    shown = re.findall(r"```\n\$ bench ([^\n]+)\n(.*?)```", pages, re.DOTALL)
    assert shown
    for line, output in shown:
        assert bench(*shlex.split(line), cwd=ROOT).stdout.strip() == output.strip()


def test_the_page_of_models_matches_the_output_of_the_command(bench):
    page = (ROOT / "docs" / "models.md").read_text()
    printed = bench("list", "models", "--paper").stdout
    assert page.endswith(printed)
    assert len(printed.splitlines()) > 50


def test_who_installs_bench_is_warned_of_a_jetson():
    """pip would replace the torch of the board's vendor."""
    texts = [text for page in PAGES for text in page.read_text().split("\n\n")]
    told = [" ".join(text.split()) for text in texts if "`pip install .`" in text]
    assert len(told) >= 2
    assert all("would replace" in text for text in told)
    assert any("](docs/orin.md)" in text for text in told)


def test_pages_name_the_power_mode_by_its_name_and_not_by_a_number():
    texts = {page.name: " ".join(page.read_text().split()) for page in PAGES}
    assert "the MAXN mode of `nvpmodel -p --verbose`, which is not number 0" in texts["README.md"]
    assert "`nvpmodel -p --verbose` lists the modes" in texts["orin.md"]
    assert "it is 15 W on an Orin Nano Super" in texts["orin.md"]
    assert (NANO_MODES[0], NANO_MODES[2]) == ("15W", "MAXN_SUPER")  # as the page says
    assert [name for name, text in texts.items() if re.search(r"nvpmodel -m \d", text)] == []


def test_the_readme_is_short():
    assert len(README.splitlines()) <= LINES


def anchors(text):
    """Return the anchors that GitHub makes for the headings."""
    headings = re.findall(r"^#+ (.+)$", FENCE.sub("", text), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-") for title in headings}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_lead_to_files_and_headings(page):
    for target in re.findall(r"\]\(([^)]+)\)", FENCE.sub("", page.read_text())):
        if "://" in target:
            continue
        path, _, anchor = target.partition("#")
        file = page.parent / path if path else page
        assert file.exists(), target
        assert not anchor or anchor in anchors(file.read_text()), target


def test_the_readme_links_to_each_page_of_docs():
    linked = set(re.findall(r"\]\((docs/[\w-]+\.md)\)", README))
    assert linked == {f"docs/{page.name}" for page in PAGES[1:]}


def commands(text):
    """Yield (words, is_complete): commands of code blocks are complete, those in sentences not."""
    joined = re.sub(r"\\\n\s*", "", text)
    yaml = re.sub(r">-?\n\s+(.+)\n\s+(?=--)", r"\1 ", joined)
    for line in "\n".join(block for _, block in FENCE.findall(yaml)).splitlines():
        line = re.sub(r"^\s*(- )?(run: |\$ )?", "", line)
        for part in line.split("&&"):
            if re.match(r"(\.\w+/(env/)?bin/)?bench [a-z-]", part.strip()):
                yield shlex.split(part, comments=True)[1:], True
    for code in CODE.findall(FENCE.sub("", text)):
        if code.startswith("bench "):
            yield shlex.split(" ".join(code.split()))[1:], False


def check(words, whole):
    """Raise if the command line does not accept the command, a flag or an argument."""
    words = words[: words.index("|")] if "|" in words else words
    if words[0].startswith("-"):
        assert words[0] in known_flags(GROUP), words
        return
    group = GROUP
    while words and words[0] in getattr(group, "commands", ()):
        parent, group, name, words = group, group.commands[words[0]], words[0], words[1:]
    assert group is not GROUP, words
    if whole:
        with parent.context_class(parent) as context:
            group.make_context(name, words, parent=context)
    for word in words:
        assert not word.startswith("-") or word.split("=")[0] in known_flags(group), words


def known_flags(command):
    with command.context_class(command) as context:
        return {flag for each in command.get_params(context) for flag in each.opts}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_the_command_line_accepts_each_command(page):
    for words, whole in commands(page.read_text()):
        check(words, whole)


def test_commands_are_found_in_code_blocks_workflows_and_sentences():
    found = [
        *commands(
            "```\n.nox/env/bin/bench doctor\nbench run \\\n    --batch 1 && bench compare a b\n```"
        ),
        *commands("```yaml\n - run: >-\n     bench compare a b\n     --in results  # a word\n```"),
        *commands("say `bench list\nmodels`, not `python`"),
    ]
    assert found == [
        (["doctor"], True),
        (["run", "--batch", "1"], True),
        (["compare", "a", "b"], True),
        (["compare", "a", "b", "--in", "results"], True),
        (["list", "models"], False),
    ]


@pytest.mark.parametrize("line", ["rum --batch 1", "run --batches 1", "compare a", "--vers"])
def test_a_wrong_command_is_found(line):
    with pytest.raises((AssertionError, USAGE_ERROR)):
        check(line.split(), whole=True)


def test_the_command_has_one_spelling():
    for page in PAGES:
        assert not re.search(r"python3? -m bench(?!\.)", page.read_text()), page


def test_each_named_session_exists():
    named = {page: set(re.findall(r"nox -s (\w+)", page.read_text())) for page in PAGES}
    defined = set(re.findall(r"^def (\w+)\(session", (ROOT / "noxfile.py").read_text(), re.M))
    assert named[PAGES[0]] >= {"tests", "bench_cpu", "bench_gpu", "bench_orin"}
    assert set().union(*named.values()) <= defined


def test_each_named_test_file_exists():
    named = {name for page in PAGES for name in TESTS.findall(page.read_text())}
    assert len(named) > 10
    assert [name for name in named if not (ROOT / "tests" / name).exists()] == []


def test_the_glossary_has_ten_words_that_a_report_prints(bench):
    section = README.split("## Ten words that a report uses")[1].split("\n## ")[0]
    words = re.findall(r"^\| ([\w -]+) \|", section, re.MULTILINE)[1:]
    printed = "\n".join(path.read_text() for path in ROOT.glob("reports/**/*.md"))
    printed += bench("explain", "repnext_u3_t@srep", "--in", str(ROOT / "reports")).stdout
    assert len(words) == len(set(words)) == 10
    assert [word for word in words if not re.search(rf"\b{word}s?\b", printed, re.I)] == []


def test_pages_and_code_name_no_path_of_a_machine():
    pages = [*ROOT.glob("*.md"), *ROOT.glob("docs/*.md"), *ROOT.glob("reports/**/*.md")]
    for path in [*pages, *ROOT.glob("bench/**/*.py")]:
        assert not re.search(r"/(root|home|tmp|work)/", path.read_text()), path


def test_the_page_of_trained_networks_has_the_numbers_of_its_report():
    folder = ROOT / "reports" / "trained"
    rows = first_table((folder / "README.md").read_text())
    report = "".join(
        (folder / "amd-epyc" / f"{name}.md").read_text() for name in ("accuracy", "training")
    )
    assert len(rows) == 5
    for name, (top1, step, *_) in rows.items():
        lines = [line for line in report.splitlines() if f"nets.py:{name.lower()}\\#" in line]
        assert any(f"| {top1} |" in line for line in lines), name
        assert any(f" {step} |" in line or f" {step}† |" in line for line in lines), name
