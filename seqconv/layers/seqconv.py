"""Sequentially aggregated convolution: a wide convolution computed as g groups of k channels, one after the other.

Paper: Huang, Ou, Wu, Feng, "Sequentially Aggregated Convolutional Networks", ICCV Workshops 2019 (arXiv 1811.10798).
Step i convolves the last g' groups before it, among the inputs and the earlier outputs (Eq. 3), or all of them (Eq. 2),
or those that another aggregation pattern names. How the steps are executed is a plan's choice; it changes no result
beyond rounding, and no state_dict.

Shape suffixes: N batch, C channels, H height, W width.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, cast

import torch
from torch import Tensor, nn
from torch.fx import Proxy

from seqconv import validation
from seqconv.adjacency import Adjacency
from seqconv.aggregation import Pattern, Window, parse_pattern
from seqconv.layers.blocked import blocked_streams
from seqconv.layers.initialization import init_weight
from seqconv.layers.native import native_streams
from seqconv.layers.operation import Convolution, Operation, Parameters, is_traced
from seqconv.layers.packing import Layout
from seqconv.layers.plans import PLANS, chosen
from seqconv.layers.reference import reference_streams
from seqconv.layers.schedule import cheapest_panel, schedule
from seqconv.layers.shrinking import Shrinking
from seqconv.layers.step_norm import StepNorm
from seqconv.layers.streams import Streams

FORMS = ("plain", "bottleneck")
OUTPUTS = ("act", "raw")


class SeqConv2d(nn.Module):
    """A drop-in for `nn.Conv2d` that aggregates sequentially: (N, C_in, H, W) to (N, C_out, H', W').

    A step reads inputs and outputs alike, so the steps keep height and width. Where a stride is asked for, a grouped
    convolution ("shrinking", k / groups channels a group) carries it, as in the paper's downsampling: with C_out > C_in
    the steps emit the C_out - C_in channels that are missing, and the shrinking follows over input and extension;
    otherwise it comes first. Patterns that read inputs alone take the stride themselves.

    Parameters are the same for every plan (see `seqconv.layers.packing`): `weight` (k, R, kh, kw) in form plain; in
    form bottleneck `reduce_weight` (k, R, 1, 1) and `weight` (C_out, k / groups, kh, kw).

    Args:
        in_channels: C_in. Whole groups, unless every step reads the whole input.
        out_channels: C_out = g * group_width.
        kernel_size: odd, so that an output lines up with the inputs.
        stride: of the result.
        padding: "same", or the numbers that are the same.
        dilation: of the kernel.
        groups: S, the groups of each step's own convolution; above 1 in form bottleneck only (the paper's SeqResNeXt).
        bias: one for each output channel; None is where there is no norm.
        padding_mode: "zeros", the only one.
        device: of the parameters.
        dtype: of the parameters.
        group_width: k, channels of a group.
        pattern: what each step reads: an `aggregation.Pattern`, or what `parse_pattern` reads (4, "0.5G", "dense").
        form: "plain" (one convolution a step) or "bottleneck" (1x1 to k channels in front, with norm and activation
            where the step has them; the paper's B).
        norm: batch norm in every step, before the activation; left out where nothing reads it, because `output` is raw.
        activation: ReLU in every step.
        dropout: probability that a source channel of a step is dropped, with a fresh mask in each step.
        zero_init: start with r_i = 0, so that a residual block that ends in this layer is the identity on `raw`.
        output: the stream that `forward` returns: "act", or "raw" for a network that normalises and activates itself.
        plan: "reference" is Eq. 2 and 3 as written. "blocked" is a fast one, "native" C++ for float32 on a CPU (see
            `seqconv.layers.native`); both can be differentiated once. "auto" takes native where it is to be had, else
            blocked, but reference for what neither can compute: dropout in training, no images, a shortcut of another
            dtype, torch.func, forward-mode differentiation, torch.jit.trace.
        panel: steps in a panel of the blocked plan; None lets a cost rule choose (see `seqconv.layers.schedule`).

    Raises:
        ValueError: channels that do not split into whole groups, or an argument that is not allowed.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: int | Sequence[int] = 3,
        stride: int | Sequence[int] = 1,
        padding: int | Sequence[int] | str = "same",
        dilation: int | Sequence[int] = 1,
        groups: int = 1,
        bias: bool | None = None,
        padding_mode: str = "zeros",
        device: Any = None,
        dtype: torch.dtype | None = None,
        *,
        group_width: int,
        pattern: Pattern | int | str = Window(ratio=1.0),
        form: str = "plain",
        norm: bool = False,
        activation: bool = False,
        dropout: float = 0.0,
        zero_init: bool = False,
        output: str = "act",
        plan: str = "auto",
        panel: int | None = None,
    ) -> None:
        super().__init__()
        made: dict[str, Any] = {"device": device, "dtype": dtype}
        self.in_channels = validation.integer("in_channels", in_channels)
        self.out_channels = validation.integer("out_channels", out_channels)
        self.group_width = validation.integer("group_width", group_width)
        self.kernel_size, self.dilation = _odd(kernel_size), _pair("dilation", dilation)
        self.padding = _same(padding, self.kernel_size, self.dilation)
        self.form = validation.one_of("form", form, FORMS)
        self.groups = _groups(groups, group_width, form)
        self.panel = panel if panel is None else validation.integer("panel", panel)
        self.output = validation.one_of("output", output, OUTPUTS)
        self.plan = validation.one_of("plan", plan, PLANS)
        self.dropout = validation.number("dropout", dropout, low=0, high=0.99)
        if plan in ("blocked", "native") and dropout > 0:
            raise ValueError(f"plan {plan} cannot drop channels afresh in each step, got dropout {dropout}: take auto")
        validation.boolean("norm", norm)
        self.activation = validation.boolean("activation", activation)
        self.zero_init = validation.boolean("zero_init", zero_init)
        bias = not norm if bias is None else validation.boolean("bias", bias)
        validation.one_of("padding_mode", padding_mode, ("zeros",))

        self.pattern, self.stride = parse_pattern(pattern), _pair("stride", stride)
        self.adjacency = self._adjacency(out_channels)
        self.extends = False
        self.shrinking: Shrinking | None = None
        if self.stride != (1, 1) and self.adjacency.serial_depth > 1:
            _whole("in_channels", in_channels, group_width)
            self.extends = out_channels > in_channels
            self.adjacency = self._adjacency(out_channels - in_channels if self.extends else out_channels)
            self.shrinking = self._shrinking(norm=norm, bias=bias, **made)
            self.stride = (1, 1)
        self.in_groups, self.out_groups = self.adjacency.in_groups, self.adjacency.out_groups
        self.layout = Layout(self.adjacency, in_channels, group_width)
        taps = 1 if form == "bottleneck" else math.prod(self.kernel_size)
        self.panels = schedule(self.adjacency, self.panel or cheapest_panel(self.adjacency, group_width, taps))
        self.operation = Operation(
            layout=self.layout,
            panels=self.panels,
            convolution=Convolution(self.stride, self.padding, self.dilation, self.groups),
            kernel_size=self.kernel_size,
            bottleneck=form == "bottleneck",
            activation=activation,
        )

        emitted, (reduce_shape, shape) = self.layout.out_channels, self.operation.weight_shapes
        self.reduce_weight = None if reduce_shape is None else nn.Parameter(torch.empty(reduce_shape, **made))
        self.reduce_norm = nn.BatchNorm2d(emitted, **made) if norm and reduce_shape else None
        self.weight = nn.Parameter(torch.empty(shape, **made))
        self.bias = nn.Parameter(torch.empty(emitted, **made)) if bias else None
        is_read = self.output == "act" or self.extends or self.adjacency.serial_depth > 1
        self.norm = nn.BatchNorm2d(emitted, **made) if norm and is_read else None
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Initialise as the paper does: each step's convolution by its own fan out; zero biases; fresh batch norms."""
        last_is_zero = self.zero_init and not self.extends
        if self.reduce_weight is not None:
            init_weight(self.reduce_weight, self.group_width)
        init_weight(self.weight, self.group_width, zero=last_is_zero)
        if self.bias is not None:
            nn.init.zeros_(self.bias)
        for norm in (self.reduce_norm, self.norm):
            if norm is not None:
                norm.reset_parameters()
        if self.shrinking is not None:
            self.shrinking.reset_parameters(zero=self.zero_init and self.extends)

    @property
    def serial_depth(self) -> int:
        """Convolutions on the longest chain in which each must wait for the one before."""
        depth = self.adjacency.serial_depth * (1 if self.reduce_weight is None else 2)
        return depth + (self.shrinking is not None)

    @property
    def unread_groups(self) -> int:
        """Input groups that no step reads; the shrinking convolution behind an extension reads them all."""
        return len(self.adjacency.unread)

    def forward(self, x_NCHW: Tensor, shortcut_NCHW: Tensor | None = None) -> Tensor:
        """The stream that `output` names. For `torch.fx` a layer inside a network is one node, unless it has hooks."""
        node = _node(self, (x_NCHW,) if shortcut_NCHW is None else (x_NCHW, shortcut_NCHW))
        if node is not None:
            return node
        raw = self.output == "raw"
        streams = self._streams(x_NCHW, shortcut_NCHW, raw=raw)
        return streams.raw if raw else streams.act

    def streams(self, x_NCHW: Tensor, shortcut_NCHW: Tensor | None = None) -> Streams:
        """Both streams: `raw`, the groups before norm and activation, and `act`, what later steps read of them.

        Args:
            x_NCHW: the activated input.
            shortcut_NCHW: added to `raw`, before the norm; of the output's shape.

        Raises:
            ValueError: an input or a shortcut of another shape.
        """
        raw, act = self._streams(x_NCHW, shortcut_NCHW, raw=True)
        return Streams(raw.clone() if raw is act else raw, act)

    def _streams(self, x_NCHW: Tensor, shortcut_NCHW: Tensor | None, *, raw: bool) -> Streams:
        if not is_traced():
            _check_channels("input", x_NCHW, self.in_channels)
            if shortcut_NCHW is not None:
                self._check_shortcut(x_NCHW, shortcut_NCHW)
        if self.shrinking is None:
            return self._aggregate(x_NCHW, shortcut_NCHW, raw)
        if self.extends:
            extension = self._aggregate(x_NCHW, None, raw=False).act
            streams: Streams = self.shrinking(torch.cat([x_NCHW, extension], dim=1), shortcut_NCHW)
            return streams
        return self._aggregate(self.shrinking(x_NCHW).act, shortcut_NCHW, raw)

    def _aggregate(self, x_NCHW: Tensor, shortcut_NCHW: Tensor | None, raw: bool) -> Streams:
        norms = StepNorm.of(self.reduce_norm), StepNorm.of(self.norm)
        parameters = Parameters(self.reduce_weight, self.weight, self.bias, *norms)
        dropout = self.dropout if self.training else 0.0
        call = self.operation, parameters, x_NCHW, shortcut_NCHW
        plan = chosen("reference" if dropout > 0 else self.plan, *call)
        if plan == "reference":
            return reference_streams(*call, dropout=dropout)
        return (native_streams if plan == "native" else blocked_streams)(*call, raw=raw)

    def _adjacency(self, out_channels: int) -> Adjacency:
        in_groups = -(-self.in_channels // self.group_width)
        adjacency = self.pattern.adjacency(in_groups, _whole("out_channels", out_channels, self.group_width))
        if not adjacency.reads_whole_input:
            _whole("in_channels", self.in_channels, self.group_width)
        return adjacency

    def _shrinking(self, *, norm: bool, bias: bool, **made: Any) -> Shrinking:
        channels = self.out_channels if self.extends else self.in_channels
        groups = channels // self.group_width * self.groups
        conv = nn.Conv2d(
            channels, channels, self.kernel_size, self.stride, self.padding, self.dilation, groups, bias, **made
        )
        is_read = self.output == "act" or not self.extends
        normed = nn.BatchNorm2d(channels, **made) if norm and is_read else None
        return Shrinking(conv, norm=normed, activation=self.activation and is_read)

    def _check_shortcut(self, x_NCHW: Tensor, shortcut_NCHW: Tensor) -> None:
        strides = self.stride if self.shrinking is None else self.shrinking.conv.stride
        size = tuple(-(-side // stride) for side, stride in zip(x_NCHW.shape[2:], strides, strict=True))
        expected = (x_NCHW.shape[0], self.out_channels, *size)
        if tuple(shortcut_NCHW.shape) != expected:
            raise ValueError(f"shortcut must have the shape {expected} of the output, got {tuple(shortcut_NCHW.shape)}")

    def extra_repr(self) -> str:
        shape = f"{self.in_channels}, {self.out_channels}, kernel_size={self.kernel_size}"
        return f"{shape}, group_width={self.group_width}, pattern={self.pattern}, form={self.form}"


def _node(layer: SeqConv2d, given: tuple[Any, ...]) -> Tensor | None:
    """What stands for the layer's output in the graph that `torch.fx` draws; None where nothing is drawn."""
    for value in given:
        if isinstance(value, Proxy):
            tracer: Any = value.tracer
            name = tracer.path_of_module(layer)
            # Hooks have run already, and would again with the node; the root is no part of its graph.
            if name and not (layer._forward_hooks or layer._forward_pre_hooks):
                return cast(Tensor, tracer.create_proxy("call_module", name, given, {}))
    return None


def _pair(name: str, value: int | Sequence[int], *, low: int = 1) -> tuple[int, int]:
    pair = tuple(value) if isinstance(value, Sequence) else (value, value)
    if len(pair) != 2:
        raise ValueError(f"{name} must be an integer or two, got {value!r}")
    return validation.integer(name, pair[0], low=low), validation.integer(name, pair[1], low=low)


def _odd(kernel_size: int | Sequence[int]) -> tuple[int, int]:
    pair = _pair("kernel_size", kernel_size)
    if any(side % 2 == 0 for side in pair):
        raise ValueError(f"kernel_size must be odd, so that outputs line up with inputs, got {kernel_size!r}")
    return pair


def _same(
    padding: int | Sequence[int] | str, kernel_size: tuple[int, int], dilation: tuple[int, int]
) -> tuple[int, int]:
    same = (dilation[0] * (kernel_size[0] - 1) // 2, dilation[1] * (kernel_size[1] - 1) // 2)
    if padding != "same" and (isinstance(padding, str) or _pair("padding", padding, low=0) != same):
        raise ValueError(f"padding must be 'same' or {same}: a step reads inputs and outputs alike; got {padding!r}")
    return same


def _groups(groups: int, group_width: int, form: str) -> int:
    validation.integer("groups", groups)
    if groups > 1 and form != "bottleneck":
        raise ValueError(f"groups above 1 need form bottleneck, got {groups} in form {form}")
    if group_width % groups:
        raise ValueError(f"groups must divide group_width {group_width}, got {groups}")
    return groups


def _whole(name: str, channels: int, group_width: int) -> int:
    if channels % group_width:
        raise ValueError(f"{name} must be a multiple of group_width {group_width}, got {channels}")
    return channels // group_width


def _check_channels(name: str, tensor_NCHW: Tensor, channels: int) -> None:
    if tensor_NCHW.dim() != 4 or tensor_NCHW.shape[1] != channels:
        raise ValueError(f"{name} must be (N, {channels}, H, W), got shape {tuple(tensor_NCHW.shape)}")
