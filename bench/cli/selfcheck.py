"""`bench selfcheck`."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from bench.cli.console import complain, tell
from bench.cli.first_contact import first_contact
from bench.cli.options import DEFAULT_OUT, as_folder
from bench.errors import CASE_FAILED, InterruptedRunError, UsageError

if TYPE_CHECKING:
    from bench.diagnostics.selfcheck.findings import Criterion


def selfcheck(
    device: Annotated[
        str, typer.Option(help="The device to check: see `bench list devices`.")
    ] = "cpu",
    out: Annotated[
        Path,
        typer.Option(
            metavar="DIR", help="Write DIR/<chip>/selfcheck.md and selfcheck.png.", parser=as_folder
        ),
    ] = DEFAULT_OUT,
    full: Annotated[
        bool,
        typer.Option(
            "--full", help="Also compare separate runs; takes up to 45 minutes instead of 10."
        ),
    ] = False,
    hardware: Annotated[
        bool,
        typer.Option(
            "--hardware",
            help="Check a device that is new to bench, in at most 9 minutes; writes hardware.md. "
            "The same command then does what is missing or failed.",
        ),
    ] = False,
    every: Annotated[
        bool,
        typer.Option("--all", help="With --hardware: check all forms with all backends, too."),
    ] = False,
) -> None:
    """Test the harness on this machine: false alarms, sensitivity, fidelity, faults."""
    if hardware:
        if full:
            raise UsageError("--full does not go with --hardware", "Give one of the two.")
        first_contact(device, out, every=every)
        return
    if every:
        raise UsageError("--all needs --hardware", "Add --hardware, or omit --all.")
    from bench import devices
    from bench.diagnostics import selfcheck
    from bench.diagnostics.selfcheck import findings, page
    from bench.harness.scheduler.environment import describe
    from bench.storage import lock
    from bench.storage.pages import write_pages
    from bench.storage.reader import FILE_NAME

    driver, chip = devices.select(device)
    folder = out / chip.slug
    setting = selfcheck.Setting(driver, chip, folder / "selfcheck", complain)
    try:
        with lock.device(chip, is_shared=driver.is_shared):
            parts = selfcheck.measure(setting, full=full)
    except KeyboardInterrupt:
        saved = any(setting.folder.glob(f"*/{FILE_NAME}"))
        raise InterruptedRunError(setting.folder, saved=saved) from None
    found = findings.of(parts)
    command = f"bench selfcheck --device {device}" + (" --full" if parts.same else "")
    text = page.to_markdown(found, describe(driver, chip, "selfcheck", command))
    pages = {"selfcheck.md": text.encode(), "selfcheck.png": page.picture(found)}
    for path in write_pages(folder, pages):
        tell(str(path))
    if not _all_passed(found.criteria):
        raise typer.Exit(CASE_FAILED)


def _all_passed(criteria: Sequence[Criterion]) -> bool:
    """Print whether each criterion is met; return whether all are met."""
    for each in criteria:
        tell(f"{'pass' if each.passed else 'FAIL'}  {each.claim}: {each.found}")
    return all(each.passed for each in criteria)
