"""Hand-written traces in the format of the profiler; times are in microseconds."""

import json

MARK = "bench:iteration"


def event(name, start, length, category="cpu_op", tid=1, **args):
    return {
        "ph": "X",
        "name": name,
        "cat": category,
        "ts": start,
        "dur": length,
        "pid": 1,
        "tid": tid,
        "args": args,
    }


def mark(start, length):
    return event(MARK, start, length, "user_annotation")


def kernel(name, start, length, external_id=None, **args):
    known = {} if external_id is None else {"External id": external_id}
    return event(name, start, length, "kernel", tid=7, **known, **args)


def launch(start, correlation, tid=1):
    return event("cudaLaunchKernel", start, 1, "cuda_runtime", tid, correlation=correlation)


def encoded(*events):
    metadata = {"ph": "M", "name": "process_name", "pid": "Spans", "args": {"name": 1}}
    flow = {"ph": "s", "id": 3, "pid": 1, "tid": 1, "ts": 0, "cat": "ac2g", "name": "ac2g"}
    return json.dumps({"schemaVersion": 1, "traceEvents": [metadata, flow, *events]}).encode()
