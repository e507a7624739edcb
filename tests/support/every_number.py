"""Records in which every field has a value, and copies of them with one number replaced."""

import copy
import json
from collections.abc import Iterable, Iterator
from pathlib import Path

import msgspec
from msgspec import inspect, structs

from bench.records import (
    SCHEMA,
    Agreement,
    Artifact,
    Case,
    Check,
    Conditions,
    Cost,
    Gelus,
    Jump,
    Level,
    Measurement,
    Neighbour,
    Passport,
    Peaks,
    ProfileRow,
    Quantised,
    Record,
    Stages,
    Telemetry,
    Utilisation,
)
from bench.storage.reader import FILE_NAME, FlawedLineError, decode
from support.profiles import profile
from support.records import ENVIRONMENT, FAKE_CHIP, failure, measurement

CASE = Case("resnet50", "plain", device="fake")
VALUES = [-(10**18), -1, -1e-9, 0, 5e-324, 1e-300, 1e-9, 1, 10**6, 10**9 - 1, 10**9]
VALUES += [10**18, 1e18, 10**19, 1e300]


def _filled(kind, number: float):
    """A struct whose fields all have a number."""
    return kind(**dict.fromkeys(kind.__struct_fields__, number))


def _completed(struct):
    """The struct with 1 for each number that has no value, so that later fields are tested too."""
    empty = [each for each in inspect.type_info(type(struct)).fields if not _value(struct, each)]
    return structs.replace(struct, **{each.encode_name: 1 for each in empty if _has_number(each)})


def _value(struct, field):
    return getattr(struct, field.encode_name)


def _has_number(field) -> bool:
    kinds = field.type.types if isinstance(field.type, inspect.UnionType) else (field.type,)
    return any(isinstance(kind, (inspect.IntType, inspect.FloatType)) for kind in kinds)


CONDITIONS = Conditions(
    own_cpu_s=1.0,
    busy_cpu_s=1.1,
    stolen_cpu_s=0.1,
    throttled_s=0.1,
    throttled_periods=1,
    overheated=1,
    page_faults=9,
    over_currents=3,
    wall_s=1.0,
    cpus=2,
    lowest_clock_hz=1e9,
    highest_clock_hz=2e9,
    highest_temperature_c=50.0,
    highest_power_w=90.0,
    throttled_by=["hw_slowdown"],
    foreign_processes=1,
    power_modes=["MAXN"],
    clock_limits=["306 to 1020 MHz"],
    jumps=[Jump(1, suspended_s=1.0, set_s=-1.0)],
    idle_s=[0.1, 0.1],
    counted_s=1.0,
    waited_s=1.0,
)
TELEMETRY = Telemetry(
    seconds=1.0,
    iterations=10,
    utilisation=[0.5, 0.6],
    clock_hz=[1e9, 1e9],
    memory_clock_hz=[1e9, 1e9],
    temperature_c=[50.0, 50.0],
    power_w=[90.0, 90.0],
    energy_j=9.0,
)
MEASURED = measurement(
    CASE,
    samples_s=[0.010, 0.012, 0.011],
    block_sizes=[2, 1],
    block_starts_s=[1.0, 2.0],
    block_compute_s=[1e-3, 1e-3],
    block_memory_s=[1e-3, 1e-3],
    device_samples_s=[0.010, 0.012, 0.011],
    block_pipelined_s=[0.009, 0.009],
    calls_per_sample=2,
    unseen_s=[0.01],
    repeated_s=[0.01],
    stages_s=_filled(Stages, 0.1),
    cost=structs.replace(_filled(Cost, 10**6), uncounted=""),
    check=Check("train", 1e-6, 1e-6, 1e-4),
    passport=structs.replace(_filled(Passport, 1), zero_share=0.5, structure="a"),
    conditions=_completed(CONDITIONS),
    telemetry=_completed(TELEMETRY),
    settings={"threads": 2, "scale": 0.5},
    sitting=1,
    generation=1,
    disturbed_by=[Neighbour("a1", "swin_t", share=0.2)],
    restless_share=0.2,
    rested_s=0.2,
    parts_s={"load": [0.005, 0.006, 0.005]},
    late=1,
    dropped=1,
    block_levels=[_filled(Level, 50.0), _filled(Level, 60.0)],
    artifact=Artifact(
        *("file", "hash", 9, "dynamo"),
        opset=20,
        operators={"Conv": 1},
        fused={"FusedConv": 1},
        providers={"CPUExecutionProvider": 2},
        gelus=Gelus(1, 1),
        smooth_error=1e-6,
        session_s=0.1,
        onnx="file",
        program="file",
        quantised=Quantised(
            *("8 images", "hash", 7),
            nodes=3,
            error=0.1,
            added=0.01,
            agreement=Agreement(9, 10, 5),
        ),
    ),
)
PROFILED = structs.replace(
    profile("resnet50", device="fake", used=_filled(Utilisation, 0.5), residual_s=1e-4),
    rows=[ProfileRow("aten::conv2d", "stem", "other conv", 2, 6.5e-3, macs=10**6, bytes=10**6)],
    run_id="run",
    environment_id="env",
    generation=1,
)
PEAKS = Peaks("run", "env", "fp32", threads=2, macs_per_s=1e12, bytes_per_s=1e11)
RUN = structs.replace(ENVIRONMENT, chip=FAKE_CHIP, state={"load_1min": 0.5, "cpus": 2})
FAILED = failure(CASE, generation=1)
MEASURED = _completed(MEASURED)
EVERY: tuple[Record, ...] = (MEASURED, FAILED, RUN, PROFILED, PEAKS)


def numbers(record: Record) -> list[tuple[str | int, ...]]:
    """The path (keys and indices) to each number of a record as JSON; the first of each list."""
    return list(_paths(msgspec.to_builtins(record), ()))


def _paths(part: object, path: tuple[str | int, ...]) -> Iterator[tuple[str | int, ...]]:
    if isinstance(part, dict):
        for key, value in part.items():
            yield from _paths(value, (*path, key))
    elif isinstance(part, list) and part:
        yield from _paths(part[0], (*path, 0))
    elif isinstance(part, (int, float)) and not isinstance(part, bool):
        yield path


def changed(record: Record, path: tuple[str | int, ...], value: float, model: str) -> bytes:
    """The line of `record` as a case of `model`, with `value` at `path`; in a list, everywhere."""
    content = copy.deepcopy(msgspec.to_builtins(record))
    part = content
    for key in path[:-1]:
        part = part[key]
    if isinstance(part, list):
        part[:] = [value] * len(part)
    else:
        part[path[-1]] = value
    if "case" in content:
        content["case"]["model"] = model
        try:
            case = msgspec.convert(content["case"], Case)
        except msgspec.ValidationError:
            return json.dumps(content).encode()
        content["case_id"] = case.case_id
    return json.dumps(content).encode()


PLACES = [(record, path) for record in EVERY for path in numbers(record)]


def extremes() -> Iterator[tuple[Record, tuple[str | int, ...], float]]:
    """For each number: the smallest, smallest positive and largest value that are read."""
    for record, path in PLACES:
        kept = [value for value in sorted(VALUES) if is_read(record, path, value)]
        positive = [value for value in kept if value > 0]
        chosen = dict.fromkeys([*kept[:1], *positive[:1], *kept[-1:]])
        yield from ((record, path, value) for value in chosen)


def again(line: bytes, number: int) -> bytes:
    """The same line as another round of the same run."""
    content = msgspec.json.decode(line)
    return msgspec.json.encode({**content, "round": number, "sitting": number})


def stored(folder: Path, lines: Iterable[bytes | Record]) -> Path:
    """Write the lines as the results of the device `fake` below `folder`; return `folder`."""
    (folder / "fake").mkdir(parents=True, exist_ok=True)
    content = [each if isinstance(each, bytes) else msgspec.json.encode(each) for each in lines]
    (folder / "fake" / FILE_NAME).write_bytes(b"".join(line + b"\n" for line in content))
    return folder


def is_read(record: Record, path: tuple[str | int, ...], value: float) -> bool:
    """Whether a reader accepts the record with `value` at `path`."""
    try:
        found = decode(changed(record, path, value, "resnet50"))
    except FlawedLineError:
        return False
    return found.schema == SCHEMA


def at_once(samples_s: float, kernels_s: float, **changes: object) -> Measurement:
    """A measurement whose samples, and whose kernels, all took equally long."""
    seconds = {"samples_s": samples_s, "block_compute_s": kernels_s, "block_memory_s": kernels_s}
    lists = {name: [each] * len(getattr(MEASURED, name)) for name, each in seconds.items()}
    return structs.replace(MEASURED, **lists, **changes)
