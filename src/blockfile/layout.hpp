#pragma once
#include <array>
#include <bit>
#include <cstdint>
#include <string_view>

// docs/formats.md says how a block file is laid out.
namespace moekit::blocks {

static_assert(std::endian::native == std::endian::little, "block files are little-endian");

inline constexpr std::string_view kMagic = "moekit-blocks 1\n";
inline constexpr std::string_view kAnyVersion = "moekit-blocks ";
inline constexpr std::string_view kEndMagic = "blocks-1";

/// How the cells of one column are stored in one block.
enum class Encoding : std::uint32_t {
  numbers = 0,  ///< rows x float64; missing: a NaN whose low bits say which of the column's missing texts
  plain = 1,    ///< the same, and every number is spelt as plain_text() spells it
  codes = 2,    ///< rows x uint32: texts of the column's dictionary
  texts = 3     ///< rows x uint32, their lengths, then their bytes
};

inline constexpr std::uint64_t kMissing = 0x7FF8000000000000u;  ///< + number of the missing text
inline constexpr std::size_t kMostMissingTexts = 1000;

struct BlockHead {
  std::uint32_t rows = 0;
  std::uint32_t columns = 0;
  std::uint64_t line = 0;       ///< where the first row began in the imported file
  std::uint32_t all_lines = 0;  ///< 1: every row's line follows, rows x uint64; 0: one row a line
  std::uint32_t reserved = 0;
};

struct ChunkHead {
  std::uint32_t encoding = 0;
  std::uint32_t bytes = 0;  ///< padding to a multiple of 8 follows
};

/// Where a block lies.
struct BlockPlace {
  std::uint64_t offset = 0;
  std::uint64_t bytes = 0;
  std::uint32_t crc = 0;
  std::uint32_t reserved = 0;
};

/// The last bytes of a file.
struct Trailer {
  std::uint64_t offset = 0, bytes = 0;  ///< of the directory
  std::uint32_t crc = 0;                ///< of the directory
  std::uint32_t reserved = 0;
  std::array<char, 8> magic{};
};
static_assert(sizeof(BlockHead) == 24 && sizeof(ChunkHead) == 8 && sizeof(BlockPlace) == 24 &&
              sizeof(Trailer) == 32);

inline std::size_t padded(std::size_t bytes) { return (bytes + 7) / 8 * 8; }

/// Whether `text` is how plain_text() spells its number: digits without exponent, blanks, needless zeros or
/// sign, at most 15 of them, so that the number says how it was written.
bool is_plain(std::string_view text, char decimal);
inline constexpr std::size_t kPlainRoom = 40;
/// Writes at most kPlainRoom characters.
char* plain_text(double value, char decimal, char* out);

}  // namespace moekit::blocks
