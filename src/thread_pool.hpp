#pragma once
#include <functional>

namespace moekit {

/// Calls work(0) on this thread and work(1) .. work(threads - 1) on others at the same time, and waits for
/// all of them. work must not throw. The others are kept for the next call: a thread that was started anew
/// would often begin some hundred microseconds late, on a core that has gone to sleep. Calls from within
/// work, or from several threads at once, start threads of their own.
void run_on_threads(int threads, const std::function<void(int)>& work);

}  // namespace moekit
