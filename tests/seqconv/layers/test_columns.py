"""Channels as columns: tiles that cover all images, formats, and the panel that stands in for a part of the whole."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from seqconv.aggregation import DENSE
from seqconv.layers import columns
from seqconv.layers.columns import Outputs, dense, empty, format_of, is_dense, tile_slices
from seqconv.layers.packing import Layout

LAYOUT = Layout(DENSE.adjacency(2, 4), 4, 2)
FORMATS = {"NCHW": torch.contiguous_format, "channels_last": torch.channels_last}


@given(st.integers(1, 70), st.integers(1, 40), st.integers(1, 20), st.sampled_from([1, 3]), st.integers(1, 1 << 16))
def test_tiles_are_all_images_once(images: int, channels: int, side: int, kernel: int, tile_bytes: int) -> None:
    weight = torch.empty(8, channels, kernel, kernel)
    x = torch.empty(images, 1, side, side)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(columns, "TILE_BYTES", tile_bytes)
        slices = tile_slices(x, weight)
    places = [place for tile in slices for place in range(images)[tile]]
    assert places == list(range(images))
    if len(slices) > 1:
        count = slices[0].stop
        assert all(tile.stop - tile.start == count for tile in slices)
        assert count >= (columns.MIN_IMAGES if kernel == 1 else 1)
        fits = count * channels * side * side <= max(tile_bytes // 4, 8 * weight.numel())
        assert fits or count == (columns.MIN_IMAGES if kernel == 1 else 1)


def test_no_tiles_beside_the_cpu() -> None:
    x = torch.empty(1000, 64, 64, 64, device="meta")
    assert tile_slices(x, torch.empty(8, 64, 3, 3, device="meta")) == [slice(None)]
    assert len(tile_slices(torch.empty(1, 1, 1, 1).expand(1000, 64, 64, 64), torch.empty(8, 64, 3, 3))) > 1


@pytest.mark.parametrize("memory_format", FORMATS.values(), ids=FORMATS)
def test_formats(memory_format: torch.memory_format) -> None:
    x = torch.rand(3, 6, 4, 5).to(memory_format=memory_format)
    some = x[:, 1:4]
    assert format_of(x) == format_of(some) == memory_format
    assert is_dense(x)
    assert not is_dense(some)
    assert dense(x) is x
    copied = dense(some)
    assert torch.equal(copied, some)
    assert copied.is_contiguous(memory_format=memory_format)
    made = empty(some.double(), 2, 7, 3, 3)
    assert made.shape == (2, 7, 3, 3)
    assert made.dtype == torch.float64
    assert made.is_contiguous(memory_format=memory_format)


def test_a_panel_stands_in_for_its_part_of_the_whole() -> None:
    whole = torch.zeros(2, 8, 3, 3)
    outputs = Outputs(LAYOUT, whole)
    outputs.enter((1, 3))
    outputs.put(1, torch.full((2, 2, 3, 3), 1.0))
    outputs[2, 3].fill_(2.0)
    assert not whole.any(), "nothing is written before the panel is done"
    assert (outputs[1, 2] == 1).all()
    assert (outputs.get(2) == 2).all()
    assert outputs[1, 3].shape == (2, 4, 3, 3)
    outputs.leave()
    assert whole[0, :, 0, 0].tolist() == [0, 0, 1, 1, 2, 2, 0, 0]
    outputs.enter((0, 2), whole)
    assert outputs[0, 2][0, :, 0, 0].tolist() == [0, 0, 1, 1]
    outputs[0, 1].fill_(3.0)
    assert outputs[2, 4][0, :, 0, 0].tolist() == [2, 2, 0, 0], "of another panel: the whole"
    outputs[0, 2].fill_(5.0)
    assert (outputs[1, 2] == 5).all(), "nothing is at hand of the panel before"
    outputs.enter((3, 4))
    assert whole[0, :2, 0, 0].tolist() == [0, 0], "a panel that is not left is not written"
