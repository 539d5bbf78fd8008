"""What only the reference can compute goes to the reference; what transforms a layer gets what it would from a conv."""

import copy
import io
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.autograd import forward_ad

from seqconv.layers import seqconv
from seqconv.layers.seqconv import SeqConv2d
from seqconv.native import library
from seqconv.networks.build import build
from seqconv.networks.presets import preset
from tests.seqconv.layers.examples import FORMS, STEPS, make_layer, random_tensors, with_plan

FAST = ["blocked", pytest.param("native", marks=pytest.mark.skipif(bool(library.unavailable()), reason="no library"))]


def float_layer(plan: str = "auto", form: str = "bottleneck", mode: str = "eval") -> SeqConv2d:
    return with_plan(make_layer("window of G", mode=mode, bias=True, **STEPS[0], **FORMS[form]).float(), plan)


def some_images(*shape: int) -> Tensor:
    (x,) = random_tensors(shape or (4, 8, 4, 8), dtype=torch.float32)
    return x


@pytest.fixture
def plans(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The plans that calls went to, in order."""
    used: list[str] = []
    chosen = seqconv.chosen

    def noted(*call: Any) -> str:
        used.append(chosen(*call))
        return used[-1]

    monkeypatch.setattr(seqconv, "chosen", noted)
    return used


TRANSFORMS: dict[str, Callable[[SeqConv2d, Tensor], Any]] = {
    "vmap": lambda layer, x: torch.func.vmap(layer)(torch.stack([x, 2 * x])),
    "grad": lambda layer, x: torch.func.grad(lambda image: layer(image).square().sum())(x),
    "jvp": lambda layer, x: torch.func.jvp(layer, (x,), (torch.ones_like(x),)),
    "per sample": lambda layer, x: torch.func.vmap(torch.func.grad(lambda image: layer(image[None]).sum()))(x),
    "hessian": lambda layer, x: torch.func.hessian(lambda scale: layer(scale * x).square().sum())(torch.ones(())),
    "forward mode": lambda layer, x: forward(layer, x),
}


def forward(layer: SeqConv2d, x: Tensor) -> Any:
    with forward_ad.dual_level():
        return tuple(forward_ad.unpack_dual(layer(forward_ad.make_dual(x, torch.ones_like(x)))))


@pytest.mark.parametrize("transform", TRANSFORMS)
@pytest.mark.parametrize("form", FORMS)
def test_transforms(form: str, transform: str, plans: list[str]) -> None:
    x = some_images()
    expected = TRANSFORMS[transform](float_layer("reference", form), x)
    plans.clear()
    found = TRANSFORMS[transform](float_layer(form=form), x)
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-4)
    assert set(plans) == {"reference"}


@pytest.mark.filterwarnings("ignore:.torch.jit")
@pytest.mark.parametrize("plan", FAST)
def test_a_plan_that_is_asked_for_by_name_says_why_not(plan: str) -> None:
    x, layer = some_images(), float_layer(plan)
    reason = rf"plan {plan} cannot compute this: torch\.func or forward-mode .* transforms it; take auto"
    with pytest.raises(ValueError, match=reason):
        torch.func.vmap(layer)(x[None])
    with pytest.raises(ValueError, match=rf"plan {plan} cannot compute this: torch\.jit traces it; take auto"):
        torch.jit.trace(layer, x)


@pytest.mark.filterwarnings("ignore:.torch.jit")
@pytest.mark.parametrize("form", FORMS)
def test_torch_jit_trace(form: str) -> None:
    layer, x = float_layer(form=form), some_images()
    traced = torch.jit.trace(layer, x)
    saved = io.BytesIO()
    torch.jit.save(traced, saved)
    saved.seek(0)
    other = some_images(7, 8, 6, 5) * 3
    for twin in (traced, torch.jit.load(saved)):
        torch.testing.assert_close(twin(other), layer(other), rtol=1e-4, atol=1e-4)


@pytest.mark.filterwarnings("ignore:.torch.jit")
def test_a_whole_network_is_traced() -> None:
    model, x = build(preset("cifar_b_small"), classes=10).eval(), torch.rand(2, 3, 16, 16)
    torch.testing.assert_close(torch.jit.trace(model, x)(x + 1), model(x + 1), rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("form", FORMS)
def test_a_shortcut_of_another_type_is_added_as_torch_adds_it(form: str, plans: list[str]) -> None:
    x, shortcut = some_images(), some_images(4, 12, 4, 8).bfloat16()
    expected, found = (float_layer(plan, form).streams(x, shortcut) for plan in ("reference", "auto"))
    assert plans == ["reference"] * 2
    assert {stream.dtype for stream in found} == {torch.float32}
    torch.testing.assert_close(found, expected)
    with pytest.raises(ValueError, match=r"a torch.bfloat16 shortcut is added to torch.float32; take auto"):
        float_layer("blocked", form).streams(x, shortcut)


def test_a_residual_stream_in_float32_stays_so_under_autocast(plans: list[str]) -> None:
    """Rounded to bfloat16 it would lose what many blocks have added up."""
    layer, x = float_layer(), some_images()
    shortcut = 1000 + some_images(4, 12, 4, 8)
    with torch.autocast("cpu", torch.bfloat16):
        raw = layer.streams(x, shortcut).raw
        layer.streams(x, shortcut.bfloat16())
    assert raw.dtype == torch.float32
    assert plans == ["reference", "blocked"]


def test_a_network_under_autocast_goes_the_fast_way(plans: list[str]) -> None:
    """All its shortcuts are what a convolution made."""
    model = build(preset("cifar_b_small"), classes=10)
    with torch.autocast("cpu", torch.bfloat16):
        model(torch.rand(2, 3, 16, 16)).sum().backward()
    assert set(plans) == {"blocked"}


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("plan", ["reference", *FAST])
def test_what_follows_may_write_to_the_output(plan: str, form: str) -> None:
    """A ReLU in place behind a convolution is what most networks have."""
    for step in STEPS:
        layer = with_plan(make_layer("window of G", **step, **FORMS[form]).float(), plan)
        found = []
        for inplace in (False, True):
            x, twin = some_images().requires_grad_(), copy.deepcopy(layer)
            nn.functional.relu(twin(x), inplace=inplace).square().sum().backward()
            found.append([x.grad, *(parameter.grad for parameter in twin.parameters())])
        assert all(map(torch.equal, *found))


@pytest.mark.parametrize("with_shortcut", [False, True])
def test_a_layer_is_one_node_of_a_graph(with_shortcut: bool) -> None:
    class Two(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.first = SeqConv2d(8, 8, group_width=4)
            self.inner = nn.Sequential(nn.Conv2d(8, 8, 1), SeqConv2d(8, 8, group_width=4))

        def forward(self, x: Tensor) -> Tensor:
            y: Tensor = self.inner(x)
            return self.first(y, y) if with_shortcut else self.first(y)

    model, x = Two(), some_images()
    traced = torch.fx.symbolic_trace(model)
    assert [node.target for node in traced.graph.nodes if node.op == "call_module"] == ["inner.0", "inner.1", "first"]
    assert torch.equal(traced(x), model(x))


def test_hooks_of_a_layer_run_once_in_a_graph() -> None:
    """They have run before the layer is asked, so it cannot be a node that runs them."""
    model = nn.Sequential(SeqConv2d(8, 8, group_width=4))
    model[0].register_forward_hook(lambda layer, given, output: 2 * output)
    with pytest.raises(torch.fx.proxy.TraceError):
        torch.fx.symbolic_trace(model)


def test_streams_are_two_tensors() -> None:
    """Also where nothing stands between them."""
    for plan in ("reference", "blocked", "auto"):
        layer = SeqConv2d(8, 8, group_width=4, plan=plan)
        raw, act = layer.streams(some_images())
        assert torch.equal(raw, act)
        assert not torch.equal(raw, act.mul_(2))


@pytest.mark.parametrize("plan", FAST)
def test_fixed_statistics_that_change_before_the_backward_pass(plan: str) -> None:
    layer = float_layer(plan)
    assert layer.norm is not None and layer.norm.running_var is not None
    y = layer(some_images())
    layer.norm.running_var.mul_(2)
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        y.sum().backward()


@pytest.mark.filterwarnings("ignore:.torch.jit")
def test_what_is_no_transform_goes_the_fast_way(plans: list[str]) -> None:
    layer, x = float_layer(), some_images()
    torch.jit.trace(nn.ReLU(), x)
    with forward_ad.dual_level():
        pass
    torch.func.vmap(torch.sin)(x)
    layer(x)
    assert plans == ["blocked" if library.unavailable() else "native"]
