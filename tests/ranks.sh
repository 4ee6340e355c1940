#!/bin/sh
# Usage: ranks.sh MOEKIT MPIRUN DATA. The real program on 1, 2, 3 and 8 ranks of mpirun: the same model, one
# message when it fails, checkpoints. Run by ctest when moekit is built with MPI.
set -u
moekit=$1 mpirun=$2 data=$3
work=$(mktemp -d) || exit 1
trap 'rm -rf "$work"' EXIT
cd "$work" || exit 1
export OMPI_ALLOW_RUN_AS_ROOT=1 OMPI_ALLOW_RUN_AS_ROOT_CONFIRM=1 OMPI_MCA_rmaps_base_oversubscribe=1
# Containers may forbid processes to read each other's memory.
export OMPI_MCA_btl_vader_single_copy_mechanism=none
failures=0
fail() { echo "FAILED: $1"; failures=$((failures + 1)); }

"$moekit" simulate --rows 20000 --inputs 4 --experts 3 -q -o big.csv 2>simulate.log || cat simulate.log
check() {
  name=$1
  shift
  "$moekit" train "$@" -q -o "$name.moe" || fail "$name: the plain fit"
  for n in 1 2 3 8; do
    "$mpirun" -n $n "$moekit" train "$@" -q --threads 1 -o "$name-$n.moe" 2>err || { cat err; fail "$name on $n ranks"; }
    cmp "$name.moe" "$name-$n.moe" || fail "$name: $n ranks give another model"
  done
}
check softmax "$data/boston.csv" --target medv --restarts 3
check sampled big.csv --target y --experts 3 --restarts 3
check tree "$data/mcycle.csv" --target accel --gate tree --restarts 3
check auto "$data/mcycle.csv" --target accel --experts auto --restarts 3
check adam "$data/iris.csv" --target target --fit adam --epochs 5 --restarts 2

# Every rank fails in the same way: one line of ours, the documented code, no file.
"$mpirun" -n 3 "$moekit" train "$data/boston.csv" --target nothing -o none.moe 2>err
code=$?
[ $code -eq 64 ] || [ $code -eq 65 ] || fail "a bad column ends with code $code"
[ "$(grep -c '^moekit: ' err)" = 1 ] || { cat err; fail "a bad column has not one message"; }
[ ! -e none.moe ] || fail "a failed fit left a model"
# One rank fails alone: it cannot read what the others can.
cat >one.sh <<END
#!/bin/sh
[ "\${OMPI_COMM_WORLD_RANK:-\${PMI_RANK:-0}}" = 1 ] && exec "$moekit" train absent.csv --target medv -o none.moe
exec "$moekit" train big.csv --target y -q -o none.moe
END
chmod +x one.sh
"$mpirun" -n 3 ./one.sh 2>err
[ $? -eq 66 ] || fail "a rank without its file: another exit code"
[ "$(grep -c '^moekit: ' err)" = 1 ] || { cat err; fail "a rank without its file has not one message"; }
[ ! -e none.moe ] || fail "a failed rank left a model"

# Killed, then resumed on another number of ranks.
"$mpirun" -n 2 "$moekit" train big.csv --target y --experts 3 --restarts 3 -q -o r.moe --checkpoint c --checkpoint-every 1 2>err &
sleep 2
kill -9 $! 2>/dev/null
wait $! 2>/dev/null
"$mpirun" -n 3 "$moekit" train big.csv --target y --experts 3 --restarts 3 -q -o r.moe --checkpoint c --resume || fail "resuming"
cmp sampled.moe r.moe || fail "a resumed fit on ranks gives another model"
[ ! -e c ] || fail "the checkpoint was left"
[ $failures -eq 0 ] && echo "all of it holds"
exit $failures
