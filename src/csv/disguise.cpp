#include "disguise.hpp"

#include <algorithm>
#include <array>

#include "message.hpp"
#include "missing.hpp"
#include "number.hpp"

namespace moekit::csv {

namespace {

bool is_digit(char c) { return c >= '0' && c <= '9'; }
bool is_letter(char c) { return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z'); }

bool is_number(std::string_view text, char decimal) {
  double value;
  return parse_number(text, decimal, value) != NumberStatus::not_a_number;
}

bool strip_prefix(std::string_view& text, std::string_view prefix) {
  if (!text.starts_with(prefix)) return false;
  text.remove_prefix(prefix.size());
  return true;
}

bool strip_suffix(std::string_view& text, std::string_view suffix) {
  if (!text.ends_with(suffix)) return false;
  text.remove_suffix(suffix.size());
  return true;
}

std::size_t count_digits(std::string_view text) {
  return static_cast<std::size_t>(std::find_if_not(text.begin(), text.end(), is_digit) - text.begin());
}

bool strip_sign(std::string_view& text) { return strip_prefix(text, "-") || strip_prefix(text, "+"); }

bool infinite(std::string_view text) {
  strip_sign(text);
  return same_but_for_case(text, "inf") || same_but_for_case(text, "infinity") || text == "\u221E" ||
         same_but_for_case(text, "1.#inf");
}

bool hexadecimal(std::string_view text) {
  strip_sign(text);
  if (!strip_prefix(text, "0x") && !strip_prefix(text, "0X")) return false;
  return !text.empty() && text.find_first_not_of("0123456789abcdefABCDEF.pP+-") == std::string_view::npos;
}

bool fortran(std::string_view text, char decimal) {
  const std::size_t d = text.find_first_of("dDqQ");
  if (d == std::string_view::npos || d == 0) return false;
  std::string plain(text);
  plain[d] = 'e';
  return is_number(plain, decimal);
}

/// Groups of digits between separators: 1,234,567.8; 1 234; 1'234; Indian 12,34,567.
bool grouped(std::string_view text, char decimal) {
  constexpr std::array<std::string_view, 8> separators = {",", ".",      "'",      "_",
                                                          " ", "\u00A0", "\u202F", "\u2019"};
  strip_sign(text);
  for (const std::string_view separator : separators) {
    if (separator.size() == 1 && separator[0] == decimal) continue;
    std::string_view rest = text;
    std::size_t n = count_digits(rest), groups = 0;
    if (n == 0 || n > 3) continue;
    rest.remove_prefix(n);
    bool last_is_three = false;
    while (strip_prefix(rest, separator)) {
      n = count_digits(rest);
      if (n != 2 && n != 3) break;
      last_is_three = n == 3;
      ++groups;
      rest.remove_prefix(n);
    }
    const bool fraction =
        !rest.empty() && rest[0] == decimal && count_digits(rest.substr(1)) == rest.size() - 1;
    if (groups > 0 && last_is_three && (rest.empty() || fraction)) return true;
  }
  return false;
}

bool ordinal(std::string_view suffix) {
  return same_but_for_case(suffix, "st") || same_but_for_case(suffix, "nd") ||
         same_but_for_case(suffix, "rd") || same_but_for_case(suffix, "th");
}

/// kg, km/h, m2, °C, µg: short, starts with a letter or a character that is not ASCII.
bool unit_name(std::string_view suffix) {
  if (suffix.empty() || suffix.size() > 12 || ordinal(suffix)) return false;
  if (!is_letter(suffix[0]) && static_cast<unsigned char>(suffix[0]) < 0x80 && suffix[0] != '\'' &&
      suffix[0] != '"')
    return false;
  return std::all_of(suffix.begin(), suffix.end(), [](char c) {
    return is_letter(c) || is_digit(c) || static_cast<unsigned char>(c) >= 0x80 ||
           std::string_view("/^*.'\"").find(c) != std::string_view::npos;
  });
}

bool with_unit(std::string_view text, char decimal) {
  // The unit begins after the last place where a number can end: 1e5kg, but not 1e.
  for (std::size_t cut = text.size() - 1; cut > 0; --cut) {
    const std::string_view number = trim(text.substr(0, cut));
    if (number.empty() || !(is_digit(number.back()) || number.back() == decimal)) continue;
    if (is_number(number, decimal) || grouped(number, decimal)) return unit_name(trim(text.substr(cut)));
  }
  return false;
}

bool with_currency(std::string_view text, char decimal) {
  constexpr std::array<std::string_view, 9> signs = {"$",      "\u20AC", "\u00A3", "\u00A5", "\u20B9",
                                                     "\u20BD", "US$",    "CHF",    "\u00A4"};
  std::string_view rest = text;
  strip_sign(rest);
  rest = trim(rest);
  for (const std::string_view sign : signs) {
    std::string_view amount = rest;
    if (!strip_prefix(amount, sign) && !strip_suffix(amount, sign)) continue;
    amount = trim(amount);
    if (is_number(amount, decimal) || grouped(amount, decimal)) return true;
  }
  return false;
}

/// The other decimal mark: 1,5 where points are expected.
bool other_mark(std::string_view text, char decimal) { return is_number(text, decimal == '.' ? ',' : '.'); }

}  // namespace

Disguise find_disguise(std::string_view text, char decimal) {
  double value;
  const NumberStatus status = parse_number(text, decimal, value);
  if (status == NumberStatus::too_large) return Disguise::too_large;
  if (status == NumberStatus::too_small) return Disguise::too_small;
  if (text.empty() || text.size() > 64) return Disguise::none;
  if (infinite(text)) return Disguise::infinity;
  if (std::none_of(text.begin(), text.end(), is_digit)) return Disguise::none;
  if (hexadecimal(text)) return Disguise::hexadecimal;
  if (fortran(text, decimal)) return Disguise::fortran;
  if (grouped(text, decimal)) return Disguise::thousands;
  if (other_mark(text, decimal)) return Disguise::decimal_mark;
  std::string_view inner = text;
  if (strip_suffix(inner, "%") || strip_prefix(inner, "%") || strip_suffix(inner, "\u2030")) {
    inner = trim(inner);
    return is_number(inner, decimal) || grouped(inner, decimal) || other_mark(inner, decimal)
               ? Disguise::per_cent
               : Disguise::none;
  }
  if (with_currency(text, decimal)) return Disguise::currency;
  if (strip_prefix(inner, "(") && strip_suffix(inner, ")") &&
      (is_number(inner, decimal) || grouped(inner, decimal) || with_currency(inner, decimal)))
    return Disguise::parentheses;
  inner = text;
  if ((strip_prefix(inner, "\u2212") || strip_prefix(inner, "\u2013")) && is_number(inner, decimal))
    return Disguise::minus_sign;
  if (with_unit(text, decimal)) return Disguise::unit;
  return Disguise::none;
}

std::string explain_disguise(Disguise disguise, char decimal) {
  switch (disguise) {
    case Disguise::infinity:
      return "is infinite";
    case Disguise::too_large:
      return "is larger than float64 can hold";
    case Disguise::too_small:
      return "is nearer to zero than float64 can hold";
    case Disguise::hexadecimal:
      return "is hexadecimal: write it as a decimal number";
    case Disguise::unit:
      return "has a unit: leave the plain number";
    case Disguise::currency:
      return "has a currency sign: leave the plain number";
    case Disguise::thousands:
      return "has separators between thousands: leave them out";
    case Disguise::decimal_mark:
      return decimal == '.' ? "has a comma: if it is the decimal mark, say --decimal ,"
                            : "has a point: if it is the decimal mark, say --decimal .";
    case Disguise::per_cent:
      return "has a per cent sign: leave the plain number";
    case Disguise::fortran:
      return "has a Fortran exponent: write e for the exponent";
    case Disguise::parentheses:
      return "is in parentheses: write a minus sign";
    case Disguise::minus_sign:
      return "has a minus sign that is not the plain one: write -";
    case Disguise::none:
      break;
  }
  return "is not a number";
}

}  // namespace moekit::csv
