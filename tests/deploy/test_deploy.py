"""What deploy/ hands to Ray's launcher, KubeRay, Docker and SLURM, none of which is here to try it on."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

import command_line
from searchers.config import SearchConfig

ROOT = Path(__file__).parents[2]
DEPLOY = ROOT / "deploy"
RAY = re.search(r"^ray==(\S+)", (ROOT / "requirements.lock").read_text(), re.MULTILINE)[1]  # type: ignore[index]


def documents(name: str) -> list[dict[str, Any]]:
    return list(yaml.safe_load_all((DEPLOY / name).read_text()))


def compose(command: str) -> SearchConfig:
    """What `python search.py KEY=VALUE ...` would search, with the groups as they are by default."""
    from hydra import compose, initialize_config_dir

    python, script, *settings = shlex.split(command)
    assert (python, script) == ("python", "search.py")
    with initialize_config_dir(str(command_line.CONF), version_base="1.3"):
        config: SearchConfig = command_line.instantiate(compose("search", settings))
    return config


class TestRayCluster:
    def test_ray_takes_it(self) -> None:
        from ray.autoscaler._private.util import prepare_config, validate_config

        (config,) = documents("ray-cluster.yaml")
        validate_config(prepare_config(config))

    def test_ray_would_refuse_a_key_that_it_does_not_know(self) -> None:
        import jsonschema
        from ray.autoscaler._private.util import prepare_config, validate_config

        (config,) = documents("ray-cluster.yaml")
        with pytest.raises(jsonschema.ValidationError, match="max_wrokers"):
            validate_config(prepare_config({**config, "max_wrokers": 3}))

    def test_its_nodes_have_this_ray_a_token_and_no_open_dashboard(self) -> None:
        (config,) = documents("ray-cluster.yaml")
        assert config["docker"]["image"].startswith(f"rayproject/ray:{RAY}-py3")
        assert "--env=RAY_AUTH_MODE=token" in config["docker"]["run_options"]
        assert config["file_mounts"]["/home/ray/.ray/auth_token"] == "~/.ray/auth_token"
        (head,) = (command for command in config["head_start_ray_commands"] if "--head" in command)
        assert "--dashboard-host=127.0.0.1" in head

    def test_the_command_in_its_head_can_be_given(self) -> None:
        lines = [line.removeprefix("#").strip() for line in (DEPLOY / "ray-cluster.yaml").read_text().splitlines()]
        begun = next(index for index, line in enumerate(lines) if line.startswith("ray exec"))
        command = shlex.split("\n".join(lines[begun : begun + 2]))[-1].replace("\\\n", "")
        assert compose(command.partition(" && ")[2]).backend.address == "auto"


class TestKubeRay:
    """Structure alone: there is no schema of KubeRay's without a network."""

    def test_a_volume_and_a_job_that_mounts_it_everywhere(self) -> None:
        claim, job = documents("kuberay.yaml")
        assert [claim["kind"], job["kind"]] == ["PersistentVolumeClaim", "RayJob"]
        assert [claim["apiVersion"], job["apiVersion"]] == ["v1", "ray.io/v1"]
        assert claim["spec"]["accessModes"] == ["ReadWriteMany"]
        for pod in self.pods(job):
            (volume,), (container,) = pod["volumes"], pod["containers"]
            assert volume["persistentVolumeClaim"]["claimName"] == claim["metadata"]["name"]
            assert container["volumeMounts"] == [{"name": volume["name"], "mountPath": "/shared"}]

    def test_images_are_pinned_and_resources_bounded(self) -> None:
        _, job = documents("kuberay.yaml")
        assert job["spec"]["rayClusterSpec"]["rayVersion"] == RAY
        for pod in self.pods(job):
            (container,) = pod["containers"]
            assert re.fullmatch(r"seqconv-nas:\d+\.\d+\.\d+", container["image"])
            assert container["resources"]["requests"] == container["resources"]["limits"]
            assert {"name": "RAY_memory_monitor_refresh_ms", "value": "0"} in container["env"]

    def test_its_trials_run_on_workers_behind_a_token(self) -> None:
        cluster = documents("kuberay.yaml")[1]["spec"]["rayClusterSpec"]
        assert cluster["authOptions"] == {"mode": "token"}
        assert cluster["headGroupSpec"]["rayStartParams"]["num-cpus"] == "0"
        (group,) = cluster["workerGroupSpecs"]
        assert group["minReplicas"] <= group["replicas"] <= group["maxReplicas"]

    def test_its_command_can_be_given_and_goes_on_by_itself(self) -> None:
        search = compose(documents("kuberay.yaml")[1]["spec"]["entrypoint"])
        assert (search.backend.address, search.run, search.resume) == ("auto", "/shared/runs/a", None)
        assert search.backend.wait > 0 and search.concurrency and search.resources.gpu

    def pods(self, job: dict[str, Any]) -> list[dict[str, Any]]:
        cluster = job["spec"]["rayClusterSpec"]
        groups = [cluster["headGroupSpec"], *cluster["workerGroupSpecs"]]
        return [group["template"]["spec"] for group in groups]


def test_the_image_has_this_ray_and_what_is_locked() -> None:
    text = (DEPLOY / "Dockerfile").read_text()
    assert re.search(rf"^FROM rayproject/ray:{re.escape(RAY)}-py3\d+$", text, re.MULTILINE)
    assert "--require-hashes" in text


class TestSlurm:
    """Run where `srun` and `scontrol` say what they were called with."""

    def run(self, checkout: Path, *arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
        tools = checkout / "tools"
        tools.mkdir()
        scripts = {
            "srun": 'printf "%s\\n" "$@"; env | grep "^RAY_" | sort',
            "scontrol": '[ "$*" = "show hostnames node[07-09]" ] && printf "node07\\nnode08\\nnode09\\n"',
        }
        for name, script in scripts.items():
            (tools / name).write_text(f"#!/bin/sh\n{script}\n")
            (tools / name).chmod(0o755)
        job = {"SLURM_JOB_ID": "1234567", "SLURM_JOB_NUM_NODES": "3", "SLURM_JOB_NODELIST": "node[07-09]"}
        job |= {"SLURM_CPUS_ON_NODE": "48", "SLURM_SUBMIT_DIR": str(checkout), "PATH": f"{tools}:{os.environ['PATH']}"}
        command = ["bash", str(DEPLOY / "slurm.sh"), *arguments]
        return subprocess.run(command, env=job | environment, capture_output=True, text=True, check=False)

    @pytest.fixture
    def checkout(self, tmp_path: Path) -> Path:
        (tmp_path / ".venv" / "bin").mkdir(parents=True)
        (tmp_path / ".venv" / "bin" / "python").symlink_to(sys.executable)
        return tmp_path

    def test_ray_on_all_nodes_and_the_command_on_the_first(self, checkout: Path) -> None:
        done = self.run(checkout, "search.py", "run=/shared/runs/a b", "trial=gpu")
        assert (done.returncode, done.stderr) == (0, "")
        called = done.stdout.splitlines()
        step, ray, command = called[:5], called[5:11], called[11:17]
        assert step == ["--nodes=3", "--ntasks=3", "--ntasks-per-node=1", "--no-kill", "--kill-on-bad-exit=0"]
        assert ray == ["ray", "symmetric-run", "--address", "node07:24567", "--num-cpus", "48"]
        last = ["backend.address=node07:24567", "backend.wait=300"]
        assert command == ["--", "python", "search.py", "run=/shared/runs/a b", "trial=gpu", last[0]]
        environment = dict(line.split("=", 1) for line in called[18:])
        assert called[17] == last[1]
        assert environment["RAY_AUTH_MODE"] == "token" and re.fullmatch("[0-9a-f]{64}", environment["RAY_AUTH_TOKEN"])
        assert environment["RAY_memory_monitor_refresh_ms"] == "0"

    def test_ray_knows_the_options(self) -> None:
        from ray.scripts.symmetric_run import curate_and_validate_ray_start_args

        given = ["--address", "node07:24567", "--num-cpus", "48"]
        assert curate_and_validate_ray_start_args(given) == ["--num-cpus", "48"]

    def test_the_first_node_was_set_up(self, tmp_path: Path) -> None:
        done = self.run(tmp_path, "search.py")
        assert done.returncode == 2
        needed = f"error: no {tmp_path}/.venv/bin/python: run make setup in the checkout, and call sbatch there\n"
        assert done.stderr == needed

    def test_a_command_is_given(self, checkout: Path) -> None:
        done = self.run(checkout)
        assert done.returncode == 2
        assert done.stderr == ("error: no command; such as: sbatch deploy/slurm.sh search.py run=/shared/runs/a\n")

    def test_it_is_a_job(self, checkout: Path) -> None:
        done = self.run(checkout, "search.py", SLURM_SUBMIT_DIR="")
        assert done.returncode == 1 and done.stderr.endswith("SLURM_SUBMIT_DIR: this is a job for sbatch\n")


def test_what_the_page_says_of_deploy_is_there() -> None:
    text = (ROOT / "docs" / "cluster.md").read_text()
    named = set(re.findall(r"deploy/([\w.-]+\w)", text))
    assert named == {file.name for file in DEPLOY.iterdir()}
