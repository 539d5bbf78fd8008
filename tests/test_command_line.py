from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import yaml
from omegaconf import OmegaConf

import command_line
import export
import promote
import search
import searchers
from promotion.arguments import of_stages
from promotion.config import PromoteConfig
from searchers.config import SearchConfig
from searchers.run_folder import RUN_FILE, RunFolder

ROOT = Path(__file__).parents[1]
CONF = ROOT / "conf"
HEAVY = {"torch", "ray", "optuna", "wandb", "pandas", "sklearn"}
Run = Callable[..., int]


class Begun(BaseException):
    """Input was accepted: from here on Ray would be needed."""


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Run:
    """Calls `main` as `python search.py ...` would, in an empty folder and without Ray."""
    share = SimpleNamespace(cluster="", concurrency=1, cpu=1, gpu=0)
    for name in ("ray_backend", "ray_cluster", "ray_shared"):
        module = SimpleNamespace(connect=lambda *_, **__: share, check_shared=lambda *_: None)
        monkeypatch.setitem(sys.modules, f"searchers.{name}", module)
        monkeypatch.setattr(searchers, name, module, raising=False)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HYDRA_FULL_ERROR", "1")
    monkeypatch.setenv("COLUMNS", "120")

    def called(*arguments: str, main: Any = search.main, config: str = "search", **settings: Any) -> int:
        monkeypatch.setattr(sys, "argv", [f"{config.partition('/')[0]}.py", *arguments])
        return command_line.run(main, config=config, description="What it does.", **settings)

    return called


def files(folder: Path) -> dict[str, bytes | None]:
    return {str(p.relative_to(folder)): p.read_bytes() if p.is_file() else None for p in folder.rglob("*")}


@pytest.fixture
def refusal(run: Run, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Callable[..., str]:
    """The message of bad input: one line on stderr, exit code 2, and nothing written."""

    def refused(*arguments: str, **settings: Any) -> str:
        before = files(tmp_path)
        assert run(*arguments, **settings) == 2
        assert files(tmp_path) == before
        (line,) = capsys.readouterr().err.splitlines()
        assert line.startswith("error: ")
        return line.removeprefix("error: ")

    return refused


def process(
    script: str, *arguments: str, folder: Path, flags: tuple[str, ...] = ()
) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, *flags, str(ROOT / script), *arguments]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)


def groups() -> dict[str, str]:
    defaults = yaml.safe_load((CONF / "search.yaml").read_text())["defaults"]
    entries = {key: value for entry in defaults if isinstance(entry, dict) for key, value in entry.items()}
    return {key: value for key, value in entries.items() if not key.startswith("override ")}


def test_help_shows_every_group_with_every_option_in_one_line(run: Run, capsys: pytest.CaptureFixture[str]) -> None:
    assert run("--help") == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[:3] == ["What it does.", "", "usage: python search.py [GROUP=OPTION ...] [KEY=VALUE ...]"]
    for group, default in groups().items():
        begin = lines.index(f"  {group}")
        section = lines[begin + 1 : lines.index("", begin)]
        options = [match for match in (re.fullmatch(r"   ([ *]) (\w+) +(.*)", line) for line in section) if match]
        comments = {path.stem: path.read_text().splitlines()[0][2:] for path in (CONF / group).glob("*.yaml")}
        assert {match[2]: match[3] for match in options} == comments
        assert [match[2] for match in options if match[1] == "*"] == [default]


def test_help_shows_every_key(run: Run, capsys: pytest.CaptureFixture[str]) -> None:
    run("-h", "trials=0")
    shown = capsys.readouterr().out
    keys = yaml.safe_load((CONF / "search.yaml").read_text())
    for key in keys.keys() - {"defaults", "hydra", "_target_"}:
        assert re.search(rf"^  {key}=\S+ +\w.*$", shown, re.MULTILINE)
    for path in (path for group in groups() for path in (CONF / group).glob("*.yaml")):
        for key in yaml.safe_load(path.read_text()).keys() - {"_target_"}:
            assert f"{path.parent.name}.{key}" in shown.split()


def test_help_of_a_command_without_groups(run: Run, capsys: pytest.CaptureFixture[str]) -> None:
    assert run("--help", main=export.main, config="export/export") == 0
    assert capsys.readouterr().out.splitlines() == [
        "What it does.",
        "",
        "usage: python export.py [KEY=VALUE ...]",
        "",
        "keys:",
        "",
        "  run=null             folder of a search or of a promotion, such as runs/NAME",
        "  preset=null          or a named architecture, untrained: cifar_b_demo",
        "  architecture=null    or an architecture YAML file, untrained",
        "  trial=best           best, pareto, the number of a trial, or the name of a promotion's candidate",
        "  cost=params          what pareto weighs the error against: params, macs, serial_depth or activation_bytes",
        "  stage=null           of a promotion: cifar or imagenet; null is the last that has a result",
        "  classes=null         of a preset or an architecture; null is those of its family's data set",
        "  resolution=null      image side of a preset or an architecture; null is that of its family's data set",
        "  out=exported         folder to write; must not exist, or be empty",
        "  onnx=true            write model.onnx: seconds to a minute or two",
        "  program=false        write model.pt2, a program of torch.export",
        "  latency=true         measure the time for batches of 1 and 64 images on the device at hand",
        "  compiled=false       measure it by torch.compile too: minutes on a CPU",
        "SEQCONV_TRACEBACK=1 in the environment shows where an error comes from.",
    ]


@pytest.mark.parametrize("script", ["search.py", "promote.py", "export.py"])
@pytest.mark.parametrize("argument", ["--help", "trials=0", "trails=3"])
def test_help_and_errors_import_nothing_heavy(tmp_path: Path, script: str, argument: str) -> None:
    if script != "search.py" and argument == "trials=0":
        argument = "out=7"
    done = process(script, argument, folder=tmp_path, flags=("-X", "importtime"))
    imported = {line.rpartition("|")[2].strip().partition(".")[0] for line in done.stderr.splitlines() if "|" in line}
    assert "yaml" in imported
    assert imported & HEAVY == set()
    assert done.returncode == (0 if argument == "--help" else 2)


def test_the_exit_code_of_a_process(tmp_path: Path) -> None:
    done = process("search.py", "trials=0", folder=tmp_path)
    message = "error: trials must be an integer at least 1, got 0\n"
    assert (done.returncode, done.stdout, done.stderr) == (2, "", message)
    flag = process("export.py", "--foo", folder=tmp_path)
    assert (flag.returncode, flag.stderr.splitlines()[-1]) == (2, "export.py: error: unrecognized arguments: --foo")
    assert not any(tmp_path.iterdir())


def test_the_configuration_is_composed_and_its_exit_code_returned(run: Run, tmp_path: Path) -> None:
    seen: list[SearchConfig] = []

    def main(config: command_line.Config) -> int:
        seen.append(command_line.instantiate(config, plain=True))
        return 7

    arguments = ("trials=3", "searcher=random", "trial.learning_rate=1e-3", "budget.params=[null,300000]")
    assert run(*arguments, "objective=[error,latency]", "limits.latency=5", main=main) == 7
    (config,) = seen
    assert (config.trials, config.searcher.name, config.trial.learning_rate) == (3, "random", 0.001)
    assert config.budget.params == (None, 300_000)
    assert (config.objective, config.limits) == (("error", "latency"), {"latency": 5.0})
    assert config.plain["searcher"] == {"_target_": "searchers.algorithms.random.RandomSearch"}
    assert config.plain["trial"]["learning_rate"] == 0.001
    assert not any(tmp_path.iterdir())


def test_several_runs_in_turn_return_the_worst_exit_code(run: Run) -> None:
    seeds: list[int] = []
    assert run("--multirun", "seed=1,2,0", main=lambda config: seeds.append(config.seed) or config.seed) == 2
    assert seeds == [1, 2, 0]


def test_an_interrupt_ends_all_runs(run: Run) -> None:
    seeds: list[int] = []

    def main(config: command_line.Config) -> int:
        seeds.append(config.seed)
        raise KeyboardInterrupt

    with pytest.raises(SystemExit) as end:
        run("--multirun", "seed=1,2", main=main)
    assert (end.value.code, seeds) == (130, [1])


@pytest.mark.parametrize("error", [ValueError, OSError])
def test_a_user_error_of_several_lines_is_told_in_one(refusal: Callable[..., str], error: type[Exception]) -> None:
    def main(config: command_line.Config) -> int:
        raise error("a.yaml: not valid:\n  line 3\n")

    assert refusal(main=main) == "a.yaml: not valid: line 3"


def test_a_bug_keeps_its_traceback(run: Run) -> None:
    def main(config: command_line.Config) -> int:
        raise AttributeError("bug")

    with pytest.raises(AttributeError, match="bug"):
        run(main=main)


class Broken:
    """Stands for an option whose constructor has a bug."""

    def __init__(self) -> None:
        raise AttributeError("bug")


def test_a_bug_in_a_constructor_is_not_taken_for_bad_input() -> None:
    with pytest.raises(Exception, match="bug"):
        command_line.instantiate(OmegaConf.create({"_target_": f"{__name__}.Broken"}))


@pytest.mark.parametrize(
    ("argument", "message"),
    [
        ("trails=3", "no configuration key or group 'trails' (did you mean trials or trial?). See --help"),
        ("serchspace=windowed", "no configuration key or group 'serchspace' (did you mean search_space"),
        ("epochs=3", "no configuration key or group 'epochs' (did you mean trial.epochs?). See --help"),
        ("trial.epoch=3", "no configuration key or group 'trial.epoch' (did you mean trial.epochs"),
        ("search_space.stage1.windw=1", "no configuration key or group 'search_space.stage1.windw' (did you mean "),
        (
            "search_space.stage3.window={type: categorical, choices: [log]}",
            "search_space.stage3.window takes a value or the keys that it has: what has others goes into a file in",
        ),
        ("searcher.fidelity=highest", "searcher=guided has no key fidelity; searcher=tpe has it"),
        ("xyzzy=1", "no configuration key or group 'xyzzy'; groups are search_space, searcher, scheduler, prefilter, "),
        ("+trails=3", "no configuration key 'trails'. See --help"),
        ("+trial.epoch=3", "no configuration key 'trial.epoch'. See --help"),
        ("searcher=tp", "no option 'tp' in group searcher (did you mean tpe?); there are "),
        ("scheduler=halving", "no option 'halving' in group scheduler; there are asha, hyperband, median, none"),
        ("dataset=null", "no option 'null' in group dataset; there are auto, cifar10, cifar100, digits, folder"),
        ("dataset=10", "no option '10' in group dataset; there are auto, cifar10, cifar100, digits, folder"),
        ("~dataset", "the configuration key 'dataset' must not be removed. See --help"),
        ("~trials", "the configuration key 'trials' must not be removed. See --help"),
        ("~dataset._target_", "dataset must be an option of its group, see --help; got {'root': 'data', "),
        ("dataset._target_=nowhere.Data", "dataset._target_: Error loading 'nowhere.Data'"),
        ("trials", "cannot read 'trials': write KEY=VALUE, such as trials=24 or budget.params=[100000,null]; "),
        ("budget.params=[1", "cannot read 'budget.params=[1': write KEY=VALUE, such as trials=24"),
        ("run=a (1)", "cannot read 'run=a (1)': write KEY=VALUE"),
        ("seed=1,2", "Ambiguous value for argument 'seed=1,2' 1. To use it as a list, use key=[value1,value2] 2. "),
        ("seed=${sed}", "Interpolation key 'sed' not found"),
        ("dataset=folder", "dataset.root must be given: dataset.root=..."),
        ("trials=0", "trials must be an integer at least 1, got 0"),
        ("trials=many", "trials must be an integer at least 1, got 'many'"),
        ("objective=macs", "objective must contain error, because trials are trained for it; got macs"),
        ("objective=[error,mac]", "objective must be one of error, params, macs, serial_depth, activation_bytes, late"),
        ("limits={latency: 0}", "limits.latency must be a number above 0, got 0"),
        ("limits.latency=slow", "limits.latency must be a number above 0, got 'slow'"),
        ("limits.latenci=5", "no configuration key or group 'limits.latenci' (did you mean limits.latency"),
        ("run=2024", "run must be the path of a folder, such as runs/NAME or ./2024, got 2024"),
        ("resources.gpu=1.5", "resources.gpu must be a fraction up to 1 or a whole number, got 1.5"),
        ("trial.schedule=onecycle", "trial.schedule must be one of one_cycle, cosine, got 'onecycle' (did you mean "),
        ("budget.params=[5,1]", "budget.params is contradictory: its minimum 5 is above its maximum 1"),
        ("budget.params=300000", "budget.params must be [min, max] such as [null, 300000], null where open; got 300"),
        ("search_space.stage1.window=0", "search_space.stage1.window: window in groups must be an integer at least 1"),
        ("search_space.stage1.window=wide", "search_space.stage1.window: window must be a number of groups such as 4"),
        ("search_space.widening=0", "search_space.widening: widening must be an integer at least 1, got 0"),
        ("search_space.stage1=null", "search_space.pyramid [1, 2, 4] needs"),
    ],
)  # fmt: skip
def test_a_command_that_makes_no_configuration(refusal: Callable[..., str], argument: str, message: str) -> None:
    assert refusal(argument).startswith(message)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (
            ["searcher=random", "searcher.population=3"],
            "searcher=random has no key population; searcher=cma_es, searcher=evolution, searcher=nsga2, "
            "searcher=nsga3 have it",
        ),
        (["scheduler=none", "scheduler.grace_epochs=2"], "scheduler=none has no key grace_epochs; scheduler=asha, "),
        (
            ["search_space=dense", "search_space.stage1.window.high=1"],
            "search_space=dense has no key stage1.window.high; search_space=windowed, search_space=windowed_small "
            "have it",
        ),
    ],
)
def test_a_key_of_another_option(refusal: Callable[..., str], arguments: list[str], message: str) -> None:
    assert refusal(*arguments).startswith(message)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("stage1: [", "a configuration file is not valid YAML: while parsing"),
        ("name: !!python/object/apply:os.getcwd []", "a configuration file is not valid YAML: could not"),
        ("12", "Invalid loaded object type: int"),
        ("name: ${x", "no viable alternative at input '${x'"),
        ("- 1", "search_space must be an option of its group"),
    ],
)
def test_an_option_of_ones_own_that_cannot_be_read(
    refusal: Callable[..., str], tmp_path: Path, tmp_path_factory: pytest.TempPathFactory, content: str, message: str
) -> None:
    mine = tmp_path_factory.mktemp("conf")
    (mine / "search_space").mkdir()
    (mine / "search_space" / "mine.yaml").write_text(content)
    assert refusal(f"--config-dir={mine}", "search_space=mine").startswith(message)


def test_no_message_sends_the_reader_to_hydra(refusal: Callable[..., str]) -> None:
    for argument in ("trials", "trails=3", "searcher=tp", "~nothing", "+dataset=digits"):
        assert "hydra.cc" not in refusal(argument)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (
            ["search_space.stage2.groups=5"],
            r"search_space windowed: no architecture has .*: stage 2: groups must divide its width 64, got 5; "
            r"allowed are 1, 2, 4, 8, 16, 32, 64$",
        ),
        (["search_space.pyramid=[1,3,4]"], r"search_space windowed: no architecture has .*must divide"),
        (
            ["budget.params=[1,2]"],
            r"budget\.params \[1, 2\] is below everything in the space: params go from [\d,]+ to [\d,]+$",
        ),
        (
            ["budget.macs=[1e12,null]"],
            r"budget\.macs \[1,000,000,000,000, null\] is above everything in the space: macs go from [\d,]+ to ",
        ),
        (
            ["budget.params=[1200000,null]", "budget.macs=[null,4600000]"],
            r"no architecture found within budget\.params .* and budget\.macs .*: .* the nearest.*; in this space "
            r"params go from [\d,]+ to [\d,]+, macs go from [\d,]+ to [\d,]+: widen the budget or the space$",
        ),
    ],
)
def test_a_space_or_budget_that_holds_nothing(refusal: Callable[..., str], arguments: list[str], message: str) -> None:
    assert re.match(message, refusal("dataset=digits", *arguments))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["dataset=folder", "dataset.root=missing"], "missing: no such folder; dataset.root must hold one folder"),
        (["dataset=cifar10", "dataset.download=false"], "CIFAR-10 is not under data"),
        (["dataset=digits", "dataset.resolution=8"], "dataset.resolution must be one of 16, 32, got 8"),
    ],
)
def test_data_that_cannot_be_had(refusal: Callable[..., str], arguments: list[str], message: str) -> None:
    assert refusal(*arguments).startswith(message)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["searcher=cma_es"], "searcher=cma_es takes no knob without an order, such as stage1.form; "),
        (["searcher=cma_es", "objective=[error,macs]"], "searcher=cma_es minimises the error alone; "),
        (
            ["searcher=tpe", "searcher.fidelity=highest", "objective=[error,macs]"],
            "searcher.fidelity=highest is for objective=error alone; ",
        ),
        (["scheduler=median", "objective=[error,macs]"], "scheduler=median compares errors alone; "),
    ],
)
def test_a_searcher_or_scheduler_that_does_not_fit(
    refusal: Callable[..., str], arguments: list[str], message: str
) -> None:
    assert refusal("dataset=digits", *arguments).startswith(message)


SMALL = ("dataset=digits", "search_space=fixed", "trials=1")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["warm_start=5"], "warm_start must be a run folder, an architecture file, a folder with an arch"),
        (["warm_start_top=0"], "warm_start_top must be an integer at least 1, got 0"),
        (["warm_start=[cifar_b_small,nowhere]"], "warm_start: nowhere: no such file or folder; it takes a run f"),
        (
            ["warm_start=cifar_plain"],
            "warm_start: cifar_plain: not in search_space fixed: the space is of another network: W2 ",
        ),
        (
            ["warm_start=cifar_b_small", "search_space=windowed_small"],
            "warm_start: cifar_b_small: not in search_space windowed_small: widening is 2, and the space has 1",
        ),
    ],
)
def test_a_warm_start_that_does_not_fit(refusal: Callable[..., str], arguments: list[str], message: str) -> None:
    assert refusal(*SMALL, *arguments).startswith(message)


def test_what_a_search_begins_with_is_told(
    run: Run, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def begin(*_: Any) -> None:
        raise Begun

    monkeypatch.setattr("searchers.run_folder.choose", begin)
    with pytest.raises(Begun):
        run(*SMALL, "searcher=evolution", "searcher.population=30", "warm_start=[cifar_b_small]")
    lines = capsys.readouterr().out.splitlines()
    assert "warm start: 1 architecture of cifar_b_small" in lines
    assert any(line.startswith("note: searcher.population=30 is above the 1 trials of this search") for line in lines)


def test_a_run_folder_that_cannot_be_used(
    run: Run, refusal: Callable[..., str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write = RunFolder.open

    def begin(folder: RunFolder, *content: Any) -> None:
        write(folder, *content)
        folder.close()
        raise Begun

    with monkeypatch.context() as patch, pytest.raises(Begun):
        patch.setattr(RunFolder, "open", begin)
        run(*SMALL, "run=one")
    other = refusal("dataset=digits", "trials=1", "run=one")
    assert other.startswith(
        "run=one belongs to another search: search_space.space is 'fixed' there and 'staged' here; "
    )
    assert other.endswith(" more. Pass another run= or the settings of one/config.yaml")
    assert refusal(*SMALL, "run=one", "seed=1") == (
        "run=one belongs to another search: seed is 0 there and 1 here. "
        "Pass another run= or the settings of one/config.yaml"
    )
    assert refusal(*SMALL, "run=one", "resume=false").startswith("run=one: holds a search already and resume=false")
    assert refusal(*SMALL, "run=two", "resume=true").startswith("resume=true: there is no search at run=two")
    description = tmp_path / "one" / RUN_FILE
    description.write_text(description.read_text().replace("version: 1", "version: 2", 1))
    assert refusal(*SMALL, "run=one") == (
        "one/run.yaml: version 2 is newer than 1, the newest this release reads: upgrade it"
    )


def test_an_output_that_cannot_be_written(refusal: Callable[..., str], tmp_path: Path) -> None:
    (tmp_path / "file").write_text("mine")
    assert refusal(*SMALL, "run=file").startswith("run=file: is a file; run= takes a folder")
    assert refusal(*SMALL, "run=file/one").startswith("run=file/one: cannot write to ")
    assert refusal(*SMALL, "run=/proc/seqconv/one").startswith("run=/proc/seqconv/one: cannot write to /proc: ")
    assert (
        refusal(*SMALL, "run=.") == "run=.: is not empty and holds no search (run.yaml is missing); pass another run="
    )


@pytest.mark.parametrize(
    ("argument", "message"),
    [
        ("trial=best", "pass one of run=runs/NAME, preset=NAME and architecture=FILE.yaml, got none of them"),
        ("run=missing", "run=missing: no search or promotion there (neither run.yaml nor promote.yaml); "
                        "run= takes a folder such as runs/NAME or promotions/NAME"),
        ("preset=cifar_c", "preset must be one of cifar_plain, cifar_b, cifar_b_demo, cifar_b_small, seqresnet_b22, "
                           "seqresnet_b42, seqresnext_24, seqresnet_b_small, seqresnext_small, got 'cifar_c' "
                           "(did you mean cifar_b or cifar_plain or cifar_b_demo?)"),
        ("rnu=runs/one", "no configuration key or group 'rnu' (did you mean run?). See --help"),
        ("xyzzy=1", "no configuration key or group 'xyzzy'; groups are none. See --help"),
    ],
)  # fmt: skip
def test_an_export_that_cannot_be_made(refusal: Callable[..., str], argument: str, message: str) -> None:
    assert refusal(argument, main=export.main, config="export/export") == message


PROMOTE: dict[str, Any] = {"main": promote.main, "config": "promote", "rewrite": of_stages}


def test_help_of_groups_that_stand_under_several_keys(run: Run, capsys: pytest.CaptureFixture[str]) -> None:
    assert run("--help", **PROMOTE) == 0
    lines = capsys.readouterr().out.splitlines()
    begin = lines.index("  recipe, as cifar.recipe=cifar and imagenet.recipe=imagenet")
    section = lines[begin + 1 : lines.index("", begin)]
    options = [match[1] for line in section if (match := re.fullmatch(r"     (\w+) +\w.*", line))]
    assert options == sorted(path.stem for path in (CONF / "recipe").glob("*.yaml"))
    assert "recipe.epochs" in " ".join(section).split()
    assert "  dataset, as cifar.dataset=auto and imagenet.dataset=imagenet" in lines
    assert any(re.match(r"  stages=\[cifar\] +\w", line) or line.startswith("  stages=[cifar] ") for line in lines)


def test_keys_that_several_options_have_are_shown_once(run: Run, capsys: pytest.CaptureFixture[str]) -> None:
    run("--help", **PROMOTE)
    assert capsys.readouterr().out.split().count("recipe.epochs") == 1


def composed_promotion(run: Run, *arguments: str) -> PromoteConfig:
    seen: list[PromoteConfig] = []

    def main(config: command_line.Config) -> int:
        assert sys.argv[1:] == list(arguments)
        for stage in {"cifar", "imagenet"} - set(config.stages):
            config[stage] = None
        seen.append(command_line.instantiate(config, plain=True))
        return 0

    assert run(*arguments, main=main, config="promote", rewrite=of_stages) == 0
    assert sys.argv[1:] == list(arguments)
    return seen[0]


def test_the_groups_of_the_only_stage(run: Run) -> None:
    config = composed_promotion(run, "recipe=cifar_fast", "recipe.batch_size=128", "dataset=digits", "seeds=5")
    assert config.cifar is not None and config.imagenet is None
    assert (config.cifar.recipe.schedule, config.cifar.recipe.batch_size) == ("one_cycle", 128)
    assert (config.cifar.dataset.name, config.seeds) == ("digits", 5)  # type: ignore[attr-defined]
    assert config.plain["cifar"]["recipe"]["batch_size"] == 128
    assert config.target == 25_600_000


def test_the_groups_of_the_imagenet_stage_alone(run: Run) -> None:
    config = composed_promotion(run, "stages=[imagenet]", "recipe=imagenet_modern", "dataset=digits")
    assert config.cifar is None and config.imagenet is not None
    assert config.imagenet.recipe.mixup == 0.2


def test_the_groups_of_two_stages(run: Run) -> None:
    chosen = ("cifar.recipe=cifar_fast", "cifar.dataset=digits", "imagenet.dataset=digits", "imagenet.recipe.epochs=9")
    config = composed_promotion(run, "stages=[cifar,imagenet]", *chosen)
    assert config.cifar is not None and config.imagenet is not None
    assert (config.cifar.recipe.epochs, config.imagenet.recipe.epochs) == (30, 9)
    assert config.imagenet.recipe.colour_jitter == 0.4


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "nothing chosen to train: pass top=3, pareto=[params] or trials=[7] with run=runs/NAME; presets="),
        (["top=3"], "top, pareto and trials choose from a search: pass run=runs/NAME too"),
        (["run=missing", "top=3"], "run=missing: no search there (run.yaml is missing); run= takes a folder such as"),
        (["recipe=cifr"], "no option 'cifr' in group recipe (did you mean cifar"),
        (["dataset=null"], "no option 'null' in group dataset; there are auto, cifar10, "),
        (["dataset=digits", "dataset.root=a"], "cifar.dataset=digits has no key root; cifar.dataset=auto, "),
        (["recipe.epoch=3"], "no configuration key or group 'cifar.recipe.epoch' (did you mean cifar.recipe.epochs"),
        (["recipes=cifar"], "no configuration key or group 'recipes' (did you mean "),
        (["+recipe.epoch=3"], "no configuration key 'cifar.recipe.epoch'. See --help"),
        (["~recipe"], "the configuration key 'cifar.recipe' must not be removed. See --help"),
        (["~dataset._target_"], "dataset must be an option of its group, see --help; got {'root': 'data', "),
        (["stage=[cifar]"], "no configuration key or group 'stage' (did you mean stages"),
        (["stages=cifar"], "stages must be [cifar], [imagenet] or [cifar,imagenet], got 'cifar'"),
        (["stages=3"], "stages must be [cifar], [imagenet] or [cifar,imagenet], got 3"),
        (["stages=[imagenet,cifar]", "imagenet.dataset.root=a"], "stages must be [cifar], [imagenet] or [cifar,"),
        (["stages=[imagenet]"], "imagenet.dataset.root must be given: imagenet.dataset.root=..."),
        (["stages=[cifar,imagenet]"], "imagenet.dataset.root must be given: imagenet.dataset.root=..."),
        (["stages=[cifar,imagenet]", "recipe=cifar"], "recipe of which stage? Give cifar.recipe or imagenet.recipe"),
        (["imagenet.recipe=imagenet"], "imagenet.recipe is given, but stages=[cifar] has no stage imagenet"),
        (["recipe.epochs=0"], "recipe.epochs must be an integer at least 1, got 0"),
        (["timm=[resnet18]", "dataset=cifar10", "dataset.download=false"], "CIFAR-10 is not under data"),
        (["presets=[cifar_b]", "stages=[imagenet]", "dataset.root=missing"], "missing: no such folder; dataset.root"),
        (["timm=[resnet18]", "dataset=digits", "out=file"], "out=file: is a file; out= takes a folder"),
    ],
)  # fmt: skip
def test_a_promotion_that_cannot_be_made(
    refusal: Callable[..., str], tmp_path: Path, arguments: list[str], message: str
) -> None:
    (tmp_path / "file").touch()
    assert refusal(*arguments, **PROMOTE).startswith(message)
