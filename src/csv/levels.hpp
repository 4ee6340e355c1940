#pragma once
#include <cstdint>
#include <deque>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

namespace moekit::csv {

/// Finds the code of a text among levels. When all levels are numbers, other spellings of the same number are
/// the same level (1 and 1.0).
class LevelIndex {
 public:
  LevelIndex() = default;
  LevelIndex(const std::vector<std::string>& levels, char decimal);
  /// The code, or the number of levels when there is no such level.
  std::uint32_t find(std::string_view text) const;

 private:
  struct Hash {
    using is_transparent = void;
    std::size_t operator()(std::string_view text) const { return std::hash<std::string_view>{}(text); }
  };
  std::unordered_map<std::string, std::uint32_t, Hash, std::equal_to<>> codes_;
  std::unordered_map<double, std::uint32_t> numbers_;  // only if all levels are numbers
  std::uint32_t size_ = 0;
  char decimal_ = '.';
};

/// The order of levels: by number if all are numbers, else by bytes.
/// Returns the code of each of `texts`; `sorted` gets the levels. Numbers that are equal share a code and
/// keep the text that came first.
std::vector<std::uint32_t> order_levels(const std::vector<std::string>& texts, char decimal,
                                        std::vector<std::string>& sorted);

/// The different texts of a column in order of appearance. Stops growing after `limit` of them.
class LevelCounter {
 public:
  static constexpr std::uint32_t kNone = 0xFFFFFFFFu;
  struct Level {
    std::string text;
    std::uint64_t rows = 0;
    std::uint64_t line = 0;  // where it was met first
  };

  explicit LevelCounter(std::size_t limit) : limit_(limit) {}
  /// The provisional code of text; kNone when there are too many levels for another.
  std::uint32_t add(std::string_view text, std::uint64_t line);
  const std::deque<Level>& levels() const { return levels_; }

 private:
  std::size_t limit_;
  std::deque<Level> levels_;  // a deque: the map's keys point into it
  std::unordered_map<std::string_view, std::uint32_t> codes_;
};

}  // namespace moekit::csv
