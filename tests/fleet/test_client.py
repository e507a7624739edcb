"""How a question ended, as Dask tells it."""

import pytest
from distributed.scheduler import KilledWorker

from bench.fleet.client import Ended, Fate, Fleet, Kind, LostError
from bench.fleet.errand import Offer
from bench.harness.suite import Suite


class Client:
    """A Dask client whose only task has ended with `error`."""

    def __init__(self, error=None):
        self.error = error
        self.status = "error" if error else "finished"
        self.topics = []

    def subscribe_topic(self, topic, handler):
        self.topics.append(topic)

    def unsubscribe_topic(self, topic):
        self.topics.remove(topic)

    def submit(self, *_, **__):
        return self

    def add_done_callback(self, call):
        call(self)

    def exception(self, timeout):
        return self.error


@pytest.mark.parametrize(
    ("error", "fate"),
    [
        (None, Fate(was_lost=False)),
        (KilledWorker("task", None, 0), Fate(was_lost=True)),
        (OSError("no room"), Fate(was_lost=False, error="OSError: no room")),
    ],
)
def test_a_lost_worker_is_told_apart_from_an_error_of_its_task(error, fate):
    client = Client(error)
    fleet = Fleet(client)
    fleet.ask(1, Kind("fake", "here"), Offer("fake", Suite()))
    assert fleet.arrived.get_nowait() == Ended(1)
    assert len(client.topics) == 1
    assert fleet.forget(1) == fate
    assert client.topics == []


def test_a_connection_that_breaks_meanwhile_is_lost():
    client = Client(OSError())
    fleet = Fleet(client)
    fleet.ask(1, Kind("fake", "here"), Offer("fake", Suite()))
    client.topics.clear()
    with pytest.raises(LostError):
        fleet.forget(1)
