"""The table of forms. Commands, checks, tables and figures all read it. Imports no torch.

The forms of a network are different structures that compute the same function:

- `deploy` adds parallel kernels, as `rrep` does, and keeps the BatchNorms outside the branches. The
  official code of RepLKNet and RepGhost does this.
- `rrep` folds each BatchNorm into the convolution before it, W' = W * gamma / sqrt(var + eps) and
  b' = beta + (b - mean) * gamma / sqrt(var + eps), and adds parallel kernels,
  W' = sum of pad(W_i) and b' = sum of b_i (Section 3.1, Eqs. 1-4).
- `rrep_fc` is `rrep` with y = W x + b as a linear layer in place of each 1x1 convolution.
- `srep` also removes the shortcut of each block:
  pw2(a(pw1(dw(x)))) + a(x) = pw2_rep(a(pw1_rep(gw_rep(x)))) (Section 3.2, Eqs. 5-8).

A RepNeXt may have another form in each stage: `srep-rrep-rrep-rrep` is `rrep` with `srep` in the
first one. Such a mixture is no entry of the table.

`bench.models.reparam` has the algebra. A new form needs one entry in `_ENTRIES` and one method on
the module that it replaces.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence

import msgspec

# Families of networks. All networks of a family have the same forms.
PLAIN = "plain"  # a single form: ResNet, ConvNeXt, Swin, ...
MERGING = "merging"  # branches or BatchNorms can be merged: RepVGG, MobileOne, ...
KEEPING = "keeping"  # as MERGING, but the official merge keeps BatchNorms: RepLKNet, RepGhost
SHORTCUT_ACT = "shortcut_act"
REPNEXT = "repnext"
FAMILIES = (PLAIN, MERGING, KEEPING, SHORTCUT_ACT, REPNEXT)

FUSE = "fuse"  # the step that merges branches and folds BatchNorms
MERGE = "merge_kernel"  # the step that merges branches and keeps the other BatchNorms
BRACKETS = "()"
STAGES = 4  # of a RepNeXt
BETWEEN_STAGES = "-"


class Marker(msgspec.Struct, frozen=True):
    """A marker in a figure.

    `sign` is matplotlib's name, `points` its size, `symbol` Plotly's name, and `glyph` a
    character for text.
    """

    sign: str
    points: float
    symbol: str
    glyph: str


CIRCLE = Marker("o", 7.0, "circle", "●")
SQUARE = Marker("s", 6.4, "square", "■")
DIAMOND = Marker("D", 6.0, "diamond", "◆")
TRIANGLE = Marker("^", 7.6, "triangle-up", "▲")
DOWN = Marker("v", 7.6, "triangle-down", "▼")
CROSS = Marker("X", 7.0, "x", "✖")  # for a form that this table does not have


class Form(msgspec.Struct, frozen=True, kw_only=True):
    """One form: which families have it, how it is made, and how tables and figures show it.

    `steps` are method names. For each step in order, `bench.models.fuse` calls the method on every
    module that has it, and puts the returned module in place of that module. A form without steps
    is the network as its constructor builds it.

    `suffix` is appended to the title of a network in this form, and `label` is the text in
    legends. Figure 1 draws the form with `marker`. The figure of speed-ups draws the form with
    `marker` in `colour`; a form whose colour is None is not in that figure.

    The paper's tables print all forms of a network in one cell, as in `11.9 →r 8.5 →s 6.4`:
    `arrow` is the letter before this form's number. If `arrow` is BRACKETS, this form's throughput
    is printed in brackets, and its latency is not printed. Two forms may have the same letter if
    the paper's tables never print both for one network.
    """

    name: str
    about: str
    families: tuple[str, ...]
    steps: tuple[str, ...]
    suffix: str
    label: str
    marker: Marker
    colour: str | None
    arrow: str

    @property
    def is_built(self) -> bool:
        """Whether a network has this form when it is built, before any step."""
        return not self.steps

    @property
    def has_latency(self) -> bool:
        """Whether tables in the layout of the paper print a latency of this form."""
        return self.arrow != BRACKETS


AS_BUILT = "as trained, or its only form"
# In the order in which tables print the forms. The colours are from the palette of Okabe and Ito.
_ENTRIES = (
    Form(
        name="plain",
        about="the only form",
        families=(PLAIN,),
        steps=(),
        suffix="",
        label=AS_BUILT,
        marker=CIRCLE,
        colour=None,
        arrow="",
    ),
    Form(
        name="train",
        about="as trained, with branches",
        families=(MERGING, KEEPING, SHORTCUT_ACT, REPNEXT),
        steps=(),
        suffix="",
        label=AS_BUILT,
        marker=CIRCLE,
        colour=None,
        arrow="",
    ),
    Form(
        name="deploy",
        about="branches merged as in the official code, which keeps the other BNs",
        families=(KEEPING,),
        steps=(MERGE,),
        suffix="-deploy",
        label="deploy",
        marker=DOWN,
        colour="#E69F00",
        arrow="r",
    ),
    Form(
        name="rrep",
        about="branches merged into one convolution, each BN folded into the convolution before it",
        families=(MERGING, KEEPING, SHORTCUT_ACT, REPNEXT),
        steps=(FUSE,),
        suffix="-rRep",
        label="rRep",
        marker=SQUARE,
        colour="#0072B2",
        arrow="r",
    ),
    Form(
        name="rrep_fc",
        about="rrep with each 1x1 convolution as a fully connected layer",
        families=(REPNEXT,),
        steps=(FUSE, "with_linear"),
        suffix="-rRep-fc",
        label="rRep-fc",
        marker=DIAMOND,
        colour="#CC79A7",
        arrow=BRACKETS,
    ),
    Form(
        name="srep",
        about="rrep and shortcut re-parameterisation: no branch and no addition left",
        families=(SHORTCUT_ACT, REPNEXT),
        steps=(FUSE, "without_shortcut"),
        suffix="-sRep",
        label="sRep",
        marker=TRIANGLE,
        colour="#D55E00",
        arrow="s",
    ),
)
FORMS = {form.name: form for form in _ENTRIES}
ONLY = "plain"  # the form of a network with a single form; names of cases omit it
REFERENCE = "train"  # the other forms of a network are checked and compared with this form
LETTERS = tuple(  # letters on the arrows in tables
    dict.fromkeys(form.arrow for form in _ENTRIES if form.arrow and form.has_latency)
)
# Methods of a block that exist also after FUSE has merged the branches of its unit.
BLOCK_STEPS = tuple(dict.fromkeys(step for form in _ENTRIES for step in form.steps[1:]))
_MIXABLE = tuple(
    form.name for form in _ENTRIES if form.steps[:1] == (FUSE,) and REPNEXT in form.families
)


def of(family: str) -> tuple[str, ...]:
    """Return the names of the forms of `family`; the form that is built comes first."""
    return tuple(form.name for form in _ENTRIES if family in form.families)


def by_stage(name: str) -> tuple[str, ...]:
    """Return the form of each stage; () for a form that cannot differ from stage to stage.

    `rrep` has `rrep` in all stages, and `srep-rrep-rrep-rrep` has `srep` in the first one.
    """
    stages = tuple(name.split(BETWEEN_STAGES))
    stages *= STAGES if len(stages) == 1 else 1
    return stages if len(stages) == STAGES and set(stages) <= set(_MIXABLE) else ()


def mixture(stages: Sequence[str]) -> str:
    """Return the name of the form that has these forms in its stages."""
    return stages[0] if len(set(stages)) == 1 else BETWEEN_STAGES.join(stages)


def is_mixture(name: str) -> bool:
    """Whether the stages have different forms."""
    return len(set(by_stage(name))) > 1


def has(known: Collection[str], name: str) -> bool:
    """Whether a network with the forms `known` has the form `name`, which may be a mixture."""
    return name in known or (is_mixture(name) and set(by_stage(name)) <= set(known))


def mixable(known: Collection[str]) -> list[str]:
    """Return the forms of `known` that a stage may have; [] if there is no choice."""
    found = [name for name in _MIXABLE if name in known]
    return found if len(found) > 1 else []


def choice(known: Collection[str]) -> str:
    """Say which forms a network has that has the forms `known`."""
    mixed = mixable(known)
    example = mixture((mixed[-1], *[mixed[0]] * (STAGES - 1))) if mixed else ""
    return ", ".join(known) + (f", or one for each stage, as in {example}" if mixed else "")


def find(name: str) -> Form:
    """Return the form called `name`, or a placeholder if the table does not have it.

    A mixture is not in the table: its steps fuse the network, and `by_stage` says what follows.
    A results file of another version may contain a form that this table lacks. Figures then show
    that form with its name and a cross, so it is neither dropped nor confused with another form.
    """
    return FORMS.get(name) or Form(
        name=name,
        about="another form in each stage" if is_mixture(name) else "unknown",
        families=(),
        steps=(FUSE,),
        suffix=f"@{name}",
        label=name,
        marker=CROSS,
        colour=None if is_mixture(name) else "#000000",
        arrow=name,
    )


def in_order(names: Collection[str]) -> list[Form]:
    """Return each form in `names` once, in the order of the table; unknown forms come last."""
    unknown = sorted(set(names) - set(FORMS))
    return [form for form in _ENTRIES if form.name in names] + [find(name) for name in unknown]
