"""Which module and category the nodes of a runtime belong to. Pure functions.

A runtime fuses operators and makes new ones. The name of a node in an exported file begins with its
module, and runtimes keep that name, or put something before or after it.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence

from bench.records import Category, Operator

MODULE = re.compile(r"(?<![\w./])([\w.]+)/")  # the older exporter begins names with a slash
PRODUCT = re.compile(r"conv(?!ert)|gemm|matmul|fullyconnected", re.IGNORECASE)
# By the type of a node that computes something of a module of several categories, or of none
PATTERNS: list[tuple[str, Category]] = [
    (r"attention|scaleddot", "attention"),
    (r"groupconv", "depthwise or group conv"),
    (r"fullyconnected|gemm", "fully connected"),
    (r"layernorm|rmsnorm|^mvn|^rms$", "layer norm"),
    (r"batchnorm", "batch norm"),
    (r"pool", "pooling"),
    (r"gelu|relu|silu|swish|sigmoid|softmax|tanh|^erf$|^clip$", "activation"),
    (r"^add$|^sum$|^qlinearadd$", "addition"),
    (
        r"transpose|reorder|reshape|concat|split|slice|gather|pad|squeeze|flatten|expand|roll|tile"
        r"|permute|broadcast|convert|cast|shuffle|quantize",
        "dimension transform",
    ),
]
IN_MODULE: list[tuple[str, Category]] = [  # what runtimes make by themselves, may be anything else
    (r"reducemean", "pooling"),
    (r"^(mul|multiply|sub|subtract|div|divide|pow|power|sqrt)$", "other"),
]
SOFTMAX = re.compile("softmax", re.IGNORECASE)  # in torch, a part of the attention
NAMESPACE = "runtime"


def attributed(names: Sequence[tuple[str, str]], own: Iterable[Operator]) -> list[Operator]:
    """Return an operator for each node, by the names and types of the nodes in one call.

    `own` are the operators of the network in torch. Where all operators of a module have one
    category, its nodes have it, too; for a product, where all products have. Else the type of the
    node tells, or nothing. A product has the MACs and bytes of torch's product in the same module,
    if there are as many of them in both.
    """
    of_module: dict[str, list[Operator]] = {}
    folded: dict[str, str] = {}  # modules without a product, to that of the product before
    before = None
    for operator in own:
        if operator.module and operator.module not in of_module and before is not None:
            folded[operator.module] = before.module
        of_module.setdefault(operator.module, []).append(operator)
        before = operator if operator.macs is not None else None
    of_module.pop("", None)  # no name of a node has the whole network
    places = [_place(_module(name, of_module), kind, of_module, folded) for name, kind in names]
    counts = Counter(
        place for place, (_, kind) in zip(places, names, strict=True) if _product(kind)
    )
    products = {
        module: iter(known)
        for module, each in of_module.items()
        if len(known := [one for one in each if one.macs is not None]) == counts[module]
    }
    return [
        _operator(kind, place, of_module.get(place, []), products.get(place))
        for place, (_, kind) in zip(places, names, strict=True)
    ]


def _module(name: str, known: Iterable[str]) -> str:
    """Return the module in the name of a node; "" if there is none."""
    return next((found for found in MODULE.findall(name) if found in known), "")


def _place(
    module: str, kind: str, of_module: Mapping[str, Sequence[Operator]], folded: Mapping[str, str]
) -> str:
    """Return the module of a node: a product that a BatchNorm was folded into has its name."""
    has_product = any(each.macs is not None for each in of_module.get(module, ()))
    return folded.get(module, module) if _product(kind) and not has_product else module


def _product(kind: str) -> bool:
    return PRODUCT.search(kind) is not None


def _operator(
    kind: str, module: str, own: Sequence[Operator], products: Iterable[Operator] | None
) -> Operator:
    """Return the operator of a node of a type, in a module with these operators."""
    if _product(kind):
        match = next(iter(products), None) if products is not None else None
        if match is not None:
            return match._replace(name=kind, namespace=NAMESPACE)
        own = [each for each in own if each.macs is not None]
    categories = {each.category for each in own}
    if "attention" in categories and SOFTMAX.search(kind):
        categories = {"attention"}
    category = categories.pop() if len(categories) == 1 else _category(kind, module)
    return Operator(kind, module, category, None, 0, NAMESPACE)


def _category(kind: str, module: str) -> Category:
    for pattern, category in (*PATTERNS, *(IN_MODULE if module else ())):
        if re.search(pattern, kind, re.IGNORECASE):
            return category
    return "unattributed"
