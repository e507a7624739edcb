"""The messages between the parent and a child that measures one case.

Messages to a child are in `Request`, messages from a child in `Reply`.
"""

from __future__ import annotations

from typing import Annotated

import msgspec

from bench.harness.plan import Plan, ProfilePlan
from bench.records import (
    Artifact,
    Case,
    Check,
    Conditions,
    Cost,
    Duration,
    Level,
    Passport,
    ProfileRow,
    Seconds,
    Setting,
    Source,
    Stage,
    Stages,
    Telemetry,
    Utilisation,
    Waterfall,
)


class CaseFacts(msgspec.Struct, frozen=True):
    """What the first round finds out about a case; later rounds reuse it instead of checking again.

    `structure` is a hash of the network's layers. `passport` is None for a model without forms.
    `files` are the imported files of the user's code, by path, with their hashes. `notes` are
    sentences about the network that the user should read; they become warnings of the record.
    `artifact` is the exported network that was checked, None where torch executes the network.
    """

    check: Check
    cost: Cost
    structure: str
    passport: Passport | None = None
    files: dict[str, str] = {}
    notes: list[str] = []
    artifact: Artifact | None = None


class Export(msgspec.Struct, frozen=True):
    """What exporting a case asks for: files at `path`, or none where it is "", as in `bench run`.

    Their names are `path` with the ends that the backend says. They get a passport with `versions`.
    A network is quantised on the `images` in that folder; on synthetic ones where it is "".
    """

    path: str = ""
    versions: dict[str, str] = {}
    images: str = ""


class Evaluate(msgspec.Struct, frozen=True):
    """What evaluating a case asks for: the images at `path` without those `left_out`, by name.

    `images_hash`, `images` and `classes` are as the parent found them. `workers`
    processes read images. `crop_share` replaces that of the network, unless it is None.
    """

    path: str
    images_hash: str
    images: int
    classes: int
    left_out: list[str] = []
    workers: int = 0
    crop_share: float | None = None


class Job(msgspec.Struct, frozen=True, tag="job"):
    """To a new child: prepare this case for this round.

    `facts` is None where the network was not checked yet. With `profile`, the child profiles the
    case instead of timing blocks; with `export`, it exports the network and checks it; with
    `evaluate`, it classifies images.
    """

    case: Case
    round: int
    plan: Plan
    facts: CaseFacts | None
    source: Source | None = None
    profile: ProfilePlan | None = None
    export: Export | None = None
    evaluate: Evaluate | None = None


class Probe(msgspec.Struct, frozen=True, tag="probe"):
    """To a new child, before a run: build the model of `source`, and say what it is.

    `resolution` is that of a case in pixels: the weights of some networks fit only one.
    """

    source: Source
    resolution: int


class Trial(msgspec.Struct, frozen=True, tag="trial"):
    """To a new child, in a dry run: build the network of a case in its form."""

    case: Case
    source: Source | None


class Tried(msgspec.Struct, frozen=True, tag="tried"):
    """From a child: why the network of a Trial cannot be built; "" if it can."""

    reason: str


class Wait(msgspec.Struct, frozen=True):
    """How long a block waits for a quiet machine: at most `most_s` seconds.

    The machine is quiet where the calibration kernels take at most `compute_s` and `memory_s`.
    """

    compute_s: float
    memory_s: float
    most_s: float


class RunBlock(msgspec.Struct, frozen=True, tag="run_block"):
    """To a child: calibrate, call the network `discard` times, then time `iterations` samples.

    Each sample is the mean of `calls_per_sample` calls. With `wait`, the child waits after the
    calibration until the machine is quiet.
    """

    iterations: int
    discard: int
    calls_per_sample: int = 1
    wait: Wait | None = None


class Finish(msgspec.Struct, frozen=True, tag="finish"):
    """To a child: there are no more blocks; send Finished."""


class Observe(msgspec.Struct, frozen=True, tag="observe"):
    """To a child that sent Finished: call the network and read the sensors for `seconds`."""

    seconds: float


class Probed(msgspec.Struct, frozen=True, tag="probed"):
    """From a child: what the user's code imported and built.

    `files` maps each imported file to its hash. `structure`, `params` and `macs` (at 224 pixels)
    are None where the code raised an exception, and `macs` where they cannot be counted. `channels`
    are those of the input, as far as weights say it. `notes` are sentences about the weights.
    `forms` are those of the network, [] where it was not built. `makes_inputs`: whether the code
    has a function `example_inputs`. `refused` is the message of a UsageError and `remedy` its
    remedy.
    """

    files: dict[str, str]
    structure: str | None = None
    params: int | None = None
    macs: int | None = None
    channels: int = 3
    notes: list[str] = []
    forms: list[str] = []
    makes_inputs: bool = False
    refused: str = ""
    remedy: str = ""


class Entered(msgspec.Struct, frozen=True, tag="entered"):
    """From a child: it entered `stage`. If the child dies, its failure names the last stage."""

    stage: Stage


class Ready(msgspec.Struct, frozen=True, tag="ready"):
    """From a child: the network is warm.

    `iteration_s` is the expected time of one call, `peak_bytes` the most memory used so far (None
    where the device does not report it). `fastest_s` is the time of the fastest call.
    """

    iteration_s: Seconds
    peak_bytes: int | None
    fastest_s: Seconds


class Block(msgspec.Struct, frozen=True, tag="block"):
    """From a child: one block of timed iterations; all times are in seconds.

    `start_s` is monotonic time. `samples_s` has one latency per iteration. `compute_s` and
    `memory_s` are the times of the calibration kernels, which run just before the block. Where the
    device has a queue, `device_samples_s` has as many iterations timed by the device's own clock.
    `pipelined_s` is the mean time of an iteration when all are queued and waited for only once.
    `counted_s` is the time from the request to this message, with the kernels and the discarded
    calls; None for a scripted clock. `rested_s` are the seconds of waiting for a quiet machine.
    `parts_s`, `late` and `dropped` are as in a Measurement. `level` was read after the block.
    """

    start_s: float
    samples_s: Annotated[list[Seconds], msgspec.Meta(min_length=1)]
    compute_s: Seconds
    memory_s: Seconds
    device_samples_s: list[Seconds] = []
    pipelined_s: Seconds | None = None
    counted_s: float | None = None
    rested_s: float = 0.0
    parts_s: dict[str, list[Duration]] = {}
    late: int | None = None
    dropped: int | None = None
    level: Level | None = None


class Finished(msgspec.Struct, frozen=True, tag="finished"):
    """From a child: everything in a record that is not in the blocks.

    `discarded` counts untimed calls. `steady` is None where the warm-up was skipped. `changed`,
    `unattributed`, `unseen_s` and `repeated_s` are as in a Measurement.
    """

    stages: Stages
    facts: CaseFacts
    discarded: int
    conditions: Conditions
    steady: bool | None
    settings: dict[str, Setting]
    changed: dict[str, str] = {}
    unattributed: dict[str, str] = {}
    unseen_s: list[Seconds] = []
    repeated_s: list[Seconds] = []


class Observed(msgspec.Struct, frozen=True, tag="observed"):
    """From a child: what the sensors read (None without a sensor), and the seconds it took."""

    telemetry: Telemetry | None
    seconds: float


class Profiled(msgspec.Struct, frozen=True, tag="profiled"):
    """From a child: the profile of its case.

    `macs_per_s` (MAC/s), `bytes_per_s` (byte/s) and `trace` are None unless the plan asks for them.
    `notes` are those of CaseFacts, and on the profile.
    """

    rows: list[ProfileRow]
    waterfall: Waterfall
    utilisation: Utilisation
    plain_samples_s: list[float]
    profiled_samples_s: list[float]
    events: int
    macs_per_s: float | None
    bytes_per_s: float | None
    trace: bytes | None
    notes: list[str] = []


class Exported(msgspec.Struct, frozen=True, tag="exported"):
    """From a child: the network is exported, and these facts of it are checked."""

    facts: CaseFacts


class Classified(msgspec.Struct, frozen=True, tag="classified"):
    """From a child that evaluates: so many images are classified."""

    images: int


class Evaluated(msgspec.Struct, frozen=True, tag="evaluated"):
    """From a child: how the network classified all images; the fields are those of Evaluation."""

    images: int
    crop_share: float
    interpolation: str
    top1: int
    top5: int | None
    weights_hash: str
    same: int | None
    found: int | None
    top1_before: int | None
    margin: float | None
    error: float | None
    notes: list[str] = []


class Refused(msgspec.Struct, frozen=True, tag="refused"):
    """From a child: what the user gave does not fit; the message and the remedy of a UsageError."""

    message: str
    remedy: str


class Raised(msgspec.Struct, frozen=True, tag="raised"):
    """From a child: an exception of type `error` ended the case at `stage`."""

    stage: Stage
    error: str
    message: str


Request = Job | Probe | Trial | RunBlock | Finish | Observe
Reply = (
    Probed
    | Tried
    | Entered
    | Ready
    | Block
    | Finished
    | Observed
    | Profiled
    | Exported
    | Classified
    | Evaluated
    | Refused
    | Raised
)
