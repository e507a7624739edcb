"""The child's work in a dry run: build the network of a case in its form, and say if it fails."""

from __future__ import annotations

import contextlib

from bench import models
from bench.harness.protocol.channel import Channel, ChannelClosedError
from bench.harness.protocol.messages import Trial, Tried
from bench.models import forms


def answer(channel: Channel, request: Trial) -> None:
    """Build the network of `request` and send a Tried. The process must end after that."""
    with contextlib.suppress(ChannelClosedError):
        channel.send(Tried(_reason(request)))


def _reason(request: Trial) -> str:
    from bench.harness.worker.inputs import inputs_of  # imports torch

    case = request.case
    inputs = inputs_of(case, request.source)
    try:
        network = models.build(
            case.model, resolution=case.resolution, source=request.source, inputs=inputs
        )
        if not forms.find(case.form).is_built:
            models.fuse(network, case.form, inputs(1, case.resolution))
    except BaseException as error:  # SystemExit too
        return f"{type(error).__name__}: {error}"
    return ""
