"""The child's work before a run: build a user's network once, on the CPU, and say what it is."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING

from bench.errors import BenchError
from bench.harness.protocol.channel import Channel, ChannelClosedError
from bench.harness.protocol.messages import Probe, Probed
from bench.models import user
from bench.models.build import load_weights
from bench.models.user.fit import RGB
from bench.records import Source

if TYPE_CHECKING:
    from torch import Tensor

CHECKED = 2  # images, so that a table of one row is no batch
PIXELS = 224  # whatever the run measures, so that a network has the same name in each run


def answer(channel: Channel, request: Probe) -> None:
    """Build the network of `request` and send a Probed. The process must end after that."""
    with contextlib.suppress(ChannelClosedError):
        channel.send(_probe(request))


def _probe(request: Probe) -> Probed:
    source = request.source
    try:
        if source.weights:
            net, channels, notes = load_weights(source, request.resolution)
        else:
            net, channels, notes = user.build(source), RGB, []
        import torch

        from bench.models import cost
        from bench.models.fuse import forms_of

        structure, params = cost.structural_hash(net), cost.count_params(net)
        macs = None
        own = _own_inputs(source)
        example = own or [torch.zeros(1, RGB, PIXELS, PIXELS)]
        with contextlib.suppress(Exception):  # a network may take other inputs, or fail
            macs = cost.survey(net, example).macs if source.factory else None
    except BenchError as error:
        return Probed({}, refused=error.message, remedy=error.remedy)
    except BaseException:  # SystemExit too; the run tells it as a failure
        return Probed(user.imported_files(source))
    return Probed(
        user.imported_files(source),
        structure,
        params,
        macs,
        channels,
        notes,
        forms=list(forms_of(net)),
        makes_inputs=own is not None,
    )


def _own_inputs(source: Source) -> list[Tensor] | None:
    """Return the inputs of one image that `example_inputs` makes; None without that function.

    Raises UsageError if it makes no inputs.
    """
    try:
        own = user.example_inputs(source, CHECKED, PIXELS)
    except BenchError:
        raise
    except Exception:  # the run tells it as a failure
        return None
    return own and [each[:1] for each in own]
