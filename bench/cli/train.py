"""`bench train`."""

from __future__ import annotations

import contextlib
import dataclasses
import functools
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import msgspec
import typer

from bench.cli import completion, interrupts
from bench.cli.console import progress_console, say
from bench.cli.options import as_folder, seconds_of, with_options
from bench.errors import InterruptedRunError, UsageError
from bench.harness.grid import check_positive
from bench.storage import lock
from bench.storage.files import open_to_write

if TYPE_CHECKING:
    from bench.training.data import Data
    from bench.training.recipe import Recipe

WEIGHTS, AVERAGED, LOCK = "weights.pt", "weights-ema.pt", ".lock"
NAMED = 8  # unreadable images in a message
MOST_WORKERS = 256


@dataclasses.dataclass(frozen=True)
class TrainOptions:
    """The flags of `bench train`."""

    model: Annotated[
        str,
        typer.Option(
            metavar="MODEL",
            help="A network: a name from `bench list models`, timm/<name>, or net.py:factory.",
            autocompletion=completion.models,
            show_default=False,
        ),
    ]
    data: Annotated[
        Path,
        typer.Option(
            metavar="PATH",
            help="A folder or zip with train/CLASS/... and val/CLASS/..., or a folder with "
            "torchvision's CIFAR files.",
            show_default=False,
        ),
    ]
    recipe: Annotated[
        str,
        typer.Option(
            metavar="NAME|PATH",
            help="imagenet1k, imagewoof or cifar100 of the paper, or your own TOML file.",
        ),
    ] = "imagenet1k"
    out: Annotated[
        Path,
        typer.Option(metavar="DIR", help="The folder of this training.", parser=as_folder),
    ] = Path("training")
    epochs: Annotated[
        int | None, typer.Option(metavar="N", help="Instead of those of the recipe.")
    ] = None
    batch: Annotated[
        int | None, typer.Option(metavar="N", help="Images of an update, instead of the recipe's.")
    ] = None
    rate: Annotated[
        float | None, typer.Option(metavar="R", help="Learning rate, instead of the recipe's.")
    ] = None
    resolution: Annotated[
        int | None, typer.Option(metavar="N", help="Pixels, instead of the recipe's.")
    ] = None
    seed: Annotated[int, typer.Option(metavar="N", help="Of all random numbers.")] = 0
    device: Annotated[str, typer.Option(metavar="cpu|cuda", help="Where torch computes.")] = "cpu"
    threads: Annotated[
        int | None, typer.Option(metavar="N", help="CPU threads.  [default: torch's]")
    ] = None
    workers: Annotated[
        int, typer.Option(metavar="N", help="Processes that read and augment images.")
    ] = 1
    accumulate: Annotated[
        int, typer.Option(metavar="N", help="Compute each update in so many parts, to save memory.")
    ] = 1
    amp: Annotated[
        bool | None,
        typer.Option("--amp/--no-amp", help="bfloat16 where it is safe.  [default: on a GPU]"),
    ] = None
    save_every: Annotated[
        str, typer.Option("--save-every", metavar="TIME", help="Within an epoch, too.")
    ] = "10m"
    skip_unreadable: Annotated[
        bool, typer.Option("--skip-unreadable", help="Leave out images that cannot be read.")
    ] = False
    again: Annotated[
        bool, typer.Option("--again", help="Start anew, also where a training is in the folder.")
    ] = False


@with_options(TrainOptions)
def train(options: TrainOptions) -> int:
    """Train a network by the recipe of the paper. The same command continues what was stopped."""
    from bench.training import recipe as recipes

    recipe = _changed(recipes.load(options.recipe), options)
    _check(options, recipe)
    console = progress_console(to_stderr=False)
    with _folder(options.out):
        if options.again:
            from bench.training.checkpoint import NAME

            (options.out / NAME).unlink(missing_ok=True)
        data = _data(options, functools.partial(say, console))
        interrupts.heed()
        try:
            _train(options, recipe, data, functools.partial(say, console))
        except KeyboardInterrupt:
            raise InterruptedRunError(options.out, saved=True) from None
    return 0


def _changed(recipe: Recipe, options: TrainOptions) -> Recipe:
    """The recipe with what the flags give instead."""
    given = {name: getattr(options, name) for name in ("epochs", "batch", "rate", "resolution")}
    changes = {name: value for name, value in given.items() if value is not None}
    for name, value in changes.items():
        if name != "rate":
            check_positive(name, value)
        elif not 0 < value <= 1e3:
            raise UsageError(f"invalid rate {value:g}", "Give a number above 0, as 0.001.")
    return msgspec.structs.replace(recipe, **changes)


def _check(options: TrainOptions, recipe: Recipe) -> None:
    """Raise UsageError for flags that do not fit."""
    for name in ("accumulate", *(["threads"] if options.threads is not None else [])):
        check_positive(name, getattr(options, name))
    if not 0 <= options.workers <= MOST_WORKERS:
        raise UsageError(
            f"invalid workers {options.workers}", f"Give a number from 0 to {MOST_WORKERS}."
        )
    if options.accumulate > recipe.batch:
        raise UsageError(
            f"--accumulate {options.accumulate} is more than the batch of {recipe.batch}",
            "Use a smaller one.",
        )
    if (recipe.mixup or recipe.cutmix) and recipe.batch % 2:
        raise UsageError(
            f"Mixup and CutMix need an even batch, not {recipe.batch}", "Use --batch, or mixup = 0."
        )
    if options.device not in ("cpu", "cuda"):
        raise UsageError(f"no training on {options.device!r}", "Use --device cpu or cuda.")


@contextlib.contextmanager
def _folder(out: Path) -> Iterator[None]:
    """Make the folder of the training, and hold it. Raises UsageError if another training does."""
    try:
        out.mkdir(parents=True, exist_ok=True)
        file = open_to_write(out / LOCK)
    except OSError as error:
        raise UsageError(
            f"cannot write to {out}: {error.strerror}", "Choose another --out."
        ) from error
    with file:
        lock.acquire(file, f"training into {out}")
        yield


def _data(options: TrainOptions, tell: functools.partial[None]) -> Data:
    """Find the data, and look at each image. Raises UsageError for images that cannot be read."""
    from bench.text import some_of
    from bench.training import data as datas

    found = datas.find(options.data)
    tell(
        f"{len(found.training)} images of {len(found.classes)} classes to train on, "
        f"{len(found.held_out)} held out"
    )
    parts = []
    for images in (found.training, found.held_out):
        bad = datas.unreadable(images)
        if bad:
            names = some_of([images.name(place) for place in bad], NAMED)
            count = f"{len(bad)} of {len(images)} images cannot be read: {names}"
            if not options.skip_unreadable:
                raise UsageError(count, "Repair or remove them, or add --skip-unreadable.")
            tell(f"left out: {count}")
        parts.append(images.without(bad) if bad else images)
    return found._replace(training=parts[0], held_out=parts[1])


def _train(
    options: TrainOptions, recipe: Recipe, data: Data, tell: functools.partial[None]
) -> None:
    import torch

    from bench.training import network
    from bench.training.checkpoint import Identity, hash_of, save
    from bench.training.trainer import Place, Trainer

    if options.device == "cuda" and not torch.cuda.is_available():
        raise UsageError("torch finds no CUDA GPU here", "Use --device cpu.")
    if options.threads:
        torch.set_num_threads(options.threads)
    named = network.named(options.model)
    size = recipe.resolution
    amp = options.device == "cuda" if options.amp is None else options.amp
    net = network.untrained(named, len(data.classes), size, options.seed, recipe.drop_path)
    network.check_classes(net, torch.randn(2, 3, size, size), len(data.classes))
    identity = Identity(
        model=f"{named.name}@{named.form}",
        recipe=msgspec.to_builtins(recipe),
        data=data.digest,
        classes=data.classes,
        seed=options.seed,
        accumulate=options.accumulate,
        amp=amp,
    )
    place = Place(
        out=options.out,
        device=options.device,
        workers=options.workers,
        accumulate=options.accumulate,
        amp=amp,
        save_every_s=seconds_of(options.save_every, "--save-every"),
        check=interrupts.check,
        tell=tell,
    )
    trainer = Trainer(net, recipe, data, identity, place)
    trainer.run()
    save(options.out / WEIGHTS, trainer.net.state_dict())
    if trainer.ema is not None:
        save(options.out / AVERAGED, trainer.ema.state_dict())
    tell(f"weights: {options.out / WEIGHTS} (hash {hash_of(trainer.net)})")
