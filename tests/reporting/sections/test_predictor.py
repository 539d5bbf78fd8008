from __future__ import annotations

from reporting.sections import predictor
from searchers.record import COMPLETED
from tests.reporting.records import run, trial
from tests.reporting.test_predictions import searched, space


def test_a_line_for_each_ranking_and_a_table_of_what_to_try() -> None:
    section = predictor.section([searched(description=space())])
    (panel,) = section.panels
    lines = {trace.name: trace for trace in panel.figure.data if trace.name}
    assert list(lines) == [
        "predictor", "multiply-adds", "error, with the later one", "error + predictor, with the later one"
    ]  # fmt: skip
    assert [row[0] for row in lines["predictor"].customdata] == [1, 2]
    assert lines["predictor"].customdata == ([1, 30], [2, 20])
    assert lines["error, with the later one"].customdata == ([1, 20],)
    (note,) = section.notes
    assert note.text.startswith("places of all 30 results, cross-validated: rho 0.")
    assert ", of multiply-adds alone -" in note.text
    assert section.table is not None
    assert [column.title for column in section.table.columns] == [
        "expected to beat", "not tried yet: what each stage reads"
    ]  # fmt: skip
    assert 0 < len(section.table.rows) <= 5
    assert all(row.cells[0].text.endswith(" % of the results") for row in section.table.rows)
    assert all("<svg" in row.cells[1].markup for row in section.table.rows)
    assert section.data is not None
    assert section.data[["epoch", "ranked_by", "with_epoch", "n"]].values.tolist() == [
        [1, "predictor", 1, 30], [1, "macs", 1, 30], [1, "error", 2, 20], [1, "both", 2, 20],
        [2, "predictor", 2, 20], [2, "macs", 2, 20],
    ]  # fmt: skip


def test_each_run_has_its_own() -> None:
    few = run(trial(0, COMPLETED, 0.5), index=1, name="b")
    section = predictor.section([searched(description=space()), few, searched(index=2, name="c")])
    assert [note.text for note in section.notes][1:2] == [
        "too few results: it takes 16 with an architecture, there are 1"
    ]
    assert section.notes[-1].text == (
        "nothing to try next: the space cannot be read: search_space must be a mapping, got None"
    )
    assert {trace.meta["run"] for trace in section.panels[0].figure.data if trace.name} == {0, 2}
    assert section.table is not None
    assert section.table.rows[0].cells[0].text == "a"
    assert {row.run for row in section.table.rows} == {0}


def test_too_few_results() -> None:
    section = predictor.section([run(*(trial(i, COMPLETED, 0.5) for i in range(15)))])
    assert section.empty == "it takes 16 trials with a result"
    assert section.notes[0].text == "too few results: it takes 16 with an architecture, there are 15"
    assert not section.panels and section.table is None and section.data is None


def test_results_that_are_all_the_same() -> None:
    section = predictor.section([run(*(trial(i, COMPLETED, 0.5) for i in range(20)))])
    assert section.notes[0].text == (
        "places of all 20 results, cross-validated: rho not defined, of multiply-adds alone not defined"
    )
    assert not section.panels
