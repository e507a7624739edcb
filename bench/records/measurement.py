"""The measurement of a case in one process, or its failure."""

from __future__ import annotations

import itertools
from typing import Annotated

import msgspec

from bench.records.artifact import Artifact
from bench.records.case import Case
from bench.records.conditions import Conditions, Level, Telemetry
from bench.records.fields import (
    MOST,
    SCHEMA,
    SHORTEST_S,
    Amount,
    Count,
    Deviation,
    Duration,
    Durations,
    Group,
    Integer,
    Name,
    Ordinal,
    Round,
    Samples,
    Setting,
    Share,
    Stage,
    StopReason,
    Text,
    Whole,
)


class Cost(msgspec.Struct, frozen=True):
    """The cost of a case besides time; None for a value that was not counted.

    `macs` is for one image. `weight_bytes` and `activation_bytes` are for fp32.
    `peak_memory_bytes` is the peak memory of the network; on a GPU, the peak that torch's allocator
    had allocated, and `peak_reserved_bytes` the peak that it had reserved. `process_bytes` is the
    memory of the process on the GPU as the driver reports it, including the context. `uncounted`
    is the reason why `macs` is None, and `activation_bytes` where torch shows not all operators; ""
    where they were counted.
    """

    params: Count | None = None
    macs: Count | None = None
    weight_bytes: Count | None = None
    activation_bytes: Count | None = None
    peak_memory_bytes: Count | None = None
    peak_reserved_bytes: Count | None = None
    process_bytes: Count | None = None
    uncounted: Text = ""


class Stages(msgspec.Struct, frozen=True):
    """Seconds of each stage of a case in one round, without the time it waits for its turn.

    start: start of the process with its threads, device and calibration kernels. load: includes
    compilation and graph capture. first: the first call. warmup: discarded calls. calibrate:
    calibration kernels between blocks. events: blocks timed by the device's own clock, and
    pipelined blocks. observe: the steady loop.
    """

    start: Duration = 0.0
    build: Duration = 0.0
    fuse: Duration = 0.0
    load: Duration = 0.0
    check: Duration = 0.0
    first: Duration = 0.0
    warmup: Duration = 0.0
    timed: Duration = 0.0
    calibrate: Duration = 0.0
    events: Duration = 0.0
    observe: Duration = 0.0

    @property
    def total(self) -> float:
        """The sum of all stages."""
        return sum(msgspec.structs.astuple(self))


class Check(msgspec.Struct, frozen=True):
    """The check of a network's output against a reference, on seeded input, before timing.

    `against` is the form or backend that the output y is compared with. It is None if there is no
    reference; then the output only has to be finite and of the right shape. The relative error is
    max|y - y_ref| / max|y_ref(image 1) - y_ref(image 2)|: output that does not depend on the image
    would prove nothing.
    """

    against: Name | None = None
    largest_absolute_error: Deviation | None = None
    largest_relative_error: Deviation | None = None
    tolerance: Deviation | None = None


class Passport(msgspec.Struct, frozen=True):
    """How re-parameterisation changed a network: before is its first form, after the timed form.

    The numbers of operators are for one call of the timed form; they and the MACs are None where
    they could not be counted. `zero_share` is the share of weights that are exactly zero. With y_1
    the output of the first form, the relative error is max|y - y_1| / max|y_1|; errors are None for
    the first form itself.
    """

    convolutions: Count | None
    normalisations: Count | None
    additions: Count | None
    concatenations: Count | None
    params_before: Count
    params_after: Count
    macs_before: Count | None
    macs_after: Count | None
    zero_share: Share
    structure: Name
    largest_absolute_error: Deviation | None = None
    largest_relative_error: Deviation | None = None


class Neighbour(msgspec.Struct, frozen=True):
    """A case of the same sitting, and the share of the usable CPUs that its process used.

    `name` is the model and its form with the unusual settings, without the hash of the user's code.
    """

    case_id: Name
    name: Name
    share: Amount


class Measurement(msgspec.Struct, frozen=True, tag="measurement", tag_field="type"):
    """Raw samples of one case from one process.

    - `samples_s`: seconds of all timed iterations in order. They form blocks of `block_sizes`
      iterations, which started at `block_starts_s` (monotonic clock).
    - `block_compute_s`, `block_memory_s`: seconds of a compute-bound and a memory-bound
      calibration kernel before each block.
    - `steady`: whether the warm-up settled; None if that was not checked.
    - `sitting`: cases of one run with the same number took turns; 0 in old records, in which the
      cases of one round took turns.
    - `device_samples_s`: as many iterations by the device's own clock, from alternate blocks.
    - `block_pipelined_s`: seconds per iteration of blocks whose calls were queued without waiting.
    - `settings`: switches of torch during the measurement.
    - `changed`: settings of the process that the network changed while it was timed, with their
      values (`from 2 to 1`); `unattributed`: those that changed meanwhile, by the network or by
      another process. Old records have both in `changed`.
    - `calls_per_sample`: above 1, a sample is the mean of so many calls, which are too short
      to be timed one by one.
    - `unseen_s`: seconds of calls after the timed blocks, each on images that the network never
      saw; `repeated_s`: seconds of calls on known images, in turns with them.
    - `share_s`: the case's share of the seconds that its round needed to start the template.
    - `structure`: a hash of the network's structure.
    - `files`: the files of the user's code that the process imported, by their path below the root
      of the code, with the hash of each.
    - `generation`: how often `--again` had started the rounds of the case anew before this round.
    - `disturbed_by`: the cases whose processes computed while this one was timed, where they should
      have waited; a round with such neighbours is repeated once.
    - `spoilt_by`: sentences on what other programs did to the round, in a run that waits for a
      quiet machine; such a round is repeated once, too. `rested_s`: the seconds that it waited.
    - `restless_share`: above 0, the case took turns with no other, since its process had used this
      share of the usable CPUs while others were timed.
    - `artifact`: the exported network that a runtime executed; None where torch executed it.
      `runtime`: the versions of that runtime and of what exported for it, by package.
    - `parts_s`: the parts that a sample consists of, by name: a list as long as the samples each.
    - `late`: at a fixed rate, how many answers came after the next image was due; `dropped`: how
      many images were never looked at, since a newer one was there when the network was free.
    - `block_levels`: what the chip read at the end of each block of a sustained round.

    Records of version 0.1 have neither calibration kernels nor conditions.
    """

    run_id: Name
    case_id: Name
    case: Case
    environment_id: Name
    round: Round
    samples_s: Annotated[Samples, msgspec.Meta(min_length=1)]
    block_sizes: Annotated[list[Whole], msgspec.Meta(min_length=1, max_length=MOST)]
    block_starts_s: Annotated[list[Amount], msgspec.Meta(max_length=MOST)]
    stages_s: Stages
    cost: Cost
    stopped_by: StopReason
    discarded: Count
    share_s: Duration
    structure: Name
    check: Check
    preset: Name
    passport: Passport | None = None
    warnings: list[Text] = []
    block_compute_s: Samples = []
    block_memory_s: Samples = []
    conditions: Conditions | None = None
    steady: bool | None = None
    sitting: Ordinal = 0
    device_samples_s: Samples = []
    block_pipelined_s: Samples = []
    settings: dict[Name, Setting] = {}
    telemetry: Telemetry | None = None
    files: dict[Name, Name] = {}
    generation: Ordinal = 0
    changed: dict[Name, Text] = {}
    unattributed: dict[Name, Text] = {}
    calls_per_sample: Group = 1
    unseen_s: Samples = []
    repeated_s: Samples = []
    disturbed_by: list[Neighbour] = []
    restless_share: Amount = 0.0
    spoilt_by: list[Text] = []
    rested_s: Amount = 0.0
    artifact: Artifact | None = None
    runtime: dict[Name, Text] = {}
    parts_s: dict[Name, Durations] = {}
    late: Count | None = None
    dropped: Count | None = None
    block_levels: Annotated[list[Level], msgspec.Meta(max_length=MOST)] = []
    schema: Integer = SCHEMA

    def __post_init__(self) -> None:
        """Raise ValueError if the lists of blocks and samples do not match, or a time is too short.

        What is divided by a time that is nearly 0 would overflow.
        """
        if self.conditions and 0 < self.conditions.wall_s < SHORTEST_S:
            raise ValueError(f"wall_s is below {SHORTEST_S:g}")
        blocks = len(self.block_sizes)
        if sum(self.block_sizes) != len(self.samples_s):
            raise ValueError("block_sizes do not add up to the samples")
        if len(self.block_starts_s) != blocks:
            raise ValueError("not as many block_starts_s as blocks")
        if {len(self.block_compute_s), len(self.block_memory_s)} not in ({0}, {blocks}):
            raise ValueError("not as many calibrations as blocks")
        if len(self.device_samples_s) not in (0, len(self.samples_s)):
            raise ValueError("not as many device samples as samples")
        if len(self.block_pipelined_s) not in (0, blocks):
            raise ValueError("not as many pipelined blocks as blocks")
        if any(len(part) != len(self.samples_s) for part in self.parts_s.values()):
            raise ValueError("not as many values of a part as samples")
        if len(self.block_levels) not in (0, blocks):
            raise ValueError("not as many block_levels as blocks")

    @property
    def blocks(self) -> list[list[float]]:
        """The samples, block by block."""
        ends = list(itertools.accumulate(self.block_sizes))
        return [
            self.samples_s[end - n : end] for n, end in zip(self.block_sizes, ends, strict=True)
        ]


class Failure(msgspec.Struct, frozen=True, tag="failure", tag_field="type"):
    """A case that could not be measured: the stage at which it failed, and the error.

    `runtime` is as in a Measurement. `data` is what an Evaluation would have as `data`.
    """

    run_id: Name
    case_id: Name
    case: Case
    environment_id: Name
    round: Round
    stage: Stage
    error: Text
    message: Text
    stderr_tail: Text = ""
    warnings: list[Text] = []
    generation: Ordinal = 0
    runtime: dict[Name, Text] = {}
    data: Name = ""
    schema: Integer = SCHEMA
