from __future__ import annotations

import itertools
from pathlib import Path
from typing import Any

import pytest

from search_spaces.space import SearchSpace
from searchers.record import COMPLETED, PRUNED, TrialRecord
from searchers.run_folder import RUN_FILE
from searchers.searcher import Problem
from searchers.warm_sources import Given, check_sources, read_sources
from seqconv import Architecture, Stage, write_architecture
from seqconv.networks.presets import PRESETS
from seqconv.serialization import ARCHITECTURE_FILE
from tests.journals import put
from tests.search_spaces.examples import categorical, delivered
from tests.searchers.fakes import session, space
from tests.searchers.runtime import crash, run

SMALL = Architecture(widening=1, pyramid=(1,), stages=(Stage(blocks=2, group_width=4, window=3),))
VALUES = {"stage1.blocks": 2, "stage1.groups": 4, "stage1.window": 0.75, "stage1.form": "plain"}
WIDE = Problem(space=space())


def earlier(folder: Path, of: SearchSpace | None = None, trials: int = 6, **settings: Any) -> list[TrialRecord]:
    """A search of the past, of whose trials every third one was stopped early; the later a trial, the better."""
    search = session(folder, of or space(), trials=trials, **settings)
    (folder / RUN_FILE).touch()
    error = itertools.count(1)

    def train(*_: object) -> tuple[float, ...]:
        at = 1 / next(error)
        return (at,) if at == 1 / 3 else (at, at)

    return run(search, train)


def refusal(*sources: str, problem: Problem = WIDE, top: int | None = 8) -> str:
    with pytest.raises(ValueError) as error:
        read_sources(sources, problem, top=top)
    return str(error.value)


@pytest.mark.parametrize("sources", [5, [5], [""], {"a": 1}, "", ["a", None]])
def test_sources_are_texts(sources: Any) -> None:
    with pytest.raises(ValueError) as error:
        check_sources(sources)
    assert str(error.value) == (
        "warm_start must be a run folder, an architecture file, a folder with an architecture.yaml or a preset, or a "
        f"list of such, got {sources!r}"
    )


def test_one_or_several_or_none() -> None:
    assert (check_sources(None), check_sources("a"), check_sources(["a", "b"])) == ((), ("a",), ("a", "b"))
    assert read_sources((), WIDE, top=8) == Given()


def test_a_file_and_folders_that_hold_one(tmp_path: Path) -> None:
    write_architecture(SMALL, tmp_path / "mine.yaml")
    write_architecture(SMALL.canonical(), tmp_path / ARCHITECTURE_FILE)
    sources = [str(tmp_path / "mine.yaml"), str(tmp_path)]
    given = read_sources(sources, WIDE, top=8)
    assert given.vectors == (VALUES, VALUES)
    assert given.lines == tuple(f"warm start: 1 architecture of {source}" for source in sources)


def test_a_preset_and_the_trial_of_a_search_of_one_architecture(tmp_path: Path) -> None:
    fixed = delivered("fixed")
    given = read_sources(["cifar_b_small"], Problem(space=fixed), top=8)
    assert given.vectors == ({},)
    earlier(tmp_path, fixed, trials=1)
    assert read_sources([str(tmp_path)], Problem(space=fixed), top=8).vectors == ({},)


def test_the_best_trials_of_a_run_with_the_knob_values_that_they_had(tmp_path: Path) -> None:
    """The one that was stopped comes last, though its error is lower than that of those before it."""
    records = [record for record in earlier(tmp_path) if record.outcome in (COMPLETED, PRUNED)]
    assert [record.outcome for record in records].count(PRUNED) == 1
    order = [records[i].values for i in (5, 4, 3, 1, 0, 2)]
    for top in (None, 3, 6):
        given = read_sources([str(tmp_path)], WIDE, top=top)
        assert given.vectors == tuple(order[:top])
        assert given.lines == (f"warm start: {len(order[:top])} architectures of {tmp_path}",)


def test_several_objectives_begin_with_the_front(tmp_path: Path) -> None:
    """The first trial of a block is the only one of its size, and the worst by the error."""
    problem = Problem(space=space(), objectives=("error", "params"))
    records = earlier(tmp_path, space(blocks=categorical(1, 3)), trials=8, objectives=("error", "params"))
    done = [record for record in records if record.outcome == COMPLETED]
    small = max((r for r in done if r.facts["params"] == 1000), key=lambda r: r.number)
    large = max((r for r in done if r.facts["params"] == 3000), key=lambda r: r.number)
    best = done[-1]
    front = [best] if best is small else [best, small]
    assert best in (small, large)
    given = read_sources([str(tmp_path)], problem, top=None)
    assert list(given.vectors[: len(front)]) == [record.values for record in front]
    assert len(given.vectors) == len([r for r in records if r.outcome in (COMPLETED, PRUNED)])


def test_the_run_of_another_space_is_read_off_its_architectures(tmp_path: Path) -> None:
    records = earlier(tmp_path, space(window=categorical(1, 2, "dense"), form="plain", groups=4))
    given = read_sources([str(tmp_path)], WIDE, top=None)
    found = [WIDE.candidate(values) for values in given.vectors]
    assert sorted(found, key=str) == sorted((r.fingerprint for r in records if r.outcome != "duplicate"), key=str)


def test_what_does_not_fit_is_counted_with_an_example(tmp_path: Path) -> None:
    records = earlier(tmp_path, trials=8)
    narrow = space(form="plain")
    given = read_sources([str(tmp_path)], Problem(space=narrow), top=None)
    trained = [record for record in records if record.outcome in (COMPLETED, PRUNED)]
    fitting = [record for record in trained if record.values["stage1.form"] == "plain"]
    assert 0 < len(given.vectors) == len(fitting) < len(trained)
    (line,) = given.lines
    assert line.startswith(
        f"warm start: {len(fitting)} architectures of {tmp_path}; {len(trained) - len(fitting)} left out, such as "
        f"{tmp_path}, trial "
    )
    assert line.endswith(": not in search_space tiny: stage1.form is bottleneck, and the space has plain")


def test_a_source_of_which_nothing_fits(tmp_path: Path) -> None:
    write_architecture(SMALL, tmp_path / "mine.yaml")
    deep = Problem(space=space(blocks=3))
    assert refusal(str(tmp_path / "mine.yaml"), problem=deep) == (
        f"warm_start: {tmp_path / 'mine.yaml'}: not in search_space tiny: stage1.blocks is 2, and the space has 3"
    )
    assert refusal("cifar_b", problem=deep) == (
        "warm_start: cifar_b: not in search_space tiny: pyramid is [1, 2, 4], and the space has [1]"
    )
    last = earlier(tmp_path, space(blocks=2))[-1].number
    assert refusal(str(tmp_path), problem=deep) == (
        f"warm_start: {tmp_path}, trial {last}: not in search_space tiny: stage1.blocks is 2, and the space has 3; "
        f"5 more of {tmp_path} do not fit either"
    )


def only_flat(architecture: Architecture) -> str | None:
    blocks = architecture.stages[0].blocks
    return f"blocks {blocks} is above its maximum 1" if blocks > 1 else None


def test_what_is_out_of_the_budget_is_named(tmp_path: Path) -> None:
    problem = Problem(space=space(), refusal=only_flat)
    for blocks in (1, 2, 3):
        stage = Stage(blocks=blocks, group_width=4)
        write_architecture(Architecture(widening=1, pyramid=(1,), stages=(stage,)), tmp_path / f"{blocks}.yaml")
    one, two, three = (str(tmp_path / f"{blocks}.yaml") for blocks in (1, 2, 3))
    given = read_sources([two, one, three], problem, top=8)
    assert [values["stage1.blocks"] for values in given.vectors] == [1]
    assert given.lines[-1] == (
        f"warm start: 2 architectures out of the budget: {two}: blocks 2 is above its maximum 1; "
        f"{three}: blocks 3 is above its maximum 1"
    )
    assert refusal(two, three, problem=problem) == (
        f"warm_start: everything in it is out of the budget, such as {two}: blocks 2 is above its maximum 1"
    )


def test_a_source_that_is_not_there_or_empty(tmp_path: Path) -> None:
    takes = "it takes a run folder, an architecture file, a folder with an architecture.yaml or a preset: cifar_plain, "
    assert refusal("nowhere").startswith(f"warm_start: nowhere: no such file or folder; {takes}")
    assert refusal(str(tmp_path)).startswith(
        f"warm_start: {tmp_path}: a folder without run.yaml or architecture.yaml; {takes}"
    )
    (tmp_path / RUN_FILE).touch()
    assert refusal(str(tmp_path)) == (
        f"{tmp_path}: no study.journal there; run= takes the folder of a search, such as runs/NAME"
    )
    run(session(tmp_path, trials=1), crash)
    assert refusal(str(tmp_path)) == f"warm_start: {tmp_path}: no trial of this search has a result"
    (tmp_path / "mine.yaml").write_text("a: 1\n")
    assert refusal(str(tmp_path / "mine.yaml")).startswith(f"warm_start: {tmp_path / 'mine.yaml'}: architecture: ")


def test_a_run_that_others_wrote(tmp_path: Path) -> None:
    earlier(tmp_path)
    put(tmp_path / "study.journal", '"architecture"', '"another"')
    found = refusal(str(tmp_path))
    assert found == f"warm_start: {tmp_path}: damaged, or not written by us: KeyError: 'architecture'"


def test_every_preset_is_a_source() -> None:
    for name in PRESETS:
        assert refusal(name, problem=WIDE).startswith(f"warm_start: {name}: not in search_space tiny: ")
