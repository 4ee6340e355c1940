#!/usr/bin/env bash
# recompute.sh MOEKIT PYTHON DIR: what diagnose says of bundled and simulated data follows from what predict says.
set -euo pipefail
moekit=$(realpath "$1")
python=$2
mkdir -p "$3"
out=$(realpath "$3")
cd "$(dirname "${BASH_SOURCE[0]}")/../.."

# recompute NAME DATA TRAIN-OPTION ...
recompute() {
  local name=$1 table=$2
  shift 2
  "$moekit" train "$table" "$@" -q -o "$out/$name.moe"
  "$python" tests/report/recompute.py "$moekit" "$out/$name.moe" "$table"
}

recompute vowels data/pb52_jacobs4.csv --target Vowel --drop Type,Speaker,Repetition --experts 4 --restarts 2
recompute motorcycle data/mcycle.csv --target accel --experts 4 --restarts 4
recompute cancer data/breast_cancer.csv --target target --experts 3 --restarts 1 --max-iterations 40
recompute wages data/wages.csv --target wages --experts 3 --restarts 1 --max-iterations 40
"$moekit" simulate -q --rows 3000 --inputs 4 --experts 6 --no-region --seed 5 -o "$out/many.csv"
recompute many "$out/many.csv" --target y --experts 256 --top-k 2 --fit adam --epochs 2
