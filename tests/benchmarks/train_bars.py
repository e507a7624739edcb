"""Whether `bench train` learns as much as a plain loop, and waits for data: no test.

    PYTHONPATH=tests:. .nox/env/bin/python tests/benchmarks/train_bars.py FOLDER DATA [EPOCHS]

A small RepNeXt-u3 is trained on DATA (a folder or zip of ten classes) at 64 pixels, by bench train
and by the loop below, which has the same parts of timm, with three seeds each. What is in FOLDER is
not trained again. The program prints the top-1 of each seed, and the share of the time in which
bench train waited for images. It exits with 1 if all seeds of bench train are below those of the
loop, or if it waited for more than 5 %.
"""

import argparse
import json
import subprocess
import sys
from pathlib import Path

import torch
from timm.data import Mixup, create_transform
from timm.loss import SoftTargetCrossEntropy
from timm.optim import create_optimizer_v2
from timm.scheduler import CosineLRScheduler
from torch import nn
from torch.utils.data import DataLoader

from bench.harness.images import sets
from bench.models import repnext
from bench.models.repnext import Classifier, ConvBN, Downsample, RepNeXt, _block

SEEDS, BATCH, RATE, PIXELS, WARM_UP, MOST_WAITING = (0, 1, 2), 64, 2e-3, 64, 1, 0.05
NET = f"""
import sys
sys.path.insert(0, {str(Path(__file__).parent)!r})
from train_bars import small as net
"""
RECIPE = (
    f"batch = {BATCH}\nrate = {RATE}\nresolution = {PIXELS}\nwarmup_epochs = {WARM_UP}\nema = 0\n"
)
RECIPE += 'rand_augment = ""\nerase = 0\ndrop_path = 0\n'


def small(classes: int = 10) -> nn.Module:
    """A RepNeXt-u3 of two stages with 32 and 64 channels."""
    net = RepNeXt()
    net.add_module("stem", ConvBN(nn.Conv2d(3, 32, 4, stride=4, bias=False)))
    net.add_module("stage1", nn.Sequential(*(_block(repnext.RepUnit3, 32) for _ in range(2))))
    net.add_module("downsample1", Downsample(32, 64))
    net.add_module("stage2", nn.Sequential(*(_block(repnext.RepUnit3, 64) for _ in range(2))))
    net.add_module("pool", nn.AdaptiveAvgPool2d(1))
    net.add_module("flatten", nn.Flatten())
    net.add_module("classifier", Classifier(64, classes))
    return net


def by_bench(folder: Path, data: Path, epochs: int, seed: int) -> tuple[float, float]:
    """The top-1 of the last epoch in per cent, and the share of waiting."""
    out = folder / f"bench-{seed}"
    if not (out / "weights.pt").exists():
        (folder / "net.py").write_text(NET)
        (folder / "mine.toml").write_text(f"epochs = {epochs}\n{RECIPE}")
        command = ["train", "--model", "net.py:net", "--recipe", "mine.toml", "--seed", str(seed)]
        command += ["--data", str(data), "--out", str(out)]
        subprocess.run([sys.executable, "-m", "bench", *command], cwd=folder, check=True)
    lines = [json.loads(line) for line in (out / "log.jsonl").read_text().splitlines()]
    waited = sum(line["waited_s"] for line in lines) / sum(line["seconds"] for line in lines)
    return lines[-1]["top1"], waited


class Plain(torch.utils.data.Dataset):
    """Images with a transform."""

    def __init__(self, images, transform):
        self.images, self.transform = images, transform

    def __len__(self):
        return len(self.images)

    def __getitem__(self, place):
        return self.transform(self.images.open(place)), self.images.label(place)


def by_loop(data: Path, epochs: int, seed: int) -> float:
    """The top-1 of a plain loop with the same parts."""
    torch.manual_seed(seed)
    found, net = sets.find(data), small()
    usual = {"input_size": PIXELS, "interpolation": "bicubic"}
    training = create_transform(**usual, is_training=True, scale=(0.08, 1), color_jitter=0.4)
    held_out = create_transform(**usual, crop_pct=0.875)
    loader = DataLoader(
        Plain(found.training, training), BATCH, shuffle=True, num_workers=1, drop_last=True
    )
    optimiser = create_optimizer_v2(net, opt="adamw", lr=RATE, weight_decay=0.05)
    schedule = CosineLRScheduler(
        optimiser,
        (epochs - WARM_UP) * len(loader),
        lr_min=1e-6,
        warmup_t=WARM_UP * len(loader),
        warmup_lr_init=1e-6,
        warmup_prefix=True,
        t_in_epochs=False,
    )
    mixup, loss = Mixup(0.8, 1.0, label_smoothing=0.1, num_classes=10), SoftTargetCrossEntropy()
    for epoch in range(epochs):
        net.train()
        for number, batch in enumerate(loader):
            images, targets = mixup(*batch)
            schedule.step_update(epoch * len(loader) + number)
            loss(net(images), targets).backward()
            optimiser.step()
            optimiser.zero_grad()
    net.eval()
    right = 0
    with torch.no_grad():
        for images, targets in DataLoader(Plain(found.held_out, held_out), 256, num_workers=1):
            right += int((net(images).argmax(1) == targets).sum())
    return 100 * right / len(found.held_out)


def main(folder: Path, data: Path, epochs: int) -> int:
    """Train, print, and return the exit code."""
    folder.mkdir(parents=True, exist_ok=True)
    ours, loops, waits = [], [], []
    for seed in SEEDS:
        top1, waited = by_bench(folder, data, epochs, seed)
        kept = folder / f"loop-{seed}.txt"
        if not kept.exists():
            kept.write_text(str(by_loop(data, epochs, seed)))
        ours.append(top1)
        waits.append(waited)
        loops.append(float(kept.read_text()))
        print(
            f"seed {seed}: bench {top1:.1f} %, loop {loops[-1]:.1f} %, waited {waited:.1%}",
            flush=True,
        )
    return int(max(ours) < min(loops) or max(waits) > MOST_WAITING)


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("folder", type=Path)
    parser.add_argument("data", type=Path)
    parser.add_argument("epochs", type=int, nargs="?", default=10)
    given = parser.parse_args()
    sys.exit(main(given.folder.absolute(), given.data.absolute(), given.epochs))
