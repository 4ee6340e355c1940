#pragma once

namespace moekit {
inline constexpr const char* kVersion = "0.1.0";
}
