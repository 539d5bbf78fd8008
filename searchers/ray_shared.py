"""Whether all nodes of the cluster share a folder: found out at the start, not when the first trial is lost."""

from __future__ import annotations

import os
import tempfile
import time
from pathlib import Path

from searchers.ray_cluster import alive  # sets what Ray reads when it is imported

# isort: split
import ray
from ray.exceptions import RayError
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

ANSWER_WITHIN = 60.0
"""Seconds for a node to say whether it sees a folder."""
SHOWN_WITHIN = 1.0
"""Seconds after which a network file system shows a file to other nodes."""


def check_shared(setting: str, folder: Path) -> None:
    """Refuse a folder that other nodes of the cluster do not see; what is not there yet is not made.

    Args:
        setting: that names the folder, for the message.
        folder: that every node is to write to.

    Raises:
        ValueError: naming the nodes.
        OSError: the folder cannot be written.
    """
    here = ray.get_runtime_context().get_node_id()
    others = {node["NodeID"]: node["NodeManagerAddress"] for node in alive() if node["NodeID"] != here}
    if not others:
        return
    existing = next(place for place in (folder.resolve(), *folder.resolve().parents) if place.is_dir())
    wrong = _complaints(existing, list(others))
    nodes = ", ".join(
        f"{others[node['NodeID']]} ({wrong[node['NodeID']]})" for node in alive() if node["NodeID"] in wrong
    )
    if nodes:
        advice = "it must be on storage that all nodes share, under the same path"
        raise ValueError(f"{setting}={folder}: {existing} is not shared by {nodes}; {advice}")


def _complaints(place: Path, nodes: list[str]) -> dict[str, str]:
    """What is wrong with a folder, by node."""
    with tempfile.NamedTemporaryFile(dir=place, prefix=".seqconv-shared-") as marker:
        looks = {
            node: _look.options(scheduling_strategy=NodeAffinitySchedulingStrategy(node, soft=False)).remote(
                marker.name
            )
            for node in nodes
        }
        answered, _ = ray.wait(list(looks.values()), num_returns=len(looks), timeout=ANSWER_WITHIN)
        answers = {node: _answer(look) if look in answered else "no answer" for node, look in looks.items()}
    return {node: answer for node, answer in answers.items() if answer}


@ray.remote(num_cpus=0, max_retries=0)
def _look(marker: str) -> str:
    """On another node."""
    until = time.monotonic() + SHOWN_WITHIN
    while not os.path.exists(marker):
        if time.monotonic() > until:
            return "does not see it"
        time.sleep(0.05)
    return "" if os.access(os.path.dirname(marker), os.W_OK) else "cannot write to it"


def _answer(look: ray.ObjectRef[str]) -> str:
    try:
        return ray.get(look)
    except RayError as error:
        return str(error).strip().splitlines()[-1]
