#pragma once
#ifdef __SSE2__
#include <emmintrin.h>
#endif

#include <bit>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <string_view>

namespace moekit::csv {

enum class NumberStatus { number, not_a_number, too_large, too_small };

/// Reads the whole of `text` as a decimal number: [+-] digits [mark digits] [e [+-] digits], at least one
/// digit. `value` is the double nearest to it. too_large, too_small: float64 can't hold it (infinity, or zero
/// for a number that is not zero).
NumberStatus parse_number(std::string_view text, char decimal, double& value);

namespace detail {

/// 1 / 5^k as `bits` * 2^-shift, rounded down, with the top bit set.
struct Reciprocal {
  std::uint64_t bits = 0;
  int shift = 0;
};

inline constexpr int kReciprocals = 28;  // 5^27 is the last power of 5 below 2^64

struct ReciprocalTable {
  Reciprocal of[kReciprocals];
  constexpr ReciprocalTable() : of{} {
    std::uint64_t power = 1;
    for (int k = 0; k < kReciprocals; ++k, power *= 5) {
      // Long division of 2^shift by 5^k; the first quotient bit that is set is the 64th from the end.
      int shift = 63;
      std::uint64_t rest = 1;
      while (rest < power) rest <<= 1, ++shift;
      rest -= power;
      std::uint64_t bits = 1;
      for (int i = 0; i < 63; ++i) {
        rest <<= 1;
        bits <<= 1;
        if (rest >= power) rest -= power, bits |= 1;
      }
      of[k] = {bits, shift};
    }
  }
};
inline constexpr ReciprocalTable kReciprocal{};

inline constexpr double kPowersOfTen[] = {1e0,  1e1,  1e2,  1e3,  1e4,  1e5,  1e6,  1e7,
                                          1e8,  1e9,  1e10, 1e11, 1e12, 1e13, 1e14, 1e15,
                                          1e16, 1e17, 1e18, 1e19, 1e20, 1e21, 1e22};
inline constexpr std::uint64_t kScales[] = {1, 10, 100, 1000, 10000, 100000, 1000000, 10000000, 100000000};

/// How many of the 8 bytes are digits before the first other byte.
inline int leading_digits(std::uint64_t chunk) {
  // A byte is a digit when its high half is 3 and stays 3 after adding 6.
  const std::uint64_t other = ((chunk & 0xF0F0F0F0F0F0F0F0u) ^ 0x3030303030303030u) |
                              (((chunk + 0x0606060606060606u) & 0xF0F0F0F0F0F0F0F0u) ^ 0x3030303030303030u);
  return std::countr_zero(other) / 8;  // 8 when all are digits
}

/// The value of 8 digits, the first in the lowest byte.
inline std::uint64_t eight_digits(std::uint64_t chunk) {
  chunk = (chunk & 0x0F0F0F0F0F0F0F0Fu) * 2561 >> 8;
  chunk = (chunk & 0x00FF00FF00FF00FFu) * 6553601 >> 16;
  return (chunk & 0x0000FFFF0000FFFFu) * 42949672960001u >> 32;
}

#ifdef __SSE2__
/// The value of 16 digits at p, the first the highest; false when one of them is none.
inline bool sixteen_digits(const char* p, std::uint64_t& value) {
  const __m128i text = _mm_loadu_si128(reinterpret_cast<const __m128i*>(p));
  const __m128i digit = _mm_sub_epi8(text, _mm_set1_epi8('0'));
  const __m128i nine = _mm_set1_epi8(9);
  if (_mm_movemask_epi8(_mm_cmpeq_epi8(_mm_min_epu8(digit, nine), digit)) != 0xFFFF) return false;
  const __m128i high = _mm_mullo_epi16(_mm_and_si128(digit, _mm_set1_epi16(0xFF)), _mm_set1_epi16(10));
  const __m128i pairs = _mm_add_epi16(high, _mm_srli_epi16(digit, 8));
  const __m128i fours = _mm_madd_epi16(pairs, _mm_set1_epi32(1 << 16 | 100));
  const __m128i packed = _mm_packs_epi32(fours, fours);
  const auto eights =
      static_cast<std::uint64_t>(_mm_cvtsi128_si64(_mm_madd_epi16(packed, _mm_set1_epi32(1 << 16 | 10000))));
  value = (eights & 0xFFFFFFFFu) * 100000000u + (eights >> 32);
  return true;
}
#endif

/// Adds the digits at p to the mantissa, which may wrap after the 19th; returns where they end.
/// May read 15 bytes past the first byte that is no digit.
inline const char* take_digits(const char* p, std::uint64_t& mantissa) {
  static_assert(std::endian::native == std::endian::little,
                "digits are taken eight at a time, lowest byte first");
#ifdef __SSE2__
  if (std::uint64_t value; sixteen_digits(p, value)) {
    mantissa = mantissa * 10'000'000'000'000'000u + value;
    p += 16;
  }
#endif
  for (;;) {
    std::uint64_t chunk;
    std::memcpy(&chunk, p, 8);
    const int n = leading_digits(chunk);
    if (n < 8) {
      // Shifted in zero bytes count as zeros in front; two shifts, because one by 64 is undefined. The number
      // of digits is not branched on: it varies from cell to cell, and a wrong guess costs more than all the
      // rest.
      mantissa = mantissa * kScales[n] + eight_digits(chunk << 1 << (63 - 8 * n));
      return p + n;
    }
    mantissa = mantissa * kScales[8] + eight_digits(chunk);
    p += 8;
  }
}

/// Zeros in front of the first other digit, from begin on.
inline long leading_zeros(const char* p, char decimal) {
  long n = 0;
  for (; *p == '0' || *p == decimal; ++p) n += *p == '0';
  return n;
}

/// mantissa * 10^-k correctly rounded; false in the rare case that one product of 64 bits can't tell.
/// After Lemire, Number parsing at a gigabyte per second (2021), cut down to the range that files are full
/// of.
inline bool divide_by_ten(std::uint64_t mantissa, int k, double& value) {
  const Reciprocal& r = kReciprocal.of[k];
  const int zeros = std::countl_zero(mantissa);
  __extension__ using Wide = unsigned __int128;
  const auto high = static_cast<std::uint64_t>(static_cast<Wide>(mantissa << zeros) * r.bits >> 64);
  const int drop = 10 + static_cast<int>(high >> 63);
  const std::uint64_t half = std::uint64_t{1} << (drop - 1);
  // The true product lies in [high, high + 2): near a boundary of rounding it has to be done exactly.
  const std::uint64_t below = high & (half - 1);
  if (below == 0 || below >= half - 2) return false;
  const std::uint64_t rounded = (high >> drop) + ((high & half) != 0);
  // rounded * 2^exponent with 2^52 <= rounded <= 2^53: the bit above the fraction adds itself to the
  // exponent.
  const int exponent = drop + 64 - zeros - r.shift - k;
  value = std::bit_cast<double>((static_cast<std::uint64_t>(1023 + 51 + exponent) << 52) + rounded);
  return true;
}

}  // namespace detail

/// The fast way for numbers as files mostly hold them: starts at p, returns where the number ends, or null
/// when it has another shape or needs more care (then use parse_number). May read 16 bytes past the number,
/// so the text must be followed by at least that many readable bytes, the first of them no digit.
[[gnu::always_inline]] inline const char* parse_number_fast(const char* p, char decimal, double& value) {
  const bool negative = *p == '-';
  p += negative;
  std::uint64_t mantissa = 0, chunk;
  const char* const begin = p;
  std::memcpy(&chunk, p, 8);
  const int whole = detail::leading_digits(chunk);
  if (whole == 1) {  // most numbers of files: the shortest way
    mantissa = chunk & 15;
    ++p;
  } else {
    p = detail::take_digits(p, mantissa);
  }
  long digits = p - begin, exponent = 0;
  if (*p == decimal) {
    const char* const fraction = ++p;
    p = detail::take_digits(p, mantissa);
    exponent = fraction - p;
    digits -= exponent;
  }
  if (digits == 0) return nullptr;
  if (digits > 19 && digits - detail::leading_zeros(begin, decimal) > 19) return nullptr;
  if ((*p | 0x20) == 'e') {
    const bool down = p[1] == '-';
    p += 1 + (down || p[1] == '+');
    if (static_cast<unsigned char>(*p - '0') > 9) return nullptr;
    int e = 0;
    const char* const first = p;
    while (static_cast<unsigned char>(*p - '0') <= 9) e = e * 10 + (*p++ - '0');
    if (p - first > 4) return nullptr;
    exponent += down ? -e : e;
  }
  constexpr std::uint64_t exact = std::uint64_t{1} << 53;
  // Numbers of 16 and 17 digits stand side by side in files: both go the same way, or the processor would
  // guess wrong at every third one.
  constexpr std::uint64_t long_number = 1'000'000'000'000'000;
  const bool done = mantissa >= long_number && exponent <= 0 && exponent > -detail::kReciprocals &&
                    detail::divide_by_ten(mantissa, static_cast<int>(-exponent), value);
  if (!done) {
    if (mantissa > exact || exponent < -22 || exponent > 22) return nullptr;
    // Clinger: both are exact doubles, so one operation rounds once.
    value = static_cast<double>(mantissa);
    value = exponent < 0 ? value / detail::kPowersOfTen[-exponent] : value * detail::kPowersOfTen[exponent];
  }
  value =
      std::bit_cast<double>(std::bit_cast<std::uint64_t>(value) | static_cast<std::uint64_t>(negative) << 63);
  return p;
}

}  // namespace moekit::csv
