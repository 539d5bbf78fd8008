"""A promotion from its configuration to its results, where nothing is trained."""

from __future__ import annotations

import os
import re
import shlex
import signal
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pandas as pd
import pytest

from promotion.config import PromoteConfig
from promotion.run import run_promotion
from promotion.training import DIVERGED, FAILED, Failure
from searchers.record import COMPLETED
from searchers.run_folder import RunFolder
from seqconv import read_architecture, write_architecture
from seqconv.realisation import imagenet_realisation
from seqconv.serialization import read_yaml
from tests.promotion.fakes import SMALL, Desk, architecture, config, stage
from tests.searchers import fakes as search_fakes

PRESET = f"preset-{SMALL}"
BOTH = {"stages": ["cifar", "imagenet"], "imagenet": stage(epochs=3)}
DIVERGENCE = Failure(outcome=DIVERGED, reason="Traceback\nDiverged: training loss is inf")
CRASH = Failure(outcome=FAILED, reason="Traceback\nOSError: no space left")


@pytest.fixture(autouse=True)
def in_an_empty_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "argv", ["promote.py", "top=2", "out=a (1)"])


@pytest.fixture
def files(tmp_path: Path) -> list[str]:
    """Three architectures of the user's own."""
    names = [f"{name}.yaml" for name in ("one", "two", "three")]
    for blocks, name in enumerate(names, start=1):
        write_architecture(architecture(blocks), tmp_path / name)
    return names


@pytest.fixture
def search(tmp_path: Path) -> str:
    """A search of three trials, the second one the best."""
    run = tmp_path / "runs" / "one"
    folder = RunFolder(run)
    about = {"name": "digits", "resolution": 16, "classes": 10, "class_names": [str(digit) for digit in range(10)]}
    folder.open({"search_space": {"name": "tiny"}, "dataset": about, "trial": {}, "seed": 0}, {})
    trial(run, 0.4, 0.3)
    trial(run, 0.2, 0.2)
    trial(run, 0.3, 0.25)
    folder.close()
    return "runs/one"


def trial(run: Path, *errors: float) -> None:
    """Another trained trial in a search."""
    store = search_fakes.store(run)
    plan = architecture(blocks=len(store.records()) + 1)
    facts = {"architecture": plan.to_dict(), "fingerprint": plan.fingerprint(), "params": 1000}
    record = search_fakes.begin(store, **facts)
    search_fakes.finish(store, record, *errors, outcome=COMPLETED)


def promotion() -> Path:
    (path,) = Path("promotions").iterdir()
    return path


class TestOneStage:
    def test_everything_of_it(self, capsys: pytest.CaptureFixture[str]) -> None:
        desk = Desk({(PRESET, "cifar"): [0.25, 0.35, 0.3]})
        assert run_promotion(config(seeds=3), join=desk) == 0
        assert desk.trained == [(PRESET, "cifar", seed) for seed in range(3)]
        assert desk.closed == 1
        said = capsys.readouterr().out.splitlines()
        assert said[0].startswith("data for cifar: digits, 1,797 handwritten digits")
        assert re.fullmatch(r"promotion: promotions/preset-\S+ \(new\), 1 trainings at a time on a desk", said[1])
        assert said[2] == "stage cifar: 1 candidate x 3 seeds, 2 epochs of 1,438 images in batches of 32"
        assert re.fullmatch(rf"  {PRESET}: cifar: W2 .*, 125,402 params", said[3])
        assert said[4:7] == [
            f"{PRESET}, cifar, seed 0: test error 0.2500  [1/3]",
            f"{PRESET}, cifar, seed 1: test error 0.3500  [2/3]",
            f"{PRESET}, cifar, seed 2: test error 0.3000  [3/3]",
        ]
        assert " ".join(said[8].split()).startswith(f"{PRESET} 30.00 ± 5.00 3 of 3 125,402 ")
        assert said[9] == f"{promotion()}: best of cifar is {PRESET}, test error 30.00 ± 5.00 %"
        assert said[10:] == [f"next: python export.py run={promotion()} trial=best out=exported"]

    def test_every_file(self) -> None:
        run_promotion(config(plain={"seeds": 1}), join=Desk())
        path = promotion()
        names = {file.relative_to(path).as_posix() for file in path.rglob("*") if file.is_file()}
        of_candidate = f"candidates/{PRESET}"
        assert names - {".lock"} == {
            "promote.yaml",
            "config.yaml",
            "environment.yaml",
            "results.csv",
            "summary.csv",
            "best.yaml",
            f"{of_candidate}/architecture.yaml",
            f"{of_candidate}/cifar/architecture.yaml",
            f"{of_candidate}/cifar/seed-0/metrics.csv",
            f"{of_candidate}/cifar/seed-0/result.yaml",
        }
        assert read_yaml(path / "config.yaml") == {"seeds": 1}
        description = read_yaml(path / "promote.yaml")
        assert description["stages"]["cifar"]["recipe"]["batch_size"] == 32
        assert description["stages"]["cifar"]["dataset"]["classes"] == 10
        assert read_yaml(path / "best.yaml")["folder"] == f"{of_candidate}/cifar/seed-0"

    def test_a_seed_of_every_candidate_comes_before_the_next_seed(self, files: list[str]) -> None:
        desk = Desk()
        run_promotion(config(presets=[], files=files, seeds=2), join=desk)
        names = ["file-one", "file-two", "file-three"]
        assert desk.trained == [(name, "cifar", seed) for seed in (0, 1) for name in names]

    def test_a_failure_does_not_hurt_the_others(self, capsys: pytest.CaptureFixture[str]) -> None:
        desk = Desk(failures={(PRESET, "cifar", 0): CRASH, (PRESET, "cifar", 1): DIVERGENCE})
        assert run_promotion(config(seeds=3), join=desk) == 0
        said = capsys.readouterr().out
        assert f"{PRESET}, cifar, seed 0: failed: OSError: no space left  [1/3]" in said
        assert f"{PRESET}, cifar, seed 1: diverged: Diverged: training loss is inf  [2/3]" in said
        rows = pd.read_csv(promotion() / "results.csv")
        assert list(rows["outcome"]) == ["failed", "diverged", "completed"]
        assert list(rows["reason"].dropna()) == ["OSError: no space left", "Diverged: training loss is inf"]
        summary = pd.read_csv(promotion() / "summary.csv")
        assert (summary["seeds"][0], summary["failed"][0]) == (1, 2)

    def test_nothing_but_failures(self, capsys: pytest.CaptureFixture[str]) -> None:
        desk = Desk(failures={(PRESET, "cifar", seed): CRASH for seed in (0, 1)})
        assert run_promotion(config(seeds=2, **BOTH), join=desk) == 1
        assert desk.trained == [(PRESET, "cifar", 0), (PRESET, "cifar", 1)] and desk.closed == 1
        captured = capsys.readouterr()
        assert captured.err == (
            "error: no training of stage cifar came to a result, which the same command tries again; "
            "the last one: OSError: no space left\n"
        )
        assert "next:" not in captured.out
        assert not (promotion() / "best.yaml").exists()


class TestChain:
    """Two stages: what does best in the first reaches the second."""

    def desk(self, **changes: Any) -> Desk:
        first = {
            ("file-one", "cifar"): [0.4, 0.2],
            ("file-two", "cifar"): [0.1, 0.3],
            ("file-three", "cifar"): [0.9] * 2,
        }
        return Desk({**first, ("file-two", "imagenet"): [0.6, 0.5]}, **changes)

    def config(self, files: list[str], **changes: Any) -> PromoteConfig:
        return config(**{**BOTH, "presets": [], "files": files, "seeds": 2, **changes})

    @pytest.mark.parametrize(("keep", "reached"), [(1, {"two"}), (2, {"two", "one"}), (None, {"two", "one", "three"})])
    def test_what_does_best_reaches_the_next(self, files: list[str], keep: int | None, reached: set[str]) -> None:
        desk = self.desk()
        assert run_promotion(self.config(files, keep=keep), join=desk) == 0
        assert {name for name, of, _ in desk.trained if of == "cifar"} == {"file-one", "file-two", "file-three"}
        assert {name for name, of, _ in desk.trained if of == "imagenet"} == {f"file-{name}" for name in reached}

    def test_what_has_no_result_goes_no_further(self, files: list[str]) -> None:
        desk = self.desk(
            failures={(f"file-{name}", "cifar", seed): DIVERGENCE for name in ("one", "two") for seed in (0, 1)}
        )
        assert run_promotion(self.config(files, keep=None), join=desk) == 0
        assert {name for name, of, _ in desk.trained if of == "imagenet"} == {"file-three"}

    def test_a_training_that_may_yet_come_to_a_result_is_waited_for(
        self, files: list[str], capsys: pytest.CaptureFixture[str]
    ) -> None:
        """The best candidate's disk was full: another one must not go on to ImageNet in its place."""
        settings = self.config(files)
        broken = self.desk(failures={("file-two", "cifar", seed): CRASH for seed in (0, 1)})
        assert run_promotion(settings, join=broken) == 1
        assert {of for _, of, _ in broken.trained} == {"cifar"}
        assert capsys.readouterr().err == (
            "error: 2 trainings of stage cifar failed, which the same command tries again; "
            "the last one: OSError: no space left\n"
        )
        again = self.desk()
        assert run_promotion(settings, join=again) == 0
        assert {name for name, of, _ in again.trained if of == "imagenet"} == {"file-two"}

    def test_the_realisation_stands_beside_the_architecture(
        self, files: list[str], capsys: pytest.CaptureFixture[str]
    ) -> None:
        assert run_promotion(self.config(files), join=self.desk()) == 0
        folder = promotion() / "candidates" / "file-two"
        realised = imagenet_realisation(architecture(2), target=300_000, classes=10, resolution=16)
        assert read_architecture(folder / "architecture.yaml") == architecture(2)
        assert read_architecture(folder / "cifar" / "architecture.yaml") == architecture(2)
        assert read_architecture(folder / "imagenet" / "architecture.yaml") == realised
        assert not (promotion() / "candidates" / "file-one" / "imagenet").exists()
        said = capsys.readouterr().out
        assert "stage imagenet: 1 candidate x 2 seeds, 3 epochs of 1,438 images in batches of 32\n  file-two:\n" in said
        assert re.search(r"params .* 3\d\d,\d{3}|params .* 2[89]\d,\d{3}", said)
        assert "best of imagenet is file-two, test error 55.00 ± 7.07 %" in said

    def test_both_stages_are_in_the_tables(self, files: list[str]) -> None:
        run_promotion(self.config(files), join=self.desk())
        rows = pd.read_csv(promotion() / "results.csv")
        assert list(rows["stage"]) == ["cifar"] * 6 + ["imagenet"] * 2
        assert len(set(rows[rows["candidate"] == "file-two"]["params"])) == 2
        assert list(rows["epochs"]) == [2] * 6 + [3] * 2
        description = read_yaml(promotion() / "promote.yaml")
        assert description["stages"]["imagenet"]["target"] == 300_000
        assert "target" not in description["stages"]["cifar"]

    def test_how_well_the_ranking_held(self, files: list[str], capsys: pytest.CaptureFixture[str]) -> None:
        run_promotion(self.config(files, keep=None), join=self.desk())
        assert "cifar -> imagenet: " in capsys.readouterr().out
        table = pd.read_csv(promotion() / "transfer.csv")
        assert ("cifar", "imagenet") in set(zip(table["earlier"], table["later"], strict=True))
        assert (promotion() / "transfer.png").read_bytes().startswith(b"\x89PNG")

    def test_an_architecture_that_has_no_realisation_is_known_before_anything_is_trained(self, tmp_path: Path) -> None:
        write_architecture(read_architecture("seqresnet_b_small"), tmp_path / "other.yaml")
        desk = Desk()
        with pytest.raises(ValueError, match="candidate file-other, stage cifar: an architecture of family imagenet"):
            run_promotion(self.config(["other.yaml"]), join=desk)
        assert desk.trained == [] and not Path("promotions").exists()


class TestSearch:
    """Candidates that a search ranked."""

    def test_their_names_and_their_ranking(self, search: str, capsys: pytest.CaptureFixture[str]) -> None:
        reversed_ = {"trial-0000": [0.1], "trial-0002": [0.2], "trial-0001": [0.3]}
        desk = Desk({(name, "cifar"): errors for name, errors in reversed_.items()})
        assert run_promotion(config(run=search, top=3, presets=[]), join=desk) == 0
        assert promotion().name.startswith("one-")
        assert [name for name, _, _ in desk.trained] == ["trial-0001", "trial-0002", "trial-0000"]
        said = capsys.readouterr().out
        assert "proxy -> cifar: Kendall's tau -1.00" in said
        assert re.search(r"cifar +error % +seeds +of the search", said)
        assert list(pd.read_csv(promotion() / "summary.csv")["proxy_error"]) == [0.2, 0.25, 0.3]

    def test_the_rungs_of_the_search_are_compared_too(self, search: str, capsys: pytest.CaptureFixture[str]) -> None:
        trial(Path(search), 0.5, 0.5)
        trial(Path(search), 0.6, 0.6)
        run_promotion(config(run=search, top=2, presets=[]), join=Desk())
        said = capsys.readouterr().out
        assert "how well the error after an early epoch ranks what was trained for 2" in said

    def test_one_candidate_has_no_ranking(self, search: str, capsys: pytest.CaptureFixture[str]) -> None:
        run_promotion(config(run=search, top=1, presets=[]), join=Desk())
        assert "tau" not in capsys.readouterr().out
        assert not (promotion() / "transfer.csv").exists()

    def test_a_search_that_goes_on_meanwhile(self, search: str, capsys: pytest.CaptureFixture[str]) -> None:
        """What was begun is finished; after that the same command promotes what is best by then."""
        settings = config(run=search, top=1, presets=[], seeds=2)
        assert run_promotion(settings, join=Desk(interrupted_after=1)) == 130
        trial(Path(search), 0.2, 0.1)
        again = Desk()
        assert run_promotion(settings, join=again) == 0
        assert again.trained == [("trial-0001", "cifar", 1)]
        after = Desk()
        assert run_promotion(settings, join=after) == 0
        assert after.trained == [("trial-0003", "cifar", 0), ("trial-0003", "cifar", 1)]
        assert len(list(Path("promotions").iterdir())) == 2


class TestGoingOn:
    """The same command again."""

    def test_what_is_done_is_not_done_again(self, capsys: pytest.CaptureFixture[str]) -> None:
        run_promotion(config(seeds=2), join=Desk())
        first = capsys.readouterr().out.splitlines()
        before = {path: path.read_bytes() for path in promotion().rglob("seed-*/*")}
        desk = Desk()
        assert run_promotion(config(seeds=2), join=desk) == 0
        assert desk.trained == []
        assert {path: path.read_bytes() for path in promotion().rglob("seed-*/*")} == before
        second = capsys.readouterr().out.splitlines()
        assert second[1] == first[1].replace("(new)", "(going on)")
        assert second[-4:] == first[-4:]

    def test_what_was_interrupted_is_gone_on_with(self, capsys: pytest.CaptureFixture[str]) -> None:
        desk = Desk(interrupted_after=2)
        assert run_promotion(config(seeds=4), join=desk) == 130
        assert desk.closed == 1
        last = capsys.readouterr().out.splitlines()[-1]
        message, _, command = last.partition("; go on with: ")
        assert message == "interrupted"
        assert shlex.split(command) == ["python", "promote.py", "top=2", f"out={promotion()}"]
        rest = Desk()
        assert run_promotion(config(seeds=4, out=str(promotion())), join=rest) == 0
        assert rest.trained == [(PRESET, "cifar", 2), (PRESET, "cifar", 3)]

    def test_more_seeds(self) -> None:
        run_promotion(config(seeds=1), join=Desk())
        desk = Desk()
        run_promotion(config(seeds=3), join=desk)
        assert desk.trained == [(PRESET, "cifar", 1), (PRESET, "cifar", 2)]

    def test_more_that_are_kept(self, files: list[str]) -> None:
        settings = {**BOTH, "presets": [], "files": files}
        run_promotion(config(**settings), join=Desk())
        desk = Desk()
        run_promotion(config(**settings, keep=2), join=desk)
        assert desk.trained == [("file-two", "imagenet", 0)]

    def test_a_failure_is_tried_again_and_a_divergence_is_not(self) -> None:
        failures = {(PRESET, "cifar", 0): CRASH, (PRESET, "cifar", 1): DIVERGENCE}
        run_promotion(config(seeds=3), join=Desk(failures=failures))
        desk = Desk()
        run_promotion(config(seeds=3), join=desk)
        assert desk.trained == [(PRESET, "cifar", 0)]
        assert list(pd.read_csv(promotion() / "results.csv")["outcome"]) == ["completed", "diverged", "completed"]

    def test_another_recipe_is_another_promotion(self) -> None:
        run_promotion(config(), join=Desk())
        path = promotion()
        with pytest.raises(ValueError, match=r"stages\.cifar\.recipe\.epochs is 2 there and 3 here"):
            run_promotion(config(cifar=stage(epochs=3), out=str(path)), join=Desk())
        desk = Desk()
        assert run_promotion(config(cifar=stage(epochs=3)), join=desk) == 0
        assert len(desk.trained) == 1

    def test_how_often_checkpoints_are_written_may_change(self) -> None:
        run_promotion(config(), join=Desk())
        desk = Desk()
        run_promotion(config(cifar=stage(checkpoint_every=1.0)), join=desk)
        assert desk.trained == []

    def test_an_architecture_file_that_was_changed(self, files: list[str], tmp_path: Path) -> None:
        settings = config(presets=[], files=files[:1], out="one")
        run_promotion(settings, join=Desk())
        write_architecture(architecture(blocks=5), tmp_path / files[0])
        with pytest.raises(ValueError, match=r"out=one belongs to another promotion: choice\.others\.file-one is '"):
            run_promotion(settings, join=Desk())


def test_sigterm_ends_it_as_ctrl_c_does(capsys: pytest.CaptureFixture[str]) -> None:
    def terminate(*_: object) -> SimpleNamespace:
        os.kill(os.getpid(), signal.SIGTERM)
        raise AssertionError("not reached")

    assert run_promotion(config(), join=terminate) == 130  # type: ignore[arg-type]
    assert capsys.readouterr().out.splitlines()[-1].startswith("interrupted; go on with: python promote.py top=2 out=")


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"presets": []}, "nothing chosen to train: pass top=3"),
        ({"presets": ["cifar_c"]}, "presets must be one of "),
        ({"processes": 3}, "recipe.batch_size must be a multiple of 3 (3 processes x 1 micro-batches)"),
        ({"cifar": stage(batch_size=4096)}, "recipe.batch_size is 4096 and digits has 1438 training images"),
        (
            {"cifar": stage(augment="trivial")},
            "recipe.augment must be one of auto, crop_flip, crop, none for images in",
        ),
        ({"out": "file"}, "out=file: is a file; out= takes a folder"),
    ],
)
def test_input_that_cannot_be_used_leaves_nothing(tmp_path: Path, changes: dict[str, Any], message: str) -> None:
    (tmp_path / "file").touch()
    desk = Desk()
    with pytest.raises(ValueError) as error:
        run_promotion(config(**changes), join=desk)
    assert str(error.value).startswith(message)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["file"] and desk.closed == 0
