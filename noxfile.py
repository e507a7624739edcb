"""Sessions: `tests`, `lint`, `types`; `bench_cpu`, `bench_gpu`, `bench_orin` measure; `report`.

`tests` are the quick ones; `slow` and `packages` are the rest of what must pass before a change
lands. `pages` opens a report in a browser and in LaTeX, and needs packages of the system; `faults`
and `soak` are the long tests of what can go wrong.
"""

import json
import shutil
from pathlib import Path

import nox

nox.options.sessions = ["tests", "lint", "types"]
nox.options.default_venv_backend = "uv|virtualenv"

# torch is large, so whatever needs it shares the environment that the session `env` makes.
PYTHON = str(Path(".nox", "env", "bin", "python"))
RESULTS = "results"
OLDEST, NEWEST = "3.10", "3.14"
VENDORS = ("torch", "torchvision", "timm")  # on a board torch and torchvision are the vendor's
AT_ONCE = ("-n", "logical", "--maxprocesses", "4", "--dist", "worksteal")
PAGE_TOOLS = {  # of Debian and Ubuntu: package and the command in it
    "chromium": "chromium",
    "chromium-driver": "chromedriver",
    "texlive-latex-recommended": "pdflatex",
}
TIMM_ALONE = ("huggingface_hub", "pyyaml", "safetensors")  # what timm needs besides those two


@nox.session(reuse_venv=True, default=False)
def env(session: nox.Session) -> None:
    """Install bench with torch, torchvision and timm."""
    session.install("-e", ".[dev]")


@nox.session(venv_backend="none", requires=["env"])
def tests(session: nox.Session) -> None:
    """Run the quick tests, several at a time; what follows -- goes to pytest."""
    session.run(PYTHON, "-m", "pytest", *AT_ONCE, *session.posargs, external=True)


@nox.session(venv_backend="none", requires=["env"], default=False)
def slow(session: nox.Session) -> None:
    """Run real networks in many processes, and all of what a quick test samples."""
    session.run(PYTHON, "-m", "pytest", "-m", "slow", *AT_ONCE, *session.posargs, external=True)


@nox.session(venv_backend="none", requires=["env"], default=False)
def packages(session: nox.Session) -> None:
    """Build the wheel and install it, with what it needs, in an environment of its own."""
    session.run(PYTHON, "-m", "pytest", "-m", "packages", *session.posargs, external=True)


@nox.session(venv_backend="none", requires=["env"], default=False)
def pages(session: nox.Session) -> None:
    """Open the report in headless Chromium and compile its LaTeX; says which packages it lacks."""
    if any(shutil.which(command) is None for command in PAGE_TOOLS.values()):
        session.error(f"sudo apt install {' '.join(PAGE_TOOLS)}")
    session.run(PYTHON, "-m", "pytest", "-m", "pages", *session.posargs, external=True)


@nox.session(venv_backend="none", requires=["env"], default=False)
def faults(session: nox.Session) -> None:
    """Kill, fill up and lie to runs, in full: twelve minutes; the quick part is in `tests`."""
    session.run(PYTHON, "-m", "pytest", "-m", "faults", *session.posargs, external=True)


@nox.session(venv_backend="none", requires=["env"], default=False)
def soak(session: nox.Session) -> None:
    """Run 2,000 short rounds and a quarter of an hour on the CPU: nothing grows; 20 minutes."""
    session.run(PYTHON, "-m", "pytest", "-s", "-m", "soak", *session.posargs, external=True)


@nox.session(python=[OLDEST, NEWEST], default=False)
def tests_on(session: nox.Session) -> None:
    """Run the tests on the oldest and the newest Python that torch supports."""
    session.install("-e", ".[dev]")
    every = ("-m", "not pages and not faults and not soak")
    session.run("pytest", *every, *AT_ONCE, *session.posargs)


@nox.session(venv_backend="none", requires=["env"])
def types(session: nox.Session) -> None:
    """Check types."""
    session.run(PYTHON, "-m", "mypy", external=True)


@nox.session
def lint(session: nox.Session) -> None:
    """Check style and formatting."""
    session.install("ruff>=0.6")
    session.run("ruff", "check")
    session.run("ruff", "format", "--check")


@nox.session(venv_backend="none", requires=["env"], default=False)
def bench_cpu(session: nox.Session) -> None:
    """Measure Table 6 and Figure 5 on this machine's CPU into results/, quickly; report them."""
    _measure(session, PYTHON, "cpu", "quick")


@nox.session(venv_backend="none", requires=["env"], default=False)
def bench_gpu(session: nox.Session) -> None:
    """Measure Table 6 and Figure 5 on this machine's NVIDIA GPU into results/; report them."""
    _measure(session, PYTHON, "cuda", "default")


@nox.session(venv_params=["--system-site-packages"], reuse_venv=True, default=False)
def bench_orin(session: nox.Session) -> None:
    """Measure Table 6 and Figure 5 on a Jetson Orin with the vendor's torch; report them."""
    project = nox.project.load_toml("pyproject.toml")["project"]
    light = [line for line in project["dependencies"] if not line.startswith(VENDORS)]
    session.install(*light, *TIMM_ALONE)
    session.install("--no-deps", "timm", "-e", ".")
    _measure(session, "python", "orin", "default")


@nox.session(venv_backend="none", requires=["env"], default=False)
def report(session: nox.Session) -> None:
    """Write tables and figures of results/, or of the folders after --."""
    folders = session.posargs or [RESULTS]
    session.run(PYTHON, "-m", "bench", "report", *folders, external=True)


def _measure(session: nox.Session, python: str, device: str, preset: str) -> None:
    """Doctor, run and report, or skip with the reason that `bench doctor` gives too."""
    bench = (python, "-m", "bench")
    listed = session.run(*bench, "list", "devices", "--json", external=True, silent=True)
    (found,) = [entry for entry in json.loads(str(listed)) if entry["name"] == device]
    if not found["available"]:
        session.skip(found["about"])
    session.run(*bench, "doctor", external=True)
    flags = ("--suite", "table6", "--device", device, "--preset", preset, "--out", RESULTS)
    failed = [0, 1]  # a case that failed is a row of the report
    session.run(*bench, "run", *flags, *session.posargs, external=True, success_codes=failed)
    profile = ("profile", "--suite", "figure5", "--device", device, "--out", RESULTS)
    session.run(*bench, *profile, external=True, success_codes=failed, silent=True)
    session.run(*bench, "report", RESULTS, external=True)
