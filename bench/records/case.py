"""A case, and the place where a child process finds its model."""

from __future__ import annotations

import hashlib

import msgspec

from bench.records import scenario as scenarios
from bench.records.fields import Name, Whole
from bench.records.scenario import TIGHT, Scenario
from bench.records.workload import INFER, TRAIN

DEFAULT = "default"  # what PyTorch does


# Of a case_id, where they have these values
LEFT_OUT = {
    **{"input": "", "allocator": DEFAULT, "huge_pages": DEFAULT},
    **{"workload": INFER, "scenario": TIGHT},
}


class Case(msgspec.Struct, frozen=True, order=True, forbid_unknown_fields=True):
    """One configuration to measure. `device` is the name of a driver (`cpu`), never an alias.

    `input` is the shape of one image, such as `1x224x320` (channels, height, width); "" means
    3 channels and `resolution` pixels each way. `label` is what tables call the model, "" for its
    usual title. It is no part of the identity of a case, and no record on disk has it: readers take
    it from the environments of the runs. `allocator` is a name of `bench.devices.allocators`, and
    `huge_pages` one of `bench.devices.huge_pages`. `workload` is one of `bench.records.workload`,
    `scenario` the name of one of `bench.records.scenario`.
    """

    model: Name
    form: Name
    backend: Name = "eager"
    precision: Name = "fp32"
    batch: Whole = 1
    resolution: Whole = 224
    device: Name = "cpu"
    threads: Whole = 1
    input: Name = ""
    label: Name = ""
    allocator: Name = DEFAULT
    huge_pages: Name = DEFAULT
    workload: Name = INFER
    scenario: Name = TIGHT

    @property
    def case_id(self) -> str:
        """The first 16 hexadecimal digits of SHA-256 of the case as JSON with sorted keys.

        Without `label`, and without the fields of LEFT_OUT where they have their default, so that
        older records keep their ids.
        """
        identity = msgspec.structs.asdict(self)
        del identity["label"]
        for field, default in LEFT_OUT.items():
            if identity[field] == default:
                del identity[field]
        canonical = msgspec.json.encode(identity, order="sorted")
        return hashlib.sha256(canonical).hexdigest()[:16]

    @property
    def name(self) -> str:
        """`model@form` as in `--models`; only `model` for the plain form."""
        return self.model if self.form == "plain" else f"{self.model}@{self.form}"

    @property
    def trains(self) -> bool:
        """Whether a timed call is a training step."""
        return self.workload == TRAIN

    @property
    def when(self) -> Scenario:
        """When the network is called, and what a sample counts."""
        return scenarios.of(self.scenario)

    def throughput(self, latency_s: float) -> float | None:
        """Images per second: batch / latency; None where calls do not follow one another."""
        return self.batch / latency_s if self.when.has_throughput else None

    @property
    def is_tight(self) -> bool:
        """Whether a sample is one of many inferences, one after another: the usual latency."""
        return self.scenario == TIGHT and not self.trains

    @property
    def group(self) -> tuple[object, ...]:
        """Device, batch, resolution, and workload and scenario where they take no turns.

        Cases of one group are compared, so they take turns.
        """
        other = [self.workload] if self.workload != INFER else []
        other += [self.scenario] if self.when.is_alone else []
        return (self.device, self.batch, self.resolution, *other)

    @property
    def allocation(self) -> tuple[str, str]:
        """(allocator, huge pages): cases that differ in it take turns, and are ranked apart."""
        return (self.allocator, self.huge_pages)

    @property
    def of_kernels(self) -> tuple[object, ...]:
        """Cases that are equal in it have calibration kernels of equal speed."""
        return (self.threads, *self.allocation)

    @property
    def ranked_with(self) -> tuple[object, ...]:
        """Group, scenario, shape of an image and allocation: equal for cases ranked together."""
        other = [] if self.scenario == TIGHT else [self.scenario]
        return (*self.group, *other, self.input, *self.allocation)

    @property
    def setting(self) -> tuple[object, ...]:
        """`ranked_with`, backend, precision and threads: what two networks share."""
        return (*self.ranked_with, self.backend, self.precision, self.threads)


class Source(msgspec.Struct, frozen=True):
    """Where a child process finds the model of a case.

    A Source is never stored in a record, because its paths may name the user. A model is either
    the `factory` of a `module` or `file`, or, if the user gave only `weights` for a model of
    `bench.models.zoo`, the name of that model in `zoo`. A field without a value is empty.

    - `file`: a Python file. With `module`, its name as a module of its package; else it is a
      script.
    - `path`: the folders that come first in `sys.path`, so that the code imports its own modules.
    - `files`: pairs of a file of the user's code and its hash, as far as they are known before the
      run. A file that has another hash when it is imported is not run.
    """

    zoo: str = ""
    factory: str = ""
    file: str = ""
    module: str = ""
    path: tuple[str, ...] = ()
    files: tuple[tuple[str, str], ...] = ()
    weights: str = ""
    weights_hash: str = ""
