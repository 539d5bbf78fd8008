from __future__ import annotations

import sys
from pathlib import Path

import pytest
from choreographer.browsers.chromium import Chromium

from reporting.images import write_images
from reporting.section import Panel
from reporting.style import figure


def panel() -> Panel:
    made = figure()
    made.add_scatter(y=[1, 2, 3])
    return Panel(name="line", figure=made, title="A line", height=200)


def test_without_kaleido_it_says_how_to_get_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "kaleido", None)
    with pytest.raises(ValueError) as error:
        write_images([panel()], tmp_path, "svg")
    assert str(error.value) == "format=svg needs kaleido: pip install 'seqconv-nas[images]'; html needs none"


def test_without_a_browser_it_says_how_to_get_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Chromium, "find_browser", classmethod(lambda cls, **_: None))
    with pytest.raises(ValueError) as error:
        write_images([panel()], tmp_path, "png")
    assert str(error.value).startswith(
        "format=png needs Chrome or Chromium, which draws the figures: install one (apt install chromium, or "
        "kaleido_get_chrome), or give its path in BROWSER_PATH; format=html needs none: "
    )
    assert list(tmp_path.iterdir()) == []
