#pragma once
#include <string>
#include <string_view>
#include <vector>

#include "harmless.hpp"

namespace moekit::cli {

/// The shortest text that reads back as the same double. NaN: "nan".
std::string shortest(double value);
/// For people: `digits` significant digits, no needless zeros, exponents only where they help.
std::string brief(double value, int digits = 4);
/// Like brief(), for what is counted or shared out: traces below 0.001 are 0.
std::string brief_amount(double value, int digits = 4);
/// "0.05 s", "12.3 s", "140 s".
std::string seconds_text(double seconds);
/// A share as per cent: "12.5 %".
std::string percent(double share);
inline constexpr std::size_t kBarWidth = 10;
/// A bar of at most `width` characters for a value between 0 and `most`: blocks down to an eighth of a
/// character, or '#' where `blocks` is false.
std::string bar(double value, double most, std::size_t width, bool blocks);
/// "1 row", "2 rows"; thousands are not separated, so that the number can be pasted.
std::string counted(std::uint64_t n, std::string_view noun);
/// The line below a list that stopped at `most` of `all`; empty if it did not.
std::string more_line(std::size_t all, std::size_t most, std::string_view noun);

std::string join(const std::vector<std::string>& parts, std::string_view separator);
/// Pieces between commas, without surrounding blanks; empty pieces are left out. A comma inside double quotes
/// belongs to its piece: a,"b, c" is two pieces.
std::vector<std::string> split_commas(const std::string& text);

/// Characters as a terminal counts them (UTF-8 code points).
std::size_t display_width(std::string_view text);
/// Cuts to `width` characters, with "..." at the end when something went.
std::string shorten(const std::string& text, std::size_t width);
/// Breaks text at blanks so that lines stay within `width`; later lines begin with `indent` blanks.
std::string wrapped(const std::string& text, std::size_t width, std::size_t first, std::size_t indent);

/// Aligned columns. Numbers go to the right when the column is declared so.
class TextTable {
 public:
  enum class Align { left, right };
  void column(std::string heading, Align align = Align::left);
  void row(std::vector<std::string> cells);
  std::size_t rows() const { return rows_.size(); }
  /// Lines with `indent` blanks before; no trailing blanks.
  std::string text(std::size_t indent = 0, bool headings = true) const;

 private:
  std::vector<std::string> headings_;
  std::vector<Align> align_;
  std::vector<std::vector<std::string>> rows_;
};

}  // namespace moekit::cli
