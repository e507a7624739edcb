"""Every model of the paper in every form: names, costs, and agreement between forms."""

import msgspec
import pytest
import torch
from support.tensors import assert_same, randomise
from torch import nn

from bench import models, paper
from bench.models import ablation, cost, replknet, zoo
from bench.models.fuse import replace
from bench.paper import census


def on_meta(name, form):
    """Return the network on the meta device: enough to count parameters and MACs."""
    with torch.device("meta"):
        return models.build(name, form)


def test_the_zoo_has_every_model_of_the_paper_and_four_more_sizes():
    reported = {(row.model, row.form) for row in paper.reported()}
    ours = {(spec.name, form) for spec in zoo.ZOO.values() for form in spec.forms}
    assert reported <= ours
    assert len({model for model, _ in reported}) == 32
    unmeasured = {spec.name for spec in zoo.ZOO.values()} - {model for model, _ in reported}
    assert unmeasured == {f"repnext_{unit}_{size}" for unit in ("u1", "u2") for size in "sb"}


ZOO_CSV = {(row.model, row.form): row for row in paper.counted()}
COUNTED_QUICKLY = (
    *("repvgg_b1", "repghost_2_0x", "replknet_31b", "lc2pwconv_t", "ln2bn_t", "shortcut_act_t"),
    *("repnext_u1_t", "repnext_u2_t", "repnext_u3_t", "resnet50", "swin_t"),
)


def test_zoo_csv_has_a_line_for_each_form_in_order():
    ours = [(spec.name, form) for spec in zoo.ZOO.values() for form in spec.forms]
    assert list(ZOO_CSV) == ours, "run `python -m bench.paper.census`"


@pytest.mark.parametrize(
    "name",
    [
        pytest.param(name, marks=() if name in COUNTED_QUICKLY else pytest.mark.slow)
        for name in zoo.ZOO
    ],
)
def test_zoo_csv_matches_the_code(name):
    for form in zoo.ZOO[name].forms:
        kept, now = ZOO_CSV[name, form], census.count(name, form)
        # Releases of torch split networks into slightly different operators.
        assert now.activation_bytes == pytest.approx(kept.activation_bytes, rel=0.1)
        now = msgspec.structs.replace(now, activation_bytes=kept.activation_bytes)
        assert now == kept, "run `python -m bench.paper.census`"


def test_the_census_writes_its_counts(monkeypatch):
    monkeypatch.setattr(census, "count", lambda name, form: ZOO_CSV[name, form])
    assert census.table() == census.ZOO_FILE.read_text()


@pytest.mark.parametrize("name", ["repvgg_b1", "repghost_2_0x", "replknet_31b", "shortcut_act_t"])
def test_forms_agree_in_float64_and_only_deploy_has_batchnorms(name):
    first, *others = zoo.ZOO[name].forms
    with torch.inference_mode():
        original = models.build(name, first, resolution=64).double()
        images = torch.randn(2, 3, 64, 64, dtype=torch.float64)
        expected = original(images)
        before = {key: value.clone() for key, value in original.state_dict().items()}
        for form in others:
            fused = models.fuse(original, form)
            assert_same(fused(images), expected, 1e-12)
            assert_same(models.fuse(original, form)(images), expected, 1e-12)
            assert bool(names_of_norms(fused)) == (form == "deploy")
        for key, value in original.state_dict().items():
            assert torch.equal(value, before[key]), key


def names_of_norms(net):
    norms = nn.modules.batchnorm._BatchNorm
    return [name for name, module in net.named_modules() if isinstance(module, norms)]


def test_deploy_of_repghost_is_what_its_official_method_makes():
    official = on_meta("repghost_2_0x", "train")
    official.convert_to_deploy()
    deploy = on_meta("repghost_2_0x", "deploy")
    assert names_of_norms(deploy) == names_of_norms(official)
    assert len(names_of_norms(deploy)) == 48
    shapes = [
        {key: value.shape for key, value in net.state_dict().items()} for net in (deploy, official)
    ]
    assert shapes[0] == shapes[1]
    assert names_of_norms(on_meta("repghost_2_0x", "rrep")) == []


def test_deploy_of_replknet_keeps_the_batchnorms_outside_the_large_kernels():
    """As `structural_reparam` in the official code, which calls only `merge_kernel`."""
    kept = names_of_norms(on_meta("replknet_31b", "deploy"))
    assert kept == [
        name for name in names_of_norms(on_meta("replknet_31b", "train")) if ".dw." not in name
    ]
    pairs = sum(replknet.DEPTHS)  # of two blocks, each with BN, 1x1 + BN, 1x1 + BN
    stem, transitions, head = 4, 3 * 2, 1
    assert len(kept) == pairs * 2 * 3 + stem + transitions + head == 155
    assert names_of_norms(on_meta("replknet_31b", "rrep")) == []


@pytest.mark.parametrize("name", ["repghost_2_0x", "replknet_31b"])
def test_rrep_can_be_made_from_deploy(name):
    made = models.fuse(on_meta(name, "deploy"), "rrep")
    assert repr(made) == repr(on_meta(name, "rrep"))


@pytest.mark.parametrize(
    ("name", "form", "other"),
    [
        *[(name, "rrep", "rrep") for name in ("repvgg_b1", "repghost_2_0x", "replknet_31b")],
        *[(name, "deploy", "deploy") for name in ("repghost_2_0x", "replknet_31b")],
        *[(name, "rrep", "deploy") for name in ("repghost_2_0x", "replknet_31b")],
    ],
)
def test_a_merged_network_cannot_be_merged_again(name, form, other):
    fused = on_meta(name, form)
    with pytest.raises(models.zoo.UsageError, match="already merged"):
        models.fuse(fused, other)


def test_other_merging_networks_have_no_form_deploy():
    asked = zoo.timm_forms(("repghostnet_050", "mobileone_s0", "resnet18"))
    assert asked == {
        "repghostnet_050": ("train", "deploy", "rrep"),
        "mobileone_s0": ("train", "rrep"),
        "resnet18": ("plain",),
    }
    assert "deploy" not in zoo.ZOO["repvgg_b1"].forms
    with pytest.raises(models.zoo.UsageError, match="has no form 'deploy'"):
        on_meta("timm/mobileone_s0", "deploy")


def test_lc2pwconv_computes_the_same_as_convnext():
    import timm

    torch.manual_seed(0)
    theirs = timm.create_model("convnext_tiny").eval()
    ours = ablation.lc2pwconv("t").eval()
    named = dict(theirs.named_parameters())
    for name, parameter in ours.named_parameters():
        value = named[timm_name(name)]
        with torch.no_grad():
            parameter.copy_(value.reshape(parameter.shape))
    assert len(named) == len(list(ours.parameters()))
    images = torch.randn(1, 3, 64, 64)
    with torch.inference_mode():
        assert_same(ours(images), theirs(images), 1e-5)


def timm_name(name):
    """Convert the name of a parameter in `ablation` to its name in timm's ConvNeXt."""
    parts = name.split(".")
    kind = parts[-1]
    if parts[0] == "stem":
        return name
    if parts[0].startswith("downsample"):
        return f"stages.{parts[0][-1]}.downsample.{parts[1]}.{kind}"
    if parts[0].startswith("stage"):
        block = f"stages.{int(parts[0][-1]) - 1}.blocks.{parts[1]}"
        if parts[2] == "scale":
            return f"{block}.gamma"
        inner = {"dw": "conv_dw", "norm": "norm", "pw1": "mlp.fc1", "pw2": "mlp.fc2"}[parts[2]]
        return f"{block}.{inner}.{kind}"
    return {"norm": "head.norm", "fc": "head.fc"}[parts[0]] + f".{kind}"


def test_each_step_of_the_ablation_extends_the_step_before():
    lc, ln = ablation.lc2pwconv("t"), ablation.ln2bn("t")
    assert not [m for m in lc.modules() if isinstance(m, nn.Linear) and m.out_features != 1000]
    kinds = [type(m).__name__ for m in lc.modules()]
    swapped = [type(m).__name__ for m in ln.modules()]
    assert [k.replace("LayerNorm2d", "BatchNorm2d") for k in kinds] == swapped
    assert kinds.count("LayerNorm2d") == 18 + 4 + 1


def naive_norm(x, bn):
    mean, variance, scale, shift = (
        values.reshape(1, -1, 1, 1)
        for values in (bn.running_mean, bn.running_var, bn.weight, bn.bias)
    )
    return (x - mean) / (variance + bn.eps).sqrt() * scale + shift


def naive_conv(x, conv):
    settings = (conv.stride, conv.padding, 1, conv.groups)
    return nn.functional.conv2d(x, conv.weight, conv.bias, *settings)


@pytest.mark.parametrize(("channels", "size"), [(4, 31), (5, 29), (6, 27), (3, 13)])
def test_a_large_kernel_block_computes_its_papers_formula(channels, size):
    block = randomise(replknet.LargeKernelBlock(channels, size).double().eval())
    x = torch.randn(2, channels, 9, 11, dtype=torch.float64)
    first = naive_norm(x, block.pw1.before)
    first = naive_norm(naive_conv(first, block.pw1.conv), block.pw1.after).relu()
    large, small = block.dw.large, block.dw.small
    both = naive_norm(naive_conv(first, large.conv), large.bn)
    both = both + naive_norm(naive_conv(first, small.conv), small.bn)
    expected = x + naive_norm(naive_conv(both.relu(), block.pw2.conv), block.pw2.bn)
    with torch.no_grad():
        assert_same(block(x), expected, 1e-12)
        replace(block, "fuse")
        assert_same(block(x), expected, 1e-12)
    assert block.dw.kernel_size == (size, size)


FUSERS = {
    "NormPointwise": lambda: replknet.NormPointwise(5, 7),
    "LargeKernel": lambda: replknet.LargeKernel(5, 13),
    "Classifier": lambda: replknet.Classifier(5, 3),
}


def test_every_class_of_replknet_with_fuse_is_in_the_table():
    own = [c for c in vars(replknet).values() if getattr(c, "__module__", "") == replknet.__name__]
    assert {thing.__name__ for thing in own if hasattr(thing, "fuse")} == set(FUSERS)


@pytest.mark.parametrize("name", FUSERS)
def test_fuse_keeps_the_output_and_does_not_change_the_module(name):
    module = randomise(FUSERS[name]())
    x = torch.randn(3, 5, 6, 4, dtype=torch.float64)
    before = {key: value.clone() for key, value in module.state_dict().items()}
    with torch.no_grad():
        expected = module(x)
        fused = module.fuse()
        assert_same(fused(x), expected, 1e-12)
        assert_same(module.fuse()(x), expected, 1e-12)
        assert_same(module(x), expected, 0)
    assert all(torch.equal(module.state_dict()[key], value) for key, value in before.items())
    assert not [m for m in fused.modules() if isinstance(m, nn.modules.batchnorm._BatchNorm)]
    assert not fused.training


def test_a_feed_forward_block_computes_its_papers_formula():
    block = randomise(replknet.FeedForwardBlock(5).double().eval())
    x = torch.randn(2, 5, 4, 3, dtype=torch.float64)
    hidden = naive_conv(naive_norm(x, block.pw1.before), block.pw1.conv)
    hidden = naive_norm(hidden, block.pw1.after)
    hidden = hidden * (1 + torch.erf(hidden / 2**0.5)) / 2
    expected = x + naive_norm(naive_conv(hidden, block.pw2.conv), block.pw2.bn)
    with torch.no_grad():
        assert_same(block(x), expected, 1e-12)


def test_mobileone_has_the_published_number_of_parameters_in_both_forms():
    # Its paper prints 1.09 G for `train`; `count_macs` counts convolutions and linear layers only.
    counts = [on_meta("timm/mobileone_s0", form) for form in ("train", "rrep")]
    assert [round(cost.count_params(net) / 1e6, 2) for net in counts] == [5.29, 2.08]
    assert [round(cost.count_macs(net, 224) / 1e9, 2) for net in counts] == [1.05, 0.28]


def test_a_network_that_is_a_single_block_is_merged():
    from timm.models.byobnet import RepVggBlock

    block = randomise(RepVggBlock(4, 4).double().eval())
    x = torch.randn(1, 4, 5, 5, dtype=torch.float64)
    with torch.no_grad():
        fused = models.fuse(block, "rrep")
        assert_same(fused(x), block(x), 1e-12)
    assert [type(m).__name__ for m in fused.modules() if "BatchNorm" in type(m).__name__] == []


@pytest.mark.parametrize("name", ["resnet50", "mobilenetv3_l", "convnext_t", "repnext_u2_t"])
def test_macs_agree_with_an_independent_counter(name):
    """Hooks on every convolution and linear layer, which are all the products of these networks."""
    net, total = on_meta(name, None), []

    def count(module, inputs, output):
        per_output = module.weight[0].numel()
        total.append(output.numel() * per_output)

    for module in net.modules():
        if isinstance(module, (nn.Conv2d, nn.Linear)):
            module.register_forward_hook(count)
    with torch.no_grad():
        net(torch.empty(1, 3, 224, 224, device="meta"))
    expected = sum(total)
    assert cost.count_macs(net, 224) == pytest.approx(expected, rel=0.01)


def test_a_survey_is_the_same_inside_inference_mode_and_outside():
    net, image = models.build("swin_t"), torch.zeros(1, 3, 224, 224)
    outside = cost.survey(net, [image])
    with torch.inference_mode():
        inside = cost.survey(models.build("swin_t"), [image])
    assert inside == outside
