#!/bin/sh
# Everything in this folder, from the root of the checkout: sh experiments/searchers/run.sh
set -e
export OMP_NUM_THREADS=1  # the models are small: threads cost more than they bring
PYTHON=${PYTHON:-.venv/bin/python}
regret() { "$PYTHON" benchmarks/searchers/regret.py --processes "${PROCESSES:-2}" "$@"; }

# One objective, the mean over the seeds or one seed, on three data sets
for data in cifar10 cifar100 imagenet16_120; do
  for observe in mean seed; do
    regret --data $data --observe $observe --contenders random evolution local_search tpe guided optuna_tpe optuna_nsga2
  done
done

# The same with 64 trials at a time
regret --workers 64 --contenders random evolution local_search guided optuna_tpe

# Two objectives
regret --objectives error,macs --contenders random evolution nsga2 guided optuna_tpe optuna_nsga2

# Trials that are stopped early, for a tenth of an hour
regret --table experiments/window_table/window_table.parquet --hours 0.1 --name window_table_mean \
  --contenders random random+asha random+hyperband evolution+asha tpe+asha guided+asha guided optuna_tpe

# Milliseconds and memory
"$PYTHON" benchmarks/searchers/overhead.py --contenders random evolution local_search tpe guided optuna_tpe
