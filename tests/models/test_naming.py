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
        ("timm/resnet18", "timm/resnet", "18"),
        ("mine", "mine", ""),
    ],
)
def test_a_model_has_a_family_and_a_size(model, family, size):
    assert naming.family(model) == (family, size)


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
    assert naming.family(model) == (model, "")
