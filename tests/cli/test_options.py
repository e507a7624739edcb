"""Commands from a dataclass of options: flags, defaults, help, completion and exit codes."""

import dataclasses
from typing import Annotated

import pytest
import typer
from support.records import ENVIRONMENT, measurement
from support.results import write
from typer.testing import CliRunner

from bench.cli.entry_point import app_of
from bench.cli.options import with_options
from bench.cli.profile import ProfileOptions
from bench.cli.run import RunOptions
from bench.records import Case


@dataclasses.dataclass(frozen=True)
class Base:
    where: Annotated[str, typer.Argument(metavar="WHERE")]
    count: Annotated[int, typer.Option(help="How many.")] = 3


@dataclasses.dataclass(frozen=True)
class More(Base):
    count: Annotated[int, typer.Option(help="How many more.")] = 4
    loud: Annotated[bool, typer.Option("--loud")] = False


@pytest.fixture
def given():
    """A function (words) -> exit code, the options that the command received, and its output."""
    seen = []
    program = typer.Typer(rich_markup_mode=None)

    @program.command()
    @with_options(More)
    def act(options: More) -> int:
        """Act."""
        seen.append(options)
        return 5 if options.loud else 0

    def call(*words):
        done = CliRunner().invoke(program, words)
        return done.exit_code, (seen[-1] if seen else None), done.output

    return call


def test_arguments_flags_and_defaults_arrive_in_the_dataclass(given):
    assert given("here")[:2] == (0, More("here", 4, False))
    assert given("here", "--count", "9")[:2] == (0, More("here", 9, False))


def test_the_return_value_of_the_function_is_the_exit_code(given):
    assert given("here", "--loud")[:2] == (5, More("here", 4, True))


def test_an_argument_without_a_default_is_required(given):
    code, seen, said = given()
    assert (code, seen) == (2, None)
    assert "WHERE" in said


def test_the_help_comes_from_the_fields_of_the_subclass_and_the_docstring(given):
    said = given("--help")[2]
    assert "Act." in said
    assert "How many more." in said
    assert "[default: 4]" in said


@pytest.mark.parametrize(("command", "options"), [("run", RunOptions), ("profile", ProfileOptions)])
def test_each_field_is_a_flag_of_its_command(bench, command, options):
    shown = bench(command, "--help").stdout.split()
    for field in dataclasses.fields(options):
        assert "--" + field.name.removeprefix("as_").replace("_", "-") in shown


def test_the_shell_completes_models_suites_presets_devices_and_flags():
    for line, expected in (
        ("bench run --models resnet50,repnext_u3_", "resnet50,repnext_u3_t"),
        ("bench run --models resnet50,repvgg_b1@", "resnet50,repvgg_b1@rrep"),
        ("bench run --models resnet50,timm/resnet1", "resnet50,timm/resnet18"),
        ("bench run --backend eager,ch", "eager,channels_last"),
        ("bench run --precision fp32,bf", "fp32,bf16"),
        ("bench list sui", "suites"),
        ("bench run --suite tab", "table6"),
        ("bench profile --preset qu", "quick"),
        ("bench run --device h", "h200"),
        ("bench run --retry", "--retry-failed"),
        ("bench settle --q", "--question"),
        ("bench settle --device h", "h200"),
    ):
        environment = {"_BENCH_COMPLETE": "complete_bash", "COMP_WORDS": line}
        environment["COMP_CWORD"] = str(len(line.split()) - 1)
        done = CliRunner().invoke(app_of(), [], prog_name="bench", env=environment)
        assert expected in done.output.split()


def test_the_shell_completes_the_cases_on_record(tmp_path, monkeypatch):
    write(tmp_path / "results" / "chip", [ENVIRONMENT, measurement(Case("resnet50", "plain"))])
    monkeypatch.chdir(tmp_path)
    write(tmp_path / "other" / "chip", [ENVIRONMENT, measurement(Case("swin_t", "plain"))])
    for line, expected in (
        ("bench explain r", ["resnet50"]),
        ("bench compare x r", ["resnet50"]),
        ("bench explain --in other s", ["swin_t"]),
        ("bench explain --in nowhere s", []),
    ):
        environment = {"_BENCH_COMPLETE": "complete_bash", "COMP_WORDS": line}
        environment["COMP_CWORD"] = str(len(line.split()) - 1)
        done = CliRunner().invoke(app_of(), [], prog_name="bench", env=environment)
        assert done.output.split() == expected
