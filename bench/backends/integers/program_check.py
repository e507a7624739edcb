"""Compares a program in 8-bit integers with the program in floating point that it was made of."""

from __future__ import annotations

import functools
from collections.abc import Iterator, Mapping, Sequence
from operator import attrgetter
from typing import TYPE_CHECKING, Any, NamedTuple

from torch import fx

from bench.backends.integers import limits
from bench.backends.integers.limits import Power
from bench.backends.program import ExportError

if TYPE_CHECKING:
    from torch import Tensor

QUANTISE, DEQUANTISE = "quantized_decomposed.quantize_", "quantized_decomposed.dequantize_"
BY_CHANNEL = f"{DEQUANTISE}per_channel"


class Grid(NamedTuple):
    """The scale and the zero of a quantised value, and its smallest and largest integer."""

    scale: float
    zero: int
    lowest: int
    highest: int

    def rounded(self, values: Tensor) -> Tensor:
        """Return the values as they are after they were quantised."""
        integers = (values / self.scale).round() + self.zero
        return self.read(integers.clamp(self.lowest, self.highest))

    def read(self, integers: Tensor) -> Tensor:
        """Return the values of integers."""
        return (integers.float() - self.zero) * self.scale


def check(
    of_integers: fx.GraphModule, network: fx.GraphModule, calls: Sequence[Sequence[Tensor]]
) -> None:
    """Raise ExportError if a value of a program in integers is not that of the network.

    `network` is the program with an observer at each value that is quantised. Weights must be
    rounded to their grid. Both operators of another value must have the same scale and zero;
    rounding to that grid must leave of it, in the network's own values, a signal / noise of
    LEAST_RATIO.
    """
    has_weights, grids = False, dict[str, Grid]()
    for own, read in _pairs(of_integers, network):
        integers, *grid = read.args
        assert isinstance(integers, fx.Node)
        if integers.op != "get_attr":
            if list(integers.args[1:]) != grid:
                raise limits.wrong(own.name, limits.OTHER_GRID)
            grids[own.name] = _grid_of(read)
        elif str(read.target).startswith(BY_CHANNEL):
            has_weights = True
            _check_weight(read, of_integers, own, network)
        else:
            found = _grid_of(read).read(_attribute(of_integers, integers))
            wanted = _constant(network, own)
            Power(own.name, _power(wanted), _power(wanted - found)).check()
    if not has_weights:
        raise ExportError(limits.NOTHING)
    powers = _Powers(network, grids)
    for call in calls:
        powers.run(*call)
    for name, (signal, noise) in powers.sums.items():
        Power(name, signal, noise).check()


def _pairs(
    of_integers: fx.GraphModule, network: fx.GraphModule
) -> Iterator[tuple[fx.Node, fx.Node]]:
    """Yield each value of the network that is quantised, and a node that reads its integers."""
    known = {node.name: _inputs(node) for node in network.graph.nodes}
    for node in of_integers.graph.nodes:
        if node.op == "call_function" and str(node.target).startswith(QUANTISE):
            continue
        for place, read in enumerate(_inputs(node)):
            if read.op != "call_function" or not str(read.target).startswith(DEQUANTISE):
                continue
            before = known.get(node.name, ())
            if place >= len(before) or before[place].op != "call_module":
                raise limits.wrong(node.name, limits.UNKNOWN)
            yield _inputs(before[place])[0], read


def _inputs(node: fx.Node) -> list[fx.Node]:
    """Return the nodes whose values a node takes, in order; one that it takes twice is there twice.

    `all_input_nodes` of torch.fx has it once.
    """
    found = list[fx.Node]()
    fx.map_arg((node.args, node.kwargs), found.append)
    return found


def _grid_of(read: fx.Node) -> Grid:
    return Grid(*read.args[1:5])  # type: ignore[arg-type]


def _check_weight(
    read: fx.Node, of_integers: fx.GraphModule, own: fx.Node, network: fx.GraphModule
) -> None:
    """Raise ExportError if a weight is not rounded to its grid, of one scale by channel."""
    *nodes, axis = read.args[:4]
    assert isinstance(axis, int)
    integers, scale, zero = (_attribute(of_integers, each).double() for each in nodes)
    shape = [1] * integers.dim()
    shape[axis] = -1
    step = scale.reshape(shape)
    error = (integers - zero.reshape(shape)) * step - _constant(network, own).double()
    if not (error.abs() <= limits.ROUNDING * step).all():
        raise limits.wrong(own.name, limits.NOT_ROUNDED)


def _constant(network: fx.GraphModule, node: fx.Node) -> Tensor:
    """Return the value of a node that depends on no input: a weight, or what is computed of one."""
    if node.op == "get_attr":
        return _attribute(network, node)
    if node.op != "call_function":
        raise limits.wrong(node.name, limits.UNKNOWN)
    value = functools.partial(_constant, network)
    arguments = fx.map_arg((node.args, node.kwargs), value)
    found: Tensor = node.target(*arguments[0], **arguments[1])  # type: ignore[operator]
    return found


def _attribute(network: fx.GraphModule, node: Any) -> Tensor:
    """Return the tensor that a node reads from its module. Raises ExportError if it is none."""
    if not (isinstance(node, fx.Node) and node.op == "get_attr"):
        raise limits.wrong(str(node), limits.UNKNOWN)
    found: Tensor = attrgetter(str(node.target))(network)
    return found.detach()


def _power(values: Tensor) -> float:
    return float(values.double().square().sum())


class _Powers(fx.Interpreter):
    """Executes the network, and sums the powers of its quantised values and of their errors."""

    def __init__(self, network: fx.GraphModule, grids: Mapping[str, Grid]) -> None:
        super().__init__(network)
        self._grids = grids
        self.sums = {name: [0.0, 0.0] for name in grids}

    def call_module(self, target: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """Pass the value through: each module is an observer, which has seen enough."""
        return args[0]

    def run_node(self, node: fx.Node) -> Any:
        """Execute a node, and count what its value loses."""
        value = super().run_node(node)
        if grid := self._grids.get(node.name):
            for place, each in enumerate((value, value - grid.rounded(value))):
                self.sums[node.name][place] += _power(each)
        return value
