#!/usr/bin/env bash
# ./run demo: a regression and a classification model, from bundled data to scores and diagnoses.
# Everything is written to demo-out/. Call it through ./run demo, which builds the program first.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

moekit=build/moekit
out=demo-out
rm -rf "$out"
mkdir -p "$out"
began=$SECONDS

title() { printf '\n== %s\n\n' "$*"; }
text() { printf '%s\n' "$@"; }

# Shows a command as one would type it, then runs it; the program's notes and summaries appear as usual.
show() {
  printf '$ %s\n' "$*"
  "$@" 2>&1
  printf '\n'
}

# Splits INPUT into $out/NAME-train.csv and $out/NAME-test.csv: rows for which the awk CONDITION holds are held
# out.
split_rows() {
  local input=$1 name=$2 condition=$3
  awk -F, -v train="$out/$name-train.csv" -v test="$out/$name-test.csv" \
    "NR == 1 { print > train; print > test; next } { print > (($condition) ? test : train) }" "$input"
  text "$input: $(($(wc -l <"$out/$name-train.csv") - 1)) rows to train on ($out/$name-train.csv)," \
    "$(($(wc -l <"$out/$name-test.csv") - 1)) held out ($out/$name-test.csv)." ""
}

title "Regression: hourly wages in Ontario, 1994 (two categories, missing values, missing targets)"
split_rows data/wages.csv wages 'NR % 5 == 0'
text "Four experts; the ridge is found from the data, so nothing is tuned:" ""
show $moekit train $out/wages-train.csv --target wages --experts 4 -o $out/wages.moe --report $out/wages-report.json
text "A single expert (plain ridge regression) to compare with:" ""
show $moekit train $out/wages-train.csv --target wages --experts 1 -q -o $out/wages-1.moe
text "Both on the held-out rows. Lower nll and rmse are better; coverage_90 should be 0.90:" ""
show $moekit evaluate $out/wages-1.moe $out/wages-test.csv
show $moekit evaluate $out/wages.moe $out/wages-test.csv
text "Predictions for them: mean, standard deviation, quantiles, and the expert that is in charge:" ""
show $moekit predict $out/wages.moe $out/wages-test.csv --quantiles 0.05,0.5,0.95 --regions -o $out/wages-predictions.csv
text "The first rows of $out/wages-predictions.csv:"
head -n 4 $out/wages-predictions.csv
text "" "Who is in charge where, and what does each expert do there?" ""
show $moekit diagnose $out/wages.moe $out/wages-test.csv -o $out/wages-diagnosis
text "$out/wages-diagnosis/experts.csv, one expert a line:"
cat $out/wages-diagnosis/experts.csv

title "Classification: four vowels from two formants (Peterson & Barney 1952), new speakers held out"
split_rows data/pb52_jacobs4.csv vowels '$2 % 4 == 0'
inputs=(--target Vowel --drop Type,Speaker,Repetition)
show $moekit train $out/vowels-train.csv "${inputs[@]}" --experts 4 -o $out/vowels.moe
text "A single expert (plain logistic regression) to compare with:" ""
show $moekit train $out/vowels-train.csv "${inputs[@]}" --experts 1 -q -o $out/vowels-1.moe
show $moekit evaluate $out/vowels-1.moe $out/vowels-test.csv
show $moekit evaluate $out/vowels.moe $out/vowels-test.csv
show $moekit predict $out/vowels.moe $out/vowels-test.csv --id Speaker -o $out/vowels-predictions.csv
text "The first rows of $out/vowels-predictions.csv:"
head -n 4 $out/vowels-predictions.csv
text ""
show $moekit diagnose $out/vowels.moe $out/vowels-test.csv -o $out/vowels-diagnosis --svg
text "What the model file holds:" ""
show $moekit inspect $out/vowels.moe

title "A picture: head acceleration in a simulated motorcycle accident (Silverman 1985), one input"
show $moekit train data/mcycle.csv --target accel --experts 4 -q -o $out/mcycle.moe
show $moekit diagnose $out/mcycle.moe data/mcycle.csv -o $out/mcycle-diagnosis --svg

title "Files"
text "$out/wages.moe, $out/vowels.moe        models (readable text; build/moekit inspect MODEL)" \
  "$out/wages-report.json            everything that the fit of wages knows: starts, trace, criteria" \
  "$out/*-predictions.csv            predictions of the held-out rows" \
  "$out/*-diagnosis/                 partition.csv, experts.csv, coefficients.csv, regions.csv, summary.json" \
  "$out/*-diagnosis/report.html      all of that as a page: open it in a browser" \
  "$out/*-diagnosis/*.svg            its main plots as pictures (--svg)" \
  "" "Next: build/moekit --help, and docs/cli.md. The demo took $((SECONDS - began)) s."
