// What is written: numbers, cells, files; and names that would do harm where they are shown.
#include "output.hpp"

#include <doctest/doctest.h>
#include <fcntl.h>
#include <sys/stat.h>

#include <bit>
#include <charconv>
#include <cmath>

#include "cli_helpers.hpp"
#include "csv_writer.hpp"
#include "harmless.hpp"
#include "json_output.hpp"
#include "moekit/rng.hpp"
#include "shortest_number.hpp"

using namespace moekit;
using namespace moekit::testing;

namespace {

/// Is the number written as the standard library writes it?
bool as_to_chars(double value) {
  char ours[cli::kNumberRoom], theirs[cli::kNumberRoom];
  const std::string_view own(ours, static_cast<std::size_t>(cli::write_shortest(value, ours) - ours));
  const char* const end = std::to_chars(theirs, theirs + sizeof theirs, value).ptr;
  if (own == std::string_view(theirs, static_cast<std::size_t>(end - theirs))) return true;
  MESSAGE(own << " in place of " << std::string(theirs, static_cast<std::size_t>(end - theirs)));
  return false;
}

/// The number and both neighbours, with either sign.
bool around(double value) {
  bool same = true;
  for (const double x : {std::nextafter(value, 0.0), value, std::nextafter(value, INFINITY)})
    if (std::isfinite(x)) same = as_to_chars(x) && as_to_chars(-x) && same;
  return same;
}

}  // namespace

TEST_CASE("numbers are the shortest text that reads back the same, as std::to_chars writes it") {
  int wrong = 0;
  const auto check = [&](bool holds) { wrong += !holds; };
  for (const double x :
       {0.0, 5e-324, 1e-323, 2.2250738585072011e-308, 2.2250738585072014e-308, 9007199254740991.0,
        9007199254740992.0, 1e22, 1e23, 1.7976931348623157e308, 0.3, 1.0 / 3})
    check(around(x));
  for (int power = -1074; power < 1024; ++power) check(around(std::ldexp(1.0, power)));
  for (int power = -320; power <= 308; ++power)
    for (const char* digits : {"1", "2", "5", "9", "12", "99", "123", "1234567", "99999999",
                               "123456789012345", "9999999999999999", "12345678901234567"})
      check(around(std::strtod((digits + ("e" + std::to_string(power - 10))).c_str(), nullptr)));
  Rng rng(3, 1);
  for (int i = 0; i < 200'000; ++i) {
    const double u = rng.uniform();
    for (const double x : {u, std::exp(-700 * u), 1e7 * u, std::round(1e5 * u) / 1e4, std::round(1e15 * u)})
      check(as_to_chars(x));
    const double any = std::bit_cast<double>(rng.next());
    if (std::isfinite(any)) check(as_to_chars(any));
  }
  CHECK(wrong == 0);
}

TEST_CASE("cells are quoted as RFC 4180 asks, and come back as they were") {
  cli::CsvWriter out;
  for (const char* cell : {"plain", "a,b", "say \"hi\"", "two\nlines", "cr\rhere", "=1+1", "@x", " blank "})
    out.text(cell);
  out.end_row();
  CHECK(out.take() == "plain,\"a,b\",\"say \"\"hi\"\"\",\"two\nlines\",\"cr\rhere\",=1+1,@x, blank \n");
}

TEST_CASE("a large file is named, not copied, whether or not another has the name") {
  const Workshop w;
  const int probe = ::open(w.file(".").c_str(), O_TMPFILE | O_RDWR | O_CLOEXEC, 0666);
  if (probe < 0) return;  // this file system can't: the file is copied
  ::close(probe);
  for (const char* when : {"new", "over another", "over a link"}) {
    CAPTURE(when);
    if (std::string(when) == "over a link") {
      std::filesystem::rename(w.file("big"), w.file("target"));
      std::filesystem::create_symlink("target", w.file("big"));
    }
    cli::Output output(w.file("big"));
    const std::string piece(1 << 20, 'x');
    for (int i = 0; i < 20; ++i) output.stream() << piece;
    // The file without a name is the one open file of this folder.
    ino_t written = 0;
    for (const auto& entry : std::filesystem::directory_iterator("/proc/self/fd")) {
      std::error_code gone;
      const std::string path = std::filesystem::read_symlink(entry.path(), gone).string();
      struct stat file {};
      if (path.starts_with(w.file("")) && ::stat(entry.path().c_str(), &file) == 0 && S_ISREG(file.st_mode))
        written = file.st_ino;
    }
    REQUIRE(written != 0);
    output.finish();
    struct stat named {};
    REQUIRE(::stat(w.file("big").c_str(), &named) == 0);
    CHECK(named.st_ino == written);
    CHECK(named.st_size == 20 << 20);
  }
  CHECK(std::filesystem::is_symlink(w.file("big")));
}

TEST_CASE("what a terminal would obey, or nobody would see, is replaced; letters of all scripts stay") {
  using namespace cli;
  const std::string fine = "Größe \u0633\u0644\u0627\u0645 \u200C\u200D \U0001F600 x\u0301 \u00A0";
  CHECK(harmless(fine) == fine);
  CHECK(harmless_markup(fine + "\n\t") == fine + "\n\t");
  for (const char* bad : {"\x1b",   "\x07",   "\r",     "\n",     "\t",     "\x7f",      "\u0080", "\u009b",
                          "\u061c", "\u180e", "\u200b", "\u200e", "\u200f", "\u2028",    "\u202a", "\u202e",
                          "\u2060", "\u2066", "\u2069", "\ufeff", "\ufffb", "\U000E0041"}) {
    CAPTURE(bad);
    CHECK(harmless("a" + std::string(bad) + "b") == "a?b");
    // In JSON it is an escape, and the value the same.
    const Json value = {{"name", "a" + std::string(bad) + "b"}};
    const std::string text = json_text(value);
    CHECK(!has(text, "a" + std::string(bad)));
    CHECK(Json::parse(text) == value);
    if (*bad != '\n' && *bad != '\t') CHECK(harmless_markup("a" + std::string(bad) + "b") == "a\uFFFDb");
  }
  // No UTF-8: a lone continuation, too long a form, a surrogate, too large, cut short. One byte, one mark.
  CHECK(harmless("a\x9b"
                 "b") == "a?b");
  CHECK(harmless("\xC0\xAF") == "??");
  CHECK(harmless("\xED\xA0\x80") == "???");
  CHECK(harmless("\xF4\x90\x80\x80") == "????");
  CHECK(harmless("x\xE2\x80") == "x??");
}
