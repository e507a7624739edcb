"""Networks as ONNX files: no paths, no lost branch, and an error that names the operator."""

import warnings

import pytest
import torch
from support.runtimes import LACKS, needs_onnxruntime, passport_of
from torch import nn

from bench.backends import onnx_file
from bench.backends.onnx_file import ExportError
from bench.models.gelu import gelus
from bench.records import Gelus

pytestmark = needs_onnxruntime
helper = pytest.importorskip("onnx", reason=str(LACKS["onnxruntime"])).helper
EXPORTERS = pytest.mark.parametrize("exporter", onnx_file.EXPORTERS)


class Branch(nn.Module):
    def forward(self, x):
        return x + 1 if x.sum() > 0 else x


class Svd(nn.Module):
    def forward(self, x):
        return torch.linalg.svdvals(x.mean(1))


class Several(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(3, 4, 3)

    def forward(self, image):
        found = self.conv(image)
        return {"pooled": found.mean((2, 3)), "nothing": None, "map": found}


def exported(net, tmp_path, exporter=onnx_file.DYNAMO):
    path = tmp_path / "net.onnx"
    with torch.inference_mode(), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of torch, on its own older exporter
        onnx_file.write(net.eval(), [torch.randn(1, 3, 8, 8)], exporter, path)
    return path.read_bytes()


@EXPORTERS
def test_a_file_has_the_operators_and_no_path_of_this_machine(exporter, tmp_path):
    proto = onnx_file.parse(exported(Several(), tmp_path, exporter))
    assert onnx_file.operators(proto)["Conv"] == 1
    assert onnx_file.opset(proto) >= 17
    assert len(proto.graph.output) == 2
    assert proto.graph.output[0].name == "output"
    assert str(torch.__file__).rpartition("/")[0] not in str(proto)
    assert __file__.rpartition("/")[2] not in str(proto)


def test_the_nodes_tell_the_modules_that_they_come_from(tmp_path):
    (node,) = onnx_file.parse(exported(nn.Sequential(nn.Conv2d(3, 4, 3)), tmp_path)).graph.node
    assert node.name.startswith("0/")
    assert not node.metadata_props


def test_the_network_stays_as_it_was(tmp_path):
    net = Several()
    before = {name: value.clone() for name, value in net.state_dict().items()}
    exported(net, tmp_path)
    assert all(torch.equal(value, before[name]) for name, value in net.state_dict().items())
    assert all(each.requires_grad for each in net.parameters())


@EXPORTERS
def test_a_branch_is_refused(exporter, tmp_path):
    with pytest.raises(ExportError, match=r"data-dependent|Python boolean"):
        exported(Branch(), tmp_path, exporter)


@EXPORTERS
def test_an_operator_without_an_onnx_operator_is_named(exporter, tmp_path):
    with pytest.raises(ExportError, match="linalg_svd"):
        exported(Svd(), tmp_path, exporter)


def test_a_file_above_two_gigabytes_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(onnx_file, "LARGEST_BYTES", 100)
    with pytest.raises(ExportError, match="at most 2 GiB"):
        exported(Several(), tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_a_passport_is_json_in_the_metadata_and_changes_no_node(tmp_path):
    content = exported(Several(), tmp_path)
    marked = onnx_file.with_passport(content, {"form": "srep", "macs": 12, "error": None})
    assert passport_of(marked) == {"form": "srep", "macs": 12, "error": None}
    names = [onnx_file.operators(onnx_file.parse(each)) for each in (content, marked)]
    assert names[0] == names[1]


def test_gelus_are_counted_by_their_formula(tmp_path):
    kinds = nn.Sequential(nn.GELU(), nn.GELU(approximate="tanh"), nn.Tanh(), nn.SiLU())
    assert onnx_file.gelus(onnx_file.parse(exported(kinds, tmp_path))) == Gelus(erf=1, tanh=2)
    assert gelus(kinds, [torch.randn(1, 3, 8, 8)]) == Gelus(erf=1, tanh=2)


def test_nodes_in_branches_count():
    inner = helper.make_node("Gelu", ["x"], ["y"], approximate="tanh", doc_string="/home/me")
    branch = helper.make_graph([inner], "branch", [], [])
    node = helper.make_node("If", ["c"], ["y"], then_branch=branch, else_branch=branch)
    proto = helper.make_model(helper.make_graph([node], "graph", [], []))
    assert onnx_file.gelus(proto) == Gelus(tanh=2)
    assert onnx_file.operators(proto) == {"If": 1, "Gelu": 2}
