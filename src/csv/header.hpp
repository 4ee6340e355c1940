#pragma once
#include <string>
#include <vector>

#include "moekit/csv.hpp"
#include "row_scanner.hpp"

namespace moekit::csv {

/// The separator among , ; tab | that cuts the header and the first records into equally many fields, the
/// most of them; ',' for a table of one column.
char find_separator(RowScanner& scanner, char decimal);

/// Reads the header and checks it. Errors: Errc::data for an empty file, blank or double names, invalid
/// UTF-8.
std::vector<std::string> read_header(RowScanner& scanner);

/// Errors: Errc::usage for marks that can't be told apart.
void check_format(const CsvFormat& format);

}  // namespace moekit::csv
