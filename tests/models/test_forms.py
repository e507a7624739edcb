"""The contract of every form: its families, its function, and its place in lists and figures."""

import copy
import itertools

import pytest
import torch
from support.pictures import legend
from support.records import rounds
from support.results import device
from support.tensors import assert_same, assert_same_weights, randn, randomise
from timm.models.byobnet import RepVggBlock
from timm.models.repghost import RepGhostNet
from torch import nn

from bench import models
from bench.cli.list import _entries
from bench.models import forms, naming, replknet, repnext, zoo
from bench.models.fuse import forms_of
from bench.report.colours import families_of
from bench.report.figures import chains, figure1, speedups, spots
from bench.report.figures.canvas import canvas
from bench.report.tables.layouts import LAYOUTS

FORMS = list(forms.FORMS.values())
PAIRS = [(family, form) for form in FORMS for family in form.families]
MEASURED = {  # a network of each family whose accuracy the paper has
    forms.PLAIN: "resnet50",
    forms.MERGING: "repvgg_b1",
    forms.KEEPING: "replknet_31b",
    forms.SHORTCUT_ACT: "shortcut_act_t",
    forms.REPNEXT: "repnext_u3_t",
}

each_form = pytest.mark.parametrize("form", FORMS, ids=lambda form: form.name)
each_pair = pytest.mark.parametrize(
    ("family", "form"), PAIRS, ids=[f"{family} {form.name}" for family, form in PAIRS]
)


def tiny_repnext(unit):
    """Return a RepNeXt with every kind of layer and a few thousand weights."""
    net = repnext.RepNeXt()
    net.add_module("stem", repnext.ConvBN(nn.Conv2d(3, 7, 4, stride=4, bias=False)))
    net.add_module("stage", nn.Sequential(*(repnext._block(unit, 7) for _ in range(2))))
    net.add_module("downsample", repnext.Downsample(7, 10))
    net.add_module("last", repnext._block(unit, 10))
    net.add_module("pool", nn.AdaptiveAvgPool2d(1))
    net.add_module("flatten", nn.Flatten())
    net.add_module("classifier", repnext.Classifier(10, 5))
    return net


def plain():
    return nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4))


def repvgg():
    return nn.Sequential(RepVggBlock(3, 4), RepVggBlock(4, 4))


def large_kernels():
    block = replknet.LargeKernelBlock(6, 13)
    net = replknet.RepLKNet()
    net.add_module("stem", nn.Conv2d(3, 6, 3))
    net.add_module("block", block)
    return net


def ghosts():
    """Return a RepGhostNet whose first block has stride 2 and whose second has a shortcut."""
    stages = [[[3, 8, 8, 0, 2]], [[3, 8, 8, 0.25, 1]]]
    return RepGhostNet(stages, num_classes=5, width=0.5)


BUILD = {
    forms.PLAIN: [plain],
    forms.MERGING: [repvgg],
    forms.KEEPING: [large_kernels, ghosts],
    forms.SHORTCUT_ACT: [lambda: tiny_repnext(repnext.UNITS["plain"])],
    forms.REPNEXT: [lambda unit=unit: tiny_repnext(repnext.UNITS[unit]) for unit in zoo.UNITS],
}
NETWORKS = [
    pytest.param(form, build, id=f"{family} {form.name} {number}")
    for family, form in PAIRS
    for number, build in enumerate(BUILD[family])
]


# The function of a form


def test_every_family_has_test_networks():
    assert set(BUILD) == set(MEASURED) == set(forms.FAMILIES)
    assert {family for family, _ in PAIRS} == set(forms.FAMILIES)


@torch.no_grad()
@pytest.mark.parametrize(("form", "build"), NETWORKS)
def test_a_form_computes_the_same_and_does_not_change_the_original(form, build):
    net = randomise(build())
    assert form.name in forms_of(net)
    before, x = copy.deepcopy(net), randn(2, 3, 32, 32)
    expected = net(x)
    fused = models.fuse(net, form.name)
    assert_same(fused(x), expected)
    assert_same_weights(net, before)
    assert torch.equal(net(x), expected)
    assert_same_weights(models.fuse(net, form.name), fused)
    assert (repr(fused) == repr(net)) == form.is_built


@pytest.mark.parametrize("family", forms.FAMILIES)
def test_all_forms_of_a_network_have_different_modules(family):
    for build in BUILD[family]:
        net = randomise(build())
        made = [repr(models.fuse(net, form)) for form in forms.of(family)]
        assert len(set(made)) == len(made)


# Lists and figures


@each_form
def test_a_form_is_listed_and_selectable(form):
    assert (form.name, form.about) in [(entry.name, entry.about) for entry in _entries("forms")]
    for family in form.families:
        spec = zoo.ZOO[MEASURED[family]]
        zoo.check_form(spec, form.name)  # raises if the form is missing
        assert form.name in spec.forms


@pytest.mark.parametrize("family", forms.FAMILIES)
def test_only_the_first_form_of_a_family_is_built_without_steps(family):
    first, *others = [forms.find(name) for name in forms.of(family)]
    assert first.is_built
    assert first.name in (forms.ONLY, forms.REFERENCE)
    assert not any(form.is_built for form in others)


def test_forms_have_different_names_and_markers():
    """`plain` and `train` share title and marker: no network has both."""
    made = [form for form in FORMS if not form.is_built]
    unmade = forms.find(forms.REFERENCE)
    for one, other in itertools.combinations([unmade, *made], 2):
        for field in ("name", "about", "suffix", "label"):
            assert getattr(one, field) != getattr(other, field)
        for field in ("sign", "symbol", "glyph"):
            assert getattr(one.marker, field) != getattr(other.marker, field)
    assert len({form.colour for form in made}) == len(made)
    assert not any(form.marker == forms.CROSS for form in FORMS)
    titles = [naming.network_title("repnext_u3_t", form.name) for form in [unmade, *made]]
    assert len(set(titles)) == len(titles)


def test_a_cell_of_the_papers_tables_has_no_arrow_twice():
    for line in (line for layout in LAYOUTS for line in layout.lines):
        arrows = [forms.find(name).arrow for name in line.forms[1:]]
        assert len(set(arrows)) == len(arrows)


def latencies(model, *names):
    """Return a device with measurements of these forms; each is faster than the one before."""
    return device(*[rounds(model, name, (10 - n, 10.1 - n)) for n, name in enumerate(names)])


@each_pair
def test_figure_1_shows_the_form_with_its_marker(family, form):
    found = latencies(MEASURED[family], form.name)
    with canvas() as figure:
        figure1.paint(figure, [spots.panel(found, 9)], families_of([found]), [])
        assert form.label in legend(figure)
        markers = [line.get_marker() for line in figure.axes[0].lines if line.get_zorder() == 4]
        assert markers == [form.marker.sign]


@each_pair
def test_the_figure_of_speed_ups_shows_every_form_with_steps(family, form):
    panel = chains.panel(latencies(MEASURED[family], forms.REFERENCE, form.name))
    if form.is_built:
        assert panel.chains == []
        return
    ((step,),) = [chain.steps for chain in panel.chains]
    assert step.form == form.name
    with canvas() as figure:
        speedups.paint(figure, [panel], [])
        assert form.label in legend(figure)
        (ours,) = [line for line in figure.axes[0].lines if line.get_zorder() == 5]
        assert ours.get_marker() == form.marker.sign


def test_figures_show_a_form_of_another_version_by_its_name():
    shown = latencies("repnext_u3_t", "train", "of_tomorrow")
    with canvas() as figure:
        figure1.paint(figure, [spots.panel(shown, 9)], families_of([shown]), [])
        assert "of_tomorrow" in legend(figure)
    with canvas() as figure:
        speedups.paint(figure, [chains.panel(shown)], [])
        assert "of_tomorrow" in legend(figure)
