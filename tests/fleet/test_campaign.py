"""What a client asks a fleet, and what it makes of the answers; the workers follow a script."""

import queue

import msgspec
import pytest
from support.records import CASE, ENVIRONMENT, measurement

from bench.errors import BAD_INPUT, NOT_AVAILABLE
from bench.fleet.campaign import MOST_SILENT, Campaign, Wanted
from bench.fleet.client import Ended, Fate, Kind, LostError, Said
from bench.fleet.errand import Made, Offer, Offered, Refused, Sent, Waits, to_json
from bench.harness.plan import PRESETS
from bench.harness.suite import Overrides, Suite

PLAN = PRESETS["quick"].exactly(1)
ELSEWHERE = Refused("no H100 here", "Use --device cuda", NOT_AVAILABLE, is_elsewhere=True)
DONE = msgspec.structs.replace(measurement(CASE), stopped_by="rounds")


class Workers:
    """A fleet of these kinds; `answer` gives the messages to a question, and the fate of it."""

    def __init__(self, kinds, answer):
        self._kinds, self._answer = kinds, answer
        self._fates = {}
        self.asked = []
        self.arrived = queue.SimpleQueue()

    def check_connected(self):
        """The scheduler is always there."""

    def kinds(self):
        return self._kinds

    def ask(self, number, kind, question):
        self.asked.append((kind, question))
        bodies, fate = self._answer(kind, question)
        self._fates[number] = fate
        for body in bodies:
            self.arrived.put(Said(number, to_json(Sent("1", body))))
        self.arrived.put(Ended(number))

    def forget(self, number):
        return self._fates.pop(number)


def environment(kind):
    return msgspec.structs.replace(ENVIRONMENT, environment_id=kind.environment_id)


def measured(kind, record=DONE):
    record = msgspec.structs.replace(record, environment_id=kind.environment_id)
    return [Made(to_json(environment(kind))), Made(to_json(record))]


def answers(has):
    """Workers that have the devices `has`, by kind, and measure each errand."""

    def answer(kind, question):
        if not isinstance(question, Offer):
            return measured(kind), Fate(was_lost=False)
        offered = Offered(environment(kind), [[CASE]])
        known = question.device in has[kind]
        return [offered if known else ELSEWHERE], Fate(was_lost=False)

    return answer


def wanted(devices, **changes):
    asked = Wanted(
        devices=devices,
        suite=Suite(),
        overrides=Overrides(),
        weights="",
        threads=None,
        plan=PLAN,
        labels=lambda cases: {},
        command="",
        retry_failed=False,
        again=False,
        away_s=1.0,
        check=lambda: None,
    )
    return asked._replace(**changes)


def work(workers, results, devices, **changes):
    """The refusals of a campaign, and what it said."""
    said = []
    campaign = Campaign(wanted(devices, **changes), results, said.append)
    campaign.work(workers)
    return campaign.refused, said


A100, H100 = Kind("cuda", "a"), Kind("cuda", "b")


def test_an_alias_measures_on_the_workers_that_have_it(results):
    workers = Workers([A100, H100], answers({A100: ["cuda"], H100: ["cuda", "h100"]}))
    assert work(workers, results, ["h100"]) == ({}, [])
    assert list(results.machines) == ["b"]


def test_an_alias_that_no_worker_has_is_refused(results):
    workers = Workers([A100], answers({A100: ["cuda"]}))
    assert work(workers, results, ["h100"])[0] == {"worker with h100": ELSEWHERE}


def test_two_aliases_measure_on_a_kind_each_and_a_kind_named_twice_measures_once(results):
    workers = Workers([A100, H100], answers({A100: ["cuda", "a100"], H100: ["cuda", "h100"]}))
    assert work(workers, results, ["a100", "h100", "cuda"])[0] == {}
    assert sorted(results.machines) == ["a", "b"]
    errands = [kind for kind, question in workers.asked if not isinstance(question, Offer)]
    assert sorted(errands) == [A100, H100]


def test_a_task_that_fails_is_asked_a_few_times_and_its_error_is_told(results):
    workers = Workers([A100], lambda *_: ([], Fate(was_lost=False, error="OSError: no room")))
    refused, _ = work(workers, results, ["cuda"])
    assert len(workers.asked) == MOST_SILENT + 1
    (found,) = refused.values()
    assert found.message == "workers end without an answer: OSError: no room"
    assert found.exit_code == BAD_INPUT


def test_a_worker_that_waits_says_for_what(results):
    def answer(kind, question):
        bodies, fate = answers({A100: ["cuda"]})(kind, question)
        return [Waits("waiting: another run is measuring on gpu"), *bodies], fate

    _, said = work(Workers([A100], answer), results, ["cuda"])
    told = "worker with cuda: waiting: another run is measuring on gpu"
    assert said == [told, told]  # of the offer and of the errand


def test_a_dry_run_asks_for_the_cases_and_writes_nothing(results, tmp_path):
    workers = Workers([A100], answers({A100: ["cuda"]}))
    assert work(workers, results, ["cuda"], dry_run=True) == ({}, [])
    assert [type(question) for _, question in workers.asked] == [Offer]
    assert [each.groups for each in results.offered.values()] == [[[CASE]]]
    assert list(tmp_path.iterdir()) == []


def test_a_signal_ends_it_even_where_its_exception_was_discarded(results):
    came = iter([None, KeyboardInterrupt])

    def check():
        if error := next(came):
            raise error

    endless = Workers([A100], lambda *_: ([], Fate(was_lost=True)))
    with pytest.raises(KeyboardInterrupt):
        work(endless, results, ["cuda"], check=check)


def test_groups_that_were_not_given_before_the_scheduler_was_lost_are_given_to_the_next(results):
    groups = [[CASE], [msgspec.structs.replace(CASE, batch=2)]]

    def lost(kind, question):
        if isinstance(question, Offer):
            return [Offered(environment(kind), groups)], Fate(was_lost=False)
        raise LostError

    def found(kind, question):
        (case,) = question.cases
        record = msgspec.structs.replace(DONE, case=case, case_id=case.case_id)
        return measured(kind, record), Fate(was_lost=False)

    campaign = Campaign(wanted(["cuda"]), results, print)
    with pytest.raises(LostError):
        campaign.work(Workers([A100], lost))
    second = Workers([A100], found)
    campaign.work(second)
    assert [question.cases for _, question in second.asked] == groups
