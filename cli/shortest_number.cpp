#include "shortest_number.hpp"

#include <array>
#include <bit>
#include <charconv>
#include <cstdint>
#include <cstring>

namespace moekit::cli {

namespace {

__extension__ using Wide = unsigned __int128;

/// Doubles below 2^53 ask for these powers of ten at most.
constexpr int kMostPower = 325;
constexpr int kHiddenBit = 52, kBias = 1075;

struct Power {
  std::uint64_t high, low;
};

/// The first 128 bits of 10^0, 10^1, .., rounded up: those of the powers of five, kept whole in `whole`.
constexpr std::array<Power, kMostPower + 1> powers_of_ten() {
  std::array<Power, kMostPower + 1> out = {};
  std::array<std::uint32_t, 28> whole = {1};  // least first; 5^325 has 755 bits
  std::size_t words = 1;
  for (Power& power : out) {
    std::uint64_t top[2] = {0, 0};
    const std::size_t bits = 32 * words - static_cast<std::size_t>(std::countl_zero(whole[words - 1]));
    bool more = false;
    for (std::size_t bit = 0; bit < bits; ++bit) {
      const std::size_t at = bits - 1 - bit;
      const std::uint64_t one = whole[at / 32] >> (at % 32) & 1;
      if (bit < 128)
        top[bit / 64] |= one << (63 - bit % 64);
      else
        more = more || one != 0;
    }
    power = {top[0], top[1] + (more ? 1 : 0)};
    if (more && power.low == 0) ++power.high;
    std::uint64_t carry = 0;
    for (std::size_t w = 0; w < words; ++w) {
      carry += std::uint64_t{5} * whole[w];
      whole[w] = static_cast<std::uint32_t>(carry);
      carry >>= 32;
    }
    if (carry != 0) whole[words++] = static_cast<std::uint32_t>(carry);
  }
  return out;
}

constexpr std::array<Power, kMostPower + 1> kPowers = powers_of_ten();

/// floor(log2(10^power)) for the powers above.
constexpr int log2_of_ten(int power) { return power * 1741647 >> 19; }

/// The first bits of factor x power, the last of them set where bits behind it are ("round to odd").
std::uint64_t round_to_odd(Power power, std::uint64_t factor) {
  const Wide low = Wide{power.low} * factor;
  const Wide all = Wide{power.high} * factor + static_cast<std::uint64_t>(low >> 64);
  return static_cast<std::uint64_t>(all >> 64) | (static_cast<std::uint64_t>(all) > 1 ? 1 : 0);
}

struct Decimal {
  std::uint64_t digits;
  int exponent;  // of ten
};

/// The shortest decimal number inside the interval that rounds to mantissa x 2^exponent, of several the
/// closest: R. Giulietti, "The Schubfach way to render doubles" (2021). The interval's ends and the value are
/// kept with two bits more than the candidates, which is why there are fours and forties.
Decimal shortest_decimal(std::uint64_t mantissa, int exponent) {
  const bool even = mantissa % 2 == 0;
  // Below a power of two the neighbour is only half as far.
  const bool near_below = mantissa == std::uint64_t{1} << kHiddenBit;
  const int k = (exponent * 1262611 - (near_below ? 524031 : 0)) >> 22;
  const int shift = exponent + log2_of_ten(-k) + 1;
  const Power power = kPowers[static_cast<std::size_t>(-k)];
  const std::uint64_t lower = round_to_odd(power, (4 * mantissa - (near_below ? 1 : 2)) << shift) + !even;
  const std::uint64_t value = round_to_odd(power, 4 * mantissa << shift);
  const std::uint64_t upper = round_to_odd(power, (4 * mantissa + 2) << shift) - !even;
  const std::uint64_t below = value / 4, shorter = below / 10;
  const bool shorter_inside = lower <= 40 * shorter, next_inside = 40 * shorter + 40 <= upper;
  const bool below_inside = lower <= 4 * below, above_inside = 4 * below + 4 <= upper;
  const std::uint64_t middle = 4 * below + 2;
  const bool closer_above = value > middle || (value == middle && below % 2 == 1);
  // Chosen without branches, which would be guessed wrong for every other number.
  const bool is_short = shorter_inside != next_inside, one_inside = below_inside != above_inside;
  const std::uint64_t up = one_inside ? above_inside : closer_above;
  const std::uint64_t mask = -std::uint64_t{is_short};
  return {(mask & (shorter + next_inside)) | (~mask & (below + up)), k + is_short};
}

struct Pairs {
  char text[200];
};

constexpr Pairs kPairs = [] {
  Pairs out = {};
  for (int i = 0; i < 100; ++i) {
    out.text[2 * i] = static_cast<char>('0' + i / 10);
    out.text[2 * i + 1] = static_cast<char>('0' + i % 10);
  }
  return out;
}();

/// Letters of the longest whole number below 2^53 x 40, and a length that copies them in one go.
constexpr int kDigits = 17, kChunk = 24;
static_assert(kNumberRoom >= 2 + 3 + 2 * kChunk);

[[gnu::always_inline]] inline void write_pair(std::uint32_t number, char* to) {
  std::memcpy(to, kPairs.text + 2 * number, 2);
}

/// Eight digits, with zeros in front; no step waits for more than two others.
[[gnu::always_inline]] inline void write_eight(std::uint32_t number, char* to) {
  const std::uint32_t high = number / 10000, low = number % 10000;
  write_pair(high / 100, to);
  write_pair(high % 100, to + 2);
  write_pair(low / 100, to + 4);
  write_pair(low % 100, to + 6);
}

/// All seventeen digits, with zeros in front.
void write_digits(std::uint64_t digits, char* to) {
  constexpr std::uint64_t kEight = 100'000'000;
  const std::uint64_t above = digits / kEight;
  to[0] = static_cast<char>('0' + above / kEight);
  write_eight(static_cast<std::uint32_t>(above % kEight), to + 1);
  write_eight(static_cast<std::uint32_t>(digits % kEight), to + 9);
}

/// e, sign and two digits or three.
char* write_power(int power, char* to) {
  *to++ = 'e';
  *to++ = power < 0 ? '-' : '+';
  const auto size = static_cast<std::uint32_t>(power < 0 ? -power : power);
  if (size >= 100) *to++ = static_cast<char>('0' + size / 100);
  write_pair(size % 100, to);
  return to + 2;
}

/// With an exponent, or without one where that is not longer. Copies have a fixed length, which is one
/// instruction or two; what is too much is overwritten.
char* write_decimal(Decimal decimal, char* to) {
  char room[kDigits + kChunk];
  write_digits(decimal.digits, room);
  int skip = (decimal.digits < 10'000'000'000'000'000) + (decimal.digits < 1'000'000'000'000'000);
  while (skip < kDigits - 1 && room[skip] == '0') ++skip;
  const char* const digits = room + skip;
  int count = kDigits - skip, exponent = decimal.exponent;
  for (; count > 1 && digits[count - 1] == '0'; --count) ++exponent;
  const int before_point = count + exponent;
  if (exponent >= 0) {
    if (exponent <= (count == 1 ? 4 : 5)) {
      std::memcpy(to, digits, kChunk);
      std::memset(to + count, '0', 8);
      return to + before_point;
    }
  } else if (before_point > 0) {
    std::memcpy(to, digits, kChunk);
    to[before_point] = '.';
    std::memcpy(to + before_point + 1, digits + before_point, kChunk);
    return to + count + 1;
  } else if (-exponent <= (count == 1 ? 3 : count + 3)) {
    std::memcpy(to, "0.000000", 8);
    std::memcpy(to + 2 - before_point, digits, kChunk);
    return to + 2 - exponent;
  }
  to[0] = digits[0];
  to[1] = '.';
  std::memcpy(to + 2, digits + 1, kChunk);
  return write_power(before_point - 1, to + (count > 1 ? count + 1 : 1));
}

}  // namespace

char* write_shortest(double value, char* to) {
  const auto bits = std::bit_cast<std::uint64_t>(value);
  constexpr std::uint64_t kFraction = (std::uint64_t{1} << kHiddenBit) - 1;
  const int exponent = static_cast<int>(bits >> kHiddenBit & 0x7FF);
  // Zero, the subnormal, the huge and the infinite are rare.
  if (exponent == 0 || exponent > kBias) return std::to_chars(to, to + kNumberRoom, value).ptr;
  if (bits >> 63) *to++ = '-';
  const std::uint64_t mantissa = (bits & kFraction) | std::uint64_t{1} << kHiddenBit;
  const int q = exponent - kBias;
  const bool whole = q > -kHiddenBit - 1 && std::countr_zero(mantissa) >= -q;
  return write_decimal(whole ? Decimal{mantissa >> -q, 0} : shortest_decimal(mantissa, q), to);
}

}  // namespace moekit::cli
