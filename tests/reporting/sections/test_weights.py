from __future__ import annotations

from pathlib import Path

from reporting.runs import Run
from reporting.sections import weights
from seqconv import build
from seqconv.utilisation import utilisations
from tests.reporting.records import run


def test_the_utilisation_of_every_layer_of_the_best(one: list[Run]) -> None:
    import torch

    section = weights.section(one)
    (panel,) = section.panels
    architecture = one[0].trials[0].architecture
    assert architecture is not None
    assert panel.title == f"trial 0: {architecture.describe()}"
    model = build(architecture, classes=10)
    model.load_state_dict(torch.load(one[0].path / "trials" / "0000" / "model.pt", weights_only=True))
    expected = utilisations(model)
    assert [note.text for note in panel.figure.layout.annotations] == list(expected)
    for trace, layer in zip(panel.figure.data, expected.values(), strict=True):
        drawn = torch.tensor([[float("nan") if cell is None else cell for cell in row] for row in trace.z])
        torch.testing.assert_close(drawn.double(), layer, atol=6e-4, rtol=0, equal_nan=True)
        steps, groups = layer.shape
        assert (trace.y, trace.x) == (tuple(range(1, steps + 1)), tuple(range(1 - groups + steps, steps + 1)))
    assert section.data is not None
    assert len(section.data) == sum(int(layer.isfinite().sum()) for layer in expected.values())


def test_weights_that_cannot_be_read_are_named(copy: Path) -> None:
    from reporting.reading import read_runs

    (copy / "trials" / "0000" / "model.pt").write_bytes(b"no weights")
    section = weights.section(read_runs([copy])[0])
    assert section.empty == "there are no weights to look at"
    (note,) = section.notes
    assert note.text.startswith("trials/0000/model.pt cannot be read: ")


def test_a_run_without_weights(both: list[Run]) -> None:
    section = weights.section(both)
    assert [(note.text, note.run) for note in section.notes] == [("no weights were kept", 1)]
    assert [panel.run for panel in section.panels] == [0]
    assert weights.section([run()]).empty == "there are no weights to look at"


def test_weights_of_a_narrow_network_are_read_as_such(copy: Path) -> None:
    import torch

    from reporting.reading import read_runs
    from seqconv.narrowing import narrowed
    from seqconv.serialization import read_yaml, to_yaml

    description = read_yaml(copy / "run.yaml")
    narrow = {**description, "trial": {**description["trial"], "width": 0.5}}
    (copy / "run.yaml").write_text(to_yaml(narrow))
    runs = read_runs([copy])[0]
    architecture = runs[0].trials[0].architecture
    assert architecture is not None
    model = build(narrowed(architecture, 0.5), classes=10)
    torch.save(model.state_dict(), copy / "trials" / "0000" / "model.pt")
    (panel,) = weights.section(runs).panels
    for trace, layer in zip(panel.figure.data, utilisations(model).values(), strict=True):
        assert (len(trace.y), len(trace.x)) == tuple(layer.shape)
