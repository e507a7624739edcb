"""Judge claims of the paper by records that are made without measuring."""

import msgspec

from bench.records import Chip
from bench.report import claims
from bench.report.claims import catalogue
from bench.report.claims.verdicts import reported_of
from support.records import ENVIRONMENT, OBSERVED, rounds
from support.results import device

CPU = Chip("cpu", "cpu", "Test CPU", threads=2, facts={})
NOISE = (0.99, 1.0, 1.01)
SIZES = ("repnext_u3_t", "repnext_u3_s", "repnext_u3_b")


def rounds_on(chip, name, ms, noise=NOISE, **changes):
    """A round for each factor of `noise`, all of one run."""
    model, _, form = name.partition("@")
    place = {"device": chip.device, "threads": chip.threads, "environment_id": chip.name}
    fields = {"stopped_by": "precision", "spread": (1.0,) * 3, **OBSERVED, **place, **changes}
    return rounds(model, form or "plain", [ms * factor for factor in noise], **fields)


def on(chip, *groups):
    """The results of a chip."""
    environment = msgspec.structs.replace(ENVIRONMENT, chip=chip, environment_id=chip.name)
    return device(*groups, environment=environment)


def judged(title, *found):
    """The result of the claim with this title on these devices."""
    return next(each for each in claims.judge(found) if each.claim.title == title)


def claim(title):
    """The claim with this title."""
    return next(each for each in catalogue.claims() if each.title == title)


def in_print(title):
    """The values of a claim from the paper's tables, in the unit of the claim."""
    found = claim(title)
    return [found.scale.convert(value) for value in reported_of(found)]
