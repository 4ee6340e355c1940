#pragma once
#include <stdexcept>
#include <string>
#include <string_view>

namespace moekit {

/// What kind of failure this is; the command line turns each into one exit code.
enum class Errc {
  usage,          ///< an option or argument makes no sense: exit 64
  data,           ///< the rows can't be read or used: exit 65
  model_format,   ///< a model file is damaged, cut or from another version: exit 65
  numeric,        ///< a sum is not a number: exit 65
  no_input,       ///< a file does not exist or can't be opened: exit 66
  internal,       ///< a bug of ours: exit 70
  cannot_create,  ///< an output can't be created: exit 73
  io,             ///< reading or writing failed halfway: exit 74
};

/// The only exception that the library throws on purpose. The message is one line that names the place,
/// what is wrong there, and the remedy: "train.csv:118: column 'age': 'N/A' is not a number; name it with
/// --missing N/A".
class Error : public std::runtime_error {
 public:
  Error(Errc code, const std::string& message) : std::runtime_error(message), code_(code) {}
  Errc code() const noexcept { return code_; }

 private:
  Errc code_;
};

/// The member of `known` nearest to `name` by edit distance, or empty when none is near: "did you mean?".
template <class Range>
std::string nearest_name(std::string_view name, const Range& known);

/// Edit distance with transpositions (optimal string alignment), in bytes.
std::size_t edit_distance(std::string_view a, std::string_view b);

template <class Range>
std::string nearest_name(std::string_view name, const Range& known) {
  std::string best;
  std::size_t distance = name.size() / 3 + 2;  // further than this is no typing error
  for (const auto& candidate : known) {
    const std::size_t d = edit_distance(name, candidate);
    if (d < distance && d < std::string_view(candidate).size()) {
      distance = d;
      best = std::string(candidate);
    }
  }
  return best;
}

}  // namespace moekit
