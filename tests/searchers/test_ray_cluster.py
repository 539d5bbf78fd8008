"""Joining Ray: addresses at which there is none, and what a process gets of nodes that differ."""

from __future__ import annotations

import functools
import socket
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from searchers.config import RayBackend, Resources
from tests.search_process import free_port


@pytest.fixture(autouse=True)
def disconnected(monkeypatch: pytest.MonkeyPatch) -> None:
    """No test knows of the machine's own cluster."""
    monkeypatch.delenv("RAY_ADDRESS", raising=False)


def refusal(address: str, resources: Resources | None = None, **settings: Any) -> str:
    from searchers import ray_cluster

    with pytest.raises(ValueError) as caught:
        ray_cluster.connect(RayBackend(address=address), resources or Resources(), None, **settings)
    return str(caught.value)


class TestAddress:
    """An address at which nothing answers is found out at once; Ray would try for a quarter of an hour."""

    def test_no_cluster_was_started(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("RAY_TMPDIR", str(tmp_path))
        assert refusal("auto") == (
            "backend.address=auto: no Ray can be used there: none was started on this machine; "
            "start one with: ray start --head"
        )

    def test_the_cluster_that_was_started_is_gone(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("RAY_TMPDIR", str(tmp_path))
        (tmp_path / "ray").mkdir()
        (tmp_path / "ray" / "ray_current_cluster").write_text(f"127.0.0.1:{free_port()}")
        assert "Connection refused" in refusal("auto")

    def test_the_environment_names_a_cluster_that_is_gone(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("RAY_ADDRESS", f"127.0.0.1:{free_port()}")
        assert "Connection refused" in refusal("auto")

    def test_nobody_listens(self) -> None:
        address = f"127.0.0.1:{free_port()}"
        assert refusal(address).startswith(f"backend.address={address}: no Ray can be used there: ")

    @pytest.mark.parametrize("address", ["nonsense", "ray://127.0.0.1:10001", "host:", "host:port"])
    def test_an_address_of_another_form(self, address: str) -> None:
        assert refusal(address).endswith(f"there: {address} is not of the form host:port")


@pytest.fixture
def nodes(monkeypatch: pytest.MonkeyPatch) -> list[Mapping[str, float]]:
    """The nodes of the cluster, to be filled by the test."""
    from searchers import ray_cluster

    there: list[Mapping[str, float]] = []

    def total() -> dict[str, float]:
        return {name: sum(node.get(name, 0) for node in there) for name in ("CPU", "GPU")}

    monkeypatch.setattr(ray_cluster.ray, "init", lambda **_: None)
    monkeypatch.setattr(ray_cluster.ray, "shutdown", lambda: None)
    monkeypatch.setattr(ray_cluster.ray, "cluster_resources", total)
    alive = lambda: [{"Alive": True, "Resources": node} for node in there]  # noqa: E731
    monkeypatch.setattr(ray_cluster.ray, "nodes", lambda: [*alive(), {"Alive": False, "Resources": {"CPU": 99}}])
    return there


@pytest.fixture
def listening() -> Iterator[str]:
    """An address that answers."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield f"127.0.0.1:{server.getsockname()[1]}"


class TestToken:
    """A cluster that answers, and takes nobody without its token."""

    def refused(self, error: Exception, address: str, monkeypatch: pytest.MonkeyPatch) -> str:
        from searchers import ray_cluster

        def init(**_: Any) -> None:
            raise error

        monkeypatch.setattr(ray_cluster.ray, "init", init)
        return refusal(address)

    def test_another_one(self, listening: str, monkeypatch: pytest.MonkeyPatch) -> None:
        error = ConnectionError(f"Failed to connect to Ray cluster at {listening}")
        assert self.refused(error, listening, monkeypatch) == (
            f"backend.address={listening}: no Ray can be used there: {error}; "
            "it answers, so its token may be another one, see RAY_AUTH_MODE and RAY_AUTH_TOKEN"
        )

    def test_none(self, listening: str, monkeypatch: pytest.MonkeyPatch) -> None:
        from ray.exceptions import AuthenticationError

        message = self.refused(AuthenticationError("no authentication token was found"), listening, monkeypatch)
        assert message.startswith(f"backend.address={listening}: no Ray can be used there: no authentication token")


class TestShare:
    """What a process gets, without Ray: the nodes are made up."""

    def share(self, resources: Resources, concurrency: int | None = None, **settings: Any) -> tuple[float, float, int]:
        from searchers import ray_cluster

        share = ray_cluster.connect(RayBackend(), resources, concurrency, **settings)
        return share.cpu, share.gpu, share.concurrency

    def test_as_many_at_a_time_as_fit_on_the_nodes(self, nodes: list[Mapping[str, float]]) -> None:
        nodes += [{"CPU": 8, "GPU": 2}, {"CPU": 4}]
        assert self.share(Resources(gpu=0)) == (1, 0, 12)
        assert self.share(Resources(cpu=3, gpu=0)) == (3, 0, 3)
        assert self.share(Resources()) == (1, 1, 2)
        assert self.share(Resources(cpu=0.5, gpu=0.5)) == (0.5, 0.5, 4)
        assert self.share(Resources(gpu=0), 5) == (1, 0, 5)
        assert self.share(Resources(cpu=3, gpu=0), processes=2) == (3, 0, 1)

    def test_what_is_left_over_on_two_nodes_is_not_one_processs(self, nodes: list[Mapping[str, float]]) -> None:
        nodes += [{"CPU": 8}, {"CPU": 8}]
        assert self.share(Resources(cpu=5)) == (5, 0, 2)

    def test_more_than_there_is(self, nodes: list[Mapping[str, float]]) -> None:
        nodes += [{"CPU": 4, "GPU": 1}, {"CPU": 4}]
        assert refusal("local", Resources(cpu=9)) == (
            "resources.cpu=9 is more than there is: 8 CPUs at backend.address=local"
        )
        assert refusal("local", Resources(gpu=1), processes=2) == (
            "resources.gpu=1 for each of processes=2 is more than there is: 1 GPUs at backend.address=local"
        )

    def test_enough_in_all_but_not_on_one_node(self, nodes: list[Mapping[str, float]]) -> None:
        nodes += [{"CPU": 2, "GPU": 1}, {"CPU": 8}]
        assert refusal("local", Resources(cpu=5)) == (
            "resources.cpu=5 and resources.gpu=1 do not fit on the nodes at backend.address=local: "
            "none has enough of both"
        )

    def test_more_at_a_time_than_there_is_room_for_wait_on_a_cluster(
        self, nodes: list[Mapping[str, float]], listening: str
    ) -> None:
        from searchers import ray_cluster

        nodes += [{"CPU": 2}]
        said: list[str] = []
        connect = functools.partial(ray_cluster.connect, resources=Resources(), say=said.append)
        assert connect(RayBackend(address=listening), concurrency=2).concurrency == 2
        assert said == []
        assert connect(RayBackend(address=listening), concurrency=5).concurrency == 5
        assert said == ["concurrency=5: there is room for 2 at a time, the others wait for nodes to join"]
        assert connect(RayBackend(), concurrency=5).concurrency == 2
        assert len(said) == 1

    def test_what_the_nodes_are_sent(
        self, nodes: list[Mapping[str, float]], listening: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """The packages that workers import, without what Python made of them; a local Ray is sent nothing."""
        from searchers import ray_cluster

        sent: list[set[str]] = []

        def init(runtime_env: Mapping[str, str] | None = None, **_: Any) -> None:
            folder = Path((runtime_env or {"working_dir": "nowhere"})["working_dir"])
            sent.append({file.relative_to(folder).as_posix() for file in folder.rglob("*")})

        monkeypatch.setattr(ray_cluster.ray, "init", init)
        nodes += [{"CPU": 2}]
        for address in ("local", listening):
            ray_cluster.connect(RayBackend(address=address), Resources(), None)
        assert sent[0] == set()
        assert {name for name in sent[1] if "/" not in name} == set(ray_cluster._CODE)
        assert {"seqconv/__init__.py", "training/full/loop.py", "promotion/ray_train.py"} <= sent[1]
        native = Path(__file__).parents[2] / "seqconv" / "native"
        assert "seqconv/native/layer.cpp" in sent[1]
        assert {f"seqconv/native/{file.name}" for file in native.glob("*.[ch]*")} <= sent[1]
        assert not any("__pycache__" in name for name in sent[1])


class TestRoom:
    """How many at a time, as nodes come and go."""

    def room(self, monkeypatch: pytest.MonkeyPatch, **settings: Any) -> tuple[Any, list[str]]:
        from searchers import ray_cluster

        monkeypatch.setattr(ray_cluster, "FOLLOW_EVERY", 0)
        said: list[str] = []
        share = ray_cluster.Share(**{"cpu": 2, "gpu": 0, "concurrency": 2, "cluster": "", "follows": True, **settings})
        return ray_cluster.Room(share, said.append), said

    def test_it_follows_the_cluster(self, nodes: list[Mapping[str, float]], monkeypatch: pytest.MonkeyPatch) -> None:
        room, said = self.room(monkeypatch)
        nodes += [{"CPU": 4}]
        assert (room(), said) == (2, [])
        nodes += [{"CPU": 3, "GPU": 1}]
        assert (room(), room()) == (3, 3)
        del nodes[0]
        assert room() == 1
        assert said == [
            "the cluster has 7 CPUs, 1 GPUs: 3 at a time, 2 before",
            "the cluster has 3 CPUs, 1 GPUs: 1 at a time, 3 before",
        ]

    def test_one_is_asked_for_even_where_there_is_none(
        self, nodes: list[Mapping[str, float]], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        room, _ = self.room(monkeypatch)
        assert (nodes, room()) == ([], 1)

    def test_processes_of_one_training_count_once(
        self, nodes: list[Mapping[str, float]], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        room, _ = self.room(monkeypatch, processes=2)
        nodes += [{"CPU": 4}, {"CPU": 6}]
        assert room() == 2

    def test_what_was_asked_for_stays(self, nodes: list[Mapping[str, float]], monkeypatch: pytest.MonkeyPatch) -> None:
        room, said = self.room(monkeypatch, follows=False)
        nodes += [{"CPU": 40}]
        assert (room(), said) == (2, [])

    def test_ray_is_asked_now_and_then(self, nodes: list[Mapping[str, float]], monkeypatch: pytest.MonkeyPatch) -> None:
        from searchers import ray_cluster

        room, _ = self.room(monkeypatch)
        monkeypatch.setattr(ray_cluster, "FOLLOW_EVERY", 100)
        nodes += [{"CPU": 40}]
        assert room() == 2


class TestWait:
    """For a cluster that starts, or grows."""

    @pytest.fixture(autouse=True)
    def demand(self, monkeypatch: pytest.MonkeyPatch) -> list[Any]:
        """What an autoscaler is shown."""
        from searchers import ray_cluster

        shown: list[Any] = []
        monkeypatch.setattr(ray_cluster, "placement_group", lambda bundles: shown.append(bundles) or "asked")
        monkeypatch.setattr(ray_cluster, "remove_placement_group", lambda group: shown.append(f"{group} no more"))
        return shown

    def connect(self, address: str, wait: float, **settings: Any) -> list[str]:
        """The lines that are said."""
        from searchers import ray_cluster

        said: list[str] = []
        backend = RayBackend(address=address, wait=wait)
        ray_cluster.connect(backend, Resources(cpu=4, gpu=0), None, say=said.append, **settings)
        return said

    def test_for_nodes_to_join(
        self,
        nodes: list[Mapping[str, float]],
        listening: str,
        demand: list[Any],
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        nodes += [{"CPU": 2}]
        monkeypatch.setattr(time, "sleep", lambda _: nodes.append({"CPU": 4}))
        assert self.connect(listening, wait=60, processes=2) == [
            "waiting for nodes to join: resources.cpu=4 for each of processes=2 is more than there is: 2 CPUs "
            f"at backend.address={listening} (backend.wait, 60 s left; Ctrl-C ends it)"
        ]
        assert demand == [[{"CPU": 4}] * 2, "asked no more"]

    def test_not_longer_than_was_said(
        self, nodes: list[Mapping[str, float]], listening: str, demand: list[Any]
    ) -> None:
        nodes += [{"CPU": 2}]
        with pytest.raises(ValueError, match=r"^resources.cpu=4 is more than there is: 2 CPUs at backend.address="):
            self.connect(listening, wait=0.1)
        assert demand == [[{"CPU": 4}], "asked no more"]

    def test_ctrl_c_ends_it_and_leaves_ray(
        self,
        nodes: list[Mapping[str, float]],
        listening: str,
        demand: list[Any],
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        from searchers import ray_cluster

        def interrupt(_: float) -> None:
            raise KeyboardInterrupt

        left: list[bool] = []
        monkeypatch.setattr(time, "sleep", interrupt)
        monkeypatch.setattr(ray_cluster.ray, "shutdown", lambda: left.append(True))
        with pytest.raises(KeyboardInterrupt):
            self.connect(listening, wait=60)
        assert left == [True]

    def test_for_a_cluster_to_answer(self, nodes: list[Mapping[str, float]], monkeypatch: pytest.MonkeyPatch) -> None:
        address = f"127.0.0.1:{free_port()}"
        servers: list[socket.socket] = []
        nodes += [{"CPU": 4}]

        def start(_: float) -> None:
            if not servers:
                servers.append(socket.create_server(("127.0.0.1", int(address.rpartition(":")[2]))))

        monkeypatch.setattr(time, "sleep", start)
        (line,) = self.connect(address, wait=60)
        servers[0].close()
        assert line.startswith(f"waiting for {address} to answer: [Errno 111] Connection refused (backend.wait, 60 s")


class TestShared:
    """Whether other nodes see a folder, without Ray; that of another node is tried in tests/faults."""

    @pytest.fixture
    def answers(self, monkeypatch: pytest.MonkeyPatch) -> dict[str, str]:
        """What is wrong with the folder, by node, of four of which this process is on the first."""
        from searchers import ray_shared

        found: dict[str, str] = {}
        there = [{"NodeID": name, "NodeManagerAddress": f"10.0.0.{number}"} for number, name in enumerate("abcd")]
        monkeypatch.setattr(ray_shared, "alive", lambda: there)
        monkeypatch.setattr(ray_shared.ray, "get_runtime_context", lambda: SimpleNamespace(get_node_id=lambda: "a"))
        monkeypatch.setattr(ray_shared, "_complaints", lambda place, nodes: found if nodes == ["b", "c", "d"] else {})
        return found

    def test_the_nodes_that_do_not_share_it_are_named(self, answers: dict[str, str], tmp_path: Path) -> None:
        from searchers.ray_shared import check_shared

        folder = tmp_path / "runs" / "a"
        check_shared("run", folder)
        answers |= {"b": "does not see it", "d": "no answer", "gone": "no answer"}
        with pytest.raises(ValueError) as caught:
            check_shared("run", folder)
        assert str(caught.value) == (
            f"run={folder}: {tmp_path} is not shared by 10.0.0.1 (does not see it), 10.0.0.3 (no answer); "
            "it must be on storage that all nodes share, under the same path"
        )
        assert list(tmp_path.iterdir()) == []
