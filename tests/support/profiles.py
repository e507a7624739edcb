"""Profiles made without a profiler."""

from bench.records import Case, Profile, ProfileRow, Utilisation, Waterfall


def profile(model="resnet50", form="plain", *, residual_s=0.0, used=None, ms=10.0, **case):
    """Three operators, launch gaps and a residual, which add up to `ms`."""
    plain_s = ms / 1e3
    times = {"pointwise conv": 0.5, "batch norm": 0.1, "activation": 0.05}
    rows = [ProfileRow(c, "m", c, 1, plain_s * share) for c, share in times.items()]
    busy_s = 0.65 * plain_s
    gaps_s = plain_s - busy_s - residual_s
    return Profile(
        run_id="r",
        case_id="c",
        case=Case(model, form, threads=2, **case),
        environment_id="e",
        round=1,
        seconds=1.0,
        rows=rows,
        waterfall=Waterfall(plain_s, busy_s, gaps_s, 0.0, residual_s, 1e-4, 1e-4),
        utilisation=used or Utilisation(busy=0.99),
        plain_samples_s=[plain_s],
        profiled_samples_s=[plain_s],
        events=10,
    )
