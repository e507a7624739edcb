"""The nodes of a runtime get the module, the category and the MACs of the network's operators."""

import pytest

from bench.analysis.profile.attribution import attributed
from bench.records import Operator

STEM = Operator("conv2d", "stem.0", "other conv", 900, 64)
NORM = Operator("layer_norm", "blocks.1.norm", "layer norm", None, 32)
GELU = Operator("gelu", "blocks.1", "activation", None, 32)
ADD = Operator("add", "blocks.1", "addition", None, 96)
PRODUCT = Operator("linear", "blocks.1.mlp", "fully connected", 400, 16)
OWN = [STEM, NORM, GELU, ADD, PRODUCT]


def of(name, kind, own=OWN):
    (found,) = attributed([(name, kind)], own)
    return found


@pytest.mark.parametrize("name", ["stem.0/node_conv2d", "stem.0/node_conv2d_nchwc"])
def test_a_product_has_the_cost_of_the_one_in_its_module(name):
    assert of(name, "Conv") == Operator("Conv", "stem.0", "other conv", 900, 64, "runtime")


def test_a_product_that_a_batch_norm_was_folded_into_belongs_to_the_module_before():
    own = [STEM, Operator("batch_norm", "stem.1", "batch norm", None, 64), *OWN[1:]]
    found = of("stem.1/node_Conv_20", "Conv", own)
    assert (found.module, found.category, found.macs) == ("stem.0", "other conv", 900)
    assert of("stem.1/node_mul", "Mul", own).module == "stem.1"
    assert of("blocks.1.norm/node", "Conv", OWN[1:]).module == "blocks.1.norm"


def test_a_fused_node_belongs_to_the_first_module_in_its_name():
    found = of("fused blocks.1.mlp/node_MatMul_1, blocks.1/node_gelu", "FullyConnected")
    assert (found.module, found.category, found.macs) == ("blocks.1.mlp", "fully connected", 400)


def test_each_part_of_a_module_of_one_category_has_that_category():
    names = [("blocks.1.norm/mean", "ReduceMean"), ("blocks.1.norm/mul", "Mul")]
    assert [each.category for each in attributed(names, OWN)] == 2 * ["layer norm"]


@pytest.mark.parametrize(
    ("kind", "category"),
    [
        ("Gelu", "activation"),
        ("Add", "addition"),
        ("Transpose", "dimension transform"),
        ("MVN", "layer norm"),
        ("FullyConnected", "fully connected"),
        ("Subgraph", "unattributed"),
    ],
)
def test_in_a_module_of_several_categories_or_in_none_the_type_of_the_node_tells(kind, category):
    assert of("blocks.1/node", kind).category == category
    assert of("ReorderInput", kind) == Operator(kind, "", category, None, 0, "runtime")


def test_a_softmax_is_a_part_of_the_attention_where_torch_has_one_operator_for_it():
    own = [
        Operator("linear", "attn.qkv", "fully connected", 300, 8),
        Operator("scaled_dot_product_attention", "attn", "attention", 100, 8),
        Operator("reshape", "attn", "dimension transform", None, 8),
    ]
    names = [("attn/qk", "MatMul"), ("attn/softmax", "Softmax"), ("attn/av", "MatMul")]
    assert [each.category for each in attributed(names, own)] == 3 * ["attention"]
    assert of("attn/node", "Transpose", own).category == "dimension transform"


def test_a_gate_has_the_categories_of_torch_and_what_a_runtime_makes_itself_has_none():
    own = [
        Operator("mean", "se", "pooling", None, 8),
        Operator("mul", "se", "other", None, 8),
    ]
    names = [("se/mean", "ReduceMean"), ("se/mul", "Mul"), ("ReduceMean_7", "ReduceMean")]
    found = [each.category for each in attributed(names, own)]
    assert found == ["pooling", "other", "unattributed"]


def test_products_that_are_not_as_many_as_in_torch_have_no_cost():
    names = [("blocks.1.mlp/a", "MatMul"), ("blocks.1.mlp/b", "MatMul")]
    assert [each.macs for each in attributed(names, OWN)] == [None, None]
    twice = [*OWN, PRODUCT._replace(macs=500)]
    assert [each.macs for each in attributed(names, twice)] == [400, 500]


def test_a_module_that_the_network_does_not_have_is_none():
    assert of("elsewhere/node", "Conv").module == ""
    assert of("/stem/stem.0/Conv", "Conv").module == ""  # of the older exporter
