"""Labels and titles as a user types them: in `run`, `profile`, `report`, `explain`, `compare`."""

import json

import pytest
from support.profiles import profile
from support.records import ENVIRONMENT, timed
from support.results import write
from support.runs import recorded

RUN = ("run", "--device", "fake", "--rounds", "1", "--batch", "1", "--out", "out")
NET = '''"""Two networks."""


def net():
    raise NotImplementedError


def other():
    raise NotImplementedError
'''


@pytest.fixture
def nets(tmp_path):
    """A folder with a file of networks; it is also the working folder of `bench`."""
    (tmp_path / "nets").mkdir()
    (tmp_path / "nets" / "mine.py").write_text(NET)
    return tmp_path


OWN = ("--models", "nets/mine.py:net,nets/mine.py:other,ResNet50,RepNeXt-u3-T-sRep")


@pytest.mark.usefixtures("without_figures")
def test_a_label_is_what_pages_print_and_commands_take_and_the_record_keeps_the_file(bench, nets):
    done = bench(*RUN, *OWN, "--label", "./nets/mine.py:net=My Net", cwd=nets)
    assert done.returncode == 2  # ./nets/mine.py was not typed in --models
    done = bench(*RUN, *OWN, "--label", "nets/mine.py:net=My Net", cwd=nets)
    assert done.returncode == 0, done.stderr
    assert [line for line in done.stdout.splitlines() if line.startswith("My Net  ")]
    (run,) = recorded(nets, "environment")
    ((model, label),) = run["labels"].items()
    assert model.startswith("nets/mine.py:net#")
    assert label == "My Net"
    assert {each["case"].get("label", "") for each in recorded(nets, "measurement")} == {""}
    explained = json.loads(bench("explain", "my net", "--in", "out", "--json", cwd=nets).stdout)
    assert [each["case"].split(": ")[1][: len(label)] for each in explained] == [label]
    assert model in explained[0]["case"]
    assert "My Net" in bench("compare", "My Net", "ResNet50", "--in", "out", cwd=nets).stdout
    assert bench("report", "out", cwd=nets).returncode == 0
    for page in ("out/fake/results.md", "out/report.html"):
        assert "My Net" in (nets / page).read_text()


def test_a_second_run_changes_a_label_although_it_measures_nothing(bench, nets):
    for label in ("Old", "New", "New"):
        assert bench(*RUN, *OWN, "--label", f"nets/mine.py:net={label}", cwd=nets).returncode == 0
    assert [list(run["labels"].values()) for run in recorded(nets, "environment")] == [
        ["Old"],
        ["New"],
    ]
    assert bench("explain", "New", "--in", "out", cwd=nets).returncode == 0
    done = bench("explain", "Old", "--in", "out", cwd=nets)
    assert (done.returncode, "New" in done.stderr) == (2, True)


def test_titles_of_the_paper_are_names_of_models_in_every_command(bench, nets):
    assert bench(*RUN, *OWN, cwd=nets).returncode == 0
    cases = [each["case"] for each in recorded(nets, "measurement")]
    assert [(case["model"], case["form"]) for case in cases[-2:]] == [
        ("resnet50", "plain"),
        ("repnext_u3_t", "srep"),
    ]
    for words in (("explain", "RepNeXt-u3-T-sRep"), ("compare", "ResNet50", "RepNeXt-u3-T-sRep")):
        done = bench(*words, "--in", "out", cwd=nets)
        assert done.returncode == 0, done.stderr


@pytest.mark.usefixtures("without_figures")
def test_a_suite_may_use_titles_and_a_table_of_the_paper_keeps_them(bench, nets):
    (nets / "own.toml").write_text('models = ["ConvNeXt-T", "resnet50"]\n')
    flags = (*RUN, "--suite", "own.toml", "--label", "convnext_t=Mine")
    assert bench(*flags, cwd=nets).returncode == 0
    cases = [each["case"]["model"] for each in recorded(nets, "measurement")]
    assert cases == ["convnext_t", "resnet50"]
    assert bench("report", "out", cwd=nets).returncode == 0
    assert "| ConvNeXt-T " in (nets / "out" / "table2.md").read_text()
    assert "Mine" in (nets / "out" / "results.tex").read_text()


@pytest.mark.parametrize("command", ["run", "profile"])
@pytest.mark.parametrize(
    ("labels", "said"),
    [
        (["resnet50"], "has no equals sign"),
        (["resnet50="], "the label is empty"),
        (["resnet50=a\tb"], "unprintable"),
        (["resnet5O=X"], "The models are: resnet50, swin_t"),
        (["resnet50=X", "swin_t=x"], "two networks would be called 'x'"),
    ],
)
def test_a_wrong_label_gets_one_message_with_its_remedy(bench, tmp_path, command, labels, said):
    words = [word for label in labels for word in ("--label", label)]
    done = bench(command, "--device", "cpu", "--models", "resnet50,swin_t", *words, "--out", "out")
    assert done.returncode == 2
    assert said in done.stderr
    assert len(done.stderr.splitlines()) == 2
    assert not list(tmp_path.iterdir())


TWO = [
    ENVIRONMENT,
    timed("nets/a.py:net#00000001"),
    timed("nets/a.py:net#00000002"),
    timed("timm/resnet18", resolution=224),
    profile(),
]


def reported(bench, folder, *words):
    """Return what the report wrote: the warnings, and the models in `results.md`."""
    write(folder / "out" / "chip", TWO)
    done = bench("report", "out", *words)
    assert done.returncode == 0, done.stderr
    lines = (folder / "out" / "chip" / "results.md").read_text().splitlines()
    return done.stderr, [line.split("|")[1].strip() for line in lines if line.startswith("|")][2:]


@pytest.mark.usefixtures("without_figures")
def test_a_report_takes_labels_from_its_flag_before_those_of_the_file(bench, tmp_path):
    rows = "model,top1,label\nnets/a.py:net,71.5,From file\ntimm/resnet18,70,R18\nnobody,1,Nobody\n"
    (tmp_path / "top1.csv").write_text(rows)
    said, models = reported(bench, tmp_path, "--top1", "top1.csv", "--label", "nets/a.py:net=Flag")
    assert models == ["Flag\\#00000001", "Flag", "R18"]
    assert "a top-1 is given for nobody" in said
    text = (tmp_path / "out" / "chip" / "results.csv").read_text()
    assert ",71.5,measured: top1.csv" in text
    assert "nets/a.py:net#00000001," in text


def test_a_title_or_a_label_names_the_row_of_an_accuracy(bench, tmp_path):
    (tmp_path / "top1.csv").write_text("model,top1\nmy r18,70.25\n")
    reported(bench, tmp_path, "--top1", "top1.csv", "--label", "timm/resnet18=My R18")
    assert ",70.25,measured: top1.csv" in (tmp_path / "out" / "chip" / "results.csv").read_text()


@pytest.mark.parametrize(
    ("rows", "said"),
    [
        ("nets/a.py:net,71,X\ntimm/resnet18,70,x\n", "two networks would be called"),
        ("timm/resnet18,70,a\x1bb\n", "top1.csv:2: unprintable characters in the label"),
    ],
)
def test_a_wrong_label_in_the_file_is_refused(bench, tmp_path, rows, said):
    write(tmp_path / "out" / "chip", TWO)
    (tmp_path / "top1.csv").write_text("model,top1,label\n" + rows)
    done = bench("report", "out", "--top1", "top1.csv")
    assert (done.returncode, said in done.stderr) == (2, True)
    assert len(done.stderr.splitlines()) == 2
