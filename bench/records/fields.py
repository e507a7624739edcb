"""The types of values in records, with bounds for files of unknown origin."""

from __future__ import annotations

from typing import Annotated, Literal

import msgspec

SCHEMA = 1

# Result files may come from anyone, so decoding refuses impossible values.
Whole = Annotated[int, msgspec.Meta(ge=1, le=10**9)]
Group = Annotated[int, msgspec.Meta(ge=1, le=10**6)]  # calls that make a sample of 0.1 ms
LAST = 10**9 - 1
Round = Annotated[int, msgspec.Meta(ge=1, le=LAST)]
Ordinal = Annotated[int, msgspec.Meta(ge=0, le=LAST)]  # a number that counts from 0
Count = Annotated[int, msgspec.Meta(ge=0, le=10**18)]
Integer = Annotated[int, msgspec.Meta(ge=-(10**18), le=10**18)]
Number = Annotated[float, msgspec.Meta(ge=-1e18, le=1e18)]
Amount = Annotated[float, msgspec.Meta(ge=0, le=1e18)]
Share = Annotated[float, msgspec.Meta(ge=0, le=1)]
Deviation = Annotated[float, msgspec.Meta(ge=0, le=1e300)]  # of an output from its reference
Rate = Annotated[float, msgspec.Meta(ge=1, le=1e18)]
SHORTEST_S = 1e-9
Seconds = Annotated[float, msgspec.Meta(ge=SHORTEST_S, le=1e9)]
Duration = Annotated[float, msgspec.Meta(ge=0, le=1e9)]  # seconds, 0 for a step left out
Offset = Annotated[float, msgspec.Meta(ge=-1e9, le=1e9)]  # seconds; a difference may be negative
MOST = 10**7  # values in a list
Durations = Annotated[list[Duration], msgspec.Meta(max_length=MOST)]
Samples = Annotated[list[Seconds], msgspec.Meta(max_length=MOST)]
Name = Annotated[str, msgspec.Meta(max_length=10_000, pattern=r"\A[^\x00-\x1f\x7f-\x9f]*\Z")]
Text = Annotated[str, msgspec.Meta(max_length=10**6)]

StopReason = Literal["round", "precision", "noise", "budget", "rounds"]
Stage = Literal[
    "start",
    "build",
    "fuse",
    "load",
    "check",
    "first",
    "warmup",
    "timed",
    "calibrate",
    "events",
    "observe",
    "profile",
    "evaluate",
]
Category = Literal[
    "depthwise or group conv",
    "pointwise conv",
    "other conv",
    "fully connected",
    "layer norm",
    "batch norm",
    "activation",
    "addition",
    "dimension transform",
    "attention",
    "pooling",
    "other",
    "unattributed",
]
OUT_OF_MEMORY = "OutOfMemory"  # the only Failure.error that code compares with
Setting = Text | Integer | Number | bool | None
