"""A local Ray listens on every interface: who has not its token gets nowhere."""

from __future__ import annotations

import json
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest

from tests.search_process import ROOT, clean_environment, kill_all

pytestmark = pytest.mark.slow
_SEARCH = """
import glob, json, os
import ray
from searchers import ray_cluster
from searchers.config import RayBackend, Resources
ray_cluster.connect(RayBackend(cpus=1), Resources(), None)
node = ray._private.worker._global_node
(agent,) = glob.glob(f"{node.get_session_dir_path()}/runtime_env_agent_port_*")
said = {"gcs": node.gcs_address, "host": node.node_ip_address, "agent": int(open(agent).read()),
        "token": os.environ["RAY_AUTH_TOKEN"], "dashboard": node.webui_url, "session": node.get_session_dir_path()}
print(json.dumps(said), flush=True)
input()
"""
_STRANGER = "import sys; from ray._raylet import GcsClient; GcsClient(address=sys.argv[1]).internal_kv_get(b'x', None)"


@pytest.fixture(scope="module")
def search() -> Iterator[dict[str, str]]:
    """Where the Ray of a search listens, and its token."""
    process = subprocess.Popen(
        [sys.executable, "-c", _SEARCH], cwd=ROOT, env=clean_environment(), text=True,
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, start_new_session=True,
    )  # fmt: skip
    try:
        assert process.stdout is not None
        yield json.loads(process.stdout.readline())
    finally:
        kill_all(process.pid)
        process.communicate()


def call(search: Mapping[str, str], **environment: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-c", _STRANGER, search["gcs"]]
    return subprocess.run(command, env=clean_environment() | environment, capture_output=True, text=True, check=False)


@pytest.mark.parametrize(
    "variables", [{}, {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": "0" * 64}], ids=["none", "wrong"]
)
def test_who_has_not_the_token_is_refused(search: dict[str, str], variables: dict[str, str]) -> None:
    refused = call(search, **variables)
    assert refused.returncode == 1
    assert "AuthenticationError" in refused.stderr and "token is missing or incorrect" in refused.stderr


def test_who_has_it_is_not(search: dict[str, str]) -> None:
    assert len(search["token"]) == 64
    assert call(search, RAY_AUTH_MODE="token", RAY_AUTH_TOKEN=search["token"]).returncode == 0


def test_the_agent_that_sets_up_environments_asks_for_it_too(search: dict[str, str]) -> None:
    address = f"http://{search['host']}:{search['agent']}/get_or_create_runtime_env"
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    with pytest.raises(urllib.error.HTTPError) as caught:
        opener.open(urllib.request.Request(address, data=b"x", method="POST"), timeout=30)
    assert caught.value.code == 401


def test_there_is_no_dashboard_and_the_token_is_in_no_file_of_the_session(search: dict[str, str]) -> None:
    assert not search["dashboard"]
    token = search["token"].encode()
    files = [path for path in Path(search["session"]).rglob("*") if path.is_file()]
    assert files and not [path for path in files if token in path.read_bytes()]
