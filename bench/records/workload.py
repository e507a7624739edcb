"""What a timed call does with a network. Imports nothing."""

from __future__ import annotations

INFER, TRAIN = "infer", "train"
WORKLOADS = {
    INFER: "one inference of a batch, without gradients",
    TRAIN: "one training step: forward in training mode, loss, backward and optimiser (AdamW)",
}
KNOWN_AS = {  # names that other tools use
    **dict.fromkeys(["inference", "forward", "eval", "predict"], "That is `infer`."),
    **dict.fromkeys(["training", "backward", "step", "fit"], "That is `train`."),
}
