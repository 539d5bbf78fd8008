import pytest
import torch
from torch import Tensor, nn

from seqconv.aggregation import Window
from seqconv.architecture import Stage
from seqconv.layers.streams import Streams
from seqconv.networks.modules import Blender, Block, Classifier, Convolution, Downsample, GlobalPool, Head
from tests.seqconv.networks.small import FORMS, streams


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("window", ["dense", "1G", "1"])
@pytest.mark.parametrize("training", [True, False])
def test_a_new_block_is_exactly_the_identity_on_raw(form: str, window: str, training: bool) -> None:
    block = Block(32, Stage(blocks=1, group_width=8, window=Window.parse(window), **FORMS[form]), 0.2).train(training)
    before = streams(32)
    after = block(before)
    assert torch.equal(after.raw, before.raw)
    if not training:
        torch.testing.assert_close(after.act, torch.relu(before.raw), rtol=1e-4, atol=1e-4)


def test_a_trained_block_adds_to_raw() -> None:
    block = Block(32, Stage(blocks=1, group_width=8), 0.0).eval()
    with torch.no_grad():
        for parameter in block.layer_b.parameters():
            if not parameter.any() and parameter.dim() == 4:
                nn.init.normal_(parameter)
    before = streams(32)
    after = block(before)
    assert not torch.equal(after.raw, before.raw)
    shifted = block(Streams(before.raw + 1, before.act))
    assert not torch.equal(shifted.raw[:, 8:], after.raw[:, 8:] + 1), "later steps read the activated sum"
    torch.testing.assert_close(shifted.raw[:, :8], after.raw[:, :8] + 1)


@pytest.mark.parametrize(("stride", "groups"), [(1, 1), (2, 1), (2, 4)])
def test_convolution_reads_an_image_or_the_act_stream(stride: int, groups: int) -> None:
    part = Convolution(8, 16, stride, groups).eval()
    before = streams(8)
    raw, act = part(before)
    expected = nn.functional.conv2d(before.act, part.conv.weight, stride=stride, padding=1, groups=groups)
    assert torch.equal(raw, expected)
    assert torch.equal(act, torch.relu(part.norm(raw)))
    assert torch.equal(part(before.act).raw, raw)


@pytest.mark.parametrize("form", FORMS)
def test_the_head_is_dense_in_the_groups_and_form_of_the_stage(form: str) -> None:
    stage = Stage(blocks=1, group_width=8, window=Window(groups=1), **FORMS[form])
    head = Head(16, 64, stage)
    assert (head.layer.group_width, head.layer.out_groups, head.layer.unread_groups) == (8, 8, 0)
    depth = {"plain": 8}.get(form, 16)
    assert head.layer.serial_depth == depth
    bottleneck = 8 * 8 * sum(2 + i for i in range(8)) + 9 * 8 * 64 // stage.subgroups + 4 * 64
    plain = 9 * 8 * 8 * sum(2 + i for i in range(8)) + 2 * 64
    assert sum(p.numel() for p in head.parameters()) == (plain if form == "plain" else bottleneck)


def test_downsampling_reads_the_input_and_its_extension() -> None:
    """The shrinking convolution gets [act; extension]; the extension has the old stage's steps."""
    down = Downsample(32, 64, Stage(blocks=1, group_width=8, window=Window(groups=1)), 4, 0.0).eval()
    before = streams(32)
    seen: list[Tensor] = []
    down.shrinking.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0]))
    after = down(before)
    assert torch.equal(seen[0][:, :32], before.act)
    assert torch.equal(seen[0][:, 32:], down.extension(before.act))
    assert torch.equal(after.raw, down.shrinking(seen[0]))
    assert torch.equal(after.act, torch.relu(down.norm(after.raw)))
    assert (down.shrinking.groups, down.shrinking.stride) == (4, (2, 2))
    assert (down.extension.group_width, down.extension.out_groups, down.extension.unread_groups) == (8, 4, 3)


def test_the_blender_drops_whole_channels() -> None:
    torch.manual_seed(0)
    blender = Blender(32, 0.5)
    seen: list[Tensor] = []
    blender.conv.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0]))
    ones = torch.ones(2, 32, 4, 4)
    assert blender(Streams(-ones, ones)).shape == (2, 32, 4, 4)
    assert set(seen[0].unique().tolist()) == {0.0, 2.0}
    assert torch.equal(seen[0], seen[0][:, :, :1, :1].expand_as(ones))
    blender.eval()(Streams(-ones, ones))
    assert torch.equal(seen[1], ones)


def test_pooling_is_the_average_of_all_positions() -> None:
    features = torch.arange(2 * 3 * 4.0).reshape(1, 2, 3, 4)
    assert torch.equal(GlobalPool()(features), torch.tensor([[5.5, 17.5]]))


def test_the_classifier_is_linear() -> None:
    classifier = Classifier(4, 3)
    x = torch.randn(5, 4)
    torch.testing.assert_close(classifier(x), x @ classifier.weight.T)
