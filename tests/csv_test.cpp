#include "moekit/csv.hpp"

#include <doctest/doctest.h>
#include <unistd.h>
#include <zlib.h>
#include <zstd.h>

#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <random>

#include "csv/disguise.hpp"
#include "csv/number.hpp"
#include "csv/row_scanner.hpp"
#include "moekit/error.hpp"

using namespace moekit;

namespace {

/// A file in a directory of its own, removed at the end.
class TempFile {
 public:
  explicit TempFile(const std::string& content, const std::string& name = "t.csv") {
    static int count = 0;
    directory_ = std::filesystem::temp_directory_path() /
                 ("moekit_csv_" + std::to_string(::getpid()) + "_" + std::to_string(count++));
    std::filesystem::create_directories(directory_);
    path_ = (directory_ / name).string();
    std::ofstream(path_, std::ios::binary)
        .write(content.data(), static_cast<std::streamsize>(content.size()));
  }
  ~TempFile() { std::filesystem::remove_all(directory_); }
  const std::string& path() const { return path_; }

 private:
  std::filesystem::path directory_;
  std::string path_;
};

Table read(const std::string& content, const ReadOptions& options = {}) {
  const TempFile file(content);
  return read_table(file.path(), options);
}

ReadOptions with_target(const std::string& name) {
  ReadOptions options;
  options.target = name;
  return options;
}

/// The message without the directory, or what else happened.
template <class Call>
std::string refusal(const TempFile& file, Call&& call, Errc code = Errc::data) {
  try {
    call(file.path());
  } catch (const Error& error) {
    CHECK(error.code() == code);
    std::string message = error.what();
    CHECK(message.find('\n') == std::string::npos);
    const std::string directory = std::filesystem::path(file.path()).parent_path().string() + "/";
    for (std::size_t at; (at = message.find(directory)) != std::string::npos;)
      message.erase(at, directory.size());
    return message;
  }
  return "accepted";
}

std::string refused(const std::string& content, const ReadOptions& options = {}, Errc code = Errc::data) {
  return refusal(
      TempFile(content), [&](const std::string& path) { read_table(path, options); }, code);
}

bool starts(const std::string& message, const std::string& start) {
  if (message.substr(0, start.size()) == start) return true;
  MESSAGE(message);
  return false;
}

bool holds(const std::string& message, const std::string& part) {
  if (message.find(part) != std::string::npos) return true;
  MESSAGE(message);
  return false;
}

double number_at(const Table& table, uword column, uword row) {
  const BlockData& block = table.source.data(row / kBlockRows);
  return block.numeric[column * block.rows + row % kBlockRows];
}

std::uint32_t level_at(const Table& table, uword column, uword row) {
  const BlockData& block = table.source.data(row / kBlockRows);
  return block.levels[column * block.rows + row % kBlockRows];
}

/// The reference: one character after the other, nothing else.
std::vector<std::vector<std::string>> naive_records(const std::string& text, char separator) {
  std::vector<std::vector<std::string>> records;
  std::vector<std::string> record;
  std::string cell;
  bool quoted = false, was_quoted = false;
  const auto end_cell = [&] {
    if (!was_quoted) {
      while (!cell.empty() && (cell.back() == ' ' || cell.back() == '\t')) cell.pop_back();
      while (!cell.empty() && (cell.front() == ' ' || cell.front() == '\t')) cell.erase(0, 1);
    }
    record.push_back(cell);
    cell.clear();
    was_quoted = false;
  };
  for (std::size_t i = 0; i < text.size(); ++i) {
    const char c = text[i];
    if (quoted) {
      if (c != '"')
        cell += c;
      else if (i + 1 < text.size() && text[i + 1] == '"')
        cell += '"', ++i;
      else
        quoted = false;
    } else if (c == '"' && cell.empty()) {
      quoted = was_quoted = true;
    } else if (c == separator) {
      end_cell();
    } else if (c == '\n') {
      end_cell();
      records.push_back(record);
      record.clear();
    } else if (c != '\r') {
      cell += c;
    }
  }
  if (!record.empty() || !cell.empty() || was_quoted) {
    end_cell();
    records.push_back(record);
  }
  return records;
}

std::string packed_gzip(const std::string& text) {
  z_stream z{};
  REQUIRE(deflateInit2(&z, 6, Z_DEFLATED, 15 + 16, 8, Z_DEFAULT_STRATEGY) == Z_OK);
  std::string out(deflateBound(&z, text.size()) + 64, '\0');
  z.next_in = reinterpret_cast<Bytef*>(const_cast<char*>(text.data()));
  z.avail_in = static_cast<uInt>(text.size());
  z.next_out = reinterpret_cast<Bytef*>(out.data());
  z.avail_out = static_cast<uInt>(out.size());
  REQUIRE(deflate(&z, Z_FINISH) == Z_STREAM_END);
  out.resize(z.total_out);
  deflateEnd(&z);
  return out;
}

std::string packed_zstd(const std::string& text) {
  ZSTD_CCtx* context = ZSTD_createCCtx();
  ZSTD_CCtx_setParameter(context, ZSTD_c_checksumFlag, 1);  // as the zstd program does
  std::string out(ZSTD_compressBound(text.size()), '\0');
  out.resize(ZSTD_compress2(context, out.data(), out.size(), text.data(), text.size()));
  ZSTD_freeCCtx(context);
  return out;
}

std::string small_table(int rows) {
  std::string text = "x,colour,y\n";
  std::mt19937_64 random(5);
  for (int i = 0; i < rows; ++i)
    text += std::to_string(static_cast<double>(random() % 100000) / 7) + "," +
            (random() % 2 ? "red" : "blue") + "," + std::to_string(random() % 1000) + "\n";
  return text;
}

}  // namespace

TEST_CASE("numbers are correctly rounded, by either way of reading") {
  std::mt19937_64 random(1);
  const auto same = [](const std::string& text) {
    std::string padded = text + ",";
    padded.resize(padded.size() + 32, '\n');
    const double expected = std::strtod(text.c_str(), nullptr);
    double fast = 0, slow = 0;
    const char* end = csv::parse_number_fast(padded.data(), '.', fast);
    if (end && (end != padded.data() + text.size() || fast != expected ||
                std::signbit(fast) != std::signbit(expected)))
      return false;
    return csv::parse_number(text, '.', slow) == csv::NumberStatus::number && slow == expected;
  };
  std::size_t wrong = 0, by_fast_way = 0;
  for (int i = 0; i < 300000; ++i) {
    char text[64];
    double value;
    const std::uint64_t bits = random();
    switch (i % 4) {
      case 0:
        value = std::ldexp(static_cast<double>(bits), static_cast<int>(bits % 40) - 80);
        break;
      case 1:
        value = static_cast<double>(bits % 100000000) / 1e4;
        break;
      case 2:
        value = (static_cast<double>(bits >> 11) * 0x1p-53 - 0.5) * 8;
        break;
      default:
        std::memcpy(&value, &bits, 8);
    }
    if (!std::isfinite(value) || value == 0) continue;
    const int digits = 1 + static_cast<int>(random() % 20);
    std::snprintf(text, sizeof text, i % 3 ? "%.*g" : "%.*e", digits, value);
    if (std::fpclassify(std::strtod(text, nullptr)) == FP_INFINITE) continue;
    wrong += !same(text);
    double ignored;
    std::string padded = std::string(text) + ",";
    padded.resize(padded.size() + 32, '\n');
    by_fast_way += csv::parse_number_fast(padded.data(), '.', ignored) != nullptr;
  }
  CHECK(wrong == 0);
  CHECK(by_fast_way > 100000);
  // Halfway between two doubles, and one unit beside it; the ends of the range; forms.
  for (const char* text : {"9007199254740993",
                           "9007199254740992.5",
                           "0.5000000000000000277",
                           "0.50000000000000005551",
                           "1.7976931348623157e308",
                           "4.9e-324",
                           "2.2250738585072011e-308",
                           "0",
                           "-0",
                           "0.0",
                           "00",
                           "007",
                           "5.",
                           ".5",
                           "-.5",
                           "1e5",
                           "1E+05",
                           "0e999",
                           "0.000e-999",
                           "123456789012345678901234567890",
                           "0.00000000000000000000000001234567890123456789",
                           "8.5",
                           "1000000000000000000000000",
                           "18446744073709551615",
                           "9999999999999999999",
                           "1e23",
                           "9.5367431640625e-07"})
    CHECK_MESSAGE(same(text), text);
}

TEST_CASE("what is no number, and what float64 can't hold, is told apart") {
  double value = 7;
  for (const char* text : {"", "-", ".", "e5", "1e", "1e+", "--1", "+-1", "1 2", "0x1F", "inf", "nan",
                           "1.2.3", "1,5", "5a", "1e5.0"})
    CHECK_MESSAGE(csv::parse_number(text, '.', value) == csv::NumberStatus::not_a_number, text);
  CHECK(csv::parse_number("1e999", '.', value) == csv::NumberStatus::too_large);
  CHECK(csv::parse_number("-1e400", '.', value) == csv::NumberStatus::too_large);
  CHECK(csv::parse_number("1e-400", '.', value) == csv::NumberStatus::too_small);
  CHECK(csv::parse_number("0." + std::string(400, '0') + "1", '.', value) == csv::NumberStatus::too_small);
  CHECK(csv::parse_number("1" + std::string(400, '0') + "e-50", '.', value) == csv::NumberStatus::too_large);
  CHECK(csv::parse_number("0." + std::string(400, '0') + "1e900", '.', value) ==
        csv::NumberStatus::too_large);
  CHECK(csv::parse_number("+1,5", ',', value) == csv::NumberStatus::number);
  CHECK(value == 1.5);
  CHECK(csv::parse_number("1.5", ',', value) == csv::NumberStatus::not_a_number);
}

TEST_CASE("numbers in disguise are recognised, labels are not") {
  using csv::Disguise;
  const auto is = [](const char* text, Disguise what) { return csv::find_disguise(text, '.') == what; };
  for (const char* t : {"inf", "-Inf", "+Infinity", "INFINITY"}) CHECK_MESSAGE(is(t, Disguise::infinity), t);
  for (const char* t : {"0x1F", "-0XFF"}) CHECK_MESSAGE(is(t, Disguise::hexadecimal), t);
  for (const char* t : {"12kg", "12 kg", "5°C", "4WD", "3.5 km/h", "1e5kg", "7 m2"})
    CHECK_MESSAGE(is(t, Disguise::unit), t);
  for (const char* t : {"$12", "€5", "5 €", "-$3", "$1,234.50"}) CHECK_MESSAGE(is(t, Disguise::currency), t);
  for (const char* t : {"1,234", "1 234", "1'234", "12,345,678.9", "-1,234", "12,34,567"})
    CHECK_MESSAGE(is(t, Disguise::thousands), t);
  for (const char* t : {"12%", "12 %", "1.5%"}) CHECK_MESSAGE(is(t, Disguise::per_cent), t);
  for (const char* t : {"1.5D+03", "2d5", "-1D-10"}) CHECK_MESSAGE(is(t, Disguise::fortran), t);
  CHECK(is("1,5", Disguise::decimal_mark));
  CHECK(is("1e999", Disguise::too_large));
  CHECK(is("1e-400", Disguise::too_small));
  CHECK(is("(1,234)", Disguise::parentheses));
  for (const char* t : {"11th", "1st", "2nd", "3rd", "7th-8th", "18-25", "2020-01-01", "12:30", "A11", "red",
                        "TPL+", "<=50K", "C85", "", "1.2.3", "N/A"})
    CHECK_MESSAGE(is(t, Disguise::none), t);
}

TEST_CASE("cells are those of a naive reader, whatever the quoting, the line ends and the separator") {
  std::mt19937_64 random(2);
  const std::vector<std::string> pieces = {"a",   "\"\"", "\n", "\r\n", ",", ";", "é",
                                           " x ", "12.5", "|",  "\t",   "'", ""};
  for (int round = 0; round < 200; ++round) {
    const char separator = ",;\t|"[round % 4];
    const std::string end = round % 3 ? "\n" : "\r\n";
    const std::size_t columns = 2 + random() % 5;
    std::string text;
    for (std::size_t c = 0; c < columns; ++c)
      text += (c ? std::string(1, separator) : "") + "c" + std::to_string(c);
    text += end;
    const std::size_t rows = 1 + random() % 40;
    for (std::size_t r = 0; r < rows; ++r) {
      for (std::size_t c = 0; c < columns; ++c) {
        if (c) text += separator;
        std::string cell = c == 0 ? "k" : "";
        for (std::size_t k = random() % 4; k > 0; --k) cell += pieces[random() % pieces.size()];
        const bool quote = cell.find_first_of("\"\n\r,;|\t") != std::string::npos || random() % 4 == 0;
        text += quote ? "\"" + cell + "\"" : cell;
      }
      if (r + 1 < rows || random() % 2) text += end;
    }
    const auto expected = naive_records(text, separator);
    ReadOptions options;
    options.format.separator = separator;
    for (std::size_t c = 0; c < columns; ++c) options.carry.push_back("c" + std::to_string(c));
    const Table table = read(text, options);
    REQUIRE(table.rows_read == expected.size() - 1);
    std::size_t wrong = 0;
    for (std::size_t r = 0; r < table.rows_read; ++r)
      for (std::size_t c = 0; c < columns; ++c)
        wrong += table.source.data(0).carried[c][r].find('\r') == std::string::npos &&
                 table.source.data(0).carried[c][r] != expected[r + 1][c];
    CHECK(wrong == 0);
  }
}

TEST_CASE("a table of numbers is what strtod reads, across blocks and buffers, in either decimal mark") {
  std::mt19937_64 random(3);
  for (const char decimal : {'.', ','}) {
    std::string text = "a;b;c;y\n";
    std::vector<std::vector<double>> expected(4);
    for (int r = 0; r < 40000; ++r)
      for (int c = 0; c < 4; ++c) {
        char cell[64];
        std::snprintf(cell, sizeof cell, "%.*g", static_cast<int>(1 + random() % 18),
                      (static_cast<double>(random() >> 11) * 0x1p-53 - 0.5) * 1e4);
        expected[static_cast<std::size_t>(c)].push_back(std::strtod(cell, nullptr));
        std::string written = cell;
        for (char& k : written)
          if (k == '.') k = decimal;
        if (random() % 10 == 0) written = "\"" + written + "\"";
        if (random() % 10 == 0) written = " " + written + " ";
        text += written + (c < 3 ? ";" : random() % 2 ? "\n" : "\r\n");
      }
    ReadOptions options = with_target("y");
    options.format.decimal = decimal;
    const Table table = read(text, options);
    CHECK(table.schema.format.separator == ';');
    CHECK(table.schema.rows == 40000);
    std::size_t wrong = 0;
    for (uword r = 0; r < 40000; ++r) {
      for (uword c = 0; c < 3; ++c) wrong += number_at(table, c, r) != expected[c][r];
      wrong += table.source.data(r / kBlockRows).target[r % kBlockRows] != expected[3][r];
    }
    CHECK(wrong == 0);
  }
}

TEST_CASE("the separator is found") {
  CHECK(read("a,b\n1,2\n").schema.format.separator == ',');
  CHECK(read("a;b\n1;2\n").schema.format.separator == ';');
  CHECK(read("a\tb\n1\t2\n").schema.format.separator == '\t');
  CHECK(read("a|b\n1|2\n").schema.format.separator == '|');
  CHECK(read("a;\"b,c\"\n1;2\n").schema.inputs[1].name == "b,c");
  CHECK(read("one\n1\n2\n").schema.inputs.size() == 1);
  ReadOptions decimal;
  decimal.format.decimal = ',';
  CHECK(read("a;b\n1,5;2,5\n2,5;3,5\n", decimal).schema.inputs.size() == 2);
  CHECK(starts(refused("a;b,c\n1;2;3\n1;2\n"), "t.csv:2: the row has 3 fields, the header has 2"));
}

TEST_CASE("byte-order mark, CRLF, blank lines and blanks around cells change nothing") {
  const Table plain = read("a,b\n1,x\n2,z\n");
  const Table other = read("\xEF\xBB\xBF a , \"b\" \r\n\r\n 1 ,x\r\n\t2\t, z \r\n\r\n  \r\n");
  REQUIRE(other.schema.inputs.size() == 2);
  CHECK(other.schema.inputs[0].name == "a");
  CHECK(other.schema.inputs[1].levels == plain.schema.inputs[1].levels);
  CHECK(other.source.data(0).numeric == plain.source.data(0).numeric);
  CHECK(read("a,b\n1,2\n3,4\r").rows_read == 2);
  CHECK(read("a,b\n1,2\n3,4").rows_read == 2);
}

TEST_CASE("a blank line in a table of one column is a missing value, at the end it is nothing") {
  const Table table = read("a\n1\n\n\n4\n\n\n");
  CHECK(table.rows_read == 4);
  CHECK(std::isnan(number_at(table, 0, 1)));
  CHECK(number_at(table, 0, 3) == 4);
}

TEST_CASE("quoting does not change meaning, missing tokens count everywhere") {
  const Table table = read("a,b\n\"5\",\"NA\"\n\"\",x\n\"NA\",?\nNaN,.\nnull,NULL\nnan,\"say \"\"hi\"\"\"\n");
  CHECK(table.schema.inputs[0].kind == ColumnKind::numeric);
  CHECK(number_at(table, 0, 0) == 5);
  for (uword r = 1; r < 6; ++r) CHECK(std::isnan(number_at(table, 0, r)));
  CHECK(table.schema.inputs[1].levels == std::vector<std::string>{"say \"hi\"", "x"});
  for (const uword r : {0, 2, 3, 4}) CHECK(level_at(table, 0, r) == 2);
  ReadOptions options;
  options.format.missing = {"-999", "none"};
  const Table other = read("a,b\n-999,none\n-999.0,u\n3,v\nnone,u\n", options);
  CHECK(other.schema.inputs[0].missing == doctest::Approx(0.75));
  CHECK(level_at(other, 0, 0) == 2);
}

TEST_CASE("types: numeric, categorical, and refused in between") {
  std::string ten = "age,y\n";
  for (int i = 0; i < 9; ++i) ten += std::to_string(i) + ",1\n";
  CHECK(refused(ten + "N/A,1\n") ==
        "t.csv:11: column 'age': 'N/A' is not a number; name it with --missing N/A or insist with "
        "--categorical age");
  CHECK(read(ten + "N/A,1\nN/A,1\n").schema.inputs[0].kind == ColumnKind::categorical);
  ReadOptions missing;
  missing.format.missing = {"N/A"};
  CHECK(read(ten + "N/A,1\n", missing).schema.inputs[0].kind == ColumnKind::numeric);
  ReadOptions insist;
  insist.categorical = {"age"};
  const Table labels = read(ten + "N/A,1\n", insist);
  CHECK(labels.schema.inputs[0].levels.size() == 10);
  insist = {};
  insist.numeric = {"age"};
  CHECK(starts(refused("age,y\n1,1\nx,1\ny,1\n", insist), "t.csv:3: column 'age': 'x' is not a number"));
  CHECK(read("a,b\n,1\nNA,2\n").schema.inputs[0].kind == ColumnKind::numeric);
  CHECK(read("a,b\n,1\nNA,2\n").notes.size() == 1);
  CHECK(read("a,b\ntrue,1\nfalse,2\n").schema.inputs[0].levels == std::vector<std::string>{"false", "true"});
}

TEST_CASE("levels are in the order of numbers if all are numbers, else of bytes; 1 and 1.0 are one") {
  ReadOptions options;
  options.categorical = {"a"};
  const Table table = read("a,b\n10,x\n9,x\n1.0,x\n1,x\n", options);
  CHECK(table.schema.inputs[0].levels == std::vector<std::string>{"1.0", "9", "10"});
  CHECK(level_at(table, 0, 3) == 0);
  CHECK(read("a,b\nb,1\nB,1\n10,1\n9,1\n").schema.inputs[0].levels ==
        std::vector<std::string>{"10", "9", "B", "b"});
}

TEST_CASE("numbers in disguise are refused with their place, unless mixed with real text") {
  const std::vector<std::pair<std::string, std::string>> cases = {{"inf", "is infinite"},
                                                                  {"1e999", "larger than float64"},
                                                                  {"1e-400", "nearer to zero"},
                                                                  {"0x1F", "hexadecimal"},
                                                                  {"12kg", "unit"},
                                                                  {"\"1,234\"", "thousands"},
                                                                  {"1 234", "thousands"},
                                                                  {"12%", "per cent"},
                                                                  {"1.5D+03", "Fortran"},
                                                                  {"$12", "currency"}};
  for (const auto& [cell, what] : cases) {
    const std::string message = refused("a,b\n1,2\n" + cell + ",3\n");
    CHECK(starts(message, "t.csv:3: column 'a': '"));
    CHECK(holds(message, what));
    CHECK(starts(refused("a,b\n" + cell + ",2\n" + cell + ",3\n"), "t.csv:2: column 'a': '"));
    ReadOptions insist;
    insist.categorical = {"a"};
    CHECK(read("a,b\n1,2\n" + cell + ",3\n", insist).schema.inputs[0].levels.size() == 2);
  }
  CHECK(read("a,b\n4WD,2\nfront,3\n2WD,1\n").schema.inputs[0].kind == ColumnKind::categorical);
  CHECK(read("a,b\n11th,2\n1st,3\n").schema.inputs[0].kind == ColumnKind::categorical);
  CHECK(read("a,b\n18-25,2\n26-40,3\n").schema.inputs[0].kind == ColumnKind::categorical);
}

TEST_CASE("identifiers and dates are refused, labels of a target over 1000 too") {
  std::string half = "name,y\n", many = "name,y\n";
  for (int i = 0; i < 60; ++i) half += "n" + std::to_string(i) + ",1\n";
  for (int i = 0; i < 3000; ++i) many += "n" + std::to_string(i % 1001) + ",1\n";
  CHECK(starts(refused(half), "t.csv:61: column 'name': 'n59' is one of 60 different texts in 60 rows"));
  CHECK(starts(refused(many), "t.csv:1002: column 'name': 'n1000' is one of over 1000 different texts"));
  CHECK(starts(refused(many, with_target("name")),
               "t.csv:1002: column 'name': 'n1000' is one of over 1000 different labels"));
  CHECK(read(half, with_target("name")).schema.target.labels.size() == 60);
  ReadOptions options;
  options.categorical = {"name"};
  CHECK(read(many, options).schema.inputs[0].levels.size() == 1001);
  options = {};
  options.id = {"name"};
  const Table table = read(many, options);
  CHECK(table.schema.inputs.size() == 1);
  CHECK(table.source.data(1).carried[0][0] == "n23");
}

TEST_CASE("broken tables are refused with their line") {
  CHECK(starts(refused(""), "t.csv:1: the file is empty"));
  CHECK(starts(refused("\n\n"), "t.csv:1: the file is empty"));
  CHECK(starts(refused("a,b\n"), "t.csv:1: a header and no rows"));
  CHECK(starts(refused("a,b\n1,2\n3\n"), "t.csv:3: the row has 1 field, the header has 2"));
  CHECK(starts(refused("a,b\n\"1\n\n\",2\n3,4,5\n"), "t.csv:5: the row has 3 fields, the header has 2"));
  CHECK(starts(refused("a,b,a\n1,2,3\n"), "t.csv:1: column 3: the name 'a' stands twice"));
  CHECK(starts(refused("a,,c\n1,2,3\n"), "t.csv:1: column 2 of the header has no name"));
  CHECK(starts(refused("a,\xE9\n1,2\n"), "t.csv:1: column 2: the name '\\xE9' is not valid UTF-8"));
  CHECK(starts(refused("a,b\n1,caf\xE9\n"), "t.csv:2: column 'b': 'caf\\xE9' is not valid UTF-8"));
  CHECK(starts(refused("a,b\n1,2\n3,\"x\n5,6\n7,8\n"), "t.csv:3: a quote opens here and never closes"));
  CHECK(starts(refused("a,b\n1,\"x\n\",\"y\" \"\n"), "t.csv:3: text after a closing quote"));
  CHECK(starts(refused("a,b\n1,2\n3,\"x\"y\n"), "t.csv:3: text after a closing quote: \"x\"y"));
  CHECK(starts(refused(std::string("a,b\n1,2\n3,x\0y\n", 14)), "t.csv:3: column 'b': a NUL byte"));
  CHECK(holds(refused(std::string("a\0,\0b\0\n\0001\0,\0002\0\n\0", 16)), "UTF-16"));
  CHECK(starts(refused(std::string("\xFF\xFE\x61\0\n\0", 6)), "t.csv:1: the text is UTF-16"));
  CHECK(starts(refused("a,b\r1,2\r"), "t.csv:1: a carriage return without a line feed"));
  std::string late = "a,b\n";
  for (int i = 0; i < 300000; ++i) late += "1.25,2.5\n";
  CHECK(starts(refused(late + "1\n"), "t.csv:300002: the row has 1 field"));
}

TEST_CASE("names in options are checked against the header") {
  CHECK(
      starts(refused("age,y\n1,2\n", with_target("agee")), "t.csv:1: no column 'agee'; did you mean 'age'?"));
  CHECK(holds(refused("age,y\n1,2\n", with_target("zzzzzz")), "the columns are: age, y"));
  CHECK(holds(refused("a:y\n1:2\n", with_target("y")), "--separator"));
  ReadOptions options = with_target("y");
  options.drop = {"y"};
  CHECK(holds(refused("a,y\n1,2\n", options, Errc::usage), "can't be both the target and dropped"));
  options = {};
  options.weights = "w";
  CHECK(starts(refused("a,y\n1,2\n", options), "t.csv:1: no column 'w'"));
  options = {};
  options.categorical = options.numeric = {"a"};
  CHECK(refused("a,y\n1,2\n", options, Errc::usage) != "accepted");
  options = {};
  options.id = options.carry = {"a"};
  CHECK(read("a,y\n1,2\n", options).source.data(0).carried.size() == 2);
}

TEST_CASE("files that are not there") {
  const TempFile file("a,b\n1,2\n");
  const auto file_itself = [](const std::string& path) { read_table(path + ".no", {}); };
  const auto directory = [](const std::string& path) {
    read_table(std::filesystem::path(path).parent_path().string(), {});
  };
  CHECK(refusal(file, file_itself, Errc::no_input) != "accepted");
  CHECK(refusal(file, directory, Errc::no_input) != "accepted");
}

TEST_CASE("the task is found from the target") {
  CHECK(read("x,y\n1,a\n2,b\n3,c\n", with_target("y")).schema.target.task == Task::classification);
  const Table two = read("x,y\n1,0\n2,1\n3,1.0\n", with_target("y"));
  CHECK(two.schema.target.task == Task::classification);
  CHECK(two.schema.target.labels == std::vector<std::string>{"0", "1"});
  CHECK(two.source.data(0).target == std::vector<double>{0, 1, 1});
  const Table three = read("x,y\n1,5\n2,1\n3,2\n", with_target("y"));
  CHECK(three.schema.target.task == Task::regression);
  CHECK(holds(three.notes.at(0), "--task classification"));
  ReadOptions options = with_target("y");
  options.task = Task::classification;
  CHECK(read("x,y\n1,10\n2,9\n3,2\n", options).schema.target.labels ==
        std::vector<std::string>{"2", "9", "10"});
  options.task = Task::count;
  CHECK(read("x,y\n1,0\n2,1\n", options).schema.target.task == Task::count);
  CHECK(starts(refused("x,y\n1,1\n2,1.5\n", options), "t.csv:3: column 'y': '1.5' is not a count"));
  CHECK(starts(refused("x,y\n1,-1\n", options), "t.csv:2: column 'y': '-1' is not a count"));
  options.task = Task::regression;
  CHECK(read("x,y\n1,0\n2,1\n", options).schema.target.task == Task::regression);
  CHECK(starts(refused("x,y\n1,1\n2,low\n", options), "t.csv:3: column 'y': 'low' is not a number"));
  CHECK(read("x,y\n1,7\n2,7\n", with_target("y")).schema.target.task == Task::regression);
}

TEST_CASE("rows without target or with weight 0 leave no trace") {
  ReadOptions options = with_target("y");
  options.weights = "w";
  const std::string text =
      "x,c,y,w\n1,a,1.5,1\nword,new,2.5,0\n2,other,,1\n3,b,3.5,2\n1e9,b,NA,0\n4,a,4.5,0.5\nx,b,?,3\n";
  const Table table = read(text, options);
  CHECK(table.rows_read == 7);
  CHECK(table.rows_without_target == 2);
  CHECK(table.rows_without_weight == 2);
  CHECK(table.schema.rows == 3);
  CHECK(table.schema.inputs[0].kind == ColumnKind::numeric);
  CHECK(table.schema.inputs[0].max == 4);
  CHECK(table.schema.inputs[1].levels == std::vector<std::string>{"a", "b"});
  CHECK(table.source.data(0).weight == std::vector<double>{1, 2, 0.5});
  CHECK(table.schema.total_weight == 3.5);
  CHECK(starts(refused("x,y,w\n1,2,1\n1,2,-1\n", options), "t.csv:3: column 'w': '-1' is negative"));
  CHECK(starts(refused("x,y,w\n1,2,1\n1,2,\n", options), "t.csv:3: column 'w': no value"));
  CHECK(
      starts(refused("x,y,w\n1,2,1\n1,2,heavy\n", options), "t.csv:3: column 'w': 'heavy' is not a number"));
  CHECK(holds(refused("x,y,w\n1,,1\n1,,1\n", options), "no row has a target"));
  CHECK(holds(refused("x,y,w\n1,1,0\n1,2,0\n", options), "every weight is 0"));
}

TEST_CASE("a text after 200000 numbers: the table is read again, to the same end") {
  std::string text = "a,b,y\n";
  for (int i = 0; i < 200000; ++i)
    text += std::to_string(i % 7) + "," + std::to_string(i) + ".5," + std::to_string(i % 3) + "\n";
  CHECK(starts(refused(text + "oops,1,1\n", with_target("y")),
               "t.csv:200002: column 'a': 'oops' is not a number"));
  for (int i = 0; i < 50000; ++i) text += "late,1,1\n";
  const Table table = read(text, with_target("y"));
  CHECK(table.schema.inputs[0].kind == ColumnKind::categorical);
  CHECK(table.schema.inputs[0].levels == std::vector<std::string>{"0", "1", "2", "3", "4", "5", "6", "late"});
  CHECK(level_at(table, 0, 200001) == 7);
  CHECK(number_at(table, 0, 199999) == 199999.5);
}

TEST_CASE("gzip and zstd are known by content; a cut file is refused wherever it is cut") {
  const std::string text = small_table(3000);
  const Table plain = read(text, with_target("y"));
  for (const bool gzip : {true, false}) {
    const std::string packed = gzip ? packed_gzip(text) : packed_zstd(text);
    const Table table = read(packed, with_target("y"));
    CHECK(table.rows_read == 3000);
    CHECK(table.source.data(2).numeric == plain.source.data(2).numeric);
    const std::string twice = packed + (gzip ? packed_gzip("1,red,5\n") : packed_zstd("1,red,5\n"));
    CHECK(read(twice, with_target("y")).rows_read == 3001);
    for (std::size_t cut = 1; cut < packed.size(); cut += 1 + packed.size() / 97)
      CHECK_MESSAGE(refused(packed.substr(0, cut)) != "accepted", cut);
    for (std::size_t cut = 1; cut < 20; ++cut)
      CHECK_MESSAGE(refused(packed.substr(0, packed.size() - cut)) != "accepted", cut);
    CHECK(holds(refused(packed.substr(0, packed.size() / 2)), "truncated"));
    std::string damaged = packed;
    damaged[packed.size() / 2] = static_cast<char>(damaged[packed.size() / 2] ^ 0x55);
    CHECK(refused(damaged) != "accepted");
  }
}

TEST_CASE("cells, quotes and line ends may fall on the end of the buffer") {
  // Rows of many lengths move every kind of byte over the border at 1 MiB; what is read again must agree.
  for (std::size_t shift = 0; shift < 24; ++shift) {
    std::string text = "a,b,c\n" + std::string("1,\"k") + std::string(shift, 'z') + "\",x\n";
    std::size_t rows = 1;
    while (text.size() < (std::size_t{1} << 20) + 200) {
      text += rows % 2 ? "12.5,\"q \"\"\n\"\"\",x\r\n" : "-3.25e2,plain,\"y\"\n";
      ++rows;
    }
    ReadOptions options;
    options.categorical = {"b"};
    const Table table = read(text, options);
    CHECK(table.rows_read == rows);
    CHECK(table.schema.inputs[1].levels.size() == 3);
  }
}

namespace {

Schema trained(const std::string& text, const ReadOptions& options) { return read(text, options).schema; }

BlockData read_rows(const std::string& text, const Schema& schema, const RowOptions& options = {}) {
  const TempFile file(text);
  RowReader reader(file.path(), schema, options);
  BlockData block;
  REQUIRE(reader.next(block));
  return block;
}

std::string rows_refused(const std::string& text, const Schema& schema, const RowOptions& options = {}) {
  return refusal(TempFile(text), [&](const std::string& path) {
    RowReader reader(path, schema, options);
    for (BlockData block; reader.next(block);) {
    }
  });
}

}  // namespace

TEST_CASE("new rows: columns by name in any order, new levels and missing values, lines") {
  ReadOptions options = with_target("y");
  options.id = {"who"};
  const Schema schema = trained("who,x,c,y\nA,1,u,yes\nB,2,v,no\nC,3,u,yes\n", options);
  const TempFile file("c,extra,y,who,x\nv,1,no,P,5\n\"u\",1,yes,\"Q\nR\",\nw,1,,S,NA\n?,1,maybe,T,-1\n");
  RowReader reader(file.path(), schema);
  BlockData block, rest;
  REQUIRE(reader.next(block));
  CHECK(!reader.next(rest));
  CHECK(block.rows == 4);
  CHECK(block.levels == std::vector<std::uint32_t>{1, 0, 2, 2});
  CHECK(block.numeric[0] == 5);
  CHECK(std::isnan(block.numeric[1]));
  CHECK(block.numeric[3] == -1);
  CHECK(block.line == std::vector<std::uint64_t>{2, 3, 5, 6});
  CHECK(block.carried[0] == std::vector<std::string>{"P", "Q\nR", "S", "T"});
  CHECK(block.target[0] == 0);
  CHECK(std::isnan(block.target[3]));
  CHECK(reader.notes().size() == 2);
  CHECK(holds(reader.notes()[0], "extra"));
  CHECK(holds(reader.notes()[1], "'maybe' in line 6"));
  RowOptions strict;
  strict.need_target = true;
  CHECK(starts(rows_refused("x,c,y\n1,u,yes\n1,u,maybe\n", schema, strict),
               "t.csv:3: column 'y': 'maybe' is not a label of the model; the labels are: no, yes"));
  CHECK(starts(rows_refused("x,c\n1,u\n", schema, strict), "t.csv:1: the target 'y' is not in the header"));
}

TEST_CASE("new rows: what the model needs and can't have is refused") {
  const Schema schema = trained("x,c,y\n1,u,1.5\n2,v,2.5\n3,u,3.5\n", with_target("y"));
  CHECK(holds(rows_refused("X,c\n1,u\n", schema), "t.csv:1: column 'x' is not in the header"));
  CHECK(holds(rows_refused("X,c\n1,u\n", schema), "--allow-missing-columns"));
  CHECK(starts(rows_refused("x,c\n1,u\nabc,u\n", schema), "t.csv:3: column 'x': 'abc' is not a number"));
  CHECK(holds(rows_refused("x,c\n1,u\n12kg,u\n", schema), "unit"));
  CHECK(starts(rows_refused("x,c\n1,u\n1\n", schema), "t.csv:3: the row has 1 field"));
  CHECK(starts(rows_refused("x,c\n", schema), "t.csv:1: a header and no rows"));
  RowOptions allow;
  allow.allow_missing_columns = true;
  const BlockData block = read_rows("c\nu\nv\n", schema, allow);
  CHECK(std::isnan(block.numeric[1]));
  CHECK(block.levels == std::vector<std::uint32_t>{0, 1});
}

TEST_CASE("new rows: the model's format unless the header says otherwise") {
  ReadOptions options = with_target("y");
  options.format.separator = ';';
  options.format.decimal = ',';
  options.format.missing = {"none"};
  const Schema schema = trained("x;c;y\n1,5;u;1\n2,5;v;2\nnone;v;3\n", options);
  CHECK(read_rows("x;c\n2,5;u\n", schema).numeric[0] == 2.5);
  CHECK(read_rows("x\tc\n2,5\tu\n", schema).numeric[0] == 2.5);
  CHECK(std::isnan(read_rows("x;c\nnone;u\n", schema).numeric[0]));
  RowOptions other;
  other.format = CsvFormat{};
  CHECK(read_rows("x,c\n2.5,u\n", schema, other).numeric[0] == 2.5);
  const Schema comma = trained("x,c,y\n1,u,1\n2,v,2\n3,v,3\n", with_target("y"));
  CHECK(read_rows("x;c\n2;u\n", comma).numeric[0] == 2);
}

TEST_CASE("new rows: labels and levels that are numbers are known in any spelling") {
  ReadOptions options = with_target("y");
  options.categorical = {"c"};
  const Schema schema = trained("c,y\n1,0\n2,1\n1,1\n", options);
  const BlockData block = read_rows("c,y\n1.0,1.0\n2.00,0\n3,\n", schema);
  CHECK(block.levels == std::vector<std::uint32_t>{0, 1, 2});
  CHECK(block.target[0] == 1);
}

TEST_CASE("new rows: weights, offsets, rows without target, many blocks, carried inputs") {
  ReadOptions options = with_target("y");
  options.weights = "w";
  options.offset = "o";
  const Schema schema = trained("x,y,w,o\n1,1,1,2\n2,2,2,3\n3,4,1,1\n", options);
  const TempFile file([] {
    std::string text = "x,y,w,o\n";
    for (int i = 0; i < 5000; ++i) text += std::to_string(i) + "," + (i % 5 ? "2" : "") + ",1,3\n";
    return text;
  }());
  RowOptions skip;
  skip.skip_rows_without_target = true;
  skip.id = {"x"};
  RowReader reader(file.path(), schema, skip);
  std::uint64_t rows = 0;
  for (BlockData block; reader.next(block);) {
    CHECK(block.first == rows);
    CHECK(block.offset[0] == 3);
    CHECK(block.weight.size() == block.rows);
    CHECK(block.numeric[0] == std::strtod(block.carried[0][0].c_str(), nullptr));
    rows += block.rows;
  }
  CHECK(rows == 4000);
  CHECK(reader.rows_without_target() == 1000);
  CHECK(starts(rows_refused("x,y,w\n1,1,1\n", schema), "t.csv:1: the offset 'o' is not in the header"));
  CHECK(starts(rows_refused("x,y,w,o\n1,1,-2,1\n", schema), "t.csv:2: column 'w': a negative weight"));
  CHECK(starts(rows_refused("x,y,w,o\n1,1,2,\n", schema), "t.csv:2: column 'o': no value"));
}

TEST_CASE("a pipe can be read twice") {
  const TempFile file("");
  const std::string fifo = file.path() + ".pipe";
  REQUIRE(std::system(("mkfifo '" + fifo +
                       "' && ({ echo a,b; yes 1.5,2 | head -200000; yes late,2 | head -100000; } "
                       "> '" +
                       fifo + "') &")
                          .c_str()) == 0);
  for (int i = 0; i < 1000 && !std::filesystem::exists(fifo); ++i) ::usleep(1000);
  const Table table = read_table(fifo, {});
  CHECK(table.rows_read == 300000);
  CHECK(table.schema.inputs[0].levels == std::vector<std::string>{"1.5", "late"});
}
