#!/usr/bin/env bash
# pages.sh MOEKIT DIR: the reports that the browser test visits, from bundled data and from a hostile table.
set -euo pipefail
moekit=$(realpath "$1")
mkdir -p "$2"
out=$(realpath "$2")
cd "$(dirname "${BASH_SOURCE[0]}")/../.."
rm -f "$out"/*.html

# page NAME DATA TRAIN-OPTION ...
page() {
  local name=$1 table=$2
  shift 2
  "$moekit" train "$table" "$@" -q -o "$out/$name.moe"
  "$moekit" report "$out/$name.moe" "$table" -q -o "$out/$name.html"
}

page vowels data/pb52_jacobs4.csv --target Vowel --drop Type,Speaker,Repetition --experts 4 --restarts 2
page motorcycle data/mcycle.csv --target accel --experts 4 --restarts 4
page wages data/wages.csv --target wages --experts 3 --restarts 1 --gate tree --max-iterations 40
page two-targets data/iris.csv --target sepal_length,petal_width --experts 2 --restarts 1
page cancer data/breast_cancer.csv --target target --experts 3 --restarts 1 --max-iterations 20
page single data/faithful.csv --target eruptions --experts 1

# Names that would be markup, run scripts or turn the text around.
awk 'BEGIN {
  for (i = 0; i < 10000; i++) long = long "x"
  printf "<script>alert(1)</script>,\"a\"\"b<img src=x onerror=alert(2)>\",\331\205\330\261\330\255\330\250\330\247,%s,y\n", long
  for (i = 0; i < 90; i++)
    printf "%d,%s,%d,%s,%d\n", i, i % 3 ? "</script><script>alert(3)</script>" : "&lt;b&gt;", i * i % 7, i % 2 ? "\"quoted, text\"" : long, i % 2 ? i : -2 * i
}' >"$out/hostile.csv"
page hostile "$out/hostile.csv" --target y --experts 2 --restarts 2
