#!/usr/bin/env bash
# A search, or any other command of this project, on the nodes of a SLURM job:
#   sbatch --nodes=4 --gpus-per-node=8 deploy/slurm.sh search.py run=/shared/runs/a dataset.root=/shared/data trial=gpu
# Submitted again, the same command goes on where it was: run= exists by then.
#SBATCH --job-name=seqconv-nas
#SBATCH --nodes=2
#SBATCH --ntasks-per-node=1
#SBATCH --exclusive
#SBATCH --time=24:00:00
#SBATCH --no-kill
#SBATCH --requeue
set -euo pipefail

# SLURM runs a copy of this file: the checkout, on storage that all nodes share, is where sbatch was called.
cd "${SLURM_SUBMIT_DIR:?this is a job for sbatch}"
python="$PWD/.venv/bin/python"
[ -x "$python" ] || { echo "error: no $python: run make setup in the checkout, and call sbatch there" >&2; exit 2; }
[ $# -gt 0 ] || { echo "error: no command; such as: sbatch deploy/slurm.sh search.py run=/shared/runs/a" >&2; exit 2; }
PATH="$PWD/.venv/bin:$PATH"

head=$(scontrol show hostnames "$SLURM_JOB_NODELIST" | head -n 1)
port=$((20000 + SLURM_JOB_ID % 10000)) # another than that of other jobs, and none of those that Ray gives to workers

# Every Ray process listens on the network of the cluster: with a token, nobody else's commands are run.
RAY_AUTH_TOKEN=$(python -c 'import secrets; print(secrets.token_hex(32))')
export PATH RAY_AUTH_TOKEN RAY_AUTH_MODE=token
# A trial that takes too much memory is not to end the search with it.
export RAY_memory_monitor_refresh_ms=0 RAY_USAGE_STATS_ENABLED=0
export RAY_SYMMETRIC_RUN_CLUSTER_WAIT_TIMEOUT=300 # seconds for the first node to start

# Ray on all nodes, and the command on the first one: it begins there, the others join. One that is lost ends no other.
exec srun --nodes="$SLURM_JOB_NUM_NODES" --ntasks="$SLURM_JOB_NUM_NODES" --ntasks-per-node=1 \
  --no-kill --kill-on-bad-exit=0 \
  ray symmetric-run --address "$head:$port" --num-cpus "${SLURM_CPUS_ON_NODE:-1}" -- \
  python "$@" backend.address="$head:$port" backend.wait=300
