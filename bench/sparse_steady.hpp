#pragma once

/// Seconds of one run of `work` (which says how long it took) once its threads are awake and what it reads is
/// as near as it can be: runs of 30 ms are left out, then those of 30 ms are averaged. After a rest of 10 ms
/// a second thread may start some milliseconds late on a virtual machine.
template <class Work>
double steady(const Work& work) {
  constexpr double kAwake = 0.03, kTimed = 0.03;
  for (double spent = 0; spent < kAwake;) spent += work();
  double total = 0;
  int runs = 0;
  for (; total < kTimed; ++runs) total += work();
  return total / runs;
}
