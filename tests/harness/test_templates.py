"""Cases whose processes start in different ways are forked from different templates."""

import msgspec
import pytest
from support import runs
from support.runs import PLAN, Listener, fake

from bench.errors import UnavailableError
from bench.harness.scheduler import template, templates
from bench.harness.scheduler.template import marked_processes
from bench.harness.scheduler.templates import Templates
from bench.records import Case, Measurement
from bench.storage.history import of_cases

DEFAULT, ARENA, JEMALLOC = (
    msgspec.structs.replace(fake("resnet50"), allocator=name)
    for name in ("default", "arena", "jemalloc")
)


@pytest.fixture
def preloads(monkeypatch):
    """Let one allocator of the fake device need a variable, as a library does on a CPU."""
    found = {"jemalloc": {"BENCH_TEST_PRELOAD": "1"}}
    monkeypatch.setattr(templates, "variables", lambda case: found.get(case.allocator, {}))


@pytest.mark.usefixtures("preloads")
def test_an_allocator_that_is_preloaded_has_a_template_of_its_own():
    with Templates([DEFAULT, ARENA, JEMALLOC]) as several:
        assert several.of(DEFAULT) is several.of(ARENA)
        assert several.of(JEMALLOC) is not several.of(DEFAULT)
        ours = list(marked_processes(f"{template.os.getpid()}-"))
        assert ["BENCH_TEST_PRELOAD" in each.environ() for each in ours].count(True) == 1
    assert list(marked_processes(f"{template.os.getpid()}-")) == []


@pytest.mark.usefixtures("preloads")
def test_allocators_take_turns_in_one_round(tmp_path):
    cases = [DEFAULT, JEMALLOC, ARENA]
    store, failures = runs.measure(tmp_path, cases, PLAN, Listener())
    assert not failures
    made = [each for each in of_cases(store.records) if isinstance(each, Measurement)]
    by_sitting = {}
    for each in made:
        by_sitting.setdefault(each.sitting, set()).add(each.case.allocator)
    assert list(by_sitting.values()) == [{"default", "jemalloc", "arena"}] * PLAN.rounds
    starts = sorted((start, each.case.allocator) for each in made for start in each.block_starts_s)
    assert len({name for _, name in starts[:3]}) == 3  # one block of each, then the next of each


@pytest.mark.usefixtures("preloads")
def test_templates_that_started_end_if_another_does_not(monkeypatch):
    start = template.Template.__init__

    def refuse(self, device, variables, *, imports):
        if variables:
            raise UnavailableError("no")
        start(self, device, variables, imports=imports)

    monkeypatch.setattr(template.Template, "__init__", refuse)
    with pytest.raises(UnavailableError):
        Templates([DEFAULT, JEMALLOC])
    assert list(marked_processes(f"{template.os.getpid()}-")) == []


def test_only_processes_that_run_torch_get_variables(monkeypatch):
    monkeypatch.setattr(templates.allocators, "variables", lambda name: {"LD_PRELOAD": name})
    on_cpu = Case("resnet50", "plain", allocator="jemalloc")
    assert templates.variables(on_cpu) == {"LD_PRELOAD": "jemalloc"}
    assert templates.variables(JEMALLOC) == {}
    assert templates.variables(msgspec.structs.replace(on_cpu, device="cuda")) == {}
