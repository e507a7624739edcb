"""Make profiles without a profiler."""

import msgspec

from bench.records import Case, Profile, ProfileRow, Utilisation, Waterfall


def profile(model="resnet50", form="plain", *, residual_s=0.0, used=None, ms=10.0, **changes):
    """Return a profile: three operators, launch gaps and a residual, with the sum `ms`.

    `changes` are fields of the case or of the profile.
    """
    of_case = {name: changes.pop(name) for name in Case.__struct_fields__ if name in changes}
    case = Case(model, form, **{"threads": 2, **of_case})
    plain_s = ms / 1e3
    times = {"pointwise conv": 0.5, "batch norm": 0.1, "activation": 0.05}
    busy_s = 0.65 * plain_s
    made = Profile(
        run_id="r",
        case_id=case.case_id,
        case=case,
        environment_id="e",
        round=1,
        seconds=1.0,
        rows=[ProfileRow(c, "m", c, 1, plain_s * share) for c, share in times.items()],
        waterfall=Waterfall(
            plain_s, busy_s, plain_s - busy_s - residual_s, 0.0, residual_s, 1e-4, 1e-4
        ),
        utilisation=used or Utilisation(busy=0.99),
        plain_samples_s=[plain_s],
        profiled_samples_s=[plain_s],
        events=10,
    )
    return msgspec.structs.replace(made, **changes)
