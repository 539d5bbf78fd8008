"""The command: its table, its CSV and its plot, at tiny sizes whose times mean nothing."""

import csv
from dataclasses import fields
from pathlib import Path

import layers
import network_cases
import pytest
from comparison import Row
from timing import Machine

ALL = "plain,bottleneck,windows,memory,network,imagenet"
CASES = ("plain", "bottleneck", "windows", "memory", "network")


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[dict[str, str]]]:
    """The files of one run of every case, without the interpreters that peak memory takes."""
    folder = tmp_path_factory.mktemp("results") / "new"
    with pytest.MonkeyPatch.context() as patch:
        patch.delenv("ONEDNN_MAX_CPU_ISA", raising=False)
        patch.setattr(network_cases, "_peak", lambda variant, setting, options: 2**20)
        layers.main(["--quick", "--repeats", "1", "--out", str(folder)])
    (path,) = folder.glob("*.csv")
    with path.open(newline="") as file:
        return path, list(csv.DictReader(file))


def test_the_columns(run: tuple[Path, list[dict[str, str]]]) -> None:
    path, rows = run
    assert list(rows[0]) == [field.name for kind in (Machine, Row) for field in fields(kind)]
    assert path.name.endswith("_native_float32_quick.csv")
    assert {(row["device"], row["threads"], row["dtype"]) for row in rows} == {("cpu", "1", "float32")}
    assert {row["isa"].partition(":")[0] for row in rows} == {"native"}


def test_every_case_has_every_variant_in_both_formats(run: tuple[Path, list[dict[str, str]]]) -> None:
    both = ["contiguous", "channels_last"]
    variants = {case: ["twin", "reference", "blocked", "auto"] for case in (*CASES, "network_peak")} | {
        "windows": ["auto"] * 3
    }
    forms = {"memory": ["plain", "bottleneck"]}
    expected = [
        (case, form, variant, memory_format)
        for case in (*CASES, "network_peak")
        for form in forms.get(case, [{"windows": "plain", "plain": "plain"}.get(case, "bottleneck")])
        for variant in variants[case]
        for memory_format in both
    ]
    assert [(row["case"], row["form"], row["variant"], row["memory_format"]) for row in run[1]] == expected


def test_a_ratio_is_the_better_format_over_the_twins_better_format(run: tuple[Path, list[dict[str, str]]]) -> None:
    columns = {"plain": "ms_median", "bottleneck": "ms_median", "network": "ms_median", "network_peak": "peak_mib"}
    for case, column in columns.items():
        rows = [row for row in run[1] if row["case"] == case]
        best = {
            name: min(float(row[column]) for row in rows if row["variant"] == name)
            for name in ("twin", "reference", "blocked", "auto")
        }
        for row in rows:
            assert float(row["ratio"]) == pytest.approx(best[row["variant"]] / best["twin"], rel=1e-3)


def test_times_are_in_order_and_only_where_time_was_taken(run: tuple[Path, list[dict[str, str]]]) -> None:
    for row in run[1]:
        times = [row[name] for name in ("ms_min", "ms_median", "ms_max")]
        if row["case"] in ("memory", "network_peak"):
            assert times == [""] * 3
        else:
            assert 0 < float(times[0]) <= float(times[1]) <= float(times[2])


def test_the_plot_is_beside_the_table(run: tuple[Path, list[dict[str, str]]]) -> None:
    assert run[0].with_suffix(".png").read_bytes().startswith(b"\x89PNG")


def test_a_run_of_some_cases_in_bfloat16(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    arguments = ["--quick", "--repeats", "1", "--cases", "memory,plain", "--dtype", "bfloat16", "--panels", "1"]
    layers.main([*arguments, "--out", str(tmp_path)])
    (path,) = tmp_path.glob("*.csv")
    assert path.name.endswith("bfloat16_memory-plain_quick.csv")
    printed = capsys.readouterr().out
    assert "\nmemory: plain, C 16, k 4, size 6, batch 2\n" in printed
    assert "\nplain: plain, C 16, k 4, size 6, batch 2\n" in printed
    chosen = next(line for line in printed.splitlines() if line.startswith("  auto") and "inputs saved" in line)
    assert "bar 4.00 held" in chosen
    assert "blocked_panel  panel 1" in printed
    assert f"{path}\n{path.with_suffix('.png')}\n" in printed


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--cases", "plain,speed"], f"--cases: must be one or more of {ALL}, got 'speed'"),
        (["--repeats", "0"], "--repeats: must be an integer at least 1, got '0'"),
        (["--panels", "2,x"], "--panels: must be an integer at least 1, got 'x'"),
        (["--device", "cuda"], "--device cuda: torch finds no GPU here"),
    ],
)
def test_the_command_refuses(
    arguments: list[str], message: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(layers.torch.cuda, "is_available", lambda: False)
    with pytest.raises(SystemExit) as end:
        layers.main(arguments)
    assert end.value.code == 2
    assert message in capsys.readouterr().err


def test_an_unknown_instruction_set_ends_the_command(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ONEDNN_MAX_CPU_ISA", "AVX9")
    with pytest.raises(SystemExit, match="error: ONEDNN_MAX_CPU_ISA must be one of"):
        layers.main(["--quick"])
