#!/usr/bin/env bash
# 1. the search as a user would run it; 2. its first 8 (random) trials trained to the end;
# 3. TPE against random search, three seeds: each pair side by side on one core each, stopped after SECONDS.
# usage: experiments/windowed_cifar10/run.sh CIFAR_ROOT [OUT] [SECONDS]
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."
root=$1
out=${2:-runs/windowed_cifar10}
seconds=${3:-400}
python=${PYTHON:-.venv/bin/python}
search=("$python" search.py search_space=windowed dataset=cifar10 "dataset.root=$root" dataset.verify=false)

"${search[@]}" run="$out/main"
"${search[@]}" run="$out/first-8" trials=8 scheduler=none
for seed in 0 1 2; do
  for searcher in tpe random; do
    timeout -s INT "$seconds" "${search[@]}" run="$out/$searcher-$seed" searcher="$searcher" seed="$seed" \
      trials=1000 concurrency=1 backend.cpus=1 trial.share=0.01 trial.batch_size=32 trial.validation_limit=500 &
  done
  wait
done
