"""Whether a file of `bench tune --export` answers like the network that was trained: no test.

    PYTHONPATH=tests:. .nox/env/bin/python tests/benchmarks/tuned_top1.py FOLDER IMAGES

RepNeXt-u3-T is tuned for five minutes and its file written into FOLDER. 200 images of the folder
IMAGES then go through the file, in ONNX Runtime or OpenVINO and without bench, and through the form
`train` in eager mode. A random network finds the same class in nearly all images, so its head is
drawn anew: each class is the most probable one as often. The program exits with 1 where a class or
a logit differs.
"""

import argparse
import subprocess
import sys
from pathlib import Path

import numpy as np
import torch
from PIL import Image

from bench import models
from bench.devices import precision
from bench.models.preprocessing import MEAN, STD

NETWORK, IMAGES, PIXELS, FEWEST_CLASSES = "repnext_u3_t", 200, 224, 20
TUNE = ("tune", NETWORK, "--backend", "onnxruntime,openvino", "--for", "5m")
WITHOUT_BENCH = """
import sys
import numpy as np
assert not any(name.split(".")[0] in ("bench", "torch") for name in sys.modules)
path, images, answers = sys.argv[1:]
if path.endswith(".onnx"):
    import onnxruntime
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    run = lambda x: session.run(None, {session.get_inputs()[0].name: x})[0]
else:
    import openvino
    model = openvino.Core().compile_model(path, "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
    run = lambda x: model(x)[0]
np.save(answers, np.concatenate([run(image[None]) for image in np.load(images)]))
"""


def read(folder: Path) -> torch.Tensor:
    """The first images of a folder (N, 3, H, W), of which each is cut to a square."""
    found = []
    for path in sorted(folder.rglob("*.jpg"))[:IMAGES]:
        image = Image.open(path).convert("RGB")
        side = min(image.size)
        left, top = ((each - side) // 2 for each in image.size)
        square = image.resize((PIXELS, PIXELS), box=(left, top, left + side, top + side))
        found.append((np.asarray(square) / 255 - MEAN) / STD)
    return torch.from_numpy(np.stack(found)).permute(0, 3, 1, 2).float().contiguous()


def logits_of(net: torch.nn.Module, images: torch.Tensor) -> torch.Tensor:
    """The logits (N, classes), one image per call."""
    with torch.inference_mode():
        return torch.cat([net(image[None]) for image in images])


def with_new_head(net: torch.nn.Module, images: torch.Tensor) -> None:
    """Give the logits of each class mean 0 and standard deviation 1 over the images."""
    logits = logits_of(net, images)
    mean, std = logits.mean(0), logits.std(0)
    head = net.classifier.fc
    with torch.no_grad():
        head.weight.div_(std[:, None])
        head.bias.sub_(mean).div_(std)


def main(folder: Path, images: torch.Tensor) -> int:
    """Tune, compare, print, and return the exit code."""
    folder.mkdir(parents=True, exist_ok=True)
    for path in folder.glob("won.*"):
        path.unlink()
    net = models.build(NETWORK)
    if logits_of(net, images).argmax(1).unique().numel() < FEWEST_CLASSES:
        with_new_head(net, images)
    weights, pixels, answers = (folder / name for name in ("w.pt", "images.npy", "answers.npy"))
    torch.save(net.state_dict(), weights)
    np.save(pixels, images.numpy())
    bench = (sys.executable, "-m", "bench", *TUNE, "--weights", str(weights))
    subprocess.run([*bench, "--out", str(folder), "--export", str(folder / "won")], check=True)
    file = next(iter([*folder.glob("won.onnx"), *folder.glob("won.xml")]), None)
    if file is None:
        sys.exit("no gain was proven, so there is no file")
    run = [sys.executable, "-c", WITHOUT_BENCH, str(file), str(pixels), str(answers)]
    subprocess.run(run, check=True, cwd=folder, env={})
    ours, reference = torch.from_numpy(np.load(answers)), logits_of(net, images)
    same = int((ours.argmax(1) == reference.argmax(1)).sum())
    error = float((ours - reference).abs().max() / reference.abs().max())
    limit = precision.tolerance("fp32", None)
    classes = reference.argmax(1).unique().numel()
    print(f"{file.name}: {same} of {len(images)} images alike, in {classes} classes")
    print(f"largest error of a logit {error:.1e}, tolerated {limit:.1e}")
    return int(same < len(images) or error > limit or classes < FEWEST_CLASSES)


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("folder", type=Path)
    parser.add_argument("images", type=Path)
    given = parser.parse_args()
    sys.exit(main(given.folder.absolute(), read(given.images)))
