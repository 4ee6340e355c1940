#pragma once
#include <string>

namespace moekit::cli {

/// Names come from somebody's file. What would move a terminal's cursor, colour it or turn its text around,
/// what can't be seen, and bytes that are no UTF-8 become '?': control characters, escapes, Unicode's marks
/// of direction, spaces without width. The joiners that some scripts need stay.
std::string harmless(const std::string& text);
/// The same for a text that goes to a page or a picture: U+FFFD; line ends and tabs stay.
std::string harmless_markup(const std::string& text);
/// JSON of the same values in which these characters are escapes (\u202e), so that it can be shown anywhere.
std::string harmless_json(const std::string& json);

}  // namespace moekit::cli
