"""What is chosen for full training, and what is refused."""

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

import seqconv
from promotion.candidates import Candidate, choose, pareto_front
from searchers.record import COMPLETED, FAILED, PRUNED, TrialRecord
from searchers.run_folder import RunFolder
from searchers.study import TrialStore
from seqconv import Architecture, Stage
from seqconv.networks.presets import PRESETS
from seqconv.serialization import read_yaml, to_yaml
from tests.journals import put
from tests.searchers.fakes import begin, choices, finish, store

SPACE = choices(form=["plain", "bottleneck"])
IDENTITY: dict[str, Any] = {
    "search_space": {"name": "tiny"}, "dataset": {"name": "shapes"}, "trial": {"epochs": 2},
    "objective": ["error"], "seed": 0,
}  # fmt: skip
MACS = [40, 30, 20, 10, 5]


@pytest.fixture(autouse=True)
def no_waiting_for_the_disk(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "fsync", lambda descriptor: None)


def train(opened: TrialStore, *errors: float, outcome: str = COMPLETED, **end: Any) -> None:
    """A trial whose network has as many blocks as its number, and one."""
    number = len(opened.records())
    architecture = Architecture(stages=(Stage(blocks=1 + number, group_width=8),), pyramid=(1,))
    facts = {"architecture": architecture.to_dict(), "params": 100 + number, "macs": MACS[number], "dataset": "shapes"}
    record = begin(opened, SPACE, **facts, fingerprint=architecture.fingerprint())
    finish(opened, record, *errors, outcome=outcome, **end)


@pytest.fixture
def run(tmp_path: Path) -> Path:
    """Trials: 0-2 completed, 3 pruned, 4 failed, 5 a duplicate of 1, 6 running."""
    folder = RunFolder(tmp_path / "one")
    folder.open(IDENTITY, {})
    opened = store(folder.path, of=SPACE)
    train(opened, 0.5, 0.25)
    train(opened, 0.5, 0.125)
    train(opened, 0.5, 0.375)
    train(opened, 0.0625, outcome=PRUNED)
    train(opened, 0.5, outcome=FAILED)
    opened.finish_duplicate(begin(opened, SPACE).number, opened.record(1))
    begin(opened, SPACE)
    folder.close()
    return folder.path


def names(**choice: Any) -> list[str]:
    return [candidate.name for candidate in choose(**choice)]


def refusal(**choice: Any) -> str:
    with pytest.raises(ValueError) as error:
        choose(**choice)
    return str(error.value)


def test_the_top_are_those_trained_furthest_with_the_lowest_error(run: Path) -> None:
    assert names(run=str(run), top=2) == ["trial-0001", "trial-0000"]
    assert names(run=str(run), top=9) == ["trial-0001", "trial-0000", "trial-0002", "trial-0003"]


def test_a_trial_brings_what_the_search_knows_of_it(run: Path) -> None:
    (found,) = choose(run=str(run), trials=[3])
    assert found.origin == {"run": "one", "dataset": "shapes", "trial": 3, "proxy_error": 0.0625, "epochs": 1}
    assert (found.proxy_error, found.proxy_errors, found.timm_name) == (0.0625, {1: 0.0625}, None)
    (found,) = choose(run=str(run), trials=[1])
    assert (found.proxy_error, found.proxy_errors) == (0.125, {1: 0.5, 2: 0.125})
    assert yaml.safe_load(to_yaml(found.origin)) == found.origin


def test_trials_by_number_and_duplicates_for_their_original(run: Path) -> None:
    assert names(run=str(run), trials=[2, 0]) == ["trial-0002", "trial-0000"]
    assert names(run=str(run), trials=[5, 1]) == ["trial-0001"]
    assert "equal_to" not in choose(run=str(run), trials=[5, 1])[0].origin


def test_the_front_of_a_search(run: Path) -> None:
    """Trial 3 was stopped early; more params come with the number, fewer MACs too."""
    assert names(run=str(run), pareto=["params"]) == ["trial-0001", "trial-0000"]
    assert names(run=str(run), pareto=["macs"]) == ["trial-0001", "trial-0002"]
    assert names(run=str(run), pareto=["params", "macs"]) == ["trial-0001", "trial-0000", "trial-0002"]


def test_ways_add_up(run: Path) -> None:
    found = names(run=str(run), top=1, pareto=["params"], trials=[3], presets=["cifar_b_demo"], timm=["resnet18"])
    assert found == ["trial-0001", "trial-0000", "trial-0003", "preset-cifar_b_demo", "timm-resnet18"]


def test_a_search_that_runs_may_be_chosen_from(run: Path) -> None:
    folder = RunFolder(run)
    folder.open(IDENTITY, {})
    assert names(run=str(run), top=1) == ["trial-0001"]


def test_home_folders_may_be_written_with_a_tilde(run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(run.parent))
    seqconv.write_architecture(PRESETS["cifar_b"], run.parent / "net.yaml")
    assert names(run="~/one", top=1, files=["~/net.yaml"]) == ["trial-0001", "file-net"]


def test_presets() -> None:
    (found,) = choose(presets=["cifar_b_demo"])
    assert found == Candidate(
        name="preset-cifar_b_demo", architecture=PRESETS["cifar_b_demo"], origin={"preset": "cifar_b_demo"}
    )


def test_files_and_folders_with_one(tmp_path: Path) -> None:
    (tmp_path / "exported model").mkdir()
    file, inside = tmp_path / "my net (1).yaml", tmp_path / "exported model" / "architecture.yaml"
    seqconv.write_architecture(PRESETS["cifar_b"], file)
    seqconv.write_architecture(PRESETS["cifar_b_small"], inside)
    of_file, of_folder = choose(files=[str(file), str(inside.parent)])
    assert of_file == Candidate(
        name="file-my-net-1-", architecture=PRESETS["cifar_b"], origin={"file": str(file)}
    )  # fmt: skip
    assert (of_folder.name, of_folder.architecture) == ("file-exported-model", PRESETS["cifar_b_small"])
    assert names(files=[str(inside)]) == ["file-exported-model"]


def test_a_file_is_a_file_where_a_preset_has_its_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    seqconv.write_architecture(PRESETS["cifar_plain"], tmp_path / "cifar_b")
    monkeypatch.chdir(tmp_path)
    assert choose(files=["cifar_b"])[0].architecture == PRESETS["cifar_plain"]


def test_unequal_networks_of_one_name_are_told_apart(tmp_path: Path) -> None:
    files = []
    for folder, preset, name in (("a", "cifar_b", "Net"), ("b", "cifar_plain", "net"), ("c", "cifar_b_demo", "net")):
        (tmp_path / folder).mkdir()
        files.append(str(tmp_path / folder / f"{name}.yaml"))
        seqconv.write_architecture(PRESETS[preset], files[-1])
    assert names(files=files) == ["file-Net", "file-net-2", "file-net-3"]


def test_very_long_names_fit_into_a_file_system(tmp_path: Path) -> None:
    path = tmp_path / f"{'x' * 250}.yaml"
    seqconv.write_architecture(PRESETS["cifar_b"], path)
    assert len(names(files=[str(path)])[0]) < 120


def test_equal_networks_are_there_once(run: Path, tmp_path: Path) -> None:
    best = choose(run=str(run), top=1)[0].architecture
    seqconv.write_architecture(best, tmp_path / "best.yaml")
    seqconv.write_architecture(best, tmp_path / "copy.yaml")
    seqconv.write_architecture(PRESETS["cifar_b_small"], tmp_path / "small.yaml")
    files = [str(tmp_path / f"{name}.yaml") for name in ("best", "copy", "small")]
    found = choose(run=str(run), top=2, presets=["cifar_b_small"], files=files)
    assert [c.name for c in found] == ["trial-0001", "trial-0000", "preset-cifar_b_small"]
    assert [c.origin.get("equal_to") for c in found] == [["file-best", "file-copy"], None, ["file-small"]]


def test_the_same_asked_for_twice_is_no_equal_network() -> None:
    (found,) = choose(timm=["resnet18", "resnet18"])
    assert found == Candidate(name="timm-resnet18", timm_name="resnet18", origin={"timm": "resnet18"})


def test_nothing_chosen() -> None:
    assert refusal() == (
        "nothing chosen to train: pass top=3, pareto=[params] or trials=[7] with run=runs/NAME; presets=[cifar_b_demo],"
        " files=[FILE], timm=[resnet18]"
    )


def test_a_search_without_a_choice_and_a_choice_without_a_search(run: Path) -> None:
    expected = f"run={run}: say which of its trials: top=3, pareto=[params] or trials=[7]"
    assert refusal(run=str(run)) == refusal(run=str(run), trials=[], presets=["cifar_b"]) == expected
    for choice in ({"top": 3}, {"pareto": ["params"]}, {"trials": [3]}):
        assert refusal(**choice) == "top, pareto and trials choose from a search: pass run=runs/NAME too"


def test_no_search_there(run: Path) -> None:
    path = run.parent / "missing"
    expected = "no search there (run.yaml is missing); run= takes a folder such as runs/NAME"
    assert refusal(run=str(path), top=1) == f"run={path}: {expected}"


def test_a_search_of_a_newer_release(run: Path) -> None:
    (run / "run.yaml").write_text(to_yaml({**read_yaml(run / "run.yaml"), "version": 2}))
    assert refusal(run=str(run), top=1).startswith(f"{run / 'run.yaml'}: version 2 is newer than 1")


def test_a_search_whose_data_have_no_name(run: Path) -> None:
    (run / "run.yaml").write_text(to_yaml({**read_yaml(run / "run.yaml"), "dataset": {}}))
    assert refusal(run=str(run), top=1) == f"{run / 'run.yaml'}: dataset: missing key 'name'; required are name"


@pytest.mark.parametrize("choice", [{"top": 1}, {"pareto": ["params"]}, {"trials": [0]}])
def test_no_trial_has_finished(run: Path, choice: dict[str, Any]) -> None:
    (run / "study.journal").unlink()
    opened = store(run, of=SPACE)
    expected = f"run={run}: no trial has finished yet, so there is nothing to choose from"
    assert refusal(run=str(run), **choice) == expected
    begin(opened, SPACE)
    assert refusal(run=str(run), **choice) == expected


def test_no_trial_is_within_the_limits(run: Path) -> None:
    """They are ranked, behind those that are within; a front has no place for them."""
    (run / "study.journal").unlink()
    opened = store(run, of=SPACE)
    train(opened, 0.5, violations={"error": 0.25})
    assert names(run=str(run), top=1) == ["trial-0000"]
    beyond = "no trial is within the limits of the search, so there is no front"
    assert refusal(run=str(run), pareto=["params"]) == f"run={run}: {beyond}; top=1 takes the best of the others"
    train(opened, 0.75)
    assert names(run=str(run), top=1) == names(run=str(run), pareto=["params"]) == ["trial-0001"]


@pytest.mark.parametrize(
    ("number", "problem"),
    [
        (4, "trial 4 is failed; the nearest finished ones are 3, 2, 1, 0"),
        (6, "trial 6 is running; the nearest finished ones are 3, 2, 1, 0"),
        (99, "there is no trial 99; the nearest finished ones are 3, 2, 1, 0"),
    ],
)
def test_a_trial_that_cannot_be_had(run: Path, number: int, problem: str) -> None:
    assert refusal(run=str(run), trials=[0, number]) == f"run={run}: {problem}"


@pytest.mark.parametrize(
    ("choice", "message"),
    [
        ({"top": 0}, "top must be an integer at least 1, got 0"),
        ({"top": True}, "top must be an integer at least 1, got True"),
        ({"trials": [-1]}, "trials must be an integer at least 0, got -1"),
        ({"trials": 7}, "trials must be a list such as [3,7], got 7"),
        ({"pareto": "params"}, "pareto must be a list such as [a,b], got 'params'"),
        ({"pareto": []}, "pareto must name a cost or several; there are params, macs"),
        ({"pareto": ["param"]}, "pareto must be one of params, macs, got 'param' (did you mean params?)"),
        ({"pareto": ["fingerprint"]}, "pareto must be one of params, macs, got 'fingerprint'"),
        ({"trials": [0], "presets": "cifar_b"}, "presets must be a list such as [a,b], got 'cifar_b'"),
        ({"trials": [0], "files": [3]}, "files must be a list such as [a,b], got [3]"),
        ({"trials": [0], "timm": [""]}, "timm must be a list such as [a,b], got ['']"),
    ],
)
def test_a_choice_that_cannot_be_used(run: Path, choice: dict[str, Any], message: str) -> None:
    assert refusal(run=str(run), **choice) == message


def test_a_preset_that_is_not_there() -> None:
    message = refusal(presets=["cifar_b_demos"])
    assert message.startswith("presets must be one of cifar_plain, ")
    assert "got 'cifar_b_demos' (did you mean cifar_b_demo" in message


def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    advice = "pass an architecture YAML file or an exported folder"
    assert refusal(files=[str(tmp_path / "a")]) == f"files: {tmp_path / 'a'}: no such file; {advice}"
    assert refusal(files=[str(tmp_path)]) == f"files: {tmp_path}: the folder holds no architecture.yaml; {advice}"


def test_an_architecture_of_a_newer_release(tmp_path: Path) -> None:
    file = tmp_path / "net.yaml"
    file.write_text(to_yaml({**PRESETS["cifar_b"].to_dict(), "version": 2}))
    assert refusal(files=[str(file)]).startswith(f"{file}: architecture: version 2 is newer than 1")


@pytest.mark.parametrize(
    ("name", "near"),
    [
        ("resnet_18", " (did you mean resnet"),
        ("resnet18.a1_in1k", " (did you mean "),
        ("cifar_b", " (it is one of pre"),
    ],
)
def test_a_model_that_timm_does_not_have(name: str, near: str) -> None:
    message = refusal(timm=[name])
    assert message.startswith(f"timm has no model {name!r}{near}")
    assert message.endswith("; timm.list_models() has their names")


def test_presets_are_not_models_of_timm_where_they_are_registered_either() -> None:
    import seqconv.timm_models  # noqa: F401

    with pytest.raises(ValueError, match=r"timm has no model 'cifar_b' \(it is one of presets\)"):
        choose(run=None, top=None, pareto=None, trials=None, presets=[], files=[], timm=["cifar_b"])


def test_without_timm_it_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "timm", None)
    expected = "timm=['resnet18']: timm is not installed; pip install 'seqconv-nas[timm]'"
    assert refusal(timm=["resnet18"]) == expected
    assert names(presets=["cifar_b"]) == ["preset-cifar_b"]


@pytest.mark.parametrize("name", ["", "../up", "a b", ".hidden", "-flag", "caf\N{LATIN SMALL LETTER E WITH ACUTE}"])
def test_a_name_that_is_no_file_name(name: str) -> None:
    with pytest.raises(ValueError) as error:
        Candidate(name=name, timm_name="resnet18")
    assert str(error.value) == (f"name of a candidate must be letters, digits, and _ . - after the first; got {name!r}")


@pytest.mark.parametrize("fields", [{}, {"architecture": PRESETS["cifar_b"], "timm_name": "resnet18"}])
def test_a_candidate_is_one_thing(fields: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=r"^candidate one must have either an architecture or a timm_name$"):
        Candidate(name="one", **fields)


POINTS = st.lists(st.tuples(st.integers(0, 4), st.integers(0, 4), st.integers(0, 4)), max_size=12)


def as_records(points: list[tuple[int, int, int]]) -> list[TrialRecord]:
    return [
        TrialRecord(number=n, outcome=COMPLETED, values={}, errors={1: error / 8}, facts={"params": p, "macs": m})
        for n, (error, p, m) in enumerate(points)
    ]


@given(POINTS)
def test_the_front_is_what_nothing_dominates(points: list[tuple[int, int, int]]) -> None:
    """By the definition, on every pair."""
    kept = [
        n
        for n, mine in enumerate(points)
        if not any(other != mine and all(o <= m for o, m in zip(other, mine, strict=True)) for other in points)
    ]
    front = pareto_front(as_records(points), ["params", "macs"])
    assert sorted(record.number for record in front) == kept
    assert [record.error for record in front] == sorted(record.error for record in front)


def test_a_front_is_of_what_was_trained_furthest() -> None:
    best, stopped = as_records([(4, 1, 1), (0, 0, 0)])
    longer = TrialRecord(number=2, outcome=COMPLETED, values={}, errors={1: 0.9, 2: 0.8}, facts=best.facts)
    assert pareto_front([best, stopped, longer], ["params"]) == [longer]


def test_a_cost_that_some_do_not_have_is_none() -> None:
    records = as_records([(1, 1, 1), (2, 2, 2)])
    lacking = TrialRecord(number=2, outcome=COMPLETED, values={}, errors={1: 0.1}, facts={"params": 3, "macs": None})
    with pytest.raises(ValueError, match=r"^pareto must be one of params, got 'macs'$"):
        pareto_front([*records, lacking], ["macs"])


def test_import_does_without_the_heavy_libraries() -> None:
    program = "import sys, promotion.candidates; print({'torch', 'optuna', 'pandas', 'timm'} & set(sys.modules))"
    assert subprocess.check_output([sys.executable, "-c", program], text=True) == "set()\n"


def test_a_duplicate_of_itself_or_of_nothing(run: Path) -> None:
    before = 1
    for number, found in ((5, "trial 5 is duplicate"), (99, "trial 5 is duplicate"), (4, "trial 4 is failed")):
        put(run / "study.journal", f'"duplicate_of":{before}', f'"duplicate_of":{number}')
        before = number
        with pytest.raises(ValueError, match=f"^run={run}: {found}; the nearest finished ones are "):
            choose(run=str(run), trials=[5])


def test_a_store_that_others_wrote(run: Path) -> None:
    put(run / "study.journal", '"architecture"', '"another"')
    with pytest.raises(ValueError, match=f"^run={run}: damaged, or not written by us: KeyError: 'architecture'$"):
        choose(run=str(run), top=1)
