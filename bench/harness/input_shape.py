"""The shape of an image, as `--input` or a suite gives it: channels x height x width."""

from __future__ import annotations

import re
from typing import NamedTuple

from bench.errors import UsageError
from bench.models.user.fit import RGB

TEXT = re.compile(r"[0-9]{1,9}x[0-9]{1,9}x[0-9]{1,9}")


class Shape(NamedTuple):
    """The shape of an image: channels, height and width in pixels."""

    channels: int
    height: int
    width: int

    @property
    def resolution(self) -> int:
        """The longer side."""
        return max(self.height, self.width)

    @property
    def of_case(self) -> str:
        """The shape as a case has it: "" for a square image of three channels."""
        is_usual = self == (RGB, self.resolution, self.resolution)
        return "" if is_usual else f"{self.channels}x{self.height}x{self.width}"


def shape_of(text: str) -> Shape:
    """Return the shape that `1x224x320` gives. Raises UsageError for another text."""
    if not TEXT.fullmatch(text):
        raise UsageError(
            f"the input {text!r} is not channels x height x width", "For example: --input 1x224x320"
        )
    return Shape(*map(int, text.split("x")))
