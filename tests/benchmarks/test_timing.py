"""Turns, clocks and the description of the machine."""

import gc
from collections.abc import Callable

import pytest
import timing
import torch
from timing import Machine, Times, Work, cpu_clock, take_turns, this_machine


class Recorder:
    """Works that write down when they run, and a clock that gives 1, 2, 3, ... milliseconds."""

    def __init__(self) -> None:
        self.calls: list[str] = []
        self.collecting: list[bool] = []
        self.reading = 0

    def work(self, name: str) -> Work:
        return Work(run=lambda: self.calls.append(name), prepare=lambda: self.calls.append(f"prepare {name}"))

    def clock(self, run: Callable[[], object]) -> float:
        self.collecting.append(gc.isenabled())
        run()
        self.reading += 1
        return self.reading


def test_works_take_turns_and_two_rounds_warm_up() -> None:
    recorder = Recorder()
    times = take_turns({name: recorder.work(name) for name in "abc"}, rounds=3, clock=recorder.clock)
    order = "abccbaabccbaabc"
    assert recorder.calls == [call for name in order for call in (f"prepare {name}", name)]
    # The rounds that count read 7 8 9 (abc), 10 11 12 (cba) and 13 14 15 (abc).
    assert times == {"a": Times(12, 7, 13), "b": Times(11, 8, 14), "c": Times(10, 9, 15)}


def test_garbage_is_not_collected_while_the_clock_runs() -> None:
    recorder = Recorder()
    take_turns({"a": recorder.work("a")}, rounds=1, clock=recorder.clock)
    assert recorder.collecting == [False] * 3
    assert gc.isenabled()

    def fail() -> None:
        raise RuntimeError("no")

    with pytest.raises(RuntimeError, match="no"):
        take_turns({"a": Work(run=fail, prepare=lambda: None)}, rounds=1, clock=cpu_clock)
    assert gc.isenabled()


def test_the_clock_reads_milliseconds(monkeypatch: pytest.MonkeyPatch) -> None:
    seconds = iter([5.0, 5.25])
    monkeypatch.setattr(timing.time, "perf_counter", lambda: next(seconds))
    assert cpu_clock(lambda: None) == 250.0


CPUINFO = {"model name": "Some CPU", "cpu family": "6", "model": "143", "flags": "sse4_1 avx avx2 avx512bw avx512_vnni"}


@pytest.fixture
def some_cpu(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(timing, "_cpuinfo", lambda: CPUINFO)
    monkeypatch.delenv("ONEDNN_MAX_CPU_ISA", raising=False)


@pytest.mark.usefixtures("some_cpu")
def test_the_machine_says_its_best_instruction_set() -> None:
    machine = this_machine("cpu", "float32")
    assert machine.processor == "Some CPU family 6 model 143"
    assert machine.isa == "native: AVX512_CORE_VNNI"
    assert machine.torch == torch.__version__
    assert machine.threads == torch.get_num_threads()


@pytest.mark.usefixtures("some_cpu")
def test_runs_with_another_instruction_set_are_kept_apart(monkeypatch: pytest.MonkeyPatch) -> None:
    native = this_machine("cpu", "float32")
    monkeypatch.setenv("ONEDNN_MAX_CPU_ISA", "avx2")
    narrow = this_machine("cpu", "float32")
    assert narrow.isa == "AVX2"
    assert native.name != narrow.name


@pytest.mark.usefixtures("some_cpu")
def test_an_instruction_set_that_onednn_would_ignore_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ONEDNN_MAX_CPU_ISA", "AVX3")
    with pytest.raises(ValueError, match=r"ONEDNN_MAX_CPU_ISA must be one of AVX512_CORE_AMX, .*SSE41, got 'AVX3'"):
        this_machine("cpu", "float32")


def test_a_processor_of_which_nothing_is_known(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(timing, "_cpuinfo", dict)
    monkeypatch.setattr(timing.platform, "processor", lambda: "")
    monkeypatch.setattr(timing.platform, "machine", lambda: "riscv64")
    monkeypatch.delenv("ONEDNN_MAX_CPU_ISA", raising=False)
    machine = this_machine("cpu", "float32")
    assert (machine.processor, machine.isa) == ("riscv64", "native: riscv64")


@pytest.mark.parametrize(
    ("isa", "threads", "name"),
    [
        ("native: AVX512_CORE", 1, "some-cpu-r-9-5_native_float32"),
        ("AVX512_CORE_BF16", 2, "some-cpu-r-9-5_avx512-core-bf16_float32_2-threads"),
    ],
)
def test_files_are_named_after_the_machine(isa: str, threads: int, name: str) -> None:
    machine = Machine(
        machine="Linux",
        processor="Some CPU(R) 9.5",
        isa=isa,
        library="AVX512",
        torch="2",
        device="cpu",
        threads=threads,
        dtype="float32",
    )
    assert machine.name == name
