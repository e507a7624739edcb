"""Top-1 accuracies from the user, the paper and timm: which one a model gets."""

import csv
import io
import re
import subprocess
import sys

import pytest
import timm
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from support.paths import ROOT

from bench import paper
from bench.errors import UsageError
from bench.models import zoo
from bench.paper import accuracy, census
from bench.paper.accuracy import Accuracy, Given
from bench.report.tables.csv import to_csv

PAGE = (ROOT / "docs" / "accuracy.md").read_text()
PUBLISHED = accuracy.published()


def given_by_user(model, top1=50.0, dataset="imagenet1k", size=224):
    return Given(model, Accuracy(top1, dataset, size, "measured", "mine.csv"))


def known(model, size=224, own=()):
    """Return top-1, data set, source and detail of each known accuracy."""
    found = accuracy.of(model, size, own)
    assert all(each.input_size == size for each in found)
    return [(each.top1, each.dataset, each.source, each.detail) for each in found]


def test_accuracies_of_the_paper_at_its_input_sizes():
    imagenet = (82.1, "imagenet1k", "paper", "Table 4")
    assert set(known("convnext_t")) == {imagenet, (88.0, "imagewoof", "paper", "Table 2")}
    assert known("convnext_t", 64) == [(78.6, "cifar100", "paper", "Table 3")]
    assert known("repnext_u1_t") == [(90.5, "imagewoof", "paper", "Table 2")]
    assert known("shortcut_act_t") == [(81.6, "imagenet1k", "paper", "Table 5")]
    assert known("repnext_u3_t", 256) == []
    assert known("repnext_u1_s") == []


def test_a_model_has_one_accuracy_per_data_set_and_all_from_the_paper():
    for row in paper.reported():
        found = accuracy.of(row.model, row.input_size)
        assert len({each.dataset for each in found}) == len(found)
        if row.top1 is not None:
            (same,) = [each for each in found if each.dataset == row.dataset]
            assert (same.top1, same.source) == (row.top1, "paper")


def test_timm_weights_by_full_name_and_default_weights_by_bare_name():
    a1 = (71.504, "imagenet1k", "timm", "resnet18.a1_in1k")
    assert known("timm/resnet18") == known("timm/resnet18.a1_in1k") == [a1]
    assert known("timm/resnet18.tv_in1k") == [(69.752, "imagenet1k", "timm", "resnet18.tv_in1k")]
    assert known("timm/resnet18.tv_in1k", 225) == []
    assert known("timm/resnet18.none") == known("timm/") == known("resnet18") == known("") == []


def test_timm_fills_in_only_what_the_paper_lacks():
    (woof, imagenet) = known("vit_b")
    assert woof == (72.8, "imagewoof", "paper", "Table 2")
    assert imagenet[1:3] == ("imagenet1k", "timm")
    assert imagenet[3].startswith("vit_base_patch16_224.")
    assert known("efficientnet_b3") == [(81.6, "imagenet1k", "paper", "Table 4")]
    assert known("efficientnet_b3", 288) == [
        (81.472, "imagenet1k", "timm", "efficientnet_b3.ra2_in1k")
    ]


def test_the_user_takes_precedence_for_the_same_size_and_data_set():
    own = [
        given_by_user("convnext_t"),
        given_by_user("convnext_t", 40.0, "cifar100", 64),
        given_by_user("resnet50", 30.0),
    ]
    assert known("convnext_t", 224, own) == [
        (50.0, "imagenet1k", "measured", "mine.csv"),
        (88.0, "imagewoof", "paper", "Table 2"),
    ]
    assert [each[0] for each in known("convnext_t", 64, own)] == [40.0]
    assert known("convnext_t", 32, own) == []
    assert known("timm/convnext_tiny", 224, own)[0][2] == "timm"


def test_hashes_of_files_are_optional():
    own = [
        given_by_user("nets/a.py:net"),
        given_by_user("nets/a.py:net#00000002", 60.0),
        given_by_user("a.py:b+w.pt", 70.0),
    ]
    assert [each[0] for each in known("nets/a.py:net#00000001", 224, own)] == [50.0]
    assert [each[0] for each in known("nets/a.py:net#00000002", 224, own)] == [60.0]
    assert [each[0] for each in known("a.py:b#0123abcd+w.pt#89abcdef", 224, own)] == [70.0]
    assert known("nets/a.py:net#00000001+w.pt#89abcdef", 224, own) == []
    assert known("a.py:b#0123abcd", 224, own) == []


def test_user_weights_have_no_accuracy_of_the_paper_or_timm():
    assert known("resnet50+mine.pth#0123abcd") == []
    assert known("timm/resnet18+mine.pth#0123abcd") == []


def test_unmatched_finds_entries_without_a_measurement():
    own = [
        given_by_user("resnet50"),
        given_by_user("resnet50", size=256),
        given_by_user("a.py:b"),
        given_by_user("resnet5O"),
    ]
    measured = [("resnet50", 224), ("a.py:b#0123abcd", 224)]
    assert accuracy.unmatched(own, measured) == [own[1], own[3]]
    assert accuracy.unmatched(own, []) == own


def test_accuracies_need_no_torch():
    code = """
import sys
from bench.paper import accuracy
assert accuracy.of("timm/resnet18", 224)
assert not {"torch", "timm", "pandas"} & set(sys.modules)
"""
    subprocess.run([sys.executable, "-c", code], check=True)


MORE = """
augreg2_in21k_ft_in1k ssld_stage1_in22k_in1k sw_in12k_ft_in1k_288 laion2b_ft_in1k
clip_laiona_augreg_ft_in1k_384 clip_ft_in1k openai_ft_in1k webli_ft_in1k ns_jft_in1k
fb_wsl_ig1b_ft_in1k fb_ssl_yfcc100m_ft_in1k swag_lc_in1k seer_ft_in1k mim_m38m_ft_in1k
m30m_ft_in22k_in1k bd_ssld_6m_in1k ssld_in1k
"""
ALONE = """
in1k a1_in1k mae_in1k_ft_in1k fcmae_ft_in1k nv_in1k_ft_in1k_384 fb_dist_in1k b1k_in1k sbb_in1k
ms_in1k e300_s576_in1k tv2_in1k sam_in1k
"""


@pytest.mark.parametrize(
    ("tag", "more"),
    [*((tag, True) for tag in MORE.split()), *((tag, False) for tag in ALONE.split())],
)
def test_more_data_follows_from_the_tag(tag, more):
    assert {row.model.partition(".")[2] for row in PUBLISHED} >= {tag}
    assert Accuracy(80.0, "imagenet1k", 224, "timm", f"clip_in21k.{tag}").more_data == more


def test_more_data_is_false_for_other_sources_than_timm():
    measured = Accuracy(80.0, "imagenet1k", 224, "measured", "a.in21k")
    assert not any(each.more_data for each in [measured, *accuracy.of("convnext_t", 224)])
    assert [each.more_data for each in accuracy.of("vit_b", 224)] == [False, True]


# timm's published results


def test_the_data_of_timm_is_complete_and_sorted():
    keys = [(row.model, row.input_size) for row in PUBLISHED]
    assert keys == sorted(set(keys))
    assert len(keys) > 1500
    assert accuracy.TIMM_FILE.stat().st_size < 80_000
    for row in PUBLISHED:
        name, _, tag = row.model.partition(".")
        assert name
        assert tag
        assert 0 < row.top1 < 100
        assert 32 < row.input_size < 1000
    defaults = {row.model for row in PUBLISHED if row.default}
    names = [model.partition(".")[0] for model in defaults]
    assert len(set(names)) == len(names), "two defaults of one name"
    assert defaults.isdisjoint(row.model for row in PUBLISHED if not row.default)


def test_every_network_of_the_zoo_has_default_weights_in_the_data():
    bare = {row.model.partition(".")[0] for row in PUBLISHED if row.default}
    assert {there.timm for there in zoo.TIMM_NAMES.values()} <= bare


def test_the_data_agrees_with_the_installed_timm():
    # timm 1.0.31 has all networks. The oldest supported release, 1.0.9, lacks 8 % of them, and has
    # the same default weights for the rest. A later release may drop networks or change defaults.
    named = set(timm.list_models()) | set(timm.models.get_deprecated_models())
    names = {row.model.partition(".")[0] for row in PUBLISHED}
    assert len(names & named) > 0.9 * len(names)
    tags = {row.model for row in PUBLISHED if row.default} & set(timm.list_pretrained())
    preferred = [name for name in tags if default_weights(name) == name]
    assert len(preferred) > 0.95 * len(tags)


def default_weights(name):
    bare = name.partition(".")[0]
    return f"{bare}.{timm.models.get_pretrained_cfg(bare).tag}"


def test_the_census_keeps_only_weights_that_timm_knows():
    results = (
        "model,img_size,top1,top1_err,param_count\n"
        'resnet18.tv_in1k,224,69.752,30.248,"1,011.69"\n'
        "resnet18.a1_in1k,288,73.164,26.836,11.69\n"
        "resnet18.a1_in1k,224,71.504,28.496,11.69\n"
        "resnet18.of_nobody,224,99.000,1.000,11.69\n"
        "no_such_net.a1_in1k,224,99.000,1.000,11.69\n"
    )
    assert census.published(results) == (
        "model,default,input_size,top1\n"
        "resnet18.a1_in1k,1,224,71.504\n"
        "resnet18.a1_in1k,1,288,73.164\n"
        "resnet18.tv_in1k,0,224,69.752\n"
    )


# The user's file


def written(tmp_path, content):
    path = tmp_path / "top1.csv"
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return path


def test_the_example_in_the_documentation_can_be_read(tmp_path):
    text = PAGE.split("```csv\n")[1].split("```")[0]
    found = accuracy.read(written(tmp_path, text))
    assert len(found) == len(text.splitlines()) - 1 == 4
    assert found[0] == Given(
        "repnext_u3_t", Accuracy(82.0, "imagenet1k", 224, "measured", "300 epochs of ours")
    )
    assert found[3].accuracy == Accuracy(79.4, "cifar100", 64, "measured", "top1.csv")


def test_two_columns_are_enough(tmp_path):
    path = written(
        tmp_path, b"\xef\xbb\xbf top1 , model\r\n\r\n 81 ,net.py:net\r\n0,b\r\n100.0,c\r\n"
    )
    assert [(each.model, each.accuracy) for each in accuracy.read(path)] == [
        ("net.py:net", Accuracy(81.0, "imagenet1k", 224, "measured", "top1.csv")),
        ("b", Accuracy(0.0, "imagenet1k", 224, "measured", "top1.csv")),
        ("c", Accuracy(100.0, "imagenet1k", 224, "measured", "top1.csv")),
    ]
    assert accuracy.read(written(tmp_path, "model,top1\n")) == []


FULL = "model,top1,dataset,input_size,detail\n"
REFUSED = {
    "empty": ("", ":1: the header is ''"),
    "other header": ("name,acc\n", ":1: the header is 'name,acc'"),
    "semicolons": ("model;top1\n", ":1: the header is 'model;top1'"),
    "column twice": ("model,top1,top1\n", ":1: the header"),
    "unknown column": ("model,top1,source\n", ":1: the header"),
    "no header": ("\nresnet50,80\n", ":2: the header is 'resnet50,80'"),
    "word": ("model,top1\na,80\nb,good\n", ":3: top1 is 'good'"),
    "no top1": ("model,top1\na\n", ":2: top1 is ''"),
    "nan": ("model,top1\na,nan\n", ":2: top1 is 'nan'"),
    "infinite": ("model,top1\na,inf\n", ":2: top1 is 'inf'"),
    "negative": ("model,top1\na,-1\n", ":2: top1 is '-1'"),
    "above 100": ("model,top1\na,100.1\n", ":2: top1 is '100.1'"),
    "decimal comma": ("model,top1\na,81,3\n", ":2: 3 cells under a header of 2"),
    "no model": ("model,top1\n,80\n", ":2: no model"),
    "size 0": (FULL + "a,80,,0\n", ":2: input_size is '0'"),
    "size -1": (FULL + "a,80,,-1\n", ":2: input_size is '-1'"),
    "size 2.5": (FULL + "a,80,,2.5\n", ":2: input_size is '2.5'"),
    "size inf": (FULL + "a,80,,inf\n", ":2: input_size is 'inf'"),
    "size word": (FULL + "a,80,,big\n", ":2: input_size is 'big'"),
    "data set": (FULL + "a,80,ImageNet-1k\n", ":2: dataset is 'ImageNet-1k'"),
    "twice": ("model,top1\na,80\nb,70\na,81\n", ":4: 'a' on imagenet1k at 224 stands in line 2"),
    "twice by default": (FULL + "a,80\na,80,imagenet1k,224\n", ":3: 'a' on imagenet1k at 224"),
    "NUL": ("model,top1\na,8\x000\n", ":2: a NUL byte"),
    "not UTF-8": (b"model,top1\nb,1\n\xff\xfe,80\n", ":3: not UTF-8"),
    "open quote": ('model,top1\n"a,80\n', ":2: not CSV"),
    "long cell": ("model,top1\na," + "9" * 200_000 + "\n", ":2: not CSV"),
    "too large": ("model,top1\n" + "a,80\n" * 200_000, " is larger than 1 MB"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_an_invalid_file_is_refused_with_the_line_number(case, tmp_path):
    content, message = REFUSED[case]
    path = written(tmp_path, content)
    with pytest.raises(UsageError) as refused:
        accuracy.read(path)
    assert refused.value.message.startswith(f"{path}{message}")
    assert refused.value.remedy
    assert len(str(refused.value)) < 500 + len(str(path))


def test_a_path_that_is_not_a_regular_file_is_refused(tmp_path):
    for path, why in ((tmp_path / "none.csv", "No such file"), (tmp_path, "Is a directory")):
        with pytest.raises(UsageError, match=re.escape(f"cannot read {path}: {why}")):
            accuracy.read(path)


CELLS = st.text(alphabet="a1.,-\"'\r\n\0;#é \x85\u2028", max_size=60)
HEADERS = st.sampled_from(["", "model,top1\n", FULL])
TEXTS = st.one_of(CELLS, st.text(max_size=60), st.just("nan"), st.integers().map(str))
GARBAGE = st.one_of(
    st.binary(max_size=200),
    st.builds(lambda *parts: "".join(parts).encode("utf-8", "replace"), HEADERS, CELLS, TEXTS),
    st.builds(
        lambda header, lines: (header + "\n".join(map(",".join, lines))).encode("utf-8", "replace"),
        HEADERS,
        st.lists(st.lists(TEXTS, max_size=6), max_size=5),
    ),
)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(content=GARBAGE)
def test_any_content_is_read_or_refused_with_a_usage_error(content, tmp_path):
    try:
        found = accuracy.read(written(tmp_path, content))
    except UsageError:
        return
    for each in found:
        assert each.model
        assert 0 <= each.accuracy.top1 <= 100
        assert each.accuracy.input_size > 0
        assert each.accuracy in accuracy.of(each.model, each.accuracy.input_size, found)


@given(
    rows=st.dictionaries(
        st.tuples(st.text("ab,\"'é ", min_size=1).filter(str.strip), st.integers(1, 10**6)),
        st.floats(0, 100),
        max_size=8,
    )
)
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
def test_written_csv_is_read_back(rows, tmp_path):
    text = io.StringIO()
    lines = csv.writer(text)
    lines.writerow(["model", "input_size", "top1"])
    lines.writerows([model.strip(), size, repr(top1)] for (model, size), top1 in rows.items())
    if len({(model.strip(), size) for model, size in rows}) < len(rows):
        return
    found = accuracy.read(written(tmp_path, text.getvalue()))
    assert [(each.model, each.accuracy.input_size, each.accuracy.top1) for each in found] == [
        (model.strip(), size, top1) for (model, size), top1 in rows.items()
    ]


def test_names_that_a_spreadsheet_would_run_are_read_back_from_a_table_of_ours(tmp_path):
    names = ["=nets/a.py:net", "+b.py:net", "-c.py:net", "@d.py:net", "'=e.py:net", "f.py:net"]
    path = tmp_path / "top1.csv"
    path.write_text(to_csv(["model", "top1"], [[name, 80.0] for name in names]))
    assert "\n'=nets/a.py:net,80\n" in path.read_text()
    assert [each.model for each in accuracy.read(path)] == names
