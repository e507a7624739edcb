"""`bench selfcheck --hardware`."""

from __future__ import annotations

from pathlib import Path

import typer

from bench.cli.console import complain, tell
from bench.errors import CASE_FAILED, InterruptedRunError, UsageError


def first_contact(device: str, out: Path, *, every: bool) -> None:
    """Run the steps of a first contact that are missing, and write hardware.md and its numbers.

    The time of a call counts from here. Raises UsageError for a simulated device. Ends with
    CASE_FAILED if a line failed or is missing.
    """
    from bench import devices
    from bench.diagnostics.hardware import first_contact as steps_of_call
    from bench.diagnostics.hardware import met, page, runs, steps
    from bench.diagnostics.hardware.call import Call
    from bench.diagnostics.hardware.line import all_pass
    from bench.harness.scheduler.environment import describe
    from bench.storage import lock
    from bench.storage.pages import write_pages
    from bench.text import to_json

    call = Call()
    driver, chip = devices.select(device)
    if not driver.runs_torch:
        raise UsageError(f"{device} is simulated", "Use a device that computes: --device cpu.")
    folder = out / chip.slug
    command = f"bench selfcheck --device {device} --hardware" + (" --all" if every else "")
    environment = describe(driver, chip, "hardware", command)
    means = runs.real(driver, chip, folder / "hardware", complain)
    todo = steps.of(means, chip, every=every)
    try:
        with lock.device(chip, is_shared=driver.is_shared):
            here = environment.environment_id
            lines = steps_of_call.run(todo, folder / "hardware", here, complain, call)
    except KeyboardInterrupt:
        saved = any((folder / "hardware").glob("lines/*.json"))
        raise InterruptedRunError(folder / "hardware", saved=saved) from None
    raw = {line.name: {"verdict": line.verdict, **line.raw} for line in lines}
    pages = {
        "hardware.md": page.to_markdown(lines, environment).encode(),
        "hardware.json": to_json(raw, indent=1).encode(),
    }
    written = write_pages(folder, pages)
    written += met.save(folder / "hardware" / "met", chip, lines)
    written += sorted((folder / "hardware" / runs.TRACES).glob("*.json"))
    for path in written:
        tell(str(path))
    if rest := [line.name for line in lines if line.is_unfinished]:
        complain(f"left for the next call of `{command}`: {'; '.join(rest)}")
    if rest or not all_pass(lines):
        raise typer.Exit(CASE_FAILED)
