#include "model_node.hpp"

namespace moekit {

std::string Node::text() const {
  if (value_->is_string()) return value_->get<std::string>();
  if (!value_->is_object()) fail("is not a text");
  const std::string hex = at("hex").text();
  const auto digit = [&](char c) {
    if (c >= '0' && c <= '9') return c - '0';
    if (c >= 'a' && c <= 'f') return c - 'a' + 10;
    fail("is not made of hexadecimal digits");
  };
  if (hex.size() % 2) fail("is not made of pairs of hexadecimal digits");
  std::string out;
  for (std::size_t i = 0; i < hex.size(); i += 2)
    out += static_cast<char>(digit(hex[i]) * 16 + digit(hex[i + 1]));
  return out;
}

}  // namespace moekit
