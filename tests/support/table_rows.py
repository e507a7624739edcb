"""Two devices whose records cover most kinds of rows of the paper's tables."""

import msgspec

from bench.records import Case, Chip, Cost
from support.records import BUSIER, BUSY, ENVIRONMENT, OBSERVED, TAKEN, failure, rounds
from support.results import device

ON_GPU = msgspec.structs.replace(
    ENVIRONMENT,
    environment_id="gpu",
    chip=Chip("cuda", "gpu", "NVIDIA Test H100", threads=8, facts={"memory_gib": 80}),
)
COST = Cost(params=28_589_128, macs=4_456_000_000)


def thrice(model, form="plain", ms=10.0, **changes):
    """Return three rounds that reach their precision; on a GPU for environment `gpu`."""
    on_gpu = {"device": "cuda", "threads": 8} if changes.get("environment_id") == "gpu" else {}
    fields = {"last": "precision", "cost": COST, **OBSERVED, **on_gpu, **changes}
    return rounds(model, form, (ms, 1.004 * ms, 1.002 * ms), **fields)


CPU_RECORDS = [
    failure(Case("mobilenetv3_l", "plain", threads=2)),
    *thrice("resnet50", ms=59.2, cost=Cost(params=25_557_032, macs=4_089_184_256)),
    *thrice("resnet50", ms=14_000, batch=128, conditions=TAKEN),
    *thrice("swin_t", ms=121, conditions=BUSY),
    *thrice("convnext_t", ms=59.3, conditions=BUSIER),
    *thrice("repnext_u3_t", "train", ms=76.9),
    *thrice("repnext_u3_t", "rrep", ms=51.2, last="round"),
    *thrice("repnext_u3_t", "rrep", ms=8_000, batch=128),
    *thrice("repnext_u3_t", "rrep_fc", ms=6_500, batch=128),
    failure(Case("repnext_u3_t", "srep", threads=2), stage="first"),
    failure(Case("repnext_u3_t", "srep", batch=128, threads=2), stage="first"),
    *thrice("repvgg_b1", "train", ms=150, cost=Cost(params=57_420_000, macs=13_160_000_000)),
    *thrice("repvgg_b1", "rrep", ms=90, cost=Cost(params=51_830_000, macs=11_820_000_000)),
]


GPU_RECORDS = [
    *thrice("resnet50", ms=4.9, environment_id="gpu"),
    *thrice("resnet50", ms=52, batch=128, environment_id="gpu"),
    *thrice("repnext_u3_t", "train", ms=6.1, environment_id="gpu"),
    *thrice("repnext_u3_t", "rrep", ms=4.2, environment_id="gpu"),
    *thrice("repnext_u3_t", "srep", ms=3.3, environment_id="gpu"),
]


BOTH = [device(CPU_RECORDS), device(GPU_RECORDS, environment=ON_GPU)]
