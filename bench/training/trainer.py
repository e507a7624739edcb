"""Trains a network, update after update; any update can be the last one of a process."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import msgspec
import torch
from torch import Tensor, nn

from bench.errors import CASE_FAILED, BenchError, UsageError
from bench.harness.images.loader import Decoded, batches, ended_worker, in_batches
from bench.harness.images.sets import Data
from bench.harness.worker.errors import kind_of
from bench.harness.worker.outputs import tensors_of
from bench.models.preprocessing import of as preprocessing_of
from bench.records import OUT_OF_MEMORY
from bench.storage.pages import write_pages
from bench.text import brief, duration
from bench.training import checkpoint, curves, seeds
from bench.training.augmented import Augmented, augmentation, held_out
from bench.training.checkpoint import Identity
from bench.training.ranks import Ranks, is_lost
from bench.training.recipe import Recipe

LOG = "log.jsonl"
UNUSED = "Expected to have finished reduction"  # what DistributedDataParallel says
HELD_OUT_BATCH = 256  # images of a call, while held-out images are classified
ANOTHER = (
    "{} is of before, if there is one. Train with a lower rate, or with `clip` in the recipe, into "
    "another --out."
)


class TrainingError(BenchError):
    """The training cannot go on; the last checkpoint is good."""

    exit_code = CASE_FAILED


class Epoch(msgspec.Struct, frozen=True):
    """A line of the log: the mean loss, accuracies on held-out images, and seconds.

    `top1` and `top1_ema` are in per cent, of the network and of the average of its weights; the
    second is None where none is kept. `waited_s` are the seconds in which no image was ready.
    """

    epoch: int
    updates: int
    loss: float
    rate: float
    top1: float
    top1_ema: float | None
    seconds: float
    waited_s: float


class Place(NamedTuple):
    """Where and how a training runs.

    `accumulate` parts of a batch make an update, in each of the processes `ranks`. `check` raises
    KeyboardInterrupt where the user has stopped it, `tell` takes lines for the user.
    """

    out: Path
    device: str
    workers: int
    accumulate: int
    amp: bool
    save_every_s: float
    check: Callable[[], object]
    tell: Callable[[str], object]
    ranks: Ranks = Ranks()


class Trainer:
    """A training from its last checkpoint on, or from the beginning."""

    def __init__(
        self, net: nn.Module, recipe: Recipe, data: Data, identity: Identity, place: Place
    ) -> None:
        from timm.optim._optim_factory import create_optimizer_v2
        from timm.utils.model_ema import ModelEmaV3

        self._recipe, self._data, self._place = recipe, data, place
        self._identity = identity
        self._updates = len(data.training) // recipe.batch  # of an epoch
        _check(recipe, len(data.training))
        known = preprocessing_of(net)
        self._augmentation = augmentation(recipe, known)
        self._held_out = Decoded(data.held_out, held_out(recipe, known))
        self.net = net.to(place.device)
        self._parallel = self.net
        self._ema = (
            ModelEmaV3(self.net, decay=recipe.ema, use_warmup=True, foreach=False)
            if recipe.ema
            else None
        )
        self._optimiser = create_optimizer_v2(
            self.net, opt="adamw", lr=recipe.rate, weight_decay=recipe.weight_decay
        )
        self._schedule = _schedule(self._optimiser, recipe, self._updates)
        self._mixup = _mixup(recipe, len(data.classes))
        self._epoch = self._done = 0  # complete epochs, and updates of the one that runs
        self._losses: list[float] = []
        self._history: list[Epoch] = []
        self._seconds = self._waited = 0.0
        self._resume()
        self._parallel = place.ranks.wrapped(self.net)

    @property
    def history(self) -> Sequence[Epoch]:
        """The epochs that are complete."""
        return self._history

    @property
    def ema(self) -> nn.Module | None:
        """The network with the average of the weights; None where none is kept."""
        return self._ema.module if self._ema else None

    def run(self) -> None:
        """Train to the last epoch of the recipe, and keep what was trained where it is stopped.

        Raises TrainingError where the loss or a gradient is not finite, or memory is short.
        """
        self._write_log()
        while self._epoch < self._recipe.epochs:
            try:
                self._train_epoch()
                self._end_epoch()
            except KeyboardInterrupt:  # comes between updates, and before an epoch is complete
                self._save()
                raise
            except BenchError:
                raise
            except Exception as error:
                self._place.check()  # a signal to all processes ends the workers, too
                if explained := _explained(error):
                    raise explained from error
                raise

    def _train_epoch(self) -> None:
        place = self._place
        images = Augmented(
            self._data.training, self._augmentation, self._identity.seed, self._epoch
        )
        order = seeds.order(len(images), self._identity.seed, "order", self._epoch)
        every = in_batches(order, self._recipe.batch, drop_last=True)[self._done :]
        mine = [place.ranks.part(each) for each in every]
        self.net.train()
        began = asked = saved = time.monotonic()
        spent = self._seconds
        for inputs, targets in batches(images, mine, place.workers):
            place.ranks.check(place.check)
            self._waited += time.monotonic() - asked
            loss = self._update(inputs, targets)
            self._losses.append(loss)
            self._done += 1
            self._seconds = spent + time.monotonic() - began
            if time.monotonic() - saved > place.save_every_s:
                self._save()
                self._tell_progress()
                saved = time.monotonic()
            asked = time.monotonic()

    def _update(self, inputs: Tensor, targets: Tensor) -> float:
        """Make an update; return the loss. Raises TrainingError where something is not finite."""
        place, number = self._place, self._epoch * self._updates + self._done
        others = [place.ranks.rank] if place.ranks.rank else []
        seeds.seed_all(self._identity.seed, "update", number, *others)
        inputs, targets = inputs.to(place.device), targets.to(place.device)
        measure = _loss(self._recipe)
        if self._mixup:
            inputs, targets = self._mixup(inputs, targets)
        self._schedule.step_update(number)
        loss = 0.0
        parts = zip(inputs.chunk(place.accumulate), targets.chunk(place.accumulate), strict=True)
        for count, (part, wanted) in enumerate(parts, 1):
            with place.ranks.together(self._parallel, last=count == place.accumulate):
                with torch.autocast(place.device, torch.bfloat16, enabled=place.amp):
                    logits = _logits(self._parallel(part))
                found = measure(logits.float(), wanted) * (len(part) / len(inputs))
                found.backward()
            loss += float(found.detach())
        loss = place.ranks.sums(loss)[0] / place.ranks.size
        norm = nn.utils.clip_grad_norm_(self.net.parameters(), self._recipe.clip or math.inf)
        if not (math.isfinite(loss) and math.isfinite(float(norm))):
            what = (
                f"the loss is {loss:g}" if not math.isfinite(loss) else "a gradient is not finite"
            )
            raise TrainingError(
                f"{what} in epoch {self._epoch + 1}, update {self._done + 1}",
                ANOTHER.format(place.out / checkpoint.NAME),
            )
        self._optimiser.step()
        self._optimiser.zero_grad()
        if self._ema:
            self._ema.update(self.net, step=number)
        return loss

    def _end_epoch(self) -> None:
        """Classify the held-out images, log and save a complete epoch."""
        began = time.monotonic()
        self._save()  # a training that is stopped now classifies them again
        top1, *of_ema = self._top1()
        spent = self._seconds + time.monotonic() - began
        self._history.append(
            Epoch(
                epoch=self._epoch + 1,
                updates=(self._epoch + 1) * self._updates,
                loss=math.fsum(self._losses) / len(self._losses),
                rate=self._optimiser.param_groups[0]["lr"],
                top1=top1,
                top1_ema=of_ema[0] if of_ema else None,
                seconds=round(spent, 3),
                waited_s=round(self._waited, 3),
            )
        )
        self._epoch, self._done, self._losses = self._epoch + 1, 0, []
        self._seconds = self._waited = 0.0
        self._save()
        self._write_log()
        self._tell_progress()

    @torch.no_grad()
    def _top1(self) -> list[float]:
        """Return the share of held-out images that are classified rightly, in per cent.

        First that of the network, then that of the average of the weights, if one is kept.
        """
        ranks = self._place.ranks
        nets = [each.eval() for each in (self.net, self.ema) if each is not None]
        for net in nets:
            ranks.share_buffers(net)
        images = self._held_out
        size = min(HELD_OUT_BATCH, self._recipe.batch // (self._place.accumulate * ranks.size))
        places = in_batches(ranks.part(range(len(images))), size, drop_last=False)
        right = [0] * len(nets)
        asked = time.monotonic()
        waited = 0.0
        for inputs, targets in batches(images, places, self._place.workers):
            if ranks.size == 1:  # several processes stop between updates alone
                self._place.check()
            waited += time.monotonic() - asked
            for place, net in enumerate(nets):
                logits = _logits(net(inputs.to(self._place.device)))
                right[place] += int((logits.argmax(1).cpu() == targets).sum())
            asked = time.monotonic()
        self._waited += waited
        return [100.0 * count / len(images) for count in ranks.sums(*right)]

    def _save(self) -> None:
        """Write the checkpoint, which also holds the log."""
        if not self._place.ranks.is_first:
            return
        checkpoint.save(
            self._place.out / checkpoint.NAME,
            {
                "identity": msgspec.to_builtins(self._identity),
                "model": self.net.state_dict(),
                "ema": self.ema.state_dict() if self.ema is not None else None,
                "optimiser": self._optimiser.state_dict(),
                "epoch": self._epoch,
                "done": self._done,
                "losses": self._losses,
                "history": msgspec.to_builtins(self._history),
                "seconds": self._seconds,
                "waited": self._waited,
            },
        )

    def _resume(self) -> None:
        """Continue from the checkpoint, if there is one. Raises UsageError for a wrong one."""
        path = self._place.out / checkpoint.NAME
        state = checkpoint.load(path, self._identity)
        if state is None:
            return
        try:
            self.net.load_state_dict(state["model"])
            if self.ema is not None:
                self.ema.load_state_dict(state["ema"])
            self._optimiser.load_state_dict(state["optimiser"])
            self._epoch, self._done, self._losses = state["epoch"], state["done"], state["losses"]
            self._history = msgspec.convert(state["history"], list[Epoch])
            self._seconds, self._waited = state["seconds"], state["waited"]
        except (KeyError, TypeError, ValueError, RuntimeError, msgspec.ValidationError) as error:
            reason = str(error).partition("\n")[0]
            raise UsageError(
                f"{path} does not fit the network: {reason}", checkpoint.AGAIN
            ) from error
        if self._epoch < self._recipe.epochs:
            self._place.tell(f"continues in epoch {self._epoch + 1}, after {self._done} updates")
        else:
            self._place.tell(f"all {self._epoch} epochs are complete")

    def _write_log(self) -> None:
        """Write the log and its picture anew; nothing before the first epoch is complete."""
        if self._history and self._place.ranks.is_first:
            lines = b"".join(msgspec.json.encode(each) + b"\n" for each in self._history)
            pictures = curves.draw(self._history, self._identity.model)
            write_pages(self._place.out, {LOG: lines, **pictures})

    def _tell_progress(self) -> None:
        """Say what was trained: `epoch 3: loss 2.31, top-1 54.2 %; 3 h left`."""
        if self._done or not self._history:
            what = f"epoch {self._epoch + 1}, update {self._done} of {self._updates}"
        else:
            last = self._history[-1]
            what = f"epoch {last.epoch}: loss {last.loss:.3f}, top-1 {last.top1:.1f} %"
            if last.top1_ema is not None:
                what += f", {last.top1_ema:.1f} % with averaged weights"
        self._place.tell(f"{what}; {duration(self._left_s)} left")

    @property
    def _left_s(self) -> float:
        """About how many seconds are left, by those of all updates so far."""
        updates = self._epoch * self._updates + self._done
        spent = sum(each.seconds for each in self._history) + self._seconds
        return spent / max(updates, 1) * (self._recipe.epochs * self._updates - updates)


def _explained(error: Exception) -> BenchError | None:
    """Return an error with what the user can do about it; None where that is not known."""
    if kind_of(error) == OUT_OF_MEMORY:
        return TrainingError(
            f"there is not enough memory: {brief(error)}",
            "Use --accumulate, in another --out: each update is then computed in parts.",
        )
    if UNUSED in str(error):
        return UsageError(
            "a part of the network takes no part in an update, so its gradients cannot be averaged",
            "Freeze it with requires_grad = False, or train in one process.",
        )
    if is_lost(error):
        return TrainingError(
            "another process of the training has ended", "Its message says why; run it again."
        )
    return ended_worker(error)


def _check(recipe: Recipe, images: int) -> None:
    """Raise UsageError where no update, or nothing but the warm-up, would be made."""
    if images < recipe.batch:
        raise UsageError(
            f"{images} images are fewer than a batch of {recipe.batch}", "Use a smaller --batch."
        )
    if recipe.warmup_epochs >= recipe.epochs:
        raise UsageError(
            f"the warm-up of {recipe.warmup_epochs} epochs leaves none of {recipe.epochs}",
            "Use more --epochs, or a recipe with fewer `warmup_epochs`.",
        )


def _schedule(optimiser: torch.optim.Optimizer, recipe: Recipe, updates: int) -> Any:
    """Return timm's schedule, which sets the rate by the number of an update alone."""
    from timm.scheduler.cosine_lr import CosineLRScheduler

    return CosineLRScheduler(
        optimiser,
        t_initial=(recipe.epochs - recipe.warmup_epochs) * updates,
        lr_min=recipe.last_rate,
        warmup_t=recipe.warmup_epochs * updates,
        warmup_lr_init=recipe.first_rate,
        warmup_prefix=True,
        t_in_epochs=False,
    )


def _mixup(recipe: Recipe, classes: int) -> Any:
    """Return timm's Mixup and CutMix; None where the recipe has neither."""
    from timm.data import mixup

    if not (recipe.mixup or recipe.cutmix):
        return None
    make: Any = mixup.Mixup
    return make(
        recipe.mixup, recipe.cutmix, label_smoothing=recipe.label_smoothing, num_classes=classes
    )


def _loss(recipe: Recipe) -> Any:
    """Return the loss of logits and classes, or of logits and what Mixup makes of classes."""
    from timm.loss import cross_entropy

    losses: Any = cross_entropy
    if recipe.mixup or recipe.cutmix:
        return losses.SoftTargetCrossEntropy()
    return losses.LabelSmoothingCrossEntropy(recipe.label_smoothing)


def _logits(output: object) -> Tensor:
    return tensors_of(output)[0]
