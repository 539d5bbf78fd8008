from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

import seqconv
from promotion.exportable import Dataset, Exportable, Result
from promotion.model_card import model_card
from seqconv.complexity import Complexity
from seqconv.latency import Latency

ARCHITECTURE = seqconv.read_architecture("cifar_b_small")
COST = Complexity(
    params=12_345, macs=6_789_000, paper_flops=1, serial_depth=42, unread_groups=0, activation_bytes=5_000
)
DATA = Dataset(name="shapes", class_names=("disc", "ring", "bar"), mean=(0.1, 0.2, 0.3), std=(0.4, 0.5, 0.25))
SEARCHED = Result(part="validation", errors={0: 0.125}, seed=0, epochs=2, recipe={"epochs": 2, "learning_rate": 0.1})
PROMOTED = Result(part="test", errors={0: 0.1, 1: 0.2, 2: 0.3}, seed=0, epochs=300, recipe={"epochs": 300})
ONE = Latency(
    device="Some CPU", threads=1, resolution=16, batch_size=1, compiled=False, median_ms=2.5, iqr_ms=0.25,
    measurements=40,
)  # fmt: skip


def card(*, files: tuple[str, ...] = (), latency: tuple[Latency, ...] = (), **fields: Any) -> str:
    known: dict[str, Any] = {
        "name": "trial-0007", "architecture": ARCHITECTURE, "classes": 3, "resolution": 16, "weights": Path("model.pt"),
        "dataset": DATA, "result": SEARCHED, "origin": {"search": "one", "trial": 7},
    }  # fmt: skip
    return model_card(Exportable(**{**known, **fields}), COST, latency, files=files)


def test_a_trial_of_a_search() -> None:
    text = card(files=("architecture.yaml", "model.onnx"), latency=(ONE,))
    assert (
        text
        == f"""# trial-0007

Image classifier: 3 classes, colour images of 16x16 pixels.

`{ARCHITECTURE.describe()}`

## Result

shapes: validation error 12.50 % after 2 epochs (one seed).

The validation images were held out of training, and the search chose by them: on images that nothing was chosen by, \
expect a larger error.

Recipe:

```yaml
{{epochs: 2, learning_rate: 0.1}}
```

## Cost

| for one image |  |
| --- | --- |
| parameters | 12,345 |
| multiply-adds | 6,789,000 |
| serial depth, convolutions that must follow each other | 42 |
| activation memory in training, bytes | 5,000 |

Latency on Some CPU at 16 px, threads on the CPU: 1; float32, by torch; the model in Python, not the other formats:

| batch |  | median ms | interquartile range | images/s |
| --- | --- | --- | --- | --- |
| 1 | eager | 2.50 | 0.25 | 400 |

## Use

Images are (N, 3, 16, 16) float32: red, green and blue from 0 to 1, then `(image - mean) / std` for each of them, \
mean (0.1000, 0.2000, 0.3000), std (0.4000, 0.5000, 0.2500). The logits are: disc, ring, bar.

`FOLDER` is where this file is. With torch, PyYAML, safetensors, the package `seqconv`:

```python
import seqconv
model = seqconv.load("FOLDER")
logits = model(images)
```

With onnxruntime alone (opset 20; any batch size, this resolution):

```python
import onnxruntime
session = onnxruntime.InferenceSession("FOLDER/model.onnx")
(logits,) = session.run(["logits"], {{"images": images}})  # NumPy arrays
```

## Origin

```yaml
{{search: one, trial: 7}}
```

## Licence

The network's code, `seqconv`, is under the MIT licence.

The weights were learned from shapes: whether they may be used for a purpose depends on the terms of that data set \
too, which this folder neither restates nor extends.
"""
    )


def test_several_seeds() -> None:
    text = card(result=PROMOTED)
    assert "shapes: test error 20.00 ± 10.00 % over 3 seeds after 300 epochs." in text
    assert "| seed | test error |\n| --- | --- |\n| 0 | 10.00 % |\n| 1 | 20.00 % |\n| 2 | 30.00 % |\n" in text
    assert "The weights are those of seed 0, whose error is the lowest" in text
    assert "validation" not in text
    assert "onnx" not in text and "torch.export" not in text and "Latency" not in text


def test_what_was_chosen_by_its_test_error_says_so() -> None:
    assert "chosen from" not in card(result=PROMOTED)
    said = (
        "It was chosen from 4 candidates by their errors on these test images: on images that nothing was chosen by, "
    )
    assert f"{said}expect a larger error." in card(result=replace(PROMOTED, among=4))


def test_how_images_in_files_were_prepared() -> None:
    assert "The images of the errors" not in card(result=PROMOTED)
    text = card(result=PROMOTED, dataset=replace(DATA, preparation="cut to a square"))
    assert "The logits are: disc, ring, bar. The images of the errors above were cut to a square." in text


def test_what_was_not_trained() -> None:
    text = card(weights=None, dataset=None, result=None, origin={"preset": "cifar_b_small"})
    assert "Not trained: the folder has no weights. Those in other formats are random" in text
    assert "Images are (N, 3, 16, 16) float32." in text
    assert "weights were learned" not in text and "Recipe" not in text


def test_a_trial_without_weights() -> None:
    text = card(weights=None, no_weights="it was stopped early")
    assert "The folder has no weights: it was stopped early. Those in other formats are random" in text
    assert "weights were learned" not in text


def test_a_program_and_compiled_times() -> None:
    once = Latency(
        device="Some GPU", threads=1, resolution=16, batch_size=64, compiled=True, median_ms=4000.0, iqr_ms=0.0,
        measurements=1,
    )  # fmt: skip
    text = card(files=("model.pt2",), latency=(once,))
    assert "| 64 | compiled | 4000.00 | one pass | 16 |" in text
    assert 'model = torch.export.load("FOLDER/model.pt2").module()' in text


def test_a_model_of_timm() -> None:
    text = card(architecture=None, timm_name="resnet18")
    assert "`timm: resnet18`" in text
    assert "the package `seqconv`, timm:" in text
    assert "The network's code is timm's, which says under what licence" in text


@pytest.mark.parametrize(("classes", "ends"), [(20, "c18, c19."), (21, "c18, c19, ... (`model.yaml` has all).")])
def test_many_classes_are_cut_short(classes: int, ends: str) -> None:
    names = tuple(f"c{i}" for i in range(classes))
    data = Dataset(name="many", class_names=names, mean=DATA.mean, std=DATA.std)
    (line,) = (line for line in card(dataset=data).splitlines() if "The logits are: c0, c1, " in line)
    assert line.endswith(ends)
