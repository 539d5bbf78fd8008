"""The blocked plan: the panels of `seqconv.layers.schedule`, in one autograd function.

What autograd would keep of each step is kept once for the layer: the input and each step's values before its norms.
The output, gathered sources, normalised bottlenecks and wide weights are made again in the backward pass; so what
follows may write to the output, as a ReLU in place does. Sources are gathered for a few images at a time, so that they
are convolved while they are still in the cache.

Shape suffixes: N batch, C channels, H height, W width, M = N * H * W.
"""

from __future__ import annotations

import contextlib
import itertools
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.nn import functional as F

from seqconv.layers.columns import Columns, Outputs, dense, empty, format_of, tile_slices
from seqconv.layers.once import anchor, differentiable_once
from seqconv.layers.operation import Operation, Parameters, convolved_type
from seqconv.layers.packing import pack_into, unpack
from seqconv.layers.schedule import Block, Panel, Run
from seqconv.layers.step_norm import StepNorm
from seqconv.layers.streams import Streams


def blocked_streams(
    op: Operation, parameters: Parameters, x_NCHW: Tensor, shortcut_NCHW: Tensor | None, *, raw: bool
) -> Streams:
    """As `reference_streams` without dropout, up to rounding. Differentiable once.

    Args:
        op: what to compute.
        parameters: what to compute it with.
        x_NCHW: the input.
        shortcut_NCHW: added to the raw stream.
        raw: whether the raw stream is looked at; where it is not, `act` stands in its place.
    """
    reduce_weight, weight, bias, reduce_norm, norm = parameters
    device = x_NCHW.device.type
    casts = torch.amp.is_autocast_available(device) and torch.is_autocast_enabled(device)
    given = x_NCHW, shortcut_NCHW, reduce_weight, weight, bias
    tensors: list[Any] = [None if tensor is None else tensor.to(convolved_type(tensor)) for tensor in given]
    call = _Call(op, reduce_norm, norm, raw=raw and (norm is not None or op.activation))
    learned = [tensor for n in (reduce_norm, norm) for tensor in ((None, None) if n is None else (n.weight, n.bias))]
    with torch.autocast(device, enabled=False) if casts else contextlib.nullcontext():
        if torch.is_grad_enabled():
            act, *others = _Blocked.apply(call, anchor(shortcut_NCHW), *tensors, *learned)
        else:
            act, *others = _Forward(call, *tensors).run()
    return Streams(others[0] if others else act, act)


@dataclass(frozen=True)
class _Call:
    """What one call of the function computes with beside its tensors."""

    op: Operation
    reduce_norm: StepNorm | None
    norm: StepNorm | None
    raw: bool
    """Whether the raw stream is returned too."""


class _Forward:
    """One forward pass. `run` returns act, and raw if asked for, and keeps what the backward pass needs."""

    def __init__(
        self,
        call: _Call,
        x: Tensor,
        shortcut: Tensor | None,
        reduce: Tensor | None,
        weight: Tensor,
        bias: Tensor | None,
    ) -> None:
        op = call.op
        self.op, self.packed, self.weight, self.bias = op, weight if reduce is None else reduce, weight, bias
        size = (-(-side // stride) for side, stride in zip(x.shape[2:], op.convolution.stride, strict=True))
        self.act = Outputs(op.layout, empty(x, x.shape[0], op.layout.out_channels, *size))
        self.raw = Outputs(op.layout, torch.empty_like(self.act.whole)) if call.raw else None
        self.shortcut = None if shortcut is None else Outputs(op.layout, shortcut)
        self.columns = Columns(op.layout, x, self.act)
        self.inner = _Activations(call.reduce_norm, op.activation, _Kept([], []))
        self.outer = _Activations(call.norm, op.activation, _Kept([], []))

    def run(self) -> tuple[Tensor, ...]:
        made = [outputs for outputs in (self.act, self.raw) if outputs is not None]
        for panel in self.op.panels:
            sums = {panel.steps: self.convolved(panel.wide)}
            for outputs in made:
                outputs.enter(panel.steps)
            if self.shortcut is not None:
                self.shortcut.enter(panel.steps, self.shortcut.whole)
            for item in panel.program:
                if isinstance(item, int):
                    self.finish(item, self.total(sums, item))
                else:
                    sums[item.steps] = self.convolved(item).add_(self.pending(sums, item.steps))
            for outputs in made:
                outputs.leave()
        return tuple(outputs.whole for outputs in made)

    def total(self, sums: dict[Run, Tensor], step: int) -> Tensor:
        """All that a step reads, in memory of its own: it is kept for the backward pass."""
        steps = (step, step + 1)
        if steps in sums:
            return sums[steps]
        return self.pending(sums, steps).clone(memory_format=format_of(self.columns.inputs))

    def pending(self, sums: dict[Run, Tensor], steps: Run) -> Tensor:
        """What the steps have read so far: some channels of the last sum that was made for all of them."""
        start, stop = next(run for run in reversed(sums) if run[0] <= steps[0] and steps[1] <= run[1])
        return sums[start, stop][:, self.op.layout.outputs((steps[0] - start, steps[1] - start))]

    def convolved(self, block: Block) -> Tensor:
        weight = unpack(self.packed, self.op.layout, block, format_of(self.columns.inputs))
        total: Tensor | None = None
        for images, sources in self.columns.tiles(block, weight):
            part = self.op.aggregation.forward(sources, weight)
            if images == slice(None):
                return part
            if total is None:
                total = empty(part, self.columns.inputs.shape[0], *part.shape[1:])
            total[images] = part
        assert total is not None
        return total

    def finish(self, step: int, r: Tensor) -> None:
        """All that the step reads has been added up: what is left of it."""
        op, mine = self.op, (step, step + 1)
        channels = op.layout.outputs(mine)
        bias = None if self.bias is None else self.bias[channels]
        if op.bottleneck:
            r = op.convolution.forward(self.inner.forward(r, channels), self.weight[channels], bias)
        elif bias is not None:
            r += bias[:, None, None]
        if self.shortcut is not None:
            r += self.shortcut[mine]
        if self.raw is not None:
            self.raw[mine].copy_(r)
        self.act.put(step, self.outer.forward(r, channels))


class _Backward:
    """One backward pass: the forward pass's program from its end. `run` fills the gradients."""

    def __init__(
        self,
        call: _Call,
        x: Tensor,
        reduce: Tensor | None,
        weight: Tensor,
        kept: tuple[_Kept, _Kept],
        d_act: Tensor | None,
        d_raw: Tensor | None,
    ) -> None:
        op = call.op
        self.op, self.packed, self.weight = op, weight if reduce is None else reduce, weight
        self.inner = _Activations(call.reduce_norm, op.activation, kept[0])
        self.outer = _Activations(call.norm, op.activation, kept[1])
        act = self.outer.all_again().contiguous(memory_format=format_of(x))
        self.act = Outputs(op.layout, act)
        self.given, self.d_act = d_act, Outputs(op.layout, torch.empty_like(act))
        self.d_raw = None if d_raw is None else Outputs(op.layout, d_raw)
        self.d_x = torch.empty_like(x)
        self.columns, self.d_columns = Columns(op.layout, x, self.act), Columns(op.layout, self.d_x, self.d_act)
        self.d_packed = torch.empty_like(self.packed)
        self.d_weight = torch.empty_like(weight) if op.bottleneck else None
        self.d_shortcut: Outputs | None = None
        self.d_bias: Tensor | None = None

    def run(self) -> None:
        for panel in reversed(self.op.panels):
            start = panel.steps[0]
            self.enter(panel)
            d_sums, done = self.empty_sums(panel), dict[Run, Tensor]()
            for item in reversed(panel.program):
                if isinstance(item, int):
                    steps = (item, item + 1)
                    done[steps] = self.unfinish(item)
                    d_sums[:, self.op.layout.outputs((item - start, item + 1 - start))] = done[steps]
                else:
                    place = self.op.layout.outputs((item.steps[0] - start, item.steps[1] - start))
                    self.convolved(item, done[item.steps] if item.steps in done else dense(d_sums[:, place]))
            if self.d_shortcut is not None:
                self.d_shortcut.leave()
            self.convolved(panel.wide, d_sums)
        self.d_columns.clear_untouched()

    def enter(self, panel: Panel) -> None:
        """All later panels have added to the gradient of this panel's outputs: what is given for them comes on top."""
        self.act.enter(panel.steps, self.act.whole)
        self.d_act.enter(panel.steps)
        self.d_columns.complete(panel.steps, self.given)
        if self.d_raw is not None:
            self.d_raw.enter(panel.steps, self.d_raw.whole)
        if self.d_shortcut is not None:
            self.d_shortcut.enter(panel.steps)

    def empty_sums(self, panel: Panel) -> Tensor:
        """For the gradient of what the panel's steps have read."""
        size = (self.d_x if self.op.bottleneck else self.act.whole).shape
        channels = self.op.layout.outputs(panel.steps)
        return empty(self.d_x, size[0], channels.stop - channels.start, *size[2:])

    def unfinish(self, step: int) -> Tensor:
        """From the gradient of the step's output to that of the sum of all it reads."""
        op, mine = self.op, (step, step + 1)
        channels = op.layout.outputs(mine)
        d = self.outer.backward(self.d_act[mine], self.act.get(step), step, channels)
        if self.d_raw is not None:
            d += self.d_raw[mine]
        if self.d_shortcut is not None:
            self.d_shortcut[mine].copy_(d)
        if self.d_bias is not None:
            self.d_bias[channels] = d.sum((0, 2, 3))
        if self.d_weight is None:
            return d
        h = self.inner.again(step, channels)
        d, self.d_weight[channels] = op.convolution.backward(d, h, self.weight[channels])
        return self.inner.backward(d, h, step, channels)

    def convolved(self, block: Block, d: Tensor) -> None:
        """Add what the block's steps say to the gradients of its sources and of its weight."""
        weight = unpack(self.packed, self.op.layout, block, format_of(self.d_x))
        d_weight = (self.multiplied if self.op.bottleneck else self.correlated)(block, d, weight)
        pack_into(self.d_packed, d_weight, self.op.layout, block)

    def correlated(self, block: Block, d: Tensor, weight: Tensor) -> Tensor:
        total: Tensor | None = None
        targets = self.d_columns.targets(block)
        for images, sources in self.columns.tiles(block, weight):
            d_sources, d_weight = self.op.aggregation.backward(d[images], sources, weight)
            total = d_weight if total is None else total.add_(d_weight)
            for target in targets:
                target.add(images, d_sources)
        assert total is not None
        return total

    def multiplied(self, block: Block, d: Tensor, weight: Tensor) -> Tensor:
        """The same for a 1x1 convolution, whose sources need not stand side by side."""
        d_weight = torch.empty_like(weight)
        for view, place in self.columns.views(block.sources):
            d_weight[:, place] = self.op.aggregation.weight_gradient(d, dense(view), weight[:, place])
        transposed, targets = weight.transpose(0, 1), self.d_columns.targets(block)
        for images in tile_slices(d, weight):
            d_sources = F.conv2d(d[images], transposed)
            for target in targets:
                target.add(images, d_sources)
        return d_weight


class _Kept(NamedTuple):
    """What the backward pass needs of the norms and activations at one place of every step."""

    before: list[Tensor]
    """Step by step, what came in."""
    statistics: list[Tensor]
    """Two for each step that is normalised."""


class _Activations:
    """Norm and activation of every step, behind a bottleneck's 1x1 or at a step's end."""

    def __init__(self, norm: StepNorm | None, activation: bool, kept: _Kept) -> None:
        self.norm, self.activation, self.kept = norm, activation, kept
        self.d_weight = None if norm is None else torch.empty_like(norm.weight)
        self.d_bias = None if norm is None else torch.empty_like(norm.bias)

    def forward(self, r: Tensor, mine: slice) -> Tensor:
        self.kept.before.append(r)
        if self.norm is not None:
            r, *statistics = self.norm.step(mine).forward(r)
            self.kept.statistics.extend(statistics)
        return self._rectified(r)

    def again(self, step: int, mine: slice) -> Tensor:
        """What `forward` gave."""
        r = self.kept.before[step]
        if self.norm is not None:
            r = self.norm.step(mine).again(r, *self.kept.statistics[2 * step : 2 * step + 2])
        return self._rectified(r)

    def all_again(self) -> Tensor:
        """What `forward` gave in all steps, which costs less at once."""
        r = torch.cat(self.kept.before, dim=1)
        if self.norm is not None:
            r = self.norm.again(r, *(torch.cat(self.kept.statistics[i::2]) for i in (0, 1)))
        return self._rectified(r)

    def _rectified(self, r: Tensor) -> Tensor:
        """In place where the norm has just made `r`; else it is kept as it was."""
        if not self.activation:
            return r
        return r.relu() if self.norm is None else r.relu_()

    def backward(self, d: Tensor, activated: Tensor, step: int, mine: slice) -> Tensor:
        """From the gradient of what `forward` gave to that of what it got. Overwrites `d` where that is dense."""
        d = dense(d)
        if self.activation:
            torch.ops.aten.threshold_backward.grad_input(d, activated, 0, grad_input=d)
        if self.norm is None or self.d_weight is None or self.d_bias is None:
            return d
        before, statistics = self.kept.before[step], self.kept.statistics[2 * step : 2 * step + 2]
        d, self.d_weight[mine], self.d_bias[mine] = self.norm.step(mine).backward(d, before, *statistics)
        return d


class _Blocked(torch.autograd.Function):
    """(call, anchor, x, shortcut, reduce_weight, weight, bias, norms' weights and biases) to act, and raw if asked."""

    @staticmethod
    def forward(ctx: Any, call: _Call, of_shortcut: Tensor | None, *tensors: Any) -> tuple[Tensor, ...]:
        if torch.compiler.is_dynamo_compiling():
            # It cannot follow the sums that steps write to in place, so it compiles what is around a layer.
            torch._dynamo.graph_break()
        x, shortcut, reduce, weight, bias, *learned = tensors
        run = _Forward(call, x, shortcut, reduce, weight, bias)
        streams = run.run()
        lists = *run.inner.kept, *run.outer.kept
        ctx.call, ctx.lengths = call, [len(tensors) for tensors in lists]
        ctx.has_shortcut, ctx.has_bias = shortcut is not None, bias is not None
        # What `call` has of the norms too: autograd refuses to go back once a saved tensor changed. And what gradients
        # are made of, though it is not needed to make them, for whoever would differentiate them again.
        fixed = [norm[2:4] for norm in (call.reduce_norm, call.norm) if norm is not None and not norm.training]
        ctx.save_for_backward(x, reduce, weight, of_shortcut, bias, *learned, *itertools.chain(*lists, *fixed))
        ctx.set_materialize_grads(False)
        return streams

    @staticmethod
    @differentiable_once
    def backward(
        ctx: Any, saved: tuple[Any, ...], d_act: Tensor | None, d_raw: Tensor | None = None
    ) -> tuple[Any, ...]:
        x, reduce, weight, *rest = saved
        before, statistics, *of_outer = _split(rest[6:], ctx.lengths)
        run = _Backward(ctx.call, x, reduce, weight, (_Kept(before, statistics), _Kept(*of_outer)), d_act, d_raw)
        inner, outer, act = run.inner, run.outer, run.act.whole
        run.d_shortcut = Outputs(ctx.call.op.layout, torch.empty_like(act)) if ctx.has_shortcut else None
        run.d_bias = weight.new_empty(act.shape[1]) if ctx.has_bias else None
        run.run()
        d_weights = (run.d_packed, run.d_weight) if ctx.call.op.bottleneck else (None, run.d_packed)
        d_shortcut = None if run.d_shortcut is None else run.d_shortcut.whole
        d_norms = (inner.d_weight, inner.d_bias, outer.d_weight, outer.d_bias)
        return None, None, run.d_x, d_shortcut, *d_weights, run.d_bias, *d_norms


def _split(tensors: list[Tensor], lengths: list[int]) -> Iterator[list[Tensor]]:
    remaining = iter(tensors)
    return (list(itertools.islice(remaining, length)) for length in lengths)
