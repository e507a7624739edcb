"""`report.html`: an interactive page with all results, in one file that opens from disk. Pure."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Sequence
from importlib import resources
from string import Template

from bench.report.devices import DeviceResults
from bench.report.gather import Reading
from bench.report.page.data import Claim, encoded

__all__ = ["Claim", "render"]

SCRIPTS = (
    *("base.js", "choose.js", "address.js", "plot.js", "names.js", "table.js", "save.js"),
    *("budget.js", "bars.js", "page.js"),
)
POLICY = (
    "default-src 'none'; script-src {scripts}; style-src 'unsafe-inline'; img-src data: blob:; "
    "base-uri 'none'; form-action 'none'"
)


def render(
    devices: Sequence[DeviceResults],
    claims: Sequence[Claim] | None = None,
    reading: Reading | None = None,
) -> bytes:
    """The HTML page; it contains plotly.js (about 5 MB), the style, the script and the data.

    Its Content-Security-Policy allows only these two scripts, by hash, and no network access. Text
    from records occurs only in the JSON block.
    """
    from plotly.offline import get_plotlyjs

    plotly = _inline(get_plotlyjs())
    script = _inline("\n".join(["'use strict';\n", *map(_read, SCRIPTS)]))
    page = Template(_read("template.html")).substitute(
        policy=POLICY.format(scripts=f"{_hash(plotly)} {_hash(script)}"),
        style=_read("page.css"),
        data=encoded(devices, claims or [], reading or Reading([], [], [])),
        plotly=plotly,
        script=script,
    )
    return page.encode()


def _read(name: str) -> str:
    return resources.files(__name__).joinpath(name).read_text(encoding="utf-8")


def _inline(script: str) -> str:
    r"""`script` for use inside <script>: `</script` becomes the equal JS string `<\/script`."""
    return script.replace("\r\n", "\n").replace("</script", r"<\/script")


def _hash(script: str) -> str:
    digest = hashlib.sha256(script.encode()).digest()
    return f"'sha256-{base64.b64encode(digest).decode()}'"
