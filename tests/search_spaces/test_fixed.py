from pathlib import Path

import pytest

from search_spaces.fixed import FixedSpace
from seqconv import write_architecture
from seqconv.networks.presets import PRESETS
from tests.search_spaces.examples import delivered

SMALL = PRESETS["cifar_b_small"]


def test_the_default_is_a_preset() -> None:
    space = delivered("fixed")
    assert space.decode({}) == SMALL
    assert space.knobs == ()


def test_every_source_gives_the_same_space(tmp_path: Path) -> None:
    write_architecture(SMALL, tmp_path / "small.yaml")
    inline = {key: value for key, value in SMALL.to_dict().items() if key not in ("schema", "version")}
    sources = ("cifar_b_small", str(tmp_path / "small.yaml"), inline, SMALL.to_dict(), SMALL)
    assert all(FixedSpace(architecture=source).to_dict() == delivered("fixed").to_dict() for source in sources)


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ("cifar_b_smal", r"search_space\.architecture: cifar_b_smal: no such preset or file \(did you mean cifar_b"),
        ("", r"search_space\.architecture: must be a preset's name, a file or a mapping, got ''"),
        (3, r"search_space\.architecture: must be a preset's name, a file or a mapping, got 3"),
        ({"widening": 2}, r"search_space\.architecture: architecture: missing key 'stages'"),
        ({"widening": 2, "pyramid": [1], "stages": [{"blocks": 1, "group_width": 5}]},
         r"search_space\.architecture: stage 1: group_width must divide its width 32, got 5"),
    ],
)  # fmt: skip
def test_sources_that_are_no_architecture(source: object, message: str) -> None:
    with pytest.raises(ValueError, match=f"^{message}"):
        FixedSpace(architecture=source)


def test_a_name_is_needed() -> None:
    with pytest.raises(ValueError, match=r"^search_space\.name must be a text that is not empty, got None"):
        FixedSpace(architecture="cifar_b_small", name=None)


def test_there_is_no_knob_to_set() -> None:
    with pytest.raises(ValueError, match=r"^unknown knob stage1\.window; knobs are none$"):
        delivered("fixed").decode({"stage1.window": 1})
