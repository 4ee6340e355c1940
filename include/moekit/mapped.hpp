#pragma once

namespace moekit {

/// The file whose mapping holds this address, as messages name it, or null. For a handler of SIGBUS: when
/// somebody cuts a file short while it is mapped, the next look at what is gone raises that signal. Safe to
/// call from a signal handler; the text lives as long as the mapping.
const char* mapped_file_at(const void* address) noexcept;

}  // namespace moekit
