"""What a module costs, read off the meta device: its forward pass runs on tensors that have a shape and no data."""

from __future__ import annotations

import copy
import functools
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.autograd.graph import saved_tensors_hooks
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.flop_counter import flop_registry

from seqconv.layers.seqconv import SeqConv2d
from seqconv.layers.streams import Streams
from seqconv.networks import network
from seqconv.networks.part import Part

BATCH = 1 << 20
"""Images in a traced batch. They cost nothing here, and dividing by so many drops what any batch needs once."""


class Cost(NamedTuple):
    """Of one module for one image; `seqconv.complexity.Complexity` says what the fields are."""

    params: int
    macs: int
    elementwise: int
    """2 for each batch-normed and 3 for each rectified element."""
    activation_bytes: int
    """Without those of inputs."""
    serial_depth: int
    unread_groups: int


class Handed(NamedTuple):
    """A tensor that one part hands to the next."""

    shape: tuple[int, ...]
    """Of one image."""
    requires_grad: bool = False


class Trace(NamedTuple):
    """What one forward pass shows."""

    cost: Cost
    outputs: tuple[Handed, ...]
    keeps_input: tuple[int, ...]
    """Bytes of each input that autograd keeps for backward."""
    keeps_output: tuple[int, ...]
    """The same for each output; `activation_bytes` holds them."""


@functools.lru_cache(maxsize=65536)
def trace_part(part: Part, inputs: tuple[Handed, ...], recompute: bool = False) -> Trace:
    """The trace of a part of a network. Remembered: a search asks for the same parts again and again."""
    with torch.device("meta"):
        module = part.build()
    return trace(module, inputs, recompute=recompute)


def trace(module: nn.Module, inputs: Sequence[Handed], *, recompute: bool = False) -> Trace:
    """The trace of a module on the meta device, whose mode and plans are changed.

    Args:
        module: maps one tensor, or the two of `Streams`, to as many.
        inputs: what it gets.
        recompute: as in `seqconv.build`.
    """
    given = [torch.empty(BATCH, *shape, device="meta", requires_grad=grad) for shape, grad in inputs]
    outputs, kept = _forward(module.train(), given, recompute)
    counter = _count(module.eval(), given)

    def keeps(tensors: Sequence[Tensor]) -> tuple[int, ...]:
        return tuple(kept.get(_storage(tensor), 0) // BATCH for tensor in tensors)

    cost = Cost(
        params=sum(p.numel() for p in module.parameters() if p.requires_grad),
        macs=counter.macs // BATCH,
        elementwise=counter.elementwise // BATCH,
        activation_bytes=sum(kept.values()) // BATCH - sum(keeps(given)),
        serial_depth=max(counter.depths.values(), default=0),
        unread_groups=sum(layer.unread_groups for layer in _seqconvs(module)),
    )
    handed = tuple(Handed(tuple(tensor.shape[1:]), tensor.requires_grad) for tensor in outputs)
    return Trace(cost, handed, keeps(given), keeps(outputs))


def on_meta(module: nn.Module) -> nn.Module:
    """A float32 copy without data; the module itself stays as it is, and nothing of its size is allocated."""
    memo: dict[int, Any] = {id(p): nn.Parameter(p.to("meta"), p.requires_grad) for p in module.parameters()}
    memo.update({id(buffer): buffer.to("meta") for buffer in module.buffers()})
    return copy.deepcopy(module, memo).float()


def _forward(module: nn.Module, inputs: Sequence[Tensor], recompute: bool) -> tuple[list[Tensor], dict[int, int]]:
    """The outputs, and the bytes of each storage that autograd saves, without those of parameters and buffers."""
    learned = {_storage(tensor) for tensor in (*module.parameters(), *module.buffers())}
    saved: dict[int, torch.UntypedStorage] = {}

    def pack(tensor: Tensor) -> Tensor:
        saved[_storage(tensor)] = tensor.untyped_storage()
        return tensor

    shapes = _Shapes()  # type: ignore[no-untyped-call]
    with shapes, torch.enable_grad(), saved_tensors_hooks(pack, lambda tensor: tensor):
        output = network.run(module, _flow(inputs), recompute=recompute)
    return list(_tensors([output])), {key: saved[key].nbytes() for key in saved.keys() - learned}


def _count(module: nn.Module, inputs: Sequence[Tensor]) -> _Counter:
    """One forward pass as the definition has it: step by step, without the zeros that the blocked plan adds."""
    for layer in _seqconvs(module):
        layer.plan = "reference"
    counter = _Counter()
    with counter, torch.no_grad():
        module(_flow(inputs))
    return counter


def _flow(inputs: Sequence[Tensor]) -> Tensor | Streams:
    return inputs[0] if len(inputs) == 1 else Streams(*inputs)


def _seqconvs(module: nn.Module) -> Iterator[SeqConv2d]:
    return (layer for layer in module.modules() if isinstance(layer, SeqConv2d))


def _storage(tensor: Tensor) -> int:
    """What views of the same memory share."""
    return tensor.untyped_storage()._cdata  # type: ignore[no-any-return]


def _tensors(values: Any) -> Iterator[Tensor]:
    for value in values:
        if isinstance(value, Tensor):
            yield value
        elif isinstance(value, (list, tuple)):
            yield from _tensors(value)


class _Shapes(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Runs operations on the meta device, and remembers the results of those that are slow there."""

    @classmethod
    def _should_skip_dynamo(cls) -> bool:
        return False  # the guard against torch.compile would cost more than all that is done here

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        return self.run(func, args, kwargs or {})[0]

    def run(self, func: Any, args: Any, kwargs: Any) -> tuple[Any, int | None]:
        """The result, and if the operation is a product (a convolution or a linear layer) its multiply-adds."""
        if func in _INPLACE:
            return args[0], None
        if func in _SLOW and not kwargs:
            specs, products = _remembered(func, *_specs(args))
            made = [_empty(*spec) for spec in specs]
            return made[0] if len(made) == 1 else tuple(made), products
        output = func(*args, **kwargs)
        return output, None if func.is_view else _products(func, args, kwargs, output)


class _Counter(_Shapes):
    """Counts what runs under it."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.macs, self.elementwise = 0, 0
        self.depths: dict[int, int] = {}
        """By storage the products on the longest chain that leads to it."""
        self._alive: list[Tensor] = []

    def run(self, func: Any, args: Any, kwargs: Any) -> tuple[Any, int | None]:
        output, products = super().run(func, args, kwargs)
        if func.is_view:
            return output, products
        if products is not None:
            self.macs += products
        elif func in _ELEMENTWISE:
            self.elementwise += _ELEMENTWISE[func] * args[0].numel()
        depth = max([self.depths.get(_storage(tensor), 0) for tensor in _tensors((*args, *kwargs.values()))], default=0)
        for tensor in _tensors([output]):
            self.depths[_storage(tensor)] = depth + (products is not None)
            self._alive.append(tensor)  # so that no other storage gets its number
        return output, products


def _products(func: Any, args: Any, kwargs: Any, output: Any) -> int | None:
    """Multiply-adds by torch's own formulas; None where it has none for the operation."""
    formula = flop_registry.get(func.overloadpacket)
    return None if formula is None else formula(*args, **kwargs, out_val=output) // 2


_Spec = tuple[torch.Size, tuple[int, ...], torch.dtype]
"""Of a tensor what shapes of results depend on."""


def _specs(values: Any) -> tuple[Any, ...]:
    """The same arguments with specs for tensors, so that they can be compared."""
    return tuple(
        [
            (value.shape, value.stride(), value.dtype)
            if isinstance(value, Tensor)
            else _specs(value)
            if isinstance(value, (list, tuple))
            else value
            for value in values
        ]
    )


def _unspecified(specs: tuple[Any, ...]) -> list[Any]:
    """Inverse of `_specs`."""
    return [
        spec
        if not isinstance(spec, tuple)
        else _empty(*spec)
        if len(spec) == 3 and isinstance(spec[0], torch.Size)
        else _unspecified(spec)
        for spec in specs
    ]


def _empty(size: torch.Size, stride: tuple[int, ...], dtype: torch.dtype) -> Tensor:
    return torch.empty_strided(size, stride, dtype=dtype, device="meta")


@functools.lru_cache(maxsize=65536, typed=True)
def _remembered(func: Any, *specs: Any) -> tuple[tuple[_Spec, ...], int | None]:
    args = _unspecified(specs)
    output = func(*args)
    return _specs(_tensors([output])), _products(func, args, {}, output)


_aten = torch.ops.aten
_SLOW = {
    _aten.add.Tensor,
    _aten.cat.default,
    _aten.convolution.default,
    _aten.native_batch_norm.default,
    _aten.relu.default,
}
"""Operations whose meta kernels are written in Python. Their results are no views of their arguments."""
_INPLACE = {_aten.add_.Tensor, _aten.copy_.default, _aten.relu_.default}
"""Operations that return their first argument."""
_ELEMENTWISE = {_aten.native_batch_norm.default: 2, _aten.relu.default: 3, _aten.relu_.default: 3}
"""What counts in the paper's convention, per element."""
