"""`bench profile` end to end on this machine's CPU with a small network, and its parts."""

import contextlib
import functools
import json
import os
import types
from collections import Counter

import msgspec
import pytest
import torch
from support.records import ENVIRONMENT, failure, measurement
from support.results import device, pages_of
from support.traces import encoded, mark

from bench.analysis.profile import summary
from bench.analysis.profile.recorded import latest, peaks_of, profile_history
from bench.analysis.profile.trace import TraceError
from bench.devices.cpu import CpuSession
from bench.devices.host import Host
from bench.devices.kernels import PeakWork
from bench.errors import UsageError
from bench.harness.plan import PRESETS, ProfilePlan
from bench.harness.protocol.messages import Job
from bench.harness.scheduler import profiler, templates
from bench.harness.scheduler.child import TemplateDiedError
from bench.harness.worker import peaks, profile
from bench.harness.worker import profiled_pass as passes
from bench.harness.worker.timing import Prepared
from bench.records import (
    Case,
    Environment,
    Failure,
    Peaks,
    Profile,
    ProfileRow,
    Record,
    Utilisation,
    Waterfall,
    of_cases,
)
from bench.report.page import data as page_data
from bench.report.tables import profiles
from bench.storage.results import Store

FLAGS = ("--resolution", "64", "--threads", "1", "--out", "out", "--seconds", "1")


def made(model="repnext_u3_t", form="train", plain_ms=10.0, residual_ms=0.0, round=1, **rows):
    """A profile with a row of so many ms per keyword; the rest of the latency is gaps."""
    kinds = {"conv": "depthwise or group conv", "norm": "batch norm", "add": "addition"}
    case = Case(model, form, threads=2)
    made_rows = [
        ProfileRow(kind, f"block.{kind}", kinds[kind], 2, ms / 1e3, 4_000_000, 1_000_000)
        for kind, ms in rows.items()
    ]
    busy = sum(rows.values())
    gaps = plain_ms - busy - residual_ms
    terms = (plain_ms, busy, gaps, 0.0, residual_ms, 0.2, 0.2)
    return Profile(
        run_id="run",
        case_id=case.case_id,
        case=case,
        environment_id="env",
        round=round,
        seconds=1.0,
        rows=made_rows,
        waterfall=Waterfall(*(term / 1e3 for term in terms)),
        utilisation=Utilisation(busy=0.97),
        plain_samples_s=[plain_ms / 1e3],
        profiled_samples_s=[plain_ms / 1e3],
        events=100,
    )


TRAIN = made(conv=5.0, norm=2.0, add=1.0)
RREP = made(form="rrep", plain_ms=6.0, conv=4.5, add=0.5)
PEAKS = Peaks("run", "env", "fp32", 2, macs_per_s=50e9, bytes_per_s=10e9)


def test_terms_add_up_to_the_latency():
    terms = summary.by_term(TRAIN)
    assert sum(terms.values()) == pytest.approx(TRAIN.waterfall.plain_s)
    assert terms["batch norm"] == pytest.approx(2e-3)
    assert terms[summary.GAPS] == pytest.approx(2e-3)


def test_changes_add_up_to_the_change_of_latency_largest_first():
    *changes, total = summary.difference([TRAIN], [RREP])
    assert sum(change.seconds for change in changes) == pytest.approx(-4e-3)
    assert (total.term, total.seconds, total.within_s) == ("latency", pytest.approx(-4e-3), None)
    assert changes[0].term == "batch norm"
    assert [change.term for change in changes if change.term == "attention"] == []
    page = profiles.difference_page([TRAIN], [RREP])
    assert "| batch norm | 2.00 | 0 | -2000 | – |" in " ".join(page.split())
    assert "| **latency** | 10.0 | 6.00 | -4000 | – |" in " ".join(page.split())


def test_the_roofline_share_uses_the_limit_at_the_operators_intensity():
    row = ProfileRow("conv2d", "a", "other conv", 1, 1e-3, macs=20_000_000, bytes=1_000_000)
    assert summary.roofline_share(row, PEAKS) == pytest.approx(20e9 / 50e9)  # bound by products
    lean = msgspec.structs.replace(row, macs=2_000_000)
    assert summary.roofline_share(lean, PEAKS) == pytest.approx(2e9 / 20e9)  # bound by the copy
    assert summary.roofline_share(msgspec.structs.replace(row, macs=None), PEAKS) is None
    assert summary.roofline_share(row, None) is None


def test_a_profile_with_a_large_residual_is_marked_in_every_output():
    marked = made(residual_ms=0.6, conv=5.0)
    assert "residual is +6.0 %" in summary.doubts(marked)[0]
    assert "**Marked:**" in profiles.notes(marked)
    assert summary.doubts(TRAIN) == []
    assert "**Marked:**" not in profiles.notes(TRAIN)


def test_the_page_has_terms_operators_and_the_share_of_the_roofline():
    page = profiles.page([TRAIN, RREP], {TRAIN.case_id: PEAKS})
    assert "| batch norm |" in " ".join(page.split())
    assert "block.norm" in page
    assert "cores busy 97 %" in page
    row = next(line for line in page.splitlines() if "block.conv" in line)
    # 4 M products in 5 ms are 0.8 G/s, 1.6 GFLOP/s; 4 products a byte at 10 GB/s allow 40 G/s.
    assert [cell.strip() for cell in row.strip("|").split("|")][-3:] == ["1.60", "0.200", "2.00"]


def test_the_report_keeps_failures_of_profiles_apart_from_measurements():
    case = Case("resnet50", "plain", threads=2)
    records: list[Record] = [
        ENVIRONMENT,
        measurement(case),
        failure(case, stage="profile", message="no kernel is in the trace"),
        PEAKS,
        TRAIN,
        RREP,
    ]
    pages = pages_of(records)
    assert {"results.md", "profile.md", "figure5.png", "figure5.svg", "roofline.png"} <= set(pages)
    assert "failed" not in pages["results.md"].decode()
    assert pages_of(records) == pages
    alone = pages_of([ENVIRONMENT, TRAIN])
    assert "results.md" not in alone
    assert "roofline.png" not in alone  # there are no peaks
    assert list(of_cases(records)) == [records[1]]


def test_rounds_are_merged_to_means_that_add_up():
    second = made(plain_ms=12.0, round=2, conv=7.0, norm=2.0)
    both = summary.mean_of_rounds([TRAIN, second])
    terms = summary.by_term(both)
    assert both.waterfall.plain_s == pytest.approx(11e-3)
    assert sum(terms.values()) == pytest.approx(11e-3)
    assert terms["depthwise or group conv"] == pytest.approx(6e-3)
    assert terms["addition"] == pytest.approx(0.5e-3)  # the second round had none
    assert len(both.plain_samples_s) == 2


def test_residuals_that_cancel_in_the_mean_are_still_marked():
    apart = [made(residual_ms=r, round=n, conv=5.0) for n, r in ((1, 0.8), (2, -0.9), (3, 0.1))]
    both = summary.mean_of_rounds(apart)
    assert abs(both.waterfall.residual_s) < 1e-6
    (doubt,) = summary.doubts(both)
    assert doubt == ("2 of 3 processes do not add up to 5 %: residuals from -9.0 to +8.0 %")
    assert "**Marked:** 2 of 3 processes" in profiles.notes(both)


@pytest.mark.usefixtures("without_figures")
def test_a_failed_case_is_on_the_page_with_its_earlier_profile():
    failed = failure(Case("swin_t", "plain"), stage="profile", message="no kernel in the trace")
    later = failure(TRAIN.case, stage="profile", message="killed")
    page = pages_of([ENVIRONMENT, TRAIN, failed, later])["profile.md"].decode()
    assert "**Failed:** swin_t, with CheckError: no kernel in the trace" in page
    assert "killed" in page
    assert "block.conv" in page
    assert list(pages_of([ENVIRONMENT, failed])) == ["profile.md"]


def test_a_kept_trace_does_not_name_the_machine():
    content = b'{"traceName": "/x/y.json", "distributedInfo": {"host": "vm"}, "traceEvents": []}'
    assert passes.without_host(content) == b'{"traceEvents": []}'


def test_the_interval_of_a_change_comes_from_paired_rounds():
    before = [made(round=n, conv=5.0 + n) for n in (1, 2, 3)]
    same = [made(form="rrep", round=n, conv=4.0 + n) for n in (1, 2, 3)]
    *changes, total = summary.difference(before, same)
    change = next(each for each in changes if each.term.startswith("depthwise"))
    assert change.seconds == pytest.approx(-1e-3)
    assert change.within_s == pytest.approx(0, abs=1e-12)  # they moved alike
    drifting = [made(form="rrep", round=n, conv=4.0 + 2 * n) for n in (1, 2, 3)]
    unsure = next(c for c in summary.difference(before, drifting) if c.term.startswith("depthwise"))
    # Changes of 0, 1 and 2 ms: a standard error of 0.577 ms, and t is 4.303 of two degrees.
    assert unsure.within_s == pytest.approx(4.303 * 0.57735e-3, rel=1e-3)
    assert total.term == "latency"


def test_changes_are_paired_within_a_run_only():
    """Rounds of other runs have the same numbers, but were profiled at other times."""
    before = [made(round=n, plain_ms=5.0, conv=5.0) for n in (1, 2, 3)]
    after = [made(form="rrep", round=n, plain_ms=4.0, conv=4.0) for n in (1, 2, 3)]
    then = [msgspec.structs.replace(each, run_id="then") for each in before]
    assert summary.difference(then, after)[-1].within_s is None
    slow = [msgspec.structs.replace(made(round=n, conv=9.0), run_id="then") for n in (4, 5)]
    mixed = summary.difference([*slow, *before], after)[-1]
    assert (mixed.seconds, mixed.within_s) == (pytest.approx(-1e-3), pytest.approx(0, abs=1e-12))


@pytest.mark.usefixtures("without_figures")
def test_a_profile_that_replaced_others_says_so_on_the_pages():
    again, anew = made(conv=4.0), msgspec.structs.replace(TRAIN, generation=1)
    for records, note in (
        ([TRAIN, again], "This profile replaced 1 earlier profile of the same case."),
        ([TRAIN, again, anew], "This profile replaced 2 earlier profiles of the same case."),
    ):
        pages = pages_of([ENVIRONMENT, *records])
        assert note in pages["profile.md"].decode()
        assert note in str(list(page_data._panels(0, device(records))))
    assert "replaced" not in pages_of([ENVIRONMENT, TRAIN, made(round=2)])["profile.md"].decode()


def test_the_last_profile_of_a_round_counts_and_so_does_a_later_failure():
    again, second = made(conv=4.0), made(round=2, conv=6.0)
    failed = failure(TRAIN.case, stage="profile")
    (train, rrep) = latest([TRAIN, RREP, second, again])
    assert (train.rounds, rrep.rounds) == ([again, second], [RREP])
    assert profile_history([TRAIN, failed], TRAIN.case, "env").failure is failed
    assert profile_history([failed, TRAIN], TRAIN.case, "env").failure is None
    assert profile_history([TRAIN, failure(TRAIN.case)], TRAIN.case, "env").failure is None
    assert profile_history([TRAIN], TRAIN.case, "other").rounds == []
    anew = msgspec.structs.replace(TRAIN, generation=1)
    assert profile_history([anew, TRAIN], TRAIN.case, "env").rounds == [anew]
    assert [known.failure for known in latest([TRAIN, failed, RREP])] == [failed, None]
    assert latest([ENVIRONMENT]) == []
    assert peaks_of([PEAKS], TRAIN) is PEAKS
    other = msgspec.structs.replace(PEAKS, threads=1)
    assert peaks_of([other], TRAIN) is None
    lower = msgspec.structs.replace(PEAKS, macs_per_s=40e9)
    assert peaks_of([lower, PEAKS], TRAIN) is peaks_of([PEAKS, lower], TRAIN) is PEAKS


@pytest.mark.slow
def test_profile_compares_cases_keeps_traces_and_profiles_no_case_twice(bench, tmp_path):
    done = bench(
        "profile", "--diff", "timm/test_resnet", "timm/test_resnet bf16", *FLAGS, "--trace"
    )
    assert done.returncode == 0, done.stderr
    assert "residual" in done.stderr
    assert "# From timm/test_resnet 64² to timm/test_resnet bf16 64²" in done.stdout
    assert "**latency**" in done.stdout
    traces = list(tmp_path.glob("out/*/traces/*.json"))
    assert len(traces) == 6
    assert all("traceEvents" in json.loads(trace.read_text()) for trace in traces)

    path = next(tmp_path.glob("out/*/results.jsonl"))
    records = msgspec.json.Decoder(Record).decode_lines(path.read_bytes())
    assert isinstance(records[0], Environment)
    assert len(records) == 1 + 2 + 6  # peaks of each precision, three profiles of each
    assert [r.precision for r in records if isinstance(r, Peaks)] == ["fp32", "bf16"]
    profiles = [record for record in records if isinstance(record, Profile)]
    assert sorted(Counter(each.case.precision for each in profiles).items()) == [
        ("bf16", 3),
        ("fp32", 3),
    ]
    for each in profiles:
        waterfall = each.waterfall
        terms = waterfall.busy_s + waterfall.gaps_s + waterfall.sync_s + waterfall.residual_s
        assert terms == pytest.approx(waterfall.plain_s)
        assert sum(row.time_s for row in each.rows) == pytest.approx(waterfall.busy_s)
        assert all(row.module for row in each.rows if row.category == "other conv")
        assert each.seconds == pytest.approx(1 / 3)

    before = path.read_bytes()
    again = bench("profile", "--models", "timm/test_resnet", *FLAGS)
    assert "layer1.0.conv1" in again.stdout
    again = bench("profile", "--models", "timm/test_resnet", *FLAGS, "--json")
    assert json.loads(again.stdout)[0]["case"]["model"] == "timm/test_resnet"
    assert path.read_bytes() == before


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (("--models", "resnet50", "--device", "fake"), 2, "the fake device has no operators"),
        (
            ("--diff", "resnet50", "repnext_u3_t"),
            2,
            "--diff compares two cases, but these names give 5",
        ),
        (("--diff", "resnet50", "resnet50 fast"), 2, "unknown backend or precision 'fast'"),
        (("--diff", "resnet50", "swin_t", "--models", "a"), 2, "--diff cannot be combined with"),
        (("--models", "resnet50", "--preset", "fast"), 2, "unknown preset 'fast'"),
        (("--models", "resnet50", "--precision", "tf32"), 3, "no tf32 on"),
        (("--models", "resnet50", "--seconds", "0"), 2, "--seconds 0 is out of range"),
        ((), 2, "nothing to measure"),
    ],
)
def test_bad_input_gets_one_message(bench, arguments, code, said):
    done = bench("profile", *arguments)
    assert done.returncode == code
    assert said in done.stderr
    assert "Traceback" not in done.stderr
    assert done.stdout == ""


NETS = """
from torch import nn


def sound():
    return nn.Sequential(nn.Conv2d(3, 3, 1), nn.AdaptiveAvgPool2d(1), nn.Flatten())


def wrong():
    return nn.Sequential(nn.Conv2d(5, 3, 1))
"""


def test_a_network_that_cannot_run_is_a_failure_without_rows(bench, tmp_path, monkeypatch):
    monkeypatch.setattr(profiler, "PROFILE_ROUNDS", 1)
    (tmp_path / "net.py").write_text(NETS)
    models = ("--models", "net.py:wrong,net.py:sound", "--resolution", "32", "--threads", "1")
    done = bench("profile", *models, "--seconds", "0.3", "--out", "out")
    assert done.returncode == 1
    path = next(tmp_path.glob("out/*/results.jsonl"))
    records = msgspec.json.Decoder(Record).decode_lines(path.read_bytes())
    (record,) = [record for record in records if isinstance(record, Failure)]
    assert record.stage == "profile"
    assert record.message.startswith("at first: the network does not accept its input")
    (profile,) = [record for record in records if isinstance(record, Profile)]
    assert profile.case.model.startswith("net.py:sound#")
    assert sum(row.time_s for row in profile.rows) == pytest.approx(profile.waterfall.busy_s)
    assert profile.waterfall.busy_s > 0


@pytest.mark.slow
def test_a_suite_with_profile_is_profiled_after_its_measurement(bench, tmp_path, monkeypatch):
    monkeypatch.setattr(profiler, "PROFILE_ROUNDS", 1)
    (tmp_path / "mine.toml").write_text(
        'models = ["timm/test_resnet"]\nbatch = [1, 2]\nresolution = [32]\nprofile = true\n'
    )
    run = ("--suite", "mine.toml", "--preset", "quick", "--rounds", "1", "--threads", "1")
    done = bench("run", *run, "--out", "out")
    assert done.returncode == 0, done.stderr
    lines = next(tmp_path.glob("out/*/results.jsonl")).read_text().splitlines()
    kinds = [json.loads(line)["type"] for line in lines]
    assert (kinds.count("measurement"), kinds.count("profile")) == (2, 1)


def test_a_new_template_profiles_the_rest_of_a_killed_round(monkeypatch, tmp_path):
    cases = [Case(model, "plain", threads=2) for model in ("resnet50", "swin_t", "convnext_t")]
    asked, deaths = [], [1, 4, 5]

    def one(self, case, number, template):
        asked.append((case.model, number))
        if len(asked) - 1 in deaths:
            raise TemplateDiedError
        record = msgspec.structs.replace(
            TRAIN, case=case, case_id=case.case_id, round=number, seconds=1 / 3
        )
        self._store.append(record)
        return record

    monkeypatch.setattr(profiler._Profiler, "_profile_case", one)
    monkeypatch.setattr(templates, "Template", lambda *_, **__: contextlib.nullcontext())
    store, said = Store(tmp_path), []
    store.open()
    with contextlib.closing(store):
        known = profiler.profile(cases, 1.0, store, ENVIRONMENT, said.append)
        assert [[each.round for each in one.rounds] for one in known] == [[1, 2, 3]] * 3
        assert len(said) == 3
        assert len(asked) == 9 + len(deaths)
        deaths[:] = range(100)
        other = [Case("deit_s", "plain", threads=2)]
        with pytest.raises(UsageError, match="killed 3 times"):
            profiler.profile(other, 1.0, store, ENVIRONMENT, said.append)


def subject(call):
    return Prepared(call, lambda output: None)


PLAN = ProfilePlan(seconds=0.05, block_s=0.01)
JOB = Job(Case("resnet50", "plain", threads=1), 1, PRESETS["quick"], None, None, PLAN)


class Queue(CpuSession):
    """A CPU session that claims to have a queue; its traces have no kernels."""

    has_queue = True


def test_a_gpu_trace_without_kernels_is_refused(monkeypatch):
    monkeypatch.setenv("TEARDOWN_CUPTI", "0")  # restored after the test
    images = torch.randn(1, 3, 8, 8)
    with pytest.raises(TraceError, match=r"CUPTI is missing.*on a Jetson.*root"):
        profile.profile(JOB, Queue(Host()), subject(lambda: torch.relu(images)))
    assert os.environ["TEARDOWN_CUPTI"] == "1"


def test_plain_calls_are_timed_while_cupti_is_not_loaded(monkeypatch):
    """CUPTI stays after its first use, unless a variable says that it must leave each time."""
    monkeypatch.setenv("TEARDOWN_CUPTI", "0")  # restored after the test
    cupti = types.SimpleNamespace(is_loaded=False)
    found = []

    class Loading(passes.profile):
        def __enter__(self):
            cupti.is_loaded = True
            return super().__enter__()

        def __exit__(self, *error):
            super().__exit__(*error)
            cupti.is_loaded = os.environ["TEARDOWN_CUPTI"] != "1"

    def looking(timed):
        def block(*arguments):
            found.append(cupti.is_loaded)
            return timed(*arguments)

        return block

    monkeypatch.setattr(passes, "profile", Loading)
    for name in ("timed_block", "pipelined_block"):
        monkeypatch.setattr(passes, name, looking(getattr(passes, name)))
    images = torch.randn(1, 3, 8, 8)
    with pytest.raises(TraceError, match="no kernel"):
        profile.profile(JOB, Queue(Host()), subject(lambda: torch.relu(images)))
    passes.event_cost_s(CpuSession(Host()))
    assert len(found) >= 2 + passes.EVENT_REPEATS
    assert not any(found)


@pytest.mark.parametrize(
    ("backend", "cuda", "refused"),
    [
        ("cudagraph", "12.4", True),
        ("cudagraph", "12.6", False),
        ("cudagraph", "13.0", False),
        ("eager", "11.8", False),
    ],
)
def test_a_cuda_graph_is_not_profiled_where_it_would_crash(backend, cuda, refused, monkeypatch):
    monkeypatch.setenv("TEARDOWN_CUPTI", "0")  # restored after the test
    session = types.SimpleNamespace(settings=lambda: {"cuda": cuda})
    with pytest.raises(TraceError, match=r"12\.4") if refused else contextlib.nullcontext():
        profile.check_profiler(backend, session)


@pytest.mark.parametrize(
    ("content", "said"),
    [(b"{}", "cannot be read"), (encoded(mark(0, 5)), "1 of ")],
)
def test_a_trace_that_lost_iterations_is_refused(monkeypatch, content, said):
    monkeypatch.setattr(passes, "_export", lambda profiler: content)
    images = torch.randn(1, 3, 8, 8)
    with pytest.raises(TraceError, match=said):
        passes.run_pass(lambda: torch.relu(images), CpuSession(Host()), 0.05, 0.01)


def test_plain_and_profiled_blocks_alternate_and_are_equally_long():
    images = torch.randn(1, 3, 64, 64)
    seen = passes.run_pass(lambda: torch.relu(images), CpuSession(Host()), 0.2, 0.01)
    assert len(seen.samples.plain) == len(seen.samples.profiled) >= 2
    lengths = {len(block) for block in (*seen.samples.plain, *seen.samples.profiled)}
    assert len(lengths) == 1
    assert len(seen.iterations) == lengths.pop() * len(seen.samples.profiled)
    assert {operator.name for each in seen.iterations for operator in each.operators} == {
        "aten::relu"
    }


def test_the_cost_of_an_event_is_small_and_peaks_are_positive():
    assert 0 <= passes.event_cost_s(CpuSession(Host())) < 1e-4
    assert 0 <= passes.fault_cost_s() < 1e-4
    reached = peaks.peaks(CpuSession(Host()), torch.float32)
    assert reached.macs_per_s > 1e8
    assert reached.bytes_per_s > 1e8


def test_no_larger_products_follow_one_that_takes_long(monkeypatch):
    known, asked = {8: 0.01, 16: 2.0}, []

    def fastest(call, session):
        if not isinstance(call, functools.partial):  # the copy
            return 1e-3
        asked.append(len(call.args[0]))
        return known[asked[-1]]

    monkeypatch.setattr(peaks, "_fastest_s", fastest)
    session = types.SimpleNamespace(peak_work=PeakWork((8, 16, 32), 4096), torch_device="cpu")
    assert peaks.peaks(session, torch.float32).macs_per_s == 8**3 / 0.01
    assert asked == [8, 16]
