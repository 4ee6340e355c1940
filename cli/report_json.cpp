#include "report_json.hpp"

#include <charconv>

#include "text.hpp"

namespace moekit::cli {

namespace {

constexpr std::size_t kNameWidth = 120;

/// Replaces bytes that are not UTF-8, the control characters that XML forbids, and what is not seen.
std::string clean(const std::string& text) {
  const std::string quoted = Json(text).dump(-1, ' ', false, Json::error_handler_t::replace);
  std::string out = Json::parse(quoted).get<std::string>();
  for (char& c : out)
    if (static_cast<unsigned char>(c) < 0x20 && c != '\n' && c != '\t') c = ' ';
  return harmless_markup(out);
}

}  // namespace

std::string short_name(const std::string& name) { return shorten(name, kNameWidth); }

Json plotted(double value) {
  if (!std::isfinite(value)) return nullptr;
  char digits[40];
  const auto end = std::to_chars(digits, digits + sizeof digits, value, std::chars_format::general, 6).ptr;
  double rounded = value;
  std::from_chars(digits, end, rounded);
  return rounded;
}

Json plotted(const std::vector<double>& values) {
  Json out = Json::array();
  for (const double value : values) out.push_back(plotted(value));
  return out;
}

std::string embedded(const Json& json) {
  const std::string text = harmless_markup(json.dump(-1, ' ', false, Json::error_handler_t::replace));
  std::string out;
  out.reserve(text.size() + text.size() / 16);
  for (const char c : text) {
    if (c == '<')
      out += "\\u003c";
    else if (c == '>')
      out += "\\u003e";
    else if (c == '&')
      out += "\\u0026";
    else
      out += c;
  }
  return out;
}

std::string escaped(const std::string& text) {
  std::string out;
  for (const char c : clean(text)) {
    switch (c) {
      case '<':
        out += "&lt;";
        break;
      case '>':
        out += "&gt;";
        break;
      case '&':
        out += "&amp;";
        break;
      case '"':
        out += "&quot;";
        break;
      case '\'':
        out += "&#39;";
        break;
      default:
        out += c;
    }
  }
  return out;
}

}  // namespace moekit::cli
