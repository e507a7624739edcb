"""The forms of networks: one table that everything reads, the figures too. Imports no torch.

A form is one of several networks that compute the same function. A new form is one entry of
`FORMS`, and one method on the module that it replaces.
"""

from __future__ import annotations

from collections.abc import Collection

import msgspec

# Families of networks, by the forms that they have.
PLAIN = "plain"  # no form but its own: ResNet, ConvNeXt, Swin, ...
MERGING = "merging"  # branches and BatchNorms that merge: RepVGG, RepLKNet, RepGhost
SHORTCUT_ACT = "shortcut_act"
REPNEXT = "repnext"
FAMILIES = (PLAIN, MERGING, SHORTCUT_ACT, REPNEXT)

FUSE = "fuse"  # the step that merges branches and folds BatchNorms
BRACKETS = "()"


class Marker(msgspec.Struct, frozen=True):
    """A sign in a picture: matplotlib's name and size in points, Plotly's name, and as text."""

    sign: str
    points: float
    symbol: str
    glyph: str


CIRCLE = Marker("o", 7.0, "circle", "●")
SQUARE = Marker("s", 6.4, "square", "■")
DIAMOND = Marker("D", 6.0, "diamond", "◆")
TRIANGLE = Marker("^", 7.6, "triangle-up", "▲")
CROSS = Marker("X", 7.0, "x", "✖")  # of a form that this table does not have


class Form(msgspec.Struct, frozen=True, kw_only=True):
    """One form: who has it, how it is made, and how people read of it.

    `steps` are methods of modules. A network takes the form when every module that has the first
    method is replaced by what it returns, then every module that has the second, and so on. A form
    without steps is the network as it is built.

    `suffix` ends the title of a network in this form, and `label` stands in legends. Figure 1
    draws the form with `marker`. The figure of speed-ups draws it with `marker` in `colour`; a
    form whose colour is None is not in that figure. `arrow` is the letter on the arrow to the form
    where a table prints all forms of a network in one cell; with BRACKETS the cell has the form's
    throughput in brackets, and no latency.
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
        """Whether the network is in this form as it is built, with nothing merged."""
        return not self.steps

    @property
    def has_latency(self) -> bool:
        """Whether tables of the paper's kind print a latency of this form."""
        return self.arrow != BRACKETS


AS_BUILT = "as trained, or its only form"
# In the order of a chain: train, then what is made of it. Colours are Okabe and Ito's.
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
        families=(MERGING, SHORTCUT_ACT, REPNEXT),
        steps=(),
        suffix="",
        label=AS_BUILT,
        marker=CIRCLE,
        colour=None,
        arrow="",
    ),
    Form(
        name="rrep",
        about="regular re-parameterisation: one 7x7 depthwise convolution, every BN folded",
        families=(MERGING, SHORTCUT_ACT, REPNEXT),
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
ONLY = "plain"  # the form of a network that has no other; names leave it out
REFERENCE = "train"  # what the other forms of a network are checked and compared with
LETTERS = tuple(  # on arrows
    form.arrow for form in _ENTRIES if form.arrow and form.has_latency
)
# Methods of the blocks that are left once all branches of their units are merged.
BLOCK_STEPS = tuple(dict.fromkeys(step for form in _ENTRIES for step in form.steps[1:]))


def of(family: str) -> tuple[str, ...]:
    """The names of the forms that a family has, the one that is built first."""
    return tuple(form.name for form in _ENTRIES if family in form.families)


def find(name: str) -> Form:
    """The form called `name`; one that the table does not have is named and marked as unknown.

    Another version of the program may have measured such a form. A figure then shows it with a
    cross and its name, so that it is neither lost nor taken for another.
    """
    return FORMS.get(name) or Form(
        name=name,
        about="unknown",
        families=(),
        steps=(FUSE,),
        suffix=f"@{name}",
        label=name,
        marker=CROSS,
        colour="#000000",
        arrow=name,
    )


def in_order(names: Collection[str]) -> list[Form]:
    """The forms called `names`, each once, in the order of the table; unknown ones come last."""
    unknown = sorted(set(names) - set(FORMS))
    return [form for form in _ENTRIES if form.name in names] + [find(name) for name in unknown]
