"""Two devices with records of most kinds that the paper's tables show."""

import msgspec

from bench.records import Case, Chip, Conditions, Cost
from bench.report import devices
from support.records import ENVIRONMENT, failure, measurement

QUIET = Conditions(
    own_cpu_s=1.0, busy_cpu_s=1.0, stolen_cpu_s=0.0, throttled_s=0.0, wall_s=1.0, cpus=2
)


BUSY = msgspec.structs.replace(QUIET, busy_cpu_s=1.26)


BUSIER = msgspec.structs.replace(QUIET, busy_cpu_s=1.4)


TAKEN = msgspec.structs.replace(QUIET, busy_cpu_s=2.0)


GPU = msgspec.structs.replace(
    ENVIRONMENT,
    environment_id="gpu",
    chip=Chip("cuda", "gpu", "NVIDIA Test H100", threads=8, facts={"memory_gib": 80}),
)


def timed(model, form="plain", ms=10.0, **changes):
    """Two rounds of three samples; on the CPU unless the environment is `gpu`."""
    gpu = changes.get("environment_id") == "gpu"
    case = Case(
        model,
        form,
        batch=changes.pop("batch", 1),
        resolution=changes.pop("resolution", 224),
        device="cuda" if gpu else "cpu",
        threads=changes.pop("threads", 8 if gpu else 2),
        backend=changes.pop("backend", "eager"),
        precision=changes.pop("precision", "fp32"),
    )
    fields = {
        "conditions": QUIET,
        "block_compute_s": [1e-3],
        "block_memory_s": [1e-3],
        "cost": Cost(params=28_589_128, macs=4_456_000_000),
        **changes,
    }
    last = fields.pop("stopped_by", "precision")
    return [
        measurement(
            case,
            number,
            samples_s=[ms / 1e3 * factor * share for share in (0.95, 1.0, 1.06)],
            stopped_by=stopped_by,
            **fields,
        )
        for number, factor, stopped_by in ((1, 1.0, "round"), (2, 1.004, last))
    ]


CPU_RECORDS = [
    ENVIRONMENT,
    failure(Case("mobilenetv3_l", "plain", threads=2)),
    *timed("resnet50", ms=59.2, cost=Cost(params=25_557_032, macs=4_089_184_256)),
    *timed("resnet50", ms=14_000, batch=128, conditions=TAKEN),
    *timed("swin_t", ms=121, conditions=BUSY),
    *timed("convnext_t", ms=59.3, conditions=BUSIER),
    *timed("repnext_u3_t", "train", ms=76.9),
    *timed("repnext_u3_t", "rrep", ms=51.2, stopped_by="round"),
    *timed("repnext_u3_t", "rrep", ms=8_000, batch=128),
    *timed("repnext_u3_t", "rrep_fc", ms=6_500, batch=128),
    failure(Case("repnext_u3_t", "srep", threads=2), stage="first"),
    failure(Case("repnext_u3_t", "srep", batch=128, threads=2), stage="first"),
    *timed("repvgg_b1", "train", ms=150, cost=Cost(params=57_420_000, macs=13_160_000_000)),
    *timed("repvgg_b1", "rrep", ms=90, cost=Cost(params=51_830_000, macs=11_820_000_000)),
]


GPU_RECORDS = [
    GPU,
    *timed("resnet50", ms=4.9, environment_id="gpu"),
    *timed("resnet50", ms=52, batch=128, environment_id="gpu"),
    *timed("repnext_u3_t", "train", ms=6.1, environment_id="gpu"),
    *timed("repnext_u3_t", "rrep", ms=4.2, environment_id="gpu"),
    *timed("repnext_u3_t", "srep", ms=3.3, environment_id="gpu"),
]


def device(records, slug="test-chip-9000"):
    return devices.of(slug, records)[-1]


BOTH = [device(CPU_RECORDS), device(GPU_RECORDS, "nvidia-test-h100")]
