"""Records as the page shows them."""

from bench.records import Case
from bench.report import devices
from support.records import measurement

EVIL = "timm/<script>alert(1)</script>"


def timed(model, form="plain", ms=10.0, **changes):
    keys = ("batch", "backend", "precision", "resolution")
    case = {key: changes.pop(key) for key in keys if key in changes}
    samples = changes.pop("samples_s", [ms / 1e3 * factor for factor in (0.95, 1.0, 1.06)])
    return measurement(Case(model, form, threads=2, **case), samples_s=samples, **changes)


def of(records, given=(), slug="chip"):
    return devices.of(slug, records, given)
