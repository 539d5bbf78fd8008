"""Gradients that cannot be differentiated again say so, wherever the first ones came from."""

import functools
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.autograd import forward_ad
from torch.utils.checkpoint import checkpoint

from seqconv.layers.once import FORWARD, TWICE
from seqconv.layers.seqconv import SeqConv2d
from seqconv.native import library
from tests.seqconv.layers.examples import FORMS, STEPS, make_layer, random_tensors, with_plan

FAST = ["blocked", pytest.param("native", marks=pytest.mark.skipif(bool(library.unavailable()), reason="no library"))]


def layer_of(plan: str, form: str) -> tuple[SeqConv2d, Tensor]:
    layer = make_layer("window of G", **STEPS[5], **FORMS[form]).float()
    (x,) = random_tensors((4, 8, 4, 8), dtype=torch.float32)
    return with_plan(layer, plan), x.requires_grad_()


def gradients(layer: nn.Module, x: Tensor, **how: Any) -> tuple[Tensor, ...]:
    """Behind a sum: what comes in to the backward pass is constant."""
    found: tuple[Tensor, ...] = torch.autograd.grad(layer(x).sum(), [x, *layer.parameters()], **how)
    return found


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("plan", FAST)
def test_a_second_derivative_is_refused(plan: str, form: str) -> None:
    layer, x = layer_of(plan, form)
    for gradient in gradients(layer, x, create_graph=True):
        with pytest.raises(RuntimeError) as error:
            gradient.square().sum().backward(retain_graph=True)
        assert str(error.value) == TWICE


@pytest.mark.parametrize("plan", FAST)
def test_a_second_derivative_is_refused_where_the_first_has_a_graph(plan: str) -> None:
    layer, x = layer_of(plan, "plain")
    (gradient,) = torch.autograd.grad(layer(x).square().sum(), x, create_graph=True)
    with pytest.raises(RuntimeError, match=TWICE[:20]):
        gradient.sum().backward()


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("plan", FAST)
def test_a_hessian_is_refused(plan: str, form: str) -> None:
    """With respect to one of all that a layer takes; asked not to be strict, torch has what it finds no way to be 0."""
    layer, x = layer_of(plan, form)
    (shortcut,) = random_tensors((4, 12, 4, 8), dtype=torch.float32)
    tensors = {"x": x.detach(), "shortcut": shortcut, **{name: p.detach() for name, p in layer.named_parameters()}}
    for name in tensors:

        def total(scale: Tensor, name: str = name) -> Tensor:
            taken = {**tensors, name: scale * tensors[name]}
            inputs = taken.pop("x"), taken.pop("shortcut")
            output: Tensor = torch.func.functional_call(layer, taken, inputs)
            return output.sum()

        with pytest.raises(RuntimeError) as error:
            torch.autograd.functional.hessian(total, torch.ones(()))
        assert str(error.value) == TWICE, name


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("plan", FAST)
def test_gradients_with_a_graph_are_the_same(plan: str, form: str) -> None:
    layer, x = layer_of(plan, form)
    layer.weight.requires_grad_(False)
    leaves = [x, *(parameter for parameter in layer.parameters() if parameter.requires_grad)]
    without, with_graph = (torch.autograd.grad(layer(x).sum(), leaves, create_graph=graph) for graph in (False, True))
    assert all(map(torch.equal, without, with_graph))
    assert all(gradient.requires_grad for gradient in with_graph)


@pytest.mark.parametrize("plan", FAST)
def test_gradients_with_a_graph_may_be_written_to(plan: str) -> None:
    layer, x = layer_of(plan, "plain")
    (expected, *_), (gradient, *_) = gradients(layer, x), gradients(layer, x, create_graph=True)
    assert torch.equal(gradient.mul_(2), 2 * expected)
    with pytest.raises(RuntimeError, match=TWICE[:20]):
        gradient.sum().backward()


@pytest.mark.parametrize("plan", FAST)
def test_a_checkpoint_unpacks_what_was_saved_once(plan: str) -> None:
    layer, x = layer_of(plan, "bottleneck")
    again = functools.partial(checkpoint, layer, use_reentrant=False)
    (expected, *_) = gradients(layer, x)
    (found,) = torch.autograd.grad(again(x).sum(), x, create_graph=True)
    torch.testing.assert_close(found, expected)
    with pytest.raises(RuntimeError, match=TWICE[:20]):
        found.sum().backward()


@pytest.mark.parametrize("plan", FAST)
def test_a_tangent_that_comes_in_backward_is_refused(plan: str) -> None:
    layer, x = layer_of(plan, "plain")
    y = layer(x)
    with forward_ad.dual_level():
        torch.autograd.grad(y, x, torch.ones_like(y), retain_graph=True)
        with pytest.raises(RuntimeError) as error:
            torch.autograd.grad(y, x, forward_ad.make_dual(torch.ones_like(y), torch.ones_like(y)))
    assert str(error.value) == FORWARD


@pytest.mark.slow
@pytest.mark.parametrize("with_graph", [False, True])
def test_a_second_derivative_in_a_compiled_step_is_refused(with_graph: bool) -> None:
    layer, x = layer_of("blocked", "plain")

    def step(x: Tensor) -> None:
        y = layer(x)
        loss = (y.square() if with_graph else y).sum()
        (gradient,) = torch.autograd.grad(loss, x, create_graph=True)
        (loss + gradient.square().sum()).backward()

    with pytest.raises(RuntimeError, match=TWICE[:20]):
        torch.compile(step, backend="aot_eager")(x)


@pytest.mark.slow
def test_a_second_derivative_of_a_compiled_layer_by_its_shortcut_is_refused() -> None:
    layer, x = layer_of("blocked", "plain")
    (shortcut,) = random_tensors((4, 12, 4, 8), dtype=torch.float32)
    scale = torch.ones((), requires_grad=True)
    y = torch.compile(layer, backend="aot_eager")(x, scale * shortcut)
    (gradient,) = torch.autograd.grad(y.sum(), layer.weight, create_graph=True)
    with pytest.raises(RuntimeError, match=TWICE[:20]):
        torch.autograd.grad(gradient.square().sum(), scale)


@pytest.mark.parametrize("form", FORMS)
def test_the_reference_can_be_differentiated_twice(form: str) -> None:
    layer = make_layer("window of G", plan="reference", **STEPS[0], **FORMS[form])
    (x,) = random_tensors((2, 8, 2, 2))
    assert torch.autograd.gradgradcheck(layer, x.requires_grad_(), eps=1e-6, atol=1e-4, rtol=1e-3)
