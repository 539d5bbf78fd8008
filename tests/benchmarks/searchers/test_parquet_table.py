"""Tables from files."""

from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from parquet_table import parquet_table

from search_spaces.knobs import Categorical, Float, Integer

ROWS = [
    {"knob.groups": 2, "knob.window": 0.25, "knob.form": "plain", "fingerprint": "f1", "seed": 0, "macs": 10},
    {"knob.groups": 5, "knob.window": 1.0, "knob.form": "other", "fingerprint": "f2", "seed": 0, "macs": 20},
    {"knob.groups": 8, "knob.window": 1.75, "knob.form": "plain", "fingerprint": "f3", "seed": 0, "macs": 30},
    {"knob.groups": 5, "knob.window": 1.0, "knob.form": "other", "fingerprint": "f2", "seed": 1, "macs": 20},
    {"knob.groups": 8, "knob.window": 1.0, "knob.form": "plain", "fingerprint": "f3", "seed": 1, "macs": 30},
]
CURVES = [
    {
        "validation_error_10": 0.5 - 0.05 * i,
        "seconds_10": 20.0 + i,
        "validation_error_2": 0.9,
        "seconds_2": 4.0,
        "wall": i,
    }
    for i in range(5)
]


def written(path: Path, **changes: Any) -> Path:
    """The table above; a column that is None is left out."""
    frame = pd.DataFrame([{**row, **curve} for row, curve in zip(ROWS, CURVES, strict=True)])
    for column, values in changes.items():
        frame = frame.drop(columns=column) if values is None else frame.assign(**{column: values})
    frame.to_parquet(path / "small.parquet", index=False)
    return path / "small.parquet"


def test_trainings_of_one_fingerprint_are_seeds_of_one_architecture(tmp_path: Path) -> None:
    table = parquet_table(written(tmp_path))
    assert (table.space.name, len(table), table.epochs) == ("small", 3, (2, 10))
    assert table.truth == pytest.approx([0.5, (0.45 + 0.35) / 2, (0.4 + 0.3) / 2])
    assert table.mean_seconds[:, 1].tolist() == [20, 22, 23]
    assert {name: column.tolist() for name, column in table.costs.items()} == {"macs": [10, 20, 30]}


def test_several_vectors_may_be_one_architecture(tmp_path: Path) -> None:
    space = parquet_table(written(tmp_path)).space
    wide, narrow = ({"groups": 8, "window": window, "form": "plain"} for window in (1.75, 1.0))
    assert space.decode(wide) == space.decode(narrow)
    assert space.decode(wide).fingerprint() == "f3"


def test_without_fingerprints_every_vector_is_one(tmp_path: Path) -> None:
    assert len(parquet_table(written(tmp_path, fingerprint=None))) == 4


def test_knobs_with_evenly_spaced_numbers_have_an_order(tmp_path: Path) -> None:
    assert parquet_table(written(tmp_path)).space.knobs == (
        Integer(name="groups", low=2, high=8, step=3),
        Float(name="window", low=0.25, high=1.75, step=0.75),
        Categorical(name="form", choices=("other", "plain")),
    )
    uneven = parquet_table(written(tmp_path, **{"knob.groups": [2, 4, 8, 4, 8]})).space.knobs[0]
    assert uneven == Categorical(name="groups", choices=(2, 4, 8))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"seconds_10": None}, r"a table needs the columns knob.NAME, validation_error_E and for each .*; got knob"),
        (
            {"validation_error_2": [0.9, 0.9, float("nan"), 0.9, 0.9]},
            "column validation_error_2 has no value in row 2$",
        ),
        ({"knob.form": ["a", None, "a", "b", "a"]}, "column knob.form has no value in row 1$"),
        ({"fingerprint": ["f1", "f2", "f3", "f4", "f3"]}, r"\(5, 1.0, 'other'\) has two fingerprints, f2 and f4$"),
        ({"seconds_10": [3.0] * 5}, "table small: seconds count from the start, so they must grow at every epoch$"),
    ],
)
def test_a_table_that_makes_no_sense_is_refused(changes: dict[str, Any], message: str, tmp_path: Path) -> None:
    path = written(tmp_path, **changes)
    with pytest.raises(ValueError, match=f"^{path}: {message}"):
        parquet_table(path)


def test_a_file_that_is_none_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=f"^{tmp_path}/none.parquet: "):
        parquet_table(tmp_path / "none.parquet")
    (tmp_path / "text.parquet").write_text("text")
    with pytest.raises(ValueError, match=f"^{tmp_path}/text.parquet: "):
        parquet_table(tmp_path / "text.parquet")
