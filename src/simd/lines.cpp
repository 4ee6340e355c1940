#include "simd/lines.hpp"

#include <bit>
#include <cstdint>

// Highway compiles this file once for each instruction set and picks one at run time.
#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "simd/lines.cpp"
#include <hwy/foreach_target.h>
// clang-format off: the order matters
#include <hwy/highway.h>
// clang-format on

HWY_BEFORE_NAMESPACE();
namespace moekit::simd::HWY_NAMESPACE {

namespace hn = hwy::HWY_NAMESPACE;
using D = hn::CappedTag<std::uint8_t, 64>;

struct Bits {
  std::uint64_t feeds, quotes, low;  ///< bit i: byte i is a line feed, a quote, at most a blank
};

template <class V>
std::uint64_t bits_of(V mask) {
  std::uint64_t bits = 0;
  hn::StoreMaskBits(D(), mask, reinterpret_cast<std::uint8_t*>(&bits));
  return bits;
}

Bits Read64(const std::uint8_t* text) {
  const D d;
  const std::size_t lanes = hn::Lanes(d);
  const auto feed = hn::Set(d, '\n'), quote = hn::Set(d, '"'), least = hn::Set(d, '!');
  Bits bits{0, 0, 0};
  for (std::size_t i = 0; i < 64; i += lanes) {
    const auto v = hn::LoadU(d, text + i);
    bits.feeds |= bits_of(hn::Eq(v, feed)) << i;
    bits.quotes |= bits_of(hn::Eq(v, quote)) << i;
    bits.low |= bits_of(hn::Lt(v, least)) << i;
  }
  return bits;
}

PlainLines Plain(const char* text, std::size_t size, std::size_t most) {
  const auto* const bytes = reinterpret_cast<const std::uint8_t*>(text);
  PlainLines found;
  std::uint64_t begins = 1;  // bit 0: a line begins with the next byte
  for (std::size_t at = 0; at < size && found.lines < most; at += 64) {
    std::uint8_t rest[64] = {};
    const bool whole = size - at >= 64;
    if (!whole)
      for (std::size_t i = at; i < size; ++i) rest[i - at] = bytes[i];
    const Bits bits = Read64(whole ? bytes + at : rest);
    // The first byte of a line that is blank, or a quote: the lines before it are the plain ones.
    const std::uint64_t odd = bits.quotes | (bits.low & (bits.feeds << 1 | begins));
    begins = bits.feeds >> 63;
    std::uint64_t feeds = odd ? bits.feeds & ((odd & -odd) - 1) : bits.feeds;
    const auto count = static_cast<std::size_t>(std::popcount(feeds));
    if (count > 0) {
      std::size_t taken = count;
      // More than wanted: the last ones go.
      for (; found.lines + taken > most; --taken)
        feeds &= ~(std::uint64_t{1} << (63 - std::countl_zero(feeds)));
      found.lines += taken;
      found.bytes = at + 64 - static_cast<std::size_t>(std::countl_zero(feeds));
    }
    if (odd) break;
  }
  return found;
}

}  // namespace moekit::simd::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace moekit::simd {

HWY_EXPORT(Plain);

PlainLines plain_lines(const char* text, std::size_t size, std::size_t most) {
  return HWY_DYNAMIC_DISPATCH(Plain)(text, size, most);
}

}  // namespace moekit::simd
#endif
