#!/usr/bin/env bash
# TPE against random search on CIFAR-10, three seeds each in turn; then the first 8 trials of seed 0 without a scheduler.
# usage: experiments/windowed_cifar10/run.sh CIFAR_ROOT [OUT]; a second call goes on where the first was stopped.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."
root=$1
out=${2:-runs/windowed_cifar10}
python=${PYTHON:-.venv/bin/python}
search() {
  "$python" search.py search_space=windowed dataset=cifar10 dataset.root="$root" dataset.verify=false "$@"
}
for seed in 0 1 2; do
  for searcher in tpe random; do
    search searcher="$searcher" seed="$seed" run="$out/$searcher-$seed"
  done
done
search trials=8 scheduler=none seed=0 run="$out/first-8"
