"""Joining Ray: addresses at which there is none, and what a process gets of nodes that differ."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
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


class TestShare:
    """What a process gets, without Ray: the nodes are made up."""

    @pytest.fixture
    def nodes(self, monkeypatch: pytest.MonkeyPatch) -> list[Mapping[str, float]]:
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
