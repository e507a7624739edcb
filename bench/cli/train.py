"""`bench train`."""

from __future__ import annotations

import contextlib
import dataclasses
import functools
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import msgspec
import typer

from bench.cli import completion, interrupts
from bench.cli.console import progress_console, say
from bench.cli.options import as_folder, seconds_of, with_options
from bench.errors import (
    InterruptedTrainingError,
    UnavailableError,
    UsageError,
    check_at_most,
    check_positive,
)
from bench.harness.grid import LEAST_TO_TRAIN
from bench.harness.images import provenance
from bench.harness.images.provenance import Provenance
from bench.harness.images.sets import MOST_WORKERS
from bench.storage import lock
from bench.storage.files import open_to_write
from bench.storage.pages import write_pages

if TYPE_CHECKING:
    from bench.training.ranks import Ranks
    from bench.training.recipe import Recipe

WEIGHTS, AVERAGED, LOCK = "weights.pt", "weights-ema.pt", ".lock"
FILES = ("checkpoint.pt", "log.jsonl", "curves.png", WEIGHTS, AVERAGED, provenance.NAME)
LARGEST_SEED, LARGEST_RATE = 2**63 - 1, 1e3


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
    from bench.training.ranks import joined, told_once

    with told_once():
        recipe, save_every_s = _checked(options)
        with joined(options.device) as ranks:
            _check_parts(recipe, options.accumulate, ranks.size)
            tell = functools.partial(say, progress_console(to_stderr=False))
            with _folder(options.out) if ranks.is_first else contextlib.nullcontext():
                try:
                    told = tell if ranks.is_first else _no_line
                    _train(options, recipe, save_every_s, told, ranks)
                except KeyboardInterrupt:
                    raise InterruptedTrainingError(options.out) from None
    return 0


def _checked(options: TrainOptions) -> tuple[Recipe, float]:
    """Return the recipe and the seconds between checkpoints. Raises UsageError for wrong flags."""
    from bench.training import recipe as recipes

    recipe = _changed(recipes.load(options.recipe), options)
    save_every_s = seconds_of(options.save_every, "--save-every")
    _check(options, recipe)
    if options.device == "cuda":
        import torch

        if not torch.cuda.is_available():
            raise UnavailableError("torch finds no CUDA GPU here", "Use --device cpu.")
    return recipe, save_every_s


def _no_line(line: str) -> None:
    """Print nothing."""


def _changed(recipe: Recipe, options: TrainOptions) -> Recipe:
    """The recipe with what the flags give instead."""
    given = {name: getattr(options, name) for name in ("epochs", "batch", "rate", "resolution")}
    changes = {name: value for name, value in given.items() if value is not None}
    for name, value in changes.items():
        if name != "rate":
            check_positive(name, value)
        elif not 0 < value <= LARGEST_RATE:
            raise UsageError(f"invalid rate {value:g}", "Give a number above 0, as 0.001.")
    return msgspec.structs.replace(recipe, **changes)


def _check(options: TrainOptions, recipe: Recipe) -> None:
    """Raise UsageError for flags that do not fit."""
    for name in ("accumulate", *(["threads"] if options.threads is not None else [])):
        check_positive(name, getattr(options, name))
    check_at_most("workers", options.workers, MOST_WORKERS)
    check_at_most("seed", options.seed, LARGEST_SEED)
    if options.device not in ("cpu", "cuda"):
        raise UsageError(f"no training on {options.device!r}", "Use --device cpu or cuda.")


def _check_parts(recipe: Recipe, parts: int, processes: int) -> None:
    """Raise UsageError where a batch cannot be computed in so many parts by so many processes."""
    images, rest = divmod(recipe.batch, parts * processes)
    if rest or images < LEAST_TO_TRAIN:
        raise UsageError(
            f"{parts * processes} equal parts of a batch of {recipe.batch} need "
            f"{LEAST_TO_TRAIN} images each",
            "Use another --accumulate or --batch, or another number of processes.",
        )
    if (recipe.mixup or recipe.cutmix) and recipe.batch // processes % 2:
        raise UsageError(
            f"Mixup and CutMix need an even batch, not {recipe.batch // processes}",
            "Use another --batch, or a recipe with mixup = 0 and cutmix = 0.",
        )


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
        try:
            lock.acquire(file, f"training into {out}")
        except UsageError as error:
            remedy = "Stop it, or choose another --out."
            is_held = error.message.startswith("another run")
            raise UsageError(error.message, remedy if is_held else error.remedy) from error
        yield


def _train(
    options: TrainOptions,
    recipe: Recipe,
    save_every_s: float,
    tell: Callable[[str], object],
    ranks: Ranks,
) -> None:
    import torch

    from bench.harness.images import sets
    from bench.models.cost import weights_hash
    from bench.training import network
    from bench.training.checkpoint import Identity, save
    from bench.training.trainer import Place, Trainer

    if options.threads:
        torch.set_num_threads(options.threads)
    named, size = network.named(options.model), recipe.resolution
    data = sets.find(options.data)
    ignored = f"; {data.ignored} other files are not used" if data.ignored else ""
    tell(
        f"{len(data.training)} images of {len(data.classes)} classes to train on, "
        f"{len(data.held_out)} held out{ignored}"
    )
    net = network.untrained(named, len(data.classes), size, options.seed, recipe.drop_path)
    network.check(net, size, len(data.classes))
    if frozen := sum(not each.requires_grad for each in net.parameters()):
        tell(f"{frozen} tensors of weights are frozen, and are not trained")
    if recipe.drop_path and not network.has_stochastic_depth(net):
        tell("without stochastic depth: the network has none")
    data = sets.readable(data, tell, skips_unreadable=options.skip_unreadable)
    amp = options.device == "cuda" if options.amp is None else options.amp
    identity = Identity(
        model=f"{network.identified(named)}@{named.form}",
        classes=data.classes,
        recipe=msgspec.to_builtins(recipe),
        seed=options.seed,
        accumulate=options.accumulate,
        data=data.digest,
        amp=amp,
        processes=ranks.size,
    )
    place = Place(
        out=options.out,
        device=options.device,
        workers=options.workers,
        accumulate=options.accumulate,
        amp=amp,
        save_every_s=save_every_s,
        check=interrupts.check,
        tell=tell,
        ranks=ranks,
    )
    if options.again and ranks.is_first:
        for name in FILES:
            (options.out / name).unlink(missing_ok=True)
    ranks.wait()
    interrupts.note()
    trainer = Trainer(net, recipe, data, identity, place)
    trainer.run()
    if not ranks.is_first:
        return
    known = Provenance(named.form, provenance.names(data.classes), size, recipe.crop_share)
    write_pages(options.out, {provenance.NAME: msgspec.json.encode(known)})
    save(options.out / WEIGHTS, trainer.net.state_dict())
    if trainer.ema is not None:
        save(options.out / AVERAGED, trainer.ema.state_dict())
    tell(f"weights: {options.out / WEIGHTS} (hash {weights_hash(trainer.net)})")
