"""Trains the small networks of reports/trained, evaluates all their forms: no test.

    .nox/env/bin/python tests/benchmarks/trained_forms.py FOLDER DATA

Each of the five networks is trained with three seeds on DATA, a folder or zip of ten classes, and
evaluated in all its forms. Weights go to FOLDER, records and pages to reports/trained. What is
there is not made again. With `--int8`, the forms are also evaluated in 8-bit integers, whose ranges
are found on images of DATA to train on.
"""

import argparse
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

NETWORKS, SEEDS, RESOLUTION = ("u1", "u2", "u3", "plain", "convnext"), (0, 1, 2), "64"
HERE = Path(__file__).parents[2] / "reports" / "trained"
FORMS = {"convnext": ("plain",)}
INTEGER_FORMS = ("plain", "rrep", "srep")
CALIBRATED_ON = 256


def bench(*words: str, folder: Path) -> None:
    """Call bench; 1 means that a case failed, which its record says."""
    done = subprocess.run([sys.executable, "-m", "bench", *words], cwd=folder, check=False)
    if done.returncode not in (0, 1):
        sys.exit(done.returncode)


def train(folder: Path, data: Path) -> None:
    """Train each network with each seed; seeds outside, so that drift meets all networks."""
    for seed in SEEDS:
        for name in NETWORKS:
            out = f"{name}-{seed}"
            if not (folder / out / "weights.pt").exists():
                words = ("--data", str(data), "--recipe", "recipe.toml", "--seed", str(seed))
                bench("train", "--model", f"nets.py:{name}", *words, "--out", out, folder=folder)


def calibration(folder: Path, data: Path) -> Path:
    """A folder with some of the images to train on."""
    chosen = folder / "calibration"
    if not chosen.exists():
        with zipfile.ZipFile(data) as opened:
            names = [name for name in opened.namelist() if name.startswith("train/")]
            for name in names[:: len(names) // CALIBRATED_ON]:
                opened.extract(name, chosen)
    return chosen


def evaluate(folder: Path, data: Path, *flags: str, forms: tuple[str, ...] = ()) -> None:
    """Evaluate all forms, or those named, of all trained networks."""
    models = [
        f"nets.py:{name}+{name}-{seed}/weights.pt" + (f"@{form}" if form else "")
        for seed in SEEDS
        for name in NETWORKS
        for form in (FORMS.get(name, forms) if forms else ("",))
    ]
    words = ("--data", str(data), "--resolution", RESOLUTION, "--out", str(HERE))
    bench("eval", "--models", ",".join(models), *words, *flags, folder=folder)


def main(folder: Path, data: Path, *, int8: bool) -> None:
    """Train, evaluate, write the report."""
    folder.mkdir(parents=True, exist_ok=True)
    for name in ("nets.py", "recipe.toml"):
        shutil.copy(HERE / name, folder)
    train(folder, data)
    evaluate(folder, data)
    if int8:
        flags = ("--backend", "onnxruntime", "--precision", "int8")
        photos = ("--calibrate", str(calibration(folder, data)))
        evaluate(folder, data, *flags, *photos, forms=INTEGER_FORMS)
    bench("report", str(HERE), folder=folder)


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("folder", type=Path)
    parser.add_argument("data", type=Path)
    parser.add_argument("--int8", action="store_true")
    given = parser.parse_args()
    main(given.folder.absolute(), given.data.absolute(), int8=given.int8)
