from __future__ import annotations

import json
from typing import Any

import pytest

from search_spaces.plain import from_dict
from search_spaces.space import SearchSpace
from tests.search_spaces.examples import DELIVERED, categorical, delivered, integer, one_stage


def conditional() -> SearchSpace:
    return one_stage(
        window=[[0], [0], [0], [0]],
        form=categorical("plain", "bottleneck"),
        subgroups=categorical(1, 2, when={"stage1.form": ["bottleneck"]}),
        blocks=integer(1, 5, step=2),
        widening=categorical(1, 2),
        allow_unread=False,
    )


@pytest.mark.parametrize("space", [*map(delivered, DELIVERED), conditional()], ids=[*DELIVERED, "conditional"])
def test_a_space_comes_back(space: SearchSpace) -> None:
    plain = json.loads(json.dumps(space.to_dict()))
    again = from_dict(plain)
    assert again.knobs == space.knobs
    assert again.to_dict() == space.to_dict()


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (None, "search_space must be a mapping, got None"),
        ({"space": "cells"}, "search_space: space must be one of staged, fixed, got 'cells'"),
        ({"space": "fixed", "name": "x"}, "search_space: missing key 'architecture'; required are name, architecture"),
        (
            {"space": "fixed", "name": "x", "architecture": "cifar_plain", "z": 1},
            "search_space: unknown key 'z'; allowed are name, architecture",
        ),
    ],
)
def test_what_is_no_space_is_refused(data: Any, message: str) -> None:
    with pytest.raises(ValueError) as error:
        from_dict(data)
    assert str(error.value) == message


@pytest.mark.parametrize(
    ("genes", "message"),
    [
        ([], "search_space: genes must be a mapping, got []"),
        ({"widening": 1, "depth": 3}, "search_space: genes: unknown key 'depth'; allowed are widening, stage1, "),
        ({"widening": 1, "stage1.blocks": {"type": "x"}}, "search_space.pyramid [1, 2, 4] needs one stage an entry"),
    ],
)
def test_genes_that_are_none_are_refused(genes: Any, message: str) -> None:
    data = {**delivered("windowed").to_dict(), "genes": genes}
    with pytest.raises(ValueError) as error:
        from_dict(data)
    assert str(error.value).startswith(message)
