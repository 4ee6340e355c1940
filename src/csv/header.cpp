#include "header.hpp"

#include <set>

#include "message.hpp"

namespace moekit::csv {

char find_separator(RowScanner& scanner, char decimal) {
  constexpr std::size_t kRecords = 100;
  char best = decimal == ',' ? ';' : ',';
  double best_share = -1;
  std::size_t best_fields = 1;
  for (const char candidate : {',', ';', '\t', '|'}) {
    if (candidate == decimal) continue;
    std::size_t place = 0;
    const std::size_t fields = scanner.peek_fields(place, candidate);
    if (fields < 2) continue;
    std::size_t records = 0, agree = 0;
    for (; records < kRecords; ++records) {
      const std::size_t n = scanner.peek_fields(place, candidate);
      if (n == 0) break;
      agree += n == fields;
    }
    // One odd row among the first must not hide the separator: it is to be refused with its line.
    const double share = records == 0 ? 1 : static_cast<double>(agree) / static_cast<double>(records);
    if (share > best_share || (share == best_share && fields > best_fields)) {
      best = candidate;
      best_share = share;
      best_fields = fields;
    }
  }
  return best;
}

std::vector<std::string> read_header(RowScanner& scanner) {
  std::vector<std::string> names;
  const std::string& file = scanner.file();
  if (!scanner.next_record(names)) refuse(file, 1, "the file is empty; a header and rows are expected");
  std::set<std::string> seen;
  for (std::size_t c = 0; c < names.size(); ++c) {
    const std::string& name = names[c];
    const std::string number = std::to_string(c + 1);
    if (name.empty())
      refuse(
          file, scanner.line(),
          "column " + number + " of the header has no name; name it, or write the table without row names");
    if (!valid_utf8(name))
      refuse(file, scanner.line(),
             "column " + number + ": the name '" + shown(name) +
                 "' is not valid UTF-8; convert the file: iconv -f LATIN1 -t UTF-8");
    if (!seen.insert(name).second)
      refuse(file, scanner.line(),
             "column " + number + ": the name '" + shown(name) + "' stands twice in the header; rename one");
  }
  scanner.set_names(names);
  return names;
}

void check_format(const CsvFormat& format) {
  if (format.decimal != '.' && format.decimal != ',')
    throw Error(Errc::usage, "the decimal mark must be . or ,");
  const char s = format.separator;
  if (s == 0) return;
  if (s == format.decimal)
    throw Error(Errc::usage,
                "the separator and the decimal mark are the same; say another --separator or --decimal");
  if (s == '"' || s == '\n' || s == '\r' || s == '.' || s == '-' || s == '+' || (s >= '0' && s <= '9') ||
      (s >= 'a' && s <= 'z') || (s >= 'A' && s <= 'Z'))
    throw Error(Errc::usage, std::string("the separator can't be ") + shown(std::string_view(&s, 1)) +
                                 "; usual are , ; tab |");
}

}  // namespace moekit::csv
