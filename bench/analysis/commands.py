"""The command that measures a case, as a reader of a record may paste it."""

from __future__ import annotations

import shlex

from bench.models.naming import RANDOM, weights_of, without_hash
from bench.records import DEFAULT, Case
from bench.records.scenario import TIGHT


def measure(case: Case, out: str, preset: str = "", rounds: int | None = None) -> str:
    """`bench run …` for one case; results go to the folder `out`."""
    model, plus, weights = without_hash(case.model).partition("+")
    words = ["bench", "run", "--device", case.device, "--models", Case(model, case.form).name]
    size = ["--input", case.input] if case.input else ["--resolution", str(case.resolution)]
    words += ["--batch", str(case.batch), *size]
    words += ["--backend", case.backend, "--precision", case.precision]
    words += ["--threads", str(case.threads)]
    words += ["--preset", preset] if preset else []
    words += ["--rounds", str(rounds)] if rounds else []
    for flag, value in (("--allocator", case.allocator), ("--huge-pages", case.huge_pages)):
        words += [flag, value] if value != DEFAULT else []
    words += ["--workload", case.workload] if case.trains else []
    words += ["--scenario", case.scenario] if case.scenario != TIGHT else []
    words += ["--weights", weights] if plus else []
    return shlex.join([*words, "--out", out])


def evaluate(case: Case, out: str, dataset: str) -> str:
    """`bench eval …` for one case; the reader names the images, and weights where it has none.

    "" for images of another shape, whose accuracy is not known by pixels alone.
    """
    if case.input:
        return ""
    weights = "+WEIGHTS" if weights_of(case) == RANDOM else ""
    form = "" if case.form == "plain" and ":" not in case.model else f"@{case.form}"
    words = ["bench", "eval", "--device", case.device]
    words += ["--models", f"{without_hash(case.model)}{weights}{form}"]
    words += ["--data", "FOLDER", "--dataset", dataset, "--resolution", str(case.resolution)]
    words += ["--backend", case.backend, "--precision", case.precision]
    return shlex.join([*words, "--out", out])
