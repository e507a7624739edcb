"""Sessions: `nox -s tests`, `lint`, `types`, and `bench_cpu`, which measures."""

from pathlib import Path

import nox

nox.options.sessions = ["tests", "lint", "types"]
nox.options.default_venv_backend = "uv|virtualenv"

# torch is large, so whatever needs it shares the environment that the session `env` makes.
PYTHON = str(Path(".nox", "env", "bin", "python"))


@nox.session(reuse_venv=True, default=False)
def env(session: nox.Session) -> None:
    """Install bench with torch, torchvision and timm."""
    session.install("-e", ".[dev]")


@nox.session(venv_backend="none", requires=["env"])
def tests(session: nox.Session) -> None:
    """Run the tests; what follows -- goes to pytest."""
    session.run(PYTHON, "-m", "pytest", *session.posargs, external=True)


@nox.session(venv_backend="none", requires=["env"])
def types(session: nox.Session) -> None:
    """Check types."""
    session.run(PYTHON, "-m", "mypy", external=True)


@nox.session(venv_backend="none", requires=["env"])
def bench_cpu(session: nox.Session) -> None:
    """Measure Table 6 on this machine's CPU into results/ and write its report."""
    bench = (PYTHON, "-m", "bench")
    options = ("--suite", "table6", "--device", "cpu", "--preset", "quick", "--out", "results")
    session.run(*bench, "run", *options, *session.posargs, external=True)
    session.run(*bench, "report", "results", external=True)


@nox.session
def lint(session: nox.Session) -> None:
    """Check style and formatting."""
    session.install("ruff>=0.6")
    session.run("ruff", "check")
    session.run("ruff", "format", "--check")
