"""A layer's channels as columns of groups, for the blocked plan: gathered by the run, written panel by panel.

Shape suffixes: N batch, C channels, H height, W width.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator
from typing import NamedTuple

import torch
from torch import Tensor

from seqconv.layers.packing import Layout
from seqconv.layers.schedule import Block, Run

TILE_BYTES = 1 << 20
"""What is gathered at a time on a CPU: about a core's level 2 cache."""
MIN_IMAGES = 16
"""Of a tile that a 1x1 convolution reads: torch computes smaller ones another way on one thread, which is slower."""


class Outputs:
    """A tensor of the layer's output channels. Those of the panel at work are kept together, in `panel`."""

    def __init__(self, layout: Layout, whole_NCHW: Tensor) -> None:
        self.layout, self.whole, self.steps = layout, whole_NCHW, (0, 0)
        self.panel = whole_NCHW[:, :0]
        self.kept: dict[Run, Tensor] = {}

    def enter(self, steps: Run, load: Tensor | None = None) -> None:
        """Start with a panel: with what `load` holds of it, or with memory to be filled."""
        channels, (images, _, *size) = self.layout.outputs(steps), self.whole.shape
        self.steps = steps
        self.kept.clear()
        if self.panel.shape[1] != channels.stop - channels.start:
            self.panel = empty(self.whole, images, channels.stop - channels.start, *size)
        if load is not None:
            self.panel.copy_(load[:, channels])

    def leave(self) -> None:
        """Write what became of the panel to `whole`."""
        self.whole[:, self.layout.outputs(self.steps)] = self.panel

    def put(self, step: int, channels_NCHW: Tensor) -> None:
        """Write a step of the panel; its own tensor is at hand until the panel is done."""
        steps = (step, step + 1)
        self[steps].copy_(channels_NCHW)
        self.kept[steps] = channels_NCHW

    def get(self, step: int) -> Tensor:
        """A step of the panel as a tensor of its own, at hand until the panel is done."""
        steps = (step, step + 1)
        self.kept[steps] = dense(self[steps])
        return self.kept[steps]

    def __getitem__(self, steps: Run) -> Tensor:
        """The channels of some steps, all of this panel or all of others."""
        if steps in self.kept:
            return self.kept[steps]
        if steps[0] < self.steps[0] or steps[1] > self.steps[1]:
            return self.whole[:, self.layout.outputs(steps)]
        return self.panel[:, self.layout.outputs((steps[0] - self.steps[0], steps[1] - self.steps[0]))]


class Columns:
    """The columns of the layer: the channels of its input, and of its output so far."""

    def __init__(self, layout: Layout, inputs_NCHW: Tensor, outputs: Outputs) -> None:
        self.layout, self.inputs, self.outputs = layout, inputs_NCHW, outputs
        self.untouched = set(range(layout.adjacency.in_groups + layout.adjacency.out_groups))

    def views(self, runs: Iterable[Run]) -> Iterator[tuple[Tensor, slice]]:
        """For each run its channels, and their places where the channels of all runs are put side by side."""
        place, in_groups = 0, self.layout.adjacency.in_groups
        for start, stop in runs:
            if start < in_groups:
                view = self.inputs[:, self.layout.channels(start, stop - 1)]
            else:
                view = self.outputs[start - in_groups, stop - in_groups]
            yield view, slice(place, place + view.shape[1])
            place += view.shape[1]

    def tiles(self, block: Block, weight: Tensor) -> Iterator[tuple[slice, Tensor]]:
        """The block's sources side by side, some images at a time; all at once where nothing has to be copied."""
        views = list(self.views(block.sources))
        if len(views) == 1 and is_dense(views[0][0]):
            yield slice(None), views[0][0]
            return
        scratch: Tensor | None = None
        for images in tile_slices(views[0][0], weight):
            for view, place in views:
                part = view[images]
                if scratch is None:
                    scratch = empty(self.inputs, part.shape[0], weight.shape[1], *part.shape[2:])
                scratch[: part.shape[0], place] = part
            assert scratch is not None
            yield images, scratch[: views[0][0][images].shape[0]]

    def targets(self, block: Block) -> list[Target]:
        """For gradients: as `views`, but apart where one run is written for the first time and another added to."""
        parts = [part for run in block.sources for part in _runs_by(range(*run), self.untouched)]
        self.untouched.difference_update(block.columns)
        views = self.views(run for _, run in parts)
        return [Target(view, place, first) for (view, place), (first, _) in zip(views, parts, strict=True)]

    def clear_untouched(self) -> None:
        """Input groups that no step reads have no gradient."""
        for column in self.untouched:
            self.inputs[:, self.layout.channels(column)] = 0

    def complete(self, steps: Run, given: Tensor | None) -> None:
        """The panel of the outputs: what was added up for its steps, and what is given for them from outside."""
        first = self.layout.adjacency.in_groups
        columns = range(first + steps[0], first + steps[1])
        for is_untouched, run in _runs_by(columns, self.untouched):
            mine = (run[0] - first, run[1] - first)
            panel, channels = self.outputs[mine], self.layout.outputs(mine)
            terms = [] if is_untouched else [self.outputs.whole[:, channels]]
            terms += [] if given is None else [given[:, channels]]
            if len(terms) == 2:
                torch.add(*terms, out=panel)
            else:
                panel.copy_(terms[0]) if terms else panel.zero_()
        self.untouched.difference_update(columns)


class Target(NamedTuple):
    """Where some channels of a gathered gradient belong."""

    view: Tensor
    place: slice
    """The channels among the gathered ones."""
    first: bool
    """Nothing has been written there yet."""

    def add(self, images: slice, d_gathered_NCHW: Tensor) -> None:
        """Write or add what was found for some of the images."""
        write = self.view[images].copy_ if self.first else self.view[images].add_
        write(d_gathered_NCHW[:, self.place])


def tile_slices(images_NCHW: Tensor, weight: Tensor) -> list[slice]:
    """So many images at a time that the sources of a block with that weight stay in the cache; all of them on a GPU.

    A tile costs a pass over the weight too, so it has several times as many elements.
    """
    images, _, height, width = images_NCHW.shape
    elements = max(TILE_BYTES // weight.element_size(), 8 * weight.numel())
    count = max(1, elements // (weight.shape[1] * height * width))
    if weight.shape[2:] == (1, 1):
        count = max(count, MIN_IMAGES)
    if images_NCHW.device.type != "cpu" or count >= images:
        return [slice(None)]
    return [slice(start, start + count) for start in range(0, images, count)]


def _runs_by(columns: Iterable[int], members: set[int]) -> Iterator[tuple[bool, Run]]:
    """Adjoining columns cut into runs that are all members, or all none."""
    for is_member, group in itertools.groupby(columns, members.__contains__):
        run = list(group)
        yield is_member, (run[0], run[-1] + 1)


def format_of(tensor_NCHW: Tensor) -> torch.memory_format:
    """The memory format of a tensor, or of the tensor that it is some channels of."""
    channels, size = tensor_NCHW.stride(1), tensor_NCHW.shape
    return torch.channels_last if channels == 1 and size[2] * size[3] > 1 else torch.contiguous_format


def empty(like: Tensor, *size: int) -> Tensor:
    """Memory of that size, in the type, the place and the format of another tensor."""
    return torch.empty(size, dtype=like.dtype, device=like.device, memory_format=format_of(like))


def is_dense(tensor_NCHW: Tensor) -> bool:
    """Whether the tensor is a whole one in either format."""
    return tensor_NCHW.is_contiguous() or tensor_NCHW.is_contiguous(memory_format=torch.channels_last)


def dense(tensor_NCHW: Tensor) -> Tensor:
    """The tensor itself, or some channels of one copied together."""
    return tensor_NCHW if is_dense(tensor_NCHW) else tensor_NCHW.clone(memory_format=format_of(tensor_NCHW))
