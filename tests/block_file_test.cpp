#include "moekit/block_file.hpp"

#include <doctest/doctest.h>

#include <charconv>
#include <cmath>
#include <cstring>
#include <fstream>

#include "blockfile/layout.hpp"
#include "helpers.hpp"
#include "moekit/csv.hpp"
#include "moekit/error.hpp"
#include "moekit/held_rows.hpp"

using namespace moekit;
using moekit::testing::Folder;

namespace {

void write(const std::string& path, const std::string& text) {
  std::ofstream(path, std::ios::binary).write(text.data(), static_cast<std::streamsize>(text.size()));
}

std::string slurp(const std::string& path) {
  std::ifstream in(path, std::ios::binary);
  return std::string(std::istreambuf_iterator<char>(in), {});
}

std::string shortest(double value) {
  char text[32];
  return std::string(text, std::to_chars(text, text + sizeof text, value).ptr);
}

/// Columns of every kind that a reader meets: long numbers, numbers with needless zeros, missing values in
/// many spellings, categories, quoted line breaks, identifiers with leading zeros, weights of 0, lacking
/// targets.
std::string mixed_table(std::uint64_t rows) {
  Rng rng(7, 1);
  std::string text = "id,long,short,zeros,city,grade,flag,w,y,class,note\n";
  const std::vector<std::string> cities{"Oslo", "\"Rome, Italy\"", "\"a \"\"b\"\"\"", "NA", "", "7", "null"};
  for (std::uint64_t i = 0; i < rows; ++i) {
    const double x = rng.normal(), z = rng.normal();
    text += (i % 10 ? "00" : "") + std::to_string(i) + ",";
    text += (i % 17 == 3 ? "?" : shortest(x)) + ",";
    text += (i % 13 == 5 ? "nan" : std::to_string(static_cast<long>(1000 * z)) + "e-1") + ",";
    text += (i % 3 ? "1.50" : " 2.5 ") + std::string(",");
    text += cities[i % cities.size()] + ",";
    text += std::to_string(i % 4) + (i % 8 < 4 ? ".0" : "") + ",";
    text += std::to_string(i % 2) + ",";
    text += (i % 11 == 0 ? "0" : shortest(1 + 0.25 * static_cast<double>(i % 5))) + ",";
    text += (i % 19 == 1 ? "" : shortest(x + z)) + ",";
    text += (i % 23 == 2 ? "NA" : i % 3 == 0 ? "red" : "blue") + std::string(",");
    text += i % 900 == 7 ? "\"two\nlines\"\n" : "-\n";
  }
  return text;
}

bool same_numbers(const double* a, const double* b, std::size_t n) {
  for (std::size_t i = 0; i < n; ++i)
    if (std::memcmp(&a[i], &b[i], sizeof a[i]) != 0 && !(std::isnan(a[i]) && std::isnan(b[i]))) return false;
  return true;
}

void check_same_blocks(const Source& a, const Source& b) {
  REQUIRE(a.rows() == b.rows());
  REQUIRE(a.blocks() == b.blocks());
  const BlockShape shape = a.shape();
  CHECK(shape.numeric == b.shape().numeric);
  CHECK(shape.categorical == b.shape().categorical);
  CHECK(shape.targets == b.shape().targets);
  BlockData of_a, of_b;
  for (std::size_t k = a.blocks(); k-- > 0;) {  // blocks are read at random
    const Block x = a.read(k, of_a), y = b.read(k, of_b);
    REQUIRE(x.rows == y.rows);
    CHECK(x.first == y.first);
    CHECK(same_numbers(x.numeric, y.numeric, x.rows * shape.numeric));
    CHECK(std::memcmp(x.levels, y.levels, x.rows * shape.categorical * sizeof *x.levels) == 0);
    CHECK((x.target == nullptr) == (y.target == nullptr));
    if (x.target) CHECK(same_numbers(x.target, y.target, x.rows * shape.targets));
    CHECK((x.weight == nullptr) == (y.weight == nullptr));
    if (x.weight) CHECK(same_numbers(x.weight, y.weight, x.rows));
    if (x.offset) CHECK(same_numbers(x.offset, y.offset, x.rows));
  }
}

void check_same_table(const Table& a, const Table& b) {
  REQUIRE(a.schema.inputs.size() == b.schema.inputs.size());
  for (std::size_t i = 0; i < a.schema.inputs.size(); ++i) {
    CHECK(a.schema.inputs[i].name == b.schema.inputs[i].name);
    CHECK(a.schema.inputs[i].kind == b.schema.inputs[i].kind);
    CHECK(a.schema.inputs[i].levels == b.schema.inputs[i].levels);
    CHECK(a.schema.inputs[i].mean == b.schema.inputs[i].mean);
    CHECK(a.schema.inputs[i].shares == b.schema.inputs[i].shares);
  }
  CHECK(a.schema.target.task == b.schema.target.task);
  CHECK(a.schema.target.labels == b.schema.target.labels);
  CHECK(a.schema.format.missing == b.schema.format.missing);
  CHECK(a.schema.format.separator == b.schema.format.separator);
  CHECK(a.rows_read == b.rows_read);
  CHECK(a.rows_without_target == b.rows_without_target);
  CHECK(a.rows_without_weight == b.rows_without_weight);
  CHECK(a.notes == b.notes);
  CHECK(fingerprint(a.schema, a.rows()) == fingerprint(b.schema, b.rows()));
  check_same_blocks(a.rows(), b.rows());
}

/// The message, or "accepted".
template <class Call>
std::string refusal(const Call& call, Errc code = Errc::data) {
  try {
    call();
  } catch (const Error& error) {
    CHECK(error.code() == code);
    CHECK(std::string(error.what()).find('\n') == std::string::npos);
    return error.what();
  }
  return "accepted";
}

bool has(const std::string& text, const std::string& part) { return text.find(part) != std::string::npos; }

}  // namespace

TEST_CASE("a table from its block file is the table from its text, whatever its columns are for") {
  const Folder folder;
  const std::string csv = folder.file("t.csv"), mkb = folder.file("t.mkb");
  write(csv, mixed_table(5000));
  ConvertOptions convert;
  convert.text = {"id"};
  const BlockFileInfo info = convert_table(csv, mkb, convert);
  CHECK(info.rows == 5000);
  CHECK(info.columns.size() == 11);
  CHECK(is_block_file(mkb));
  CHECK_FALSE(is_block_file(csv));
  std::vector<ReadOptions> all(8);
  for (ReadOptions& each : all) {
    each.target = "y";
    each.id = {"id"};
  }
  all[1].target = "class";  // text
  all[2].target = "flag";   // two values: classes
  all[3].target = "grade";  // 0, 1, 2, 3, also spelt 0.0 and 1.0
  all[3].task = Task::classification;
  all[4].weights = "w";
  all[5].weights = "w";
  all[5].target = "class";
  all[5].drop = {"long", "city"};
  all[6].categorical = {"grade", "flag"};
  all[6].offset = "w";
  all[7].target = "y";
  all[7].further_targets = {"w"};
  all[7].format.missing = {"7", "1.5"};
  for (const ReadOptions& options : all) {
    CAPTURE(options.target);
    CAPTURE(options.weights);
    const Table text = read_table(csv, options);
    for (const int threads : {1, 2, 5}) {
      Compute compute;
      compute.threads = threads;
      check_same_table(text, read_table(csv, options, compute));
      const Table stored = read_table(mkb, options, compute);
      CHECK_FALSE(stored.on_file);
      check_same_table(text, stored);
      for (std::size_t b = 0; b < text.source.blocks(); ++b)
        CHECK(text.source.data(b).carried == stored.source.data(b).carried);
      ReadOptions little = options;
      little.memory = 1000;
      const Table streamed = read_table(mkb, little, compute);
      REQUIRE(streamed.on_file);
      check_same_table(text, streamed);
    }
  }
}

TEST_CASE("new rows from a block file are those from the text, with their lines") {
  const Folder folder;
  const std::string csv = folder.file("t.csv"), mkb = folder.file("t.mkb");
  write(csv, mixed_table(3000));
  ConvertOptions convert;
  convert.text = {"id"};
  convert_table(csv, mkb, convert);
  ReadOptions reading;
  reading.target = "class";
  reading.id = {"id"};
  const Schema schema = read_table(csv, reading).schema;
  for (const bool skip : {false, true}) {
    RowOptions options;
    options.skip_rows_without_target = skip;
    options.carry = {"city", "note"};
    RowReader text(csv, schema, options), stored(mkb, schema, options);
    CHECK(text.notes() == stored.notes());
    CHECK(text.carried() == stored.carried());
    BlockData a, b;
    while (text.next(a)) {
      REQUIRE(stored.next(b));
      REQUIRE(a.rows == b.rows);
      CHECK(a.line == b.line);
      CHECK(a.carried == b.carried);
      CHECK(a.levels == b.levels);
      CHECK(same_numbers(a.numeric.data(), b.numeric.data(), a.numeric.size()));
      CHECK(same_numbers(a.target.data(), b.target.data(), a.target.size()));
    }
    CHECK_FALSE(stored.next(b));
    CHECK(text.rows_without_target() == stored.rows_without_target());
  }
}

TEST_CASE("rows to judge a fit by are the same blocks from a CSV, in memory and on a block file") {
  const Folder folder;
  const std::string csv = folder.file("t.csv"), mkb = folder.file("t.mkb");
  write(csv, mixed_table(5000));
  ConvertOptions convert;
  convert.text = {"id"};
  convert_table(csv, mkb, convert);
  for (const bool classes : {false, true}) {
    CAPTURE(classes);
    ReadOptions reading;
    reading.target = classes ? "class" : "y";
    if (!classes) reading.further_targets = {"long"};
    reading.drop = {"note"};
    reading.id = {"id"};
    reading.weights = "w";
    const Schema schema = read_table(csv, reading).schema;
    const HeldRows text = read_held_rows(csv, schema), stored = read_held_rows(mkb, schema);
    CHECK(text.notes == stored.notes);
    CHECK(text.rows->rows() < 5000);
    check_same_blocks(*text.rows, *stored.rows);
    const auto& in_memory = dynamic_cast<const MemorySource&>(*stored.rows);
    CHECK(bytes_of(in_memory) > 100000);
    for (const int threads : {1, 3}) {
      Compute compute;
      compute.threads = threads;
      const HeldRows on_file = read_held_rows(mkb, schema, 100000, compute);
      CHECK_FALSE(dynamic_cast<const MemorySource*>(on_file.rows.get()));
      CHECK(on_file.notes == text.notes);
      check_same_blocks(*text.rows, *on_file.rows);
    }
    const std::string message = refusal([&] { read_held_rows(csv, schema, 100000); }, Errc::usage);
    CHECK(has(message, "do not fit into --memory"));
    CHECK(has(message, "moekit convert"));
    CHECK(read_held_rows(csv, schema, bytes_of(in_memory)).rows->rows() == text.rows->rows());
  }
  // A label that training never saw is refused in the same words, before any fit.
  write(folder.file("other.csv"), "x,class\n1,red\n2,green\n");
  convert_table(folder.file("other.csv"), folder.file("other.mkb"), {});
  write(folder.file("known.csv"), "x,class\n1,red\n2,blue\n");
  ReadOptions reading;
  reading.target = "class";
  const Schema schema = read_table(folder.file("known.csv"), reading).schema;
  const std::string from_text = refusal([&] { read_held_rows(folder.file("other.csv"), schema); });
  const std::string from_file = refusal([&] { read_held_rows(folder.file("other.mkb"), schema, 1); });
  CHECK(has(from_text, "other.csv:3: column 'class'"));
  CHECK(from_text.substr(from_text.find(":3:")) == from_file.substr(from_file.find(":3:")));
}

TEST_CASE("blocks of new rows come in order, whatever the threads, and so does the first error") {
  const Folder folder;
  const std::string csv = folder.file("t.csv");
  std::string text = "x,y\n";
  for (int i = 0; i < 40000; ++i) text += std::to_string(i) + "," + std::to_string(2 * i) + "\n";
  write(csv, text);
  ReadOptions reading;
  reading.target = "y";
  const Schema schema = read_table(csv, reading).schema;
  text += "1,kg\n";
  for (int i = 0; i < 5000; ++i) text += "1,2\n";
  write(folder.file("bad.csv"), text + "1\n");
  for (const int threads : {1, 2, 7}) {
    Compute compute;
    compute.threads = threads;
    std::uint64_t next = 0;
    const auto work = [&](BlockData&& block) {
      return [&next, rows = std::move(block)] {
        CHECK(rows.first == next);
        CHECK(rows.numeric[0] == static_cast<double>(next));
        next += rows.rows;
      };
    };
    RowReader(csv, schema, {}).for_each(compute, work);
    CHECK(next == 40000);
    next = 0;
    const std::string message =
        refusal([&] { RowReader(folder.file("bad.csv"), schema, {}).for_each(compute, work); });
    CHECK(has(message, "bad.csv:40002: column 'y'"));
    CHECK(next == 40000 / kBlockRows * kBlockRows);
    CHECK(has(refusal([&] { read_table(folder.file("bad.csv"), reading, compute); }),
              "bad.csv:45003: the row has 1 field"));
  }
}

TEST_CASE("a number tells how it was written, or the file says that it does not") {
  Rng rng(3, 1);
  for (int i = 0; i < 20000; ++i) {
    const int digits = static_cast<int>(rng.below(16));
    char text[64];
    std::snprintf(text, sizeof text, "%.*f", digits,
                  std::ldexp(rng.normal(), static_cast<int>(rng.below(40)) - 10));
    if (!blocks::is_plain(text, '.')) continue;
    char again[blocks::kPlainRoom];
    CHECK(std::string(again, blocks::plain_text(std::strtod(text, nullptr), '.', again)) == text);
  }
  for (const char* text : {"0", "-0", "100000", "0.5", "-12.25", "123456789012345", "0.00001"}) {
    CAPTURE(text);
    REQUIRE(blocks::is_plain(text, '.'));
    char again[blocks::kPlainRoom];
    CHECK(std::string(again, blocks::plain_text(std::strtod(text, nullptr), '.', again)) == text);
  }
  for (const char* text : {"", "-", "+1", "007", "1.", ".5", "1.0", "1e5", " 1", "1234567890123456", "1,5"})
    CHECK_FALSE(blocks::is_plain(text, '.'));

  const Folder folder;
  const std::string csv = folder.file("t.csv"), mkb = folder.file("t.mkb");
  std::string text = "code,y\n";
  for (int i = 0; i < 3000; ++i) text += "00" + std::to_string(i) + "," + std::to_string(i % 7) + "\n";
  write(csv, text);
  CHECK_FALSE(convert_table(csv, mkb, {}).columns[0].spelling_kept);
  ReadOptions reading;
  reading.target = "y";
  CHECK(read_table(mkb, reading).source.rows() == 3000);
  reading.id = {"code"};
  CHECK(has(refusal([&] { read_table(mkb, reading); }), "import it again with --text code"));
  ConvertOptions kept;
  kept.text = {"code"};
  CHECK(convert_table(csv, mkb, kept).columns[0].spelling_kept);
  CHECK(read_table(mkb, reading).source.data(0).carried[0][5] == "005");
}

TEST_CASE("a block file that was cut or changed anywhere is refused in one line") {
  const Folder folder;
  const std::string csv = folder.file("t.csv"), mkb = folder.file("t.mkb"), bad = folder.file("b.mkb");
  write(csv, "a,b,y\n1.25,x,1\nNA,\"y\nz\",2\n3,x,4\n");
  convert_table(csv, mkb, {});
  const std::string whole = slurp(mkb);
  ReadOptions reading;
  reading.target = "y";
  CHECK(read_table(mkb, reading).source.rows() == 3);
  const auto attempt = [&](const std::string& bytes) {
    write(bad, bytes);
    return refusal([&] {
      if (!is_block_file(bad)) throw Error(Errc::data, "no block file");
      read_table(bad, reading);
    });
  };
  for (std::size_t size = 0; size < whole.size(); ++size) {
    CAPTURE(size);
    CHECK(attempt(whole.substr(0, size)) != "accepted");
  }
  for (std::size_t at = 0; at < whole.size(); ++at)
    for (const int flip : {1, 0x80}) {
      std::string bytes = whole;
      bytes[at] = static_cast<char>(bytes[at] ^ flip);
      CAPTURE(at);
      CHECK(attempt(bytes) != "accepted");
    }
  CHECK(has(attempt("moekit-blocks 2\n" + whole.substr(16)), "another version"));
  CHECK(has(attempt(whole + "x"), "damaged"));
}

TEST_CASE("a file that ends while its blocks are read is an error, not a crash") {
  const Folder folder;
  const std::string csv = folder.file("t.csv"), mkb = folder.file("t.mkb");
  write(csv, mixed_table(20000));
  convert_table(csv, mkb, {});
  ReadOptions reading;
  reading.target = "y";
  reading.drop = {"id"};
  reading.memory = 1000;
  const Table table = read_table(mkb, reading);
  REQUIRE(table.on_file);
  std::filesystem::resize_file(mkb, std::filesystem::file_size(mkb) / 2);
  BlockData buffer;
  CHECK(table.rows().read(0, buffer).rows == kBlockRows);
  CHECK(has(refusal([&] { table.rows().read(table.rows().blocks() - 1, buffer); }), "shorter"));
}

TEST_CASE("conversion refuses what reading refuses, and leaves no file") {
  const Folder folder;
  const std::string csv = folder.file("t.csv"), mkb = folder.file("t.mkb");
  write(csv, "a,b\n1,2\n3\n");
  CHECK(has(refusal([&] { convert_table(csv, mkb, {}); }), "t.csv:3: the row has 1 field"));
  write(csv, "a,b\n1,\"2\n");
  CHECK(has(refusal([&] { convert_table(csv, mkb, {}); }), "never closes"));
  write(csv, "a,b\n");
  CHECK(has(refusal([&] { convert_table(csv, mkb, {}); }), "a header and no rows"));
  CHECK(folder.entries() == 1);
  write(csv, "a,b\n1,2\n");
  ConvertOptions options;
  options.drop = {"c"};
  CHECK(has(refusal([&] { convert_table(csv, mkb, options); }), "no column 'c'"));
  CHECK(folder.entries() == 1);
  convert_table(csv, mkb, {});
  CHECK(
      has(refusal([&] { convert_table(mkb, folder.file("u.mkb"), {}); }, Errc::usage), "block file already"));
}

TEST_CASE("the text table that does not fit into the allowed memory is refused with what to do") {
  const Folder folder;
  const std::string csv = folder.file("t.csv");
  write(csv, mixed_table(3000));
  ReadOptions reading;
  reading.target = "y";
  reading.drop = {"id"};
  reading.memory = 50000;
  CHECK(has(refusal([&] { read_table(csv, reading); }, Errc::usage), "moekit convert"));
  reading.memory = 5000000;
  CHECK(read_table(csv, reading).source.rows() > 0);
}
