"""Names cannot leave their folder, and no file is run but the Python file of a user's model."""

import ast
import os
import pickle
import shutil
import struct
import subprocess
import sys
import tarfile
from pathlib import Path

import msgspec
import pytest
import torch
from safetensors.torch import save_file
from support.records import CHIP, FAKE_CHIP
from support.weights import Payload

import bench as package
from bench import records, report, text
from bench.errors import UsageError
from bench.harness import suite as suites
from bench.harness.suite import Overrides, Suite
from bench.models import user
from bench.models.build import load_weights
from bench.models.user import checkpoint, content
from bench.records import Case
from bench.storage import files, shipped
from bench.storage.reader import read

NASTY = ["..", "../x", "/etc/x", "a/../../x", "x\0y", "x\ny", "\x1b[31mx", "x" * 300, "", ".", "…"]
RUN = ("run", "--device", "fake", "--rounds", "1", "--batch", "1", "--out", "out")


@pytest.mark.parametrize("name", NASTY)
@pytest.mark.parametrize("device", ["fake", *NASTY])
def test_the_folder_of_a_chip_with_any_name_is_below_out(tmp_path, name, device):
    slug = msgspec.structs.replace(CHIP, name=name, device=device).slug
    assert (tmp_path / slug).resolve().parent == tmp_path.resolve()
    (tmp_path / slug).mkdir()


@pytest.mark.parametrize("name", NASTY)
def test_a_name_that_is_no_suite_and_no_toml_file_is_refused(tmp_path, monkeypatch, name):
    monkeypatch.chdir(tmp_path)
    for entry in (name, f"{name}.toml", f"../suites/{name}"):
        with pytest.raises(UsageError):
            suites.load(entry)


@pytest.mark.parametrize("form", ["", "@srep", "@../x"])
@pytest.mark.parametrize("entry", ["{}", "timm/{}", "fault/{}", "{}.py:net", "{}:net", "a.{}:net"])
def test_an_impossible_model_name_is_refused_before_anything_runs(
    tmp_path, monkeypatch, entry, form
):
    monkeypatch.chdir(tmp_path)
    for name in [*NASTY, "__main__"]:
        models = (entry.format(name) + form,)
        with pytest.raises(UsageError):
            suites.expand(Suite(), Overrides(models=models), FAKE_CHIP, None)


def test_a_users_file_with_control_characters_in_its_name_is_refused(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "a\nb.py").write_text("def net(): ...")
    (tmp_path / "link.py").symlink_to("a\nb.py")
    (tmp_path / "\x1b[2J.pt").touch()
    weights = Path("\x1b[2J.pt")
    for overrides in (
        Overrides(models=("a\nb.py:net",)),
        Overrides(models=("link.py:net",)),
        Overrides(models=("resnet50",), weights=weights),
    ):
        with pytest.raises(UsageError, match="unprintable"):
            suites.expand(Suite(), overrides, FAKE_CHIP, None)


def test_a_folder_called_timm_may_hold_a_users_file(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "timm").mkdir()
    (tmp_path / "timm" / "net.py").write_text("def net(): ...")
    (case,) = suites.expand(
        Suite(batch=(1,)), Overrides(models=("timm/net.py:net",)), FAKE_CHIP, None
    )
    assert case.model.startswith("timm/net.py:net#")


@pytest.mark.parametrize(
    ("suite", "said"),
    [
        (Suite(models=("timm/x",) * 5000), "5000 models are too many"),
        (
            Suite(
                models=("resnet50",), batch=tuple(range(1, 1000)), resolution=tuple(range(1, 999))
            ),
            "997002 cases are too many",
        ),
    ],
)
def test_a_suite_with_too_many_cases_is_refused(suite, said):
    with pytest.raises(UsageError, match=said):
        suites.expand(suite, Overrides(), FAKE_CHIP, None)


def test_an_argument_that_is_not_utf8_is_refused(bench):
    for flag in ("--models", "--suite", "--out"):
        done = bench(*RUN, "--models", "resnet50", flag, os.fsdecode(b"\xff.toml"))
        assert done.returncode == 2
        assert done.stderr.startswith("error: an argument is not valid UTF-8")


def test_a_folder_whose_name_is_not_utf8_is_read(bench, tmp_path, monkeypatch):
    monkeypatch.setattr(report, "FIGURES", report.FIGURES[:1])
    assert bench(*RUN, "--models", "resnet50").returncode == 0
    before = tmp_path / "out" / "fake"
    for name in (b"b\xff", b"\xfe\xfe"):
        shutil.copytree(before, odd := tmp_path / "out" / os.fsdecode(name))
        with open(odd / "results.jsonl", "a") as file:
            file.write("{\n")
    shutil.rmtree(before)
    shutil.copytree(tmp_path / "out", tmp_path / "other")
    for words in (
        ["explain", "resnet50", "--in", "out"],
        ["explain", "resnet50", "--in", "out", "--json"],
        ["compare", "out", "other"],
        ["compare", "out", "other", "--json", "--to", "compared"],
        ["report", "out"],
        ["report", "out", "other", "--to", "pages"],
        ["doctor", "--out", "out"],
    ):
        done = bench(*words)
        assert done.returncode == 0, done.stderr
    assert {path.name for path in (tmp_path / "pages").iterdir() if path.is_dir()} == {
        os.fsdecode(b"b\xff"),
        os.fsdecode(b"\xfe\xfe"),
    }
    page = (tmp_path / "out" / "report.md").read_text()
    assert "(b%FF/results.md)" in page


def test_control_characters_are_printed_as_escapes():
    assert text.printable("a\n\x1b[2J\u202eb\udcff") == "a\\n\\x1b[2J\\u202eb\\udcff"
    assert len(text.printable("x" * 10**6)) < 3000


@pytest.mark.parametrize(
    ("link", "words"),
    [
        ("out/fake/results.jsonl.torn", ("doctor", "--fix", "--out", "out")),
        ("out/fake/results.jsonl.torn", (*RUN, "--models", "swin_t")),
        ("out/fake/results.jsonl", (*RUN, "--models", "swin_t")),
    ],
)
def test_nothing_is_written_through_a_link_in_a_folder_of_results(bench, tmp_path, link, words):
    """An archive or repository may hold a link to a file of the user outside `--out`."""
    assert bench(*RUN, "--models", "resnet50").returncode == 0
    with (tmp_path / "out" / "fake" / "results.jsonl").open("ab") as file:
        file.write(b"half a line")
    mine = tmp_path / "home" / "profile"
    mine.parent.mkdir()
    mine.write_text("mine")
    (tmp_path / link).unlink(missing_ok=True)
    (tmp_path / link).symlink_to(mine)
    done = bench(*words)
    assert "it is a link, which may lead out of the folder" in done.stdout + done.stderr
    assert "Traceback" not in done.stderr
    assert done.returncode == (0 if words[0] == "doctor" else 2)
    assert mine.read_text() == "mine"


SCRIPT = """
import sys
sys.path[:] = [folder for folder in sys.path if folder]  # as the installed `bench` finds it
from bench.cli import main
main()
"""


@pytest.mark.parametrize(
    ("words", "code"),
    [
        (("--device", "cpu", "--models", "timm/test_resnet", "--weights", "w.pt"), 2),
        (("--device", "fake", "--models", "resnet50"), 0),
    ],
)
def test_modules_in_the_working_folder_are_not_imported(tmp_path, words, code):
    for name in ("bench", "torch", "timm", "json", "runpy", "msgspec"):
        (tmp_path / f"{name}.py").write_text("open('was-run', 'w')\nraise SystemExit(0)\n")
    (tmp_path / "w.pt").write_bytes(b"no checkpoint")
    command = [sys.executable, "-c", SCRIPT, *RUN, *words]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == code, done.stderr
    assert not (tmp_path / "was-run").exists()


# --- special files, and files without an end ---------------------------------------------------


@pytest.fixture
def endless(tmp_path, monkeypatch):
    """Links to a pipe, which blocks a reader, and to /dev/zero, which has no end."""
    monkeypatch.chdir(tmp_path)
    os.mkfifo("pipe")
    os.symlink("/dev/zero", "zero")
    for name in ("pipe", "zero"):
        for suffix in (".toml", ".py", ".pt"):
            os.symlink(name, name + suffix)
    return ("pipe", "zero")


def test_a_pipe_and_a_device_are_refused_as_suite_model_and_weights(bench, endless):
    for name in endless:
        for arguments in (
            ("--suite", f"{name}.toml"),
            ("--models", f"{name}.py:net"),
            ("--models", "resnet50", "--weights", f"{name}.pt"),
        ):
            done = bench(*RUN, *arguments)
            assert done.returncode == 2, (arguments, done.stderr)
            assert "cannot read" in done.stderr
            assert len(done.stderr.splitlines()) == 2


def test_a_folder_a_link_to_itself_and_a_missing_file_are_refused(tmp_path):
    (tmp_path / "folder").mkdir()
    (tmp_path / "loop").symlink_to("loop")
    for name in ("folder", "loop", "none", "x" * 300, "x\0y", "\udcff"):
        with pytest.raises(OSError, match=r".") as refused:
            files.read(tmp_path / name, 10)
        assert refused.value.strerror


def test_a_suite_file_that_is_too_large_is_refused(tmp_path):
    path = tmp_path / "long.toml"
    path.write_bytes(b"#" * (shipped.MOST_BYTES + 1))
    with pytest.raises(UsageError, match="more than"):
        suites.load(str(path))


# --- weights -----------------------------------------------------------------------------------


def _tar(path):
    Path("inside").write_bytes(pickle.dumps({"weight": Payload()}))
    with tarfile.open(path, "w") as file:
        file.add("inside", "pickle")


TENSORS = {"weight": torch.ones(2)}
BAD_WEIGHTS = {
    "pickle.pt": lambda path: path.write_bytes(pickle.dumps({"weight": Payload()}, protocol=2)),
    "zip.pt": lambda path: torch.save({"weight": Payload()}, path),
    "network.pt": lambda path: torch.save(torch.nn.Linear(2, 2), path),
    "tar.pt": _tar,
    "cut.pt": lambda path: (torch.save(TENSORS, path), os.truncate(path, 300)),
    "empty.pt": lambda path: path.touch(),
    "random.pt": lambda path: path.write_bytes(bytes(range(256)) * 40),
    "list.pt": lambda path: torch.save([torch.ones(2)], path),
    "numbers.pt": lambda path: torch.save({"epoch": 3}, path),
    "cut.safetensors": lambda path: (save_file(TENSORS, path), os.truncate(path, 40)),
    "empty.safetensors": lambda path: path.touch(),
    "header.safetensors": lambda path: path.write_bytes(struct.pack("<Q", 2**62) + b"{}"),
    "pickle.safetensors": lambda path: path.write_bytes(pickle.dumps(Payload())),
}


def test_bad_weights_are_refused_before_anything_runs(bench, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    BAD_WEIGHTS["zip.pt"](tmp_path / "zip.pt")
    done = bench("run", "--models", "resnet50", "--weights", "zip.pt", "--out", "out")
    assert done.returncode == 2
    said = "error: resnet50: zip.pt is no checkpoint: it holds more than tensors: posix.mkdir\n"
    assert done.stderr.startswith(said)
    assert "safetensors.torch.save_file" in done.stderr.splitlines()[1]
    assert len(done.stderr.splitlines()) == 2
    assert not (tmp_path / "harm").exists()
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("name", BAD_WEIGHTS)
def test_bad_weights_run_no_code_in_the_child(tmp_path, monkeypatch, name):
    monkeypatch.chdir(tmp_path)
    BAD_WEIGHTS[name](tmp_path / name)
    source = records.Source(weights=name, weights_hash=content.file_hash(Path(name)))
    with pytest.raises(UsageError, match=r"is no checkpoint: .") as refused:
        user.read_weights(source)
    assert "weights_only" not in str(refused.value)  # torch's own message advises to trust the file
    assert not (tmp_path / "harm").exists()


def test_the_payload_runs_if_torch_trusts_the_file(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    BAD_WEIGHTS["zip.pt"](tmp_path / "zip.pt")
    torch.load("zip.pt", weights_only=False)
    assert (tmp_path / "harm").exists()


@pytest.mark.parametrize("moment", ["before", "while"])
def test_weights_replaced_after_they_were_hashed_are_not_measured(tmp_path, monkeypatch, moment):
    path = tmp_path / "w.pt"
    net = torch.nn.Linear(2, 2)
    torch.save(net.state_dict(), path)
    monkeypatch.chdir(tmp_path)
    Path("net.py").write_text("from torch import nn\ndef net():\n    return nn.Linear(2, 2)\n")
    source = user.with_weights(user.resolve("net.py:net"), path).source

    def replace():
        torch.save(torch.nn.Linear(2, 2).state_dict(), tmp_path / "new.pt")
        os.replace(tmp_path / "new.pt", path)

    if moment == "before":
        replace()
    else:
        read = checkpoint._read
        monkeypatch.setattr(checkpoint, "_read", lambda file: (read(file), replace())[0])
    with pytest.raises(RuntimeError, match=r"w\.pt was changed since the run began"):
        load_weights(source)


def test_a_users_file_edited_within_a_second_is_loaded_again(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    path = tmp_path / "net.py"
    made = []
    for width in (3, 4):  # same size and time, so a compiled copy would be used for both
        path.write_text(f"from torch import nn\ndef net():\n    return nn.Linear({width}, 1)\n")
        os.utime(path, (1e9, 1e9))
        made.append(user.build(user.resolve("net.py:net").source).in_features)
    assert made == [3, 4]
    assert not (tmp_path / "__pycache__").exists()


# --- records -------------------------------------------------------------------------------


def test_a_record_with_control_characters_in_its_name_is_skipped(tmp_path):
    case = Case("resnet50\x1b[2J", "plain")
    line = msgspec.json.encode(
        records.Failure("run", case.case_id, case, "env", 1, "build", "Error", "message")
    )
    (tmp_path / "results.jsonl").write_bytes(line + b"\n")
    found, warnings = read(tmp_path / "results.jsonl")
    assert found == []
    assert len(warnings) == 1


# --- the code ------------------------------------------------------------------------------

FORBIDDEN_MODULES = {"pickle", "cPickle", "dill", "cloudpickle", "joblib", "shelve", "marshal"}
FORBIDDEN_MODULES |= {"yaml", "imp", "multiprocessing"}  # multiprocessing pickles what it sends
FORBIDDEN_CALLS = {"eval", "exec", "compile", "__import__", "os.system", "os.popen"}
FORBIDDEN_CALLS |= {"torch.jit.load", "torch.hub.load", "pd.read_pickle", "numpy.load", "np.load"}
# Its Unpickler finds nothing but containers; tests/models/test_weights.py holds that.
RESTRICTED = Path("models", "user", "legacy.py")


def unsafe(code):
    """Yield what in `code` could run data as code or pass it to a shell."""
    for node in ast.walk(ast.parse(code)):
        if isinstance(node, (ast.Import, ast.ImportFrom)):
            names = [alias.name for alias in node.names]
            names += [node.module or ""] if isinstance(node, ast.ImportFrom) else []
            yield from {name.partition(".")[0] for name in names} & FORBIDDEN_MODULES
        if isinstance(node, ast.Call):
            called = ast.unparse(node.func)
            flags = {each.arg: ast.unparse(each.value) for each in node.keywords}
            if called in FORBIDDEN_CALLS:
                yield called
            if called == "torch.load" and flags.get("weights_only") != "True":
                yield "torch.load without weights_only=True"
            if flags.get("shell", "False") != "False":
                yield "a shell"


@pytest.mark.parametrize(
    "code",
    [
        "import pickle",
        "from pickle import loads",
        "import yaml.nodes",
        "eval('1')",
        "exec('1')",
        "os.system('ls')",
        "torch.load(path)",
        "torch.load(path, weights_only=trusted)",
        "subprocess.run('ls', shell=True)",
    ],
)
def test_unsafe_code_is_found(code):
    assert list(unsafe(code))


def test_the_package_has_no_unsafe_code():
    root = Path(package.__file__).parent
    files = sorted(root.rglob("*.py"))
    assert len(files) > 80
    for path in files:
        allowed = {"pickle"} if path.relative_to(root) == RESTRICTED else set()
        assert not set(unsafe(path.read_text())) - allowed, path
