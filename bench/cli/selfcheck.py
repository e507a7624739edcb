"""`bench selfcheck`."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from bench.cli import options as opt
from bench.errors import CASE_FAILED, InterruptedRunError


def selfcheck(
    device: Annotated[str, typer.Option(help="What to check on: `bench list devices`.")] = "cpu",
    out: Annotated[
        Path,
        typer.Option(
            metavar="DIR", help="Writes DIR/<chip>/selfcheck.md and .png.", parser=opt.folder
        ),
    ] = Path("reports"),
    full: Annotated[
        bool, typer.Option("--full", help="Separate runs too: within 45 minutes, not 10.")
    ] = False,
) -> None:
    """Prove on this machine that the harness is right to say what it says."""
    from bench import devices
    from bench.diagnostics import selfcheck
    from bench.diagnostics.selfcheck import findings, page
    from bench.harness.scheduler.environment import describe
    from bench.storage import lock
    from bench.storage.pages import write_pages

    driver, chip = devices.select(device)
    folder = out / chip.slug
    setting = selfcheck.Setting(driver, chip, folder / "selfcheck", _say)
    try:
        with lock.device(chip):
            parts = selfcheck.measure(setting, full=full)
    except KeyboardInterrupt:
        raise InterruptedRunError(setting.folder) from None
    found = findings.of(parts)
    command = f"python -m bench selfcheck --device {device}" + (" --full" if parts.same else "")
    text = page.to_markdown(found, describe(driver, chip, "selfcheck", command))
    pages = {"selfcheck.md": text.encode(), "selfcheck.png": page.picture(found)}
    for path in write_pages(folder, pages):
        print(path)
    for bar in found.bars:
        print(f"{'pass' if bar.passed else 'FAIL'}  {bar.claim}: {bar.found}")
    if not all(bar.passed for bar in found.bars):
        raise typer.Exit(CASE_FAILED)


def _say(line: str) -> None:
    print(line, file=sys.stderr, flush=True)
