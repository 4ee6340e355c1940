#pragma once
#include <cmath>
#include <cstdint>
#include <limits>
#include <nlohmann/json.hpp>
#include <string>
#include <string_view>
#include <vector>

#include "model_json.hpp"
#include "moekit/error.hpp"

namespace moekit {

using Parsed = nlohmann::json;  // read by name

/// A value of the file with its place, so that every refusal says where. Nothing is used unchecked.
class Node {
 public:
  Node(const Parsed& value, const std::string& file, std::string place)
      : value_(&value), file_(&file), place_(std::move(place)) {}

  [[noreturn]] void fail(const std::string& problem) const {
    throw Error(Errc::model_format, *file_ + ": damaged model: " + (place_.empty() ? "the file" : place_) +
                                        " " + problem + "; take another copy or train again");
  }
  bool has(const char* key) const { return value_->is_object() && value_->contains(key); }
  Node at(const char* key) const {
    if (!value_->is_object()) fail("is not an object");
    const auto found = value_->find(key);
    if (found == value_->end()) fail("lacks '" + std::string(key) + "'");
    return {*found, *file_, place_.empty() ? key : place_ + "." + key};
  }
  std::size_t size() const {
    if (!value_->is_array()) fail("is not a list");
    return value_->size();
  }
  Node operator[](std::size_t i) const {
    return {(*value_)[i], *file_, place_ + "[" + std::to_string(i) + "]"};
  }

  std::uint64_t whole(std::uint64_t most = std::numeric_limits<std::uint64_t>::max()) const {
    if (!value_->is_number_unsigned()) fail("is not a whole number");
    const auto v = value_->get<std::uint64_t>();
    if (v > most) fail("is larger than " + std::to_string(most));
    return v;
  }
  std::uint32_t code() const {
    return static_cast<std::uint32_t>(whole(std::numeric_limits<std::uint32_t>::max()));
  }
  int integer() const { return static_cast<int>(whole(std::numeric_limits<int>::max())); }
  char character() const { return static_cast<char>(static_cast<unsigned char>(whole(255))); }
  bool flag() const {
    if (!value_->is_boolean()) fail("is neither true nor false");
    return value_->get<bool>();
  }
  double number() const {
    if (!value_->is_number()) fail("is not a number");
    const auto v = value_->get<double>();
    if (!std::isfinite(v)) fail("is not a finite number");
    return v;
  }
  double number_or_nan() const {
    return value_->is_null() ? std::numeric_limits<double>::quiet_NaN() : number();
  }
  std::vector<double> numbers() const {
    std::vector<double> out(size());
    for (std::size_t i = 0; i < out.size(); ++i) out[i] = (*this)[i].number();
    return out;
  }
  std::string text() const;
  /// Without a copy, and without the rule for texts that are no UTF-8.
  const std::string& raw_text() const {
    if (!value_->is_string()) fail("is not a text");
    return value_->get_ref<const std::string&>();
  }
  std::vector<std::string> texts() const {
    std::vector<std::string> out;
    for (std::size_t i = 0; i < size(); ++i) out.push_back((*this)[i].text());
    return out;
  }
  template <std::size_t N>
  std::size_t one_of(const std::string_view (&names)[N]) const {
    const std::string name = text();
    std::string known;
    for (std::size_t i = 0; i < N; ++i) {
      if (names[i] == name) return i;
      known += (i ? ", " : "") + std::string(names[i]);
    }
    fail("is '" + printable(name) + "', not one of " + known);
  }

 private:
  const Parsed* value_;
  const std::string* file_;
  std::string place_;
};

}  // namespace moekit
