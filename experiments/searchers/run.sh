#!/bin/sh
# Everything in this folder, from the root of the checkout: sh experiments/searchers/run.sh
set -e
export OMP_NUM_THREADS=1  # the models are small: threads cost more than they bring
PYTHON=${PYTHON:-.venv/bin/python}
regret() { "$PYTHON" benchmarks/searchers/regret.py --processes "${PROCESSES:-1}" "$@"; }

# One objective: the mean over the seeds, and one seed
for data in cifar10 cifar100 imagenet16_120; do
  regret --data $data --observe mean --contenders random evolution local_search guided optuna_tpe
done
regret --data cifar10 --observe seed --contenders random evolution local_search guided optuna_tpe

# Two objectives
regret --objectives error,macs --contenders random evolution nsga2 guided optuna_tpe optuna_nsga2 --budgets 200 --repeats 30

# Milliseconds and memory
"$PYTHON" benchmarks/searchers/overhead.py --contenders random evolution local_search guided optuna_tpe
# 10,000 trials, 64 at a time; the journal in main memory, so that no other use of the disk is measured
TMPDIR=/dev/shm "$PYTHON" benchmarks/searchers/scale.py --contenders guided+asha random+asha
