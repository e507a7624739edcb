"""Names of cases: on the command line, in tables and figures; family and size of a network."""

import pytest

from bench.models import naming
from bench.records import Case, Chip


@pytest.mark.parametrize(
    ("model", "form", "title"),
    [
        ("repnext_u3_t", "srep", "RepNeXt-u3-T-sRep"),
        ("repnext_u3_t", "rrep_fc", "RepNeXt-u3-T-rRep-fc"),
        ("repnext_u3_t", "train", "RepNeXt-u3-T"),
        ("convnext_t", "plain", "ConvNeXt-T"),
        ("timm/resnet18", "plain", "timm/resnet18"),
        ("nets/a.py:net#1a2b3c4d", "srep", "nets/a.py:net#1a2b3c4d-sRep"),
        ("repnext_u3_t", "of_tomorrow", "RepNeXt-u3-T@of_tomorrow"),
    ],
)
def test_the_title_of_a_network_follows_the_paper(model, form, title):
    assert naming.network_title(model, form) == title


UNUSUAL = Case("repnext_u3_t", "srep", "compile", "fp16", 8, 288, threads=4)


def test_a_selector_has_the_command_line_name_and_unusual_settings():
    assert naming.selector(Case("resnet50", "plain")) == "resnet50"
    assert naming.selector(UNUSUAL) == "repnext_u3_t@srep compile fp16 288²"
    assert naming.selector(UNUSUAL, batch=True) == "repnext_u3_t@srep compile fp16 288² batch 8"
    assert naming.selector(Case("resnet50", "plain"), batch=True) == "resnet50"


def test_a_title_has_unusual_settings():
    assert naming.title(Case("resnet50", "plain")) == "ResNet50"
    assert naming.title(UNUSUAL) == "RepNeXt-u3-T-sRep compile fp16 288²"
    assert naming.title(UNUSUAL, with_threads=True).endswith(" 288² 4 threads")
    kept = Case("resnet50", "plain", allocator="arena", huge_pages="madvise")
    assert naming.title(kept) == "ResNet50 arena huge pages"
    assert naming.allocation(kept) == "arena, huge pages"
    assert naming.allocation(UNUSUAL) == ""
    assert naming.title(Case("resnet50", "plain"), with_threads=True) == "ResNet50 1 thread"


@pytest.mark.parametrize(
    ("kind", "threads", "unusual"), [("cpu", 4, False), ("cpu", 2, True), ("gpu", 2, False)]
)
def test_a_number_of_threads_is_unusual_only_on_a_cpu_with_another_default(kind, threads, unusual):
    chip = Chip("chip", kind, "A chip", threads=4, facts={})
    case = Case("resnet50", "plain", device="chip", threads=threads)
    assert naming.has_unusual_threads(case, chip) == unusual


@pytest.mark.parametrize(
    ("model", "family", "size"),
    [
        ("resnet101", "ResNet", "101"),
        ("efficientnet_b3", "EffNet", "B3"),
        ("repnext_u3_s", "RepNeXt-u3", "S"),
        ("repghost_2_0x", "RepGhost", "2.0x"),
        ("shortcut_act_t", "Shortcut-act", "T"),
        ("timm/resnet18", "timm/resnet18", ""),
        ("mine-2", "mine-2", ""),
    ],
)
def test_a_model_has_a_family_and_a_size(model, family, size):
    assert naming.family(Case(model, "plain")) == (family, size)


@pytest.mark.parametrize(
    "model",
    [
        "net.py:net#1a2b3c41",
        "package.nets:net2",
        "nets/best-net",
        "timm/net.py:net#1a2b3c41",
        "resnet50+weights.pt#1a2b3c41",
    ],
)
def test_a_user_network_is_a_separate_family(model):
    assert naming.family(Case(model, "plain")) == (model, "")


@pytest.mark.parametrize(
    ("label", "family"), [("MyNet-T", "MyNet-T"), ("ResNet50", "ResNet50"), ("ViT", "ViT (label)")]
)
def test_a_label_is_a_family_of_its_own(label, family):
    assert naming.family(Case("vit_b", "plain", label=label)) == (family, "")


def test_a_label_is_the_name_and_the_title_with_the_suffix_of_the_form():
    case = Case("net.py:net#1a2b3c4d", "rrep", "compile", label="MyNet")
    assert naming.name(case) == "MyNet-rRep"
    assert naming.title(case) == naming.selector(case) == "MyNet-rRep compile"


SETTINGS = Case("repnext_u3_t", "srep", "compile", "bf16", 128, 288, threads=4)
OWN = Case("nets/a.py:net#1a2b3c4d", "rrep", label="My Net")


@pytest.mark.parametrize(
    ("case", "text", "called"),
    [
        (SETTINGS, "repnext_u3_t@srep", True),
        (SETTINGS, "repnext_u3_t", True),
        (SETTINGS, "RepNeXt-u3-T-sRep", True),
        (SETTINGS, "repnext-U3-t-srep", True),
        (SETTINGS, "RepNeXt-u3-T@srep", True),
        (SETTINGS, "RepNeXt-u3-T-sRep compile bf16 288² 4 threads batch 128", True),
        (SETTINGS, "repnext_u3_t@srep batch 128", True),
        (SETTINGS, "repnext_u3_t@srep eager", False),
        (SETTINGS, "repnext_u3_t@srep batch 1", False),
        (SETTINGS, "RepNeXt-u3-T", False),  # the title of another form
        (SETTINGS, "Repnext_u3_t", False),
        (Case("resnet50", "plain", allocator="arena"), "ResNet50 arena", True),
        (Case("resnet50", "plain", allocator="arena"), "resnet50 default", False),
        (Case("resnet50", "plain"), "resnet50 default", True),
        (Case("resnet50", "plain", huge_pages="never"), "resnet50 no huge pages", True),
        (Case("resnet50", "plain", huge_pages="madvise"), "resnet50 no huge pages", False),
        (OWN, "nets/a.py:net#1a2b3c4d@rrep", True),
        (OWN, "nets/a.py:net", True),
        (OWN, "my net-rrep", True),
        (OWN, "My Net@rrep eager fp32", True),
        (OWN, "My", False),
        (OWN, "", False),
    ],
)
def test_commands_take_names_titles_and_labels_with_settings(case, text, called):
    assert naming.is_called(case, text) == called


@pytest.mark.parametrize(
    ("entry", "name"),
    [
        ("ConvNeXt-T", "convnext_t"),
        ("repnext-u3-t-SREP", "repnext_u3_t@srep"),
        ("RepNeXt-u3-T", "repnext_u3_t@train"),
        ("RepNeXt-u3-T@rrep", "repnext_u3_t@rrep"),
        ("repnext_u3_t", "repnext_u3_t"),
        ("nets/a.py:net", "nets/a.py:net"),
        ("ConvNeXt", "ConvNeXt"),
    ],
)
def test_a_title_of_the_paper_is_an_entry_of_models(entry, name):
    assert naming.by_title(entry) == name
