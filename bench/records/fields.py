"""The types of values in records, with bounds for files of unknown origin."""

from __future__ import annotations

from typing import Annotated, Literal

import msgspec

SCHEMA = 1

# Result files may come from anyone, so decoding refuses impossible values.
Whole = Annotated[int, msgspec.Meta(ge=1, le=10**9)]
Count = Annotated[int, msgspec.Meta(ge=0, le=10**18)]
Integer = Annotated[int, msgspec.Meta(ge=-(10**18), le=10**18)]
Number = Annotated[float, msgspec.Meta(ge=-1e18, le=1e18)]
Rate = Annotated[float, msgspec.Meta(ge=1, le=1e18)]
Seconds = Annotated[float, msgspec.Meta(ge=1e-9, le=1e9)]
Samples = Annotated[list[Seconds], msgspec.Meta(max_length=10**7)]
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
