"""The attacks in small: bench withstands them, and each finds a fault that is planted."""

import pytest
import torch
from support import networks as workers
from support.attack import environments, network_judge, networks, store_judge, stores
from support.attack.environment_kinds import FEWER_CPUS, Environment
from support.attack.ledger import BAD, Row, examples_of, table, worst
from support.attack.network_judge import DISTURBED, RATIO, Seen
from support.kept import Kept

from bench.analysis import rows, tally
from bench.analysis.conditions import CPUS_CHANGED
from bench.analysis.reasons import Observation, Reason
from bench.analysis.stats import Summary
from bench.analysis.verdict import Machine, judge
from bench.harness.worker.unseen import Unseen, UnseenImages

STORES = 10
HISTORY = rows.history


def findings(folder, attacks):
    """Return what is wrong with each store, which is reported without figures."""
    found = []
    for number, attack in enumerate(attacks):
        (folder / str(number)).mkdir()
        plain = attack._replace(figures=False)
        found.append(store_judge.attacked(folder / str(number), plain))
    return found


def test_drawn_stores_are_read_rightly(tmp_path):
    for found in findings(tmp_path, examples_of(stores.attacks(strangers=True), STORES, seed=3)):
        assert worst(found)[0] not in BAD, found


def of_three_runs():
    """Two folders: in both are the rounds of one run, and each has a run with other settings."""

    def run(name, threads, rounds):
        common = {"run_id": name, "environment_id": "e1", "generation": 0}
        made = [common | {"round": number} for number in range(1, rounds + 1)]
        samples = [0.003, 0.004]
        yield stores.environment(common, stores.DATES[0], "Test Chip")
        yield from (
            stores.round_of(each, "swin_t", samples * threads, threads, "") for each in made
        )

    common = [*run("r0", 2, 2)]
    files = [[*common, *run("r1", 2, 2)], [*common, *run("r2", 1, 1)]]
    lines = [[stores.line_of(record) for record in records] for records in files]
    return stores.Attack(lines, ["swin_t"], "", False)


def by_number(*given):
    """The rounds of all runs by their number alone."""
    found = HISTORY(*given)
    return found._replace(rounds=[*{each.round: each for each in found.rounds}.values()])


def twice(*given):
    found = HISTORY(*given)
    return found._replace(rounds=[*found.rounds, *found.rounds])


FAULTS = {
    "lost": ("bench.analysis.rows.history", by_number),
    "doubled": ("bench.analysis.rows.history", twice),
    "wrong": ("bench.analysis.rows.summarise", lambda *given, **named: SLOW),
    "traceback": ("bench.report.devices.environment_ids", lambda records: 1 / 0),
}
SLOW = Summary(latency=1.0, mean=1.0, std=0.0, median=1.0, samples=16, processes=4)


@pytest.mark.parametrize("outcome", FAULTS)
def test_a_fault_in_reading_is_found(tmp_path, monkeypatch, outcome):
    (found,) = findings(tmp_path, [of_three_runs()])
    assert found == []
    monkeypatch.setattr(*FAULTS[outcome])
    (found,) = findings(make(tmp_path / "faulty"), [of_three_runs()])
    assert outcome in [each for each, _ in found]


def make(folder):
    folder.mkdir()
    return folder


def test_rounds_that_are_pooled_although_their_settings_differ_are_found(tmp_path, monkeypatch):
    monkeypatch.setattr("bench.analysis.rows.alike", list)
    (found,) = findings(tmp_path, [of_three_runs()])
    assert ("doubled", "18 samples instead of 16") in found


def of_disturbed_rounds():
    """Two folders: round 1 of one is calm, and round 1 of the other disturbed."""

    def lines(run_id, disturbance):
        common = {"run_id": run_id, "environment_id": "e1"}
        numbered = common | {"generation": 0, "round": 1}
        made = stores.round_of(numbered, "swin_t", [0.003], 2, "") | disturbance
        began = stores.environment(common, stores.DATES[0], "Test Chip")
        return [stores.line_of(record) for record in (began, made)]

    files = [lines("r0", {}), lines("r1", {"disturbed_by": [stores.NEIGHBOUR]})]
    return stores.Attack(files, ["swin_t"], "", False)


def test_rounds_that_are_left_out_without_a_word_are_found(tmp_path, monkeypatch):
    (found,) = findings(tmp_path, [of_disturbed_rounds()])
    assert found == []
    monkeypatch.setattr("bench.analysis.verdict.left_out", lambda rounds: [[] for _ in rounds])
    (found,) = findings(make(tmp_path / "faulty"), [of_disturbed_rounds()])
    assert ("lost", "rounds are left out without a word: disturbed_by") in found


def test_all_kinds_of_records_and_of_disturbed_rounds_are_drawn():
    drawn = examples_of(stores.attacks(), 100, seed=1)
    text = b"".join(line for attack in drawn for lines in attack.files for line in lines)
    for each in (b'"profile"', b'"disturbed_by"', b'"spoilt_by"', b'"peaks"', b'"failure"'):
        assert each in text


def test_lines_that_are_not_counted_are_found(tmp_path, monkeypatch):
    whole = tally.tally
    monkeypatch.setattr("bench.analysis.gather.tally", lambda records, *counts: whole(records))
    (found,) = findings(tmp_path, [of_three_runs()])
    assert any("do not add up" in detail for _, detail in found)


# --- networks ------------------------------------------------------------------------------------


def made(source, file="net.py"):
    """Return the factory in the source of a network."""
    names = {"__name__": "net", "__file__": str(file)}
    exec(compile(source, "net.py", "exec"), names)
    return names["net"]


def pair_of(kind):
    (pair,) = examples_of(networks.pairs([kind]), 1, seed=5)
    return pair


def seen(source, without=()):
    """Measure a network in a thread; its verdict lacks the reasons `without`."""
    record = workers.measured(made(source), resolution=64)
    doubts = [each for each in judge(record, Machine()).reasons if each.level != "VALID"]
    own = [each for each in doubts if each.observation not in (*OF_THE_TEST, *without)]
    return Seen("SUSPECT" if own else "VALID", "", record.blocks)


OF_THE_TEST = {Observation.NO_KERNEL, Observation.OTHERS, Observation.STOLEN, Observation.UNSTEADY}


def test_answers_stored_by_content_are_found_where_the_verdict_does_not_name_them():
    pair = pair_of("stored by content")
    twin = seen(pair.twin)
    assert network_judge.judged(pair.kind, seen(pair.attack), twin) == []
    blind = seen(pair.attack, without=[Observation.UNSEEN_SLOWER])
    ((outcome, detail),) = network_judge.judged(pair.kind, blind, twin)
    assert outcome == "wrong"
    assert RATIO in detail


def test_answers_that_are_wrong_are_found_where_nobody_checks_them(monkeypatch):
    pair = pair_of("stored from a call on")
    monkeypatch.setattr(UnseenImages, "call", lambda self, *given: Unseen([], []))
    found = network_judge.judged(pair.kind, seen(pair.attack), seen(pair.twin))
    assert ("wrong", f"{pair.kind}: VALID") in found


LOADED = "other processes used 90 % of the CPUs"
TWIN = Seen("VALID", "", [[0.010, 0.011]] * 3)
JUDGED = [
    ("honest", TWIN, []),
    ("honest", Seen(None, "check: CheckError", []), ["wrong"]),
    ("clock", Seen(None, "check: CheckError", []), ["refused"]),
    ("clock", Seen(None, "", []), ["lost"]),
    ("clock", Seen("VALID", "", [[0.007]] * 3), ["wrong"]),
    ("clock", Seen("VALID", "", [[0.009]] * 3), []),
    ("clock", Seen(DISTURBED, "", [[0.007]] * 3), []),
    ("clock", Seen(DISTURBED, "", [[0.004]] * 3), ["wrong"]),
    ("clock", Seen("SUSPECT", "", [[0.001]] * 3), []),
    ("stopped", Seen("VALID", "", [[0.010, 0.010, 0.9]] * 3), ["wrong"]),
    ("spinning", Seen("VALID", "", [[0.010]] * 3), ["wrong"]),
    ("nanoseconds", Seen("SUSPECT", "", [[1e-6] * 100_001]), ["wrong"]),
    ("threads on one CPU", Seen("INVALID", "", [[0.020]] * 3, is_silent=True), ["wrong"]),
]


@pytest.mark.parametrize(("kind", "net", "outcomes"), JUDGED)
def test_a_network_is_judged_beside_its_twin(kind, net, outcomes):
    assert [outcome for outcome, _ in network_judge.judged(kind, net, TWIN)] == outcomes


@pytest.mark.parametrize(
    ("kind", "net", "expected"),
    [
        ("honest", Seen(DISTURBED, "", [[0.010, 0.9]] * 3), True),
        ("honest", Seen("VALID", "", [[0.020]] * 3), True),
        ("stopped", Seen("VALID", "", [[0.010, 0.010, 0.9]] * 3), False),
        ("spinning", Seen(DISTURBED, "", [[0.010, 0.9]] * 3), False),
        ("honest", TWIN, False),
    ],
)
def test_only_times_that_a_busy_machine_explains_are_measured_again(kind, net, expected):
    findings = network_judge.judged(kind, net, TWIN)
    assert network_judge.is_by_time_alone(findings) is expected


@pytest.mark.parametrize(
    ("doubts", "verdict"),
    [([], "VALID"), ([LOADED], DISTURBED), (["the clock fell by 30 %"], "SUSPECT")],
)
def test_one_process_is_no_doubt_in_a_sweep_of_one_round(doubts, verdict):
    alone = Reason(Observation.ONE_PROCESS, "SUSPECT").text
    each = {"verdict": "SUSPECT", "doubts": [*doubts, alone]}
    assert network_judge.verdict_of(each) == verdict


@pytest.fixture
def default_dtype():
    """Set torch's default dtype back after the test."""
    before = torch.get_default_dtype()
    yield before
    torch.set_default_dtype(before)


@pytest.mark.parametrize("is_restored", [True, False])
def test_a_network_notes_a_setting_that_stays_while_it_computes(
    tmp_path, default_dtype, is_restored
):
    pair = pair_of("setting when built: set_default_dtype")
    net = made(pair.attack, tmp_path / "net.py")()
    if is_restored:
        torch.set_default_dtype(default_dtype)
    for _ in range(10):
        net(torch.zeros(1, 3, 16, 16, dtype=torch.float32))
    assert [path.name for path in tmp_path.iterdir()] == ["net.py.kept"] * (not is_restored)


@pytest.mark.parametrize("doubts", [[], [LOADED]])
@pytest.mark.parametrize(("said", "is_named"), [("", False), ("the setting OMP_X was 1", True)])
def test_a_run_is_wrong_that_does_not_name_a_setting_of_its_environment(doubts, said, is_named):
    every = [*doubts, *[said] * bool(said)]
    outcome = [{"verdict": "SUSPECT" if every else "VALID", "doubts": every}]
    for must in ("named", "doubted"):
        given = Environment(must=must, recorded=("OMP_X",))
        assert (environments.judged(given, outcome, []) == []) == is_named
    told = [{"type": "environment", "state": {"OMP_X": "1"}}]
    named, doubted = (Environment(must=m, recorded=("OMP_X",)) for m in ("named", "doubted"))
    assert environments.judged(named, outcome, told) == []
    assert (environments.judged(doubted, outcome, told) == []) == is_named


CPUS = "the CPUs of the process"
NAMING = [  # what names lost CPUs, with its values
    (Observation.FEWER_THREADS, "1", "2"),
    (Observation.FEWER_CPUS, "1", "2"),
    (Observation.MORE_THREADS, "2", "1"),
    (Observation.OTHERS_UNREAD, CPUS_CHANGED),
    (Observation.UNATTRIBUTED, CPUS, "from 2 to 1"),
]
SILENT = [(each, "-", "-", "-") for each in Observation if each not in {o for o, *_ in NAMING}]
SILENT += [
    (Observation.OTHERS_UNREAD, "no such file"),
    (Observation.SETTING_CHANGED, f"{CPUS} from 2 to 1"),
    (Observation.SETTING_CHANGED, "the number of interop threads from 2 to 1"),
]


def test_lost_cpus_are_named_by_doubts_on_cpus_and_threads_of_the_case_alone():
    given = Environment(must="doubted", recorded=FEWER_CPUS)
    for observation, *values in (*NAMING, *SILENT):
        doubt = observation.sentence.format(*values)
        found = environments.judged(given, [{"verdict": "SUSPECT", "doubts": [doubt]}], [])
        assert (found == []) is ((observation, *values) in NAMING), doubt


def test_every_kind_of_network_can_be_built():
    for kind in networks.KINDS:
        compile(pair_of(kind).attack, kind, "exec")


# --- counts --------------------------------------------------------------------------------------


def test_rows_are_kept_for_one_key_and_counted(tmp_path):
    every = [Row("stores", 1, "", "recovered"), Row("stores", 2, "pipe", "lost", "a line")]
    kept = Kept(tmp_path / "deep" / "rows.jsonl", "key", Row)
    for row in every:
        kept.add(row)
    assert kept.rows() == every
    assert Kept(tmp_path / "deep" / "rows.jsonl", "other", Row).rows() == []
    assert table(every)[-1] == "| stores | 2 | 1 | 0 | 0 | 1 | 0 | 0 |"


def test_the_same_seed_draws_the_same():
    assert examples_of(stores.attacks(), 5, seed=1) == examples_of(stores.attacks(), 5, seed=1)
    assert examples_of(stores.attacks(), 5, seed=1) != examples_of(stores.attacks(), 5, seed=2)
