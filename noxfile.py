"""Sessions of nox.

`nox` runs `tests` (the quick tests), `lint` and `types`. A change must also pass `slow` and
`packages`. `pages` tests the report in a browser and in LaTeX; it needs system packages. `faults`,
`fleet_faults` and `soak` are long tests of faults and of resource use; `simulations` settles many
simulated tables; `aotinductor` has those that compile with AOTInductor. `attack` draws stores,
networks, signals and environments from a seed, and looks for what nobody thought of. `zoo` checks
the check of forms on all networks of timm that can be merged, and `paper_zoo` all checks on the
paper's networks. `oldest` and `newest` run the quick tests with the oldest and the newest packages
that `pyproject.toml` allows. `bench_cpu`, `bench_gpu` and `bench_orin` measure and write a report;
`report` writes the report again.
"""

import json
import shutil
from pathlib import Path

import nox

nox.options.sessions = ["tests", "lint", "types"]
nox.options.default_venv_backend = "uv|virtualenv"

# torch is large, so all sessions that need it share the environment of the session `env`.
PYTHON = str(Path(".nox", "env", "bin", "python"))
RESULTS = "results"
OLDEST, NEWEST = "3.10", "3.14"
# `bench_orin` uses torch and torchvision of the Jetson's vendor, and installs timm alone.
VENDORS = ("torch", "torchvision", "timm")
AT_ONCE = ("-n", "logical", "--maxprocesses", "4", "--dist", "worksteal")
PAGE_TOOLS = {  # package of Debian and Ubuntu: the command that it installs
    "chromium": "chromium",
    "chromium-driver": "chromedriver",
    "texlive-latex-recommended": "pdflatex",
}
# Dependencies of timm other than torch and torchvision.
TIMM_ALONE = ("huggingface_hub", "pyyaml", "safetensors")
# A torch of the vendor that was built on NumPy 1 works with no newer one.
FOR_OLDER_TORCH = "numpy<2"
TOO_NEW = "NumPy is too new for this torch"
TRY_NUMPY = f"""
import torch
try:
    torch.zeros(1).numpy()
except RuntimeError:
    print("{TOO_NEW}")
"""


@nox.session(reuse_venv=True, default=False)
def env(session: nox.Session) -> None:
    """Install bench with torch, torchvision and timm."""
    session.install("-e", ".[dev,runtimes]")


@nox.session(venv_backend="none", requires=["env"])
def tests(session: nox.Session) -> None:
    """Run the quick tests in parallel; arguments after -- go to pytest."""
    session.run(PYTHON, "-m", "pytest", *AT_ONCE, *session.posargs, external=True)


@nox.session(venv_backend="none", requires=["env"], default=False)
def slow(session: nox.Session) -> None:
    """Run the slow tests: real networks in many processes, and full versions of sampled tests."""
    session.run(PYTHON, "-m", "pytest", "-m", "slow", *AT_ONCE, *session.posargs, external=True)


@nox.session(venv_backend="none", requires=["env"], default=False)
def packages(session: nox.Session) -> None:
    """Build the wheel, install it with its dependencies into a new environment, and test it."""
    chosen = session.posargs or ["tests/repo"]  # where all of them are
    session.run(PYTHON, "-m", "pytest", "-m", "packages", *chosen, external=True)


@nox.session(venv_backend="none", requires=["env"], default=False)
def pages(session: nox.Session) -> None:
    """Open the report in headless Chromium and compile its LaTeX.

    If a system package is missing, the session fails with the command that installs it.
    """
    if any(shutil.which(command) is None for command in PAGE_TOOLS.values()):
        session.error(f"sudo apt install {' '.join(PAGE_TOOLS)}")
    session.run(PYTHON, "-m", "pytest", "-m", "pages", *session.posargs, external=True)


@nox.session(venv_backend="none", requires=["env"], default=False)
def faults(session: nox.Session) -> None:
    """Run the full counts of kills, full disks and invalid input: about 12 minutes."""
    session.run(PYTHON, "-m", "pytest", "-m", "faults", *session.posargs, external=True)


@nox.session(venv_backend="none", requires=["env"], default=False)
def fleet_faults(session: nox.Session) -> None:
    """Kill processes of a fleet 200 times at random: about 15 minutes."""
    session.run(PYTHON, "-m", "pytest", "-s", "-m", "fleet_faults", *session.posargs, external=True)


@nox.session(venv_backend="none", requires=["env"], default=False)
def soak(session: nox.Session) -> None:
    """Run 2,000 short rounds, and 15 minutes on the CPU, and check memory: about 20 minutes."""
    session.run(PYTHON, "-m", "pytest", "-s", "-m", "soak", *session.posargs, external=True)


@nox.session(venv_backend="none", requires=["env"], default=False)
def simulations(session: nox.Session) -> None:
    """Settle 200 simulated tables, of which the quick tests settle six: about four minutes."""
    session.run(PYTHON, "-m", "pytest", "-m", "simulations", *session.posargs, external=True)


@nox.session(venv_backend="none", requires=["env"], default=False)
def aotinductor(session: nox.Session) -> None:
    """Run the tests that compile with AOTInductor: about ten minutes on two cores."""
    session.run(PYTHON, "-m", "pytest", "-m", "aotinductor", *session.posargs, external=True)


@nox.session(venv_backend="none", requires=["env"], default=False)
def zoo(session: nox.Session) -> None:
    """Check the forms of timm's networks, and plant faults in them: about 40 minutes on two cores.

    Arguments after -- are names of networks. The session resumes an earlier one of the same code.
    """
    program = ("tests/zoo/merging_networks.py", *session.posargs)
    session.run(PYTHON, *program, external=True, env={"PYTHONPATH": "tests"})


@nox.session(venv_backend="none", requires=["env"], default=False)
def paper_zoo(session: nox.Session) -> None:
    """Check all forms of the paper's networks in all settings of a CPU, and plant faults in them.

    It prints the table of docs/checked-networks.md. Arguments after -- are names of networks, or
    `--share S`. The session resumes an earlier one of the same code.
    """
    program = ("tests/zoo/paper_networks.py", *session.posargs)
    session.run(PYTHON, *program, external=True, env={"PYTHONPATH": "tests"})


@nox.session(venv_backend="none", requires=["env"], default=False)
def attack(session: nox.Session) -> None:
    """Attack bench with what is drawn from a seed: about an hour on two cores.

    Arguments after -- are parts (stores, networks, signals, environments), `--seed N` or
    `--count N`. The session resumes an earlier one of the same code.
    """
    program = ("tests/attack/attacks.py", *session.posargs)
    session.run(PYTHON, *program, external=True, env={"PYTHONPATH": "tests"})


@nox.session(python=OLDEST, venv_backend="uv", default=False)
def oldest(session: nox.Session) -> None:
    """Run the quick tests with the oldest packages that pyproject.toml allows; needs uv."""
    session.install("--resolution", "lowest-direct", "-e", ".[dev]")
    session.run("pytest", *AT_ONCE, *session.posargs)


@nox.session(python=NEWEST, default=False)
def newest(session: nox.Session) -> None:
    """Run the quick tests with the newest packages, on the newest Python that torch supports."""
    session.install("--upgrade", "-e", ".[dev,runtimes]")
    session.run("pytest", *AT_ONCE, *session.posargs)


@nox.session(venv_backend="none", requires=["env"])
def types(session: nox.Session) -> None:
    """Check types with mypy."""
    session.run(PYTHON, "-m", "mypy", external=True)


@nox.session
def lint(session: nox.Session) -> None:
    """Check style and formatting with ruff."""
    session.install("ruff>=0.6")
    session.run("ruff", "check")
    session.run("ruff", "format", "--check")


@nox.session(venv_backend="none", requires=["env"], default=False)
def bench_cpu(session: nox.Session) -> None:
    """Measure Table 6 and Figure 5 on the CPU with preset `quick`; report in results/."""
    _measure(session, PYTHON, "cpu", "quick")


@nox.session(venv_backend="none", requires=["env"], default=False)
def bench_gpu(session: nox.Session) -> None:
    """Measure Table 6 and Figure 5 on an NVIDIA GPU; report in results/."""
    _measure(session, PYTHON, "cuda", "default")


@nox.session(venv_params=["--system-site-packages"], reuse_venv=True, default=False)
def bench_orin(session: nox.Session) -> None:
    """Measure Table 6 and Figure 5 on a Jetson Orin with the vendor's torch; report in results/."""
    _install_beside_vendors_torch(session)
    _measure(session, "python", "orin", "default")


@nox.session(venv_backend="none", requires=["env"], default=False)
def first_contact_gpu(session: nox.Session) -> None:
    """Check an NVIDIA GPU that is new to bench, in at most 9 minutes; a second call resumes.

    Arguments after -- go to `bench selfcheck`: `--all` checks all forms with all backends.
    """
    _first_contact(session, PYTHON, "cuda")


@nox.session(venv_params=["--system-site-packages"], reuse_venv=True, default=False)
def first_contact_orin(session: nox.Session) -> None:
    """Check a Jetson Orin that is new to bench, in at most 9 minutes; a second call resumes."""
    _install_beside_vendors_torch(session)
    _first_contact(session, "python", "orin")


@nox.session(venv_backend="none", requires=["env"], default=False)
def report(session: nox.Session) -> None:
    """Write the report of results/, or of the folders after --."""
    folders = session.posargs or [RESULTS]
    session.run(PYTHON, "-m", "bench", "report", *folders, external=True)


def _install_beside_vendors_torch(session: nox.Session) -> None:
    """Install bench and what it needs, without torch and torchvision.

    NumPy is installed again if the vendor's torch needs an older one. Without torch, nothing is
    tried: `bench` says later what is missing.
    """
    project = nox.project.load_toml("pyproject.toml")["project"]
    light = [line for line in project["dependencies"] if not line.startswith(VENDORS)]
    session.install(*light, *TIMM_ALONE)
    session.install("--no-deps", "timm", "-e", ".")
    said = session.run("python", "-c", TRY_NUMPY, silent=True, success_codes=[0, 1])
    if TOO_NEW in str(said):
        session.install(FOR_OLDER_TORCH)


def _first_contact(session: nox.Session, python: str, device: str) -> None:
    """Call `bench selfcheck --hardware`: results/<chip>/hardware.md."""
    flags = ("selfcheck", "--device", device, "--hardware", "--out", RESULTS)
    session.run(python, "-m", "bench", *flags, *session.posargs, external=True)


def _measure(session: nox.Session, python: str, device: str, preset: str) -> None:
    """Call `bench doctor`, `run`, `profile` and `report`.

    If the device is not available, the session is skipped with the reason.
    """
    bench = (python, "-m", "bench")
    listed = session.run(*bench, "list", "devices", "--json", external=True, silent=True)
    (found,) = [entry for entry in json.loads(str(listed)) if entry["name"] == device]
    if not found["available"]:
        session.skip(found["about"])
    session.run(*bench, "doctor", external=True)
    flags = ("--suite", "table6", "--device", device, "--preset", preset, "--out", RESULTS)
    failed = [0, 1]  # 1: a case failed; the report shows it
    session.run(*bench, "run", *flags, *session.posargs, external=True, success_codes=failed)
    profile = ("profile", "--suite", "figure5", "--device", device, "--out", RESULTS)
    session.run(*bench, *profile, external=True, success_codes=failed, silent=True)
    session.run(*bench, "report", RESULTS, external=True)
