// safetensors and NumPy files: read exactly, and refused in one line when they are anything else
// (docs/formats.md).
#include "moekit/safetensors.hpp"

#include <cmath>
#include <sstream>

#include "layer_helpers.hpp"
#include "moekit/error.hpp"
#include "moekit/npy.hpp"
#include "safetensors_helpers.hpp"

using namespace moekit;
using namespace moekit::testing;

namespace {

/// The message when the file is refused, else empty.
std::string refusal(const std::string& bytes) {
  const TemporaryFile file(".safetensors", bytes);
  try {
    const Safetensors read(file.path());
  } catch (const Error& error) {
    const std::string message = error.what();
    CHECK(error.code() == Errc::model_format);
    CHECK(message.find('\n') == std::string::npos);
    CHECK(message.starts_with(file.path() + ": "));
    CHECK(message.size() < 500 + file.path().size());
    return message;
  }
  return {};
}

std::string header_refusal(const std::string& header, std::size_t data) {
  return refusal(safetensors_bytes(header, std::string(data, 'x')));
}

bool contains(const std::string& text, const char* part) { return text.find(part) != std::string::npos; }

}  // namespace

TEST_CASE("values come back exactly, from every floating type and any place") {
  std::string data;
  const float f32[3] = {1.5f, -0.0f, 3e38f};
  const std::uint16_t bf16[4] = {0x3f80, 0xc000, 0x0001, 0x7f80},
                      f16[6] = {0x3c00, 0xc000, 0x0001, 0x7c00, 0x03ff, 0x7bff};
  const double f64[1] = {0.1};
  data.append(reinterpret_cast<const char*>(f64), 8);
  data.append(reinterpret_cast<const char*>(f32), 12);
  data.append(reinterpret_cast<const char*>(bf16), 8);
  data.append(reinterpret_cast<const char*>(f16), 12);
  // 63 bytes: every value is misaligned in memory.
  std::string header =
      "{\"d\":{\"dtype\":\"F64\",\"shape\":[],\"data_offsets\":[0,8]},"
      "\"a\":{\"dtype\":\"F32\",\"shape\":[3,1],\"data_offsets\":[8,20]},"
      "\"none\":{\"dtype\":\"F32\",\"shape\":[0,7],\"data_offsets\":[20,20]},"
      "\"b\":{\"data_offsets\":[20,28],\"shape\":[2,2],\"dtype\":\"BF16\"},"
      "\"h\":{\"dtype\":\"F16\",\"shape\":[6],\"data_offsets\":[28,40]}}";
  header.append(63 - header.size() % 64, ' ');
  const TemporaryFile file(".safetensors", safetensors_bytes(header, data));
  const Safetensors read(file.path());
  CHECK(read.tensors().size() == 5);
  CHECK(read.find("nosuch") == nullptr);
  const auto values = [&](const char* name, std::size_t n) {
    std::vector<float> out(n);
    read.read(*read.find(name), 0, n, out.data());
    return out;
  };
  CHECK(values("a", 3) == std::vector<float>{1.5f, -0.0f, 3e38f});
  CHECK(std::signbit(values("a", 3)[1]));
  CHECK(values("d", 1)[0] == 0.1f);
  CHECK(values("b", 4) == std::vector<float>{1.0f, -2.0f, 0x1p-133f, INFINITY});
  CHECK(values("h", 6) == std::vector<float>{1.0f, -2.0f, 0x1p-24f, INFINITY, 1023 * 0x1p-24f, 65504.0f});
  float one;
  read.read(*read.find("a"), 2, 1, &one);
  CHECK(one == 3e38f);
  CHECK_THROWS_AS(read.read(*read.find("a"), 3, 1, &one), Error);
  CHECK_THROWS_AS(read.read(*read.find("a"), UINT64_MAX, 2, &one), Error);
}

TEST_CASE("a file cut at any byte, or longer, is refused") {
  const std::string whole = safetensors_of({{"a", {2, 3}, {1, 2, 3, 4, 5, 6}}, {"b", {1}, {7}}});
  REQUIRE(refusal(whole).empty());
  for (std::size_t n = 0; n < whole.size(); ++n) {
    CAPTURE(n);
    CHECK(!refusal(whole.substr(0, n)).empty());
  }
  CHECK(contains(refusal(whole + "x"), "belong to no tensor"));
}

TEST_CASE("any byte of the header changed: refused, or another valid file, never a crash") {
  const std::string whole = safetensors_of({{"a", {2, 3}, {1, 2, 3, 4, 5, 6}}, {"b", {1}, {7}}});
  const std::size_t end = whole.size() - 28;
  for (std::size_t at = 0; at < end; ++at)
    for (const int flip : {1, 2, 0x10, 0x80}) {
      std::string changed = whole;
      changed[at] = static_cast<char>(changed[at] ^ flip);
      CHECK(!contains(refusal(changed), "\n"));  // one line, if it is refused
    }
}

TEST_CASE("header lengths that no file can have") {
  for (const std::uint64_t length :
       {std::uint64_t{1} << 63, UINT64_MAX, UINT64_MAX - 7, std::uint64_t{1} << 40}) {
    std::string file = safetensors_bytes("{}", "");
    std::memcpy(file.data(), &length, 8);
    CHECK(contains(refusal(file), "does not fit"));
  }
  CHECK(refusal(safetensors_bytes("{}", "")).empty());
  CHECK(!refusal(safetensors_bytes("", "")).empty());
}

TEST_CASE("offsets: overlapping, with holes, backwards, beyond the end, negative, huge, misaligned") {
  const auto two = [](const std::string& first, const std::string& second) {
    return "{\"a\":{\"dtype\":\"F32\",\"shape\":[2],\"data_offsets\":[" + first +
           "]},\"b\":{\"dtype\":\"F32\",\"shape\":[2],\"data_offsets\":[" + second + "]}}";
  };
  CHECK(header_refusal(two("0,8", "8,16"), 16).empty());
  CHECK(header_refusal(two("8,16", "0,8"), 16).empty());
  CHECK(contains(header_refusal(two("0,8", "4,12"), 16), "overlap"));
  CHECK(contains(header_refusal(two("0,8", "0,8"), 8), "overlap"));
  CHECK(contains(header_refusal(two("0,8", "12,20"), 20), "no tensor"));
  CHECK(contains(header_refusal(two("4,12", "12,20"), 20), "no tensor"));
  CHECK(contains(header_refusal(two("8,0", "8,16"), 16), "backwards"));
  CHECK(contains(header_refusal(two("0,8", "8,24"), 16), "beyond"));
  CHECK(contains(header_refusal(two("0,8", "9223372036854775808,9223372036854775816"), 16), "beyond"));
  CHECK(contains(header_refusal(two("0,8", "8,18446744073709551615"), 16), "beyond"));
  CHECK(contains(header_refusal(two("0,8", "8,18446744073709551616"), 16), "whole number"));
  CHECK(contains(header_refusal(two("-8,0", "0,8"), 8), "whole number"));
  CHECK(contains(header_refusal(two("0,8.0", "8,16"), 16), "whole number"));
  CHECK(contains(header_refusal(two("0,8,16", "8,16"), 16), "two"));
  CHECK(contains(header_refusal(two("0", "8,16"), 16), "two"));
  CHECK(contains(header_refusal("{\"a\":{\"dtype\":\"U8\",\"shape\":[1],\"data_offsets\":[0,1]},"
                                "\"b\":{\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[1,5]}}",
                                5),
                 "aligned"));
}

TEST_CASE("types and shapes that do not fit, and text that is no header") {
  const auto one = [](const std::string& dtype, const std::string& shape) {
    return "{\"a\":{\"dtype\":" + dtype + ",\"shape\":" + shape + ",\"data_offsets\":[0,8]}}";
  };
  CHECK(header_refusal(one("\"F32\"", "[2]"), 8).empty());
  CHECK(header_refusal(one("\"I64\"", "[1]"), 8).empty());
  CHECK(contains(header_refusal(one("\"F32\"", "[3]"), 8), "do not fit its shape"));
  CHECK(contains(header_refusal(one("\"F31\"", "[2]"), 8), "unknown dtype"));
  CHECK(contains(header_refusal(one("4", "[2]"), 8), "number"));
  CHECK(contains(header_refusal(one("\"F32\"", "[-2]"), 8), "whole number"));
  CHECK(contains(header_refusal(one("\"F32\"", "[4294967296,4294967296,4]"), 8), "impossibly large"));
  CHECK(contains(header_refusal(one("\"F32\"", "[4611686018427387905]"), 8), "do not fit"));
  CHECK(contains(header_refusal(one("\"F32\"", "[[2]]"), 8), "list"));
  CHECK(contains(header_refusal(one("\"F32\"", "2"), 8), "number"));
  CHECK(contains(header_refusal("{\"a\":{\"dtype\":\"F32\",\"shape\":[2]}}", 8), "lacking"));
  CHECK(contains(
      header_refusal("{\"a\":{\"dtype\":\"F32\",\"shape\":[2],\"shape\":[2],\"data_offsets\":[0,8]}}", 8),
      "twice"));
  CHECK(contains(header_refusal("{\"a\":{\"dtype\":\"F32\",\"shape\":[2],\"offset\":[0,8]}}", 8),
                 "unknown field"));
  CHECK(contains(header_refusal("{\"a\\n\":{\"dtype\":\"F32\",\"shape\":[2],\"data_offsets\":[0,8]},"
                                "\"a\\n\":{\"dtype\":\"F32\",\"shape\":[0],\"data_offsets\":[8,8]}}",
                                8),
                 "twice"));
  CHECK(contains(header_refusal("{\"a\":7}", 8), "number"));
  CHECK(contains(header_refusal("{\"a\":null}", 8), "null"));
  CHECK(contains(header_refusal("{\"__metadata__\":{\"k\":3}}", 0), "number"));
  CHECK(contains(header_refusal("[1]", 8), "begin"));
  CHECK(contains(header_refusal("{} x", 8), "JSON"));
  CHECK(contains(header_refusal("{\"a\":" + std::string(100000, '['), 8), "list"));
  CHECK(contains(header_refusal("{\"\xff\":1}", 8), "JSON"));
  CHECK_THROWS_AS(Safetensors("no/such.safetensors"), Error);
  CHECK_THROWS_AS(Safetensors("/dev/null"), Error);
}

TEST_CASE("NumPy files: float32 and float64, versions 1 to 3, what is written is read") {
  const std::string f32 = "{'descr': '<f4', 'fortran_order': False, 'shape': (2, 3), }";
  for (const int version : {1, 2, 3}) {
    const TemporaryFile file(".npy", npy_bytes(f32, bytes_of({1, 2, 3, 4, 5, 6}), version));
    const NpyFile x(file.path());
    CHECK(x.rows() == 2);
    CHECK(x.columns() == 3);
    std::vector<float> row(3);
    x.read(1, 1, row.data());
    CHECK(row == std::vector<float>{4, 5, 6});
    CHECK_THROWS_AS(x.read(1, 2, row.data()), Error);
  }
  const double doubles[2] = {0.1, -1e300};
  const TemporaryFile wide(".npy", npy_bytes("{\"shape\": (2, 1), 'descr': '<f8', 'fortran_order': False}",
                                             std::string(reinterpret_cast<const char*>(doubles), 16)));
  const NpyFile x(wide.path());
  float value;
  x.read(0, 1, &value);
  CHECK(value == 0.1f);
  CHECK_THROWS_WITH_AS(x.read(1, 1, &value), doctest::Contains("row 1, column 0"), Error);
  std::ostringstream out;
  write_npy_header(out, 0, 1000000);
  CHECK(out.str().size() % 64 == 0);
  const TemporaryFile empty(".npy", out.str());
  CHECK(NpyFile(empty.path()).rows() == 0);
  CHECK(NpyFile(empty.path()).columns() == 1000000);
}

TEST_CASE("NumPy files cut at any byte, or of another kind, are refused with a remedy") {
  const std::string whole = npy_of({1, 2, 3, 4}, 2);
  for (std::size_t n = 0; n < whole.size(); ++n) {
    const TemporaryFile file(".npy", whole.substr(0, n));
    CHECK_THROWS_AS(NpyFile(file.path()), Error);
  }
  const auto refused = [](const std::string& dictionary, const std::string& data, const char* part) {
    const TemporaryFile file(".npy", npy_bytes(dictionary, data));
    CHECK_THROWS_WITH_AS(NpyFile(file.path()), doctest::Contains(part), Error);
  };
  const std::string data(16, '\0');
  refused("{'descr': '<i4', 'fortran_order': False, 'shape': (2, 2), }", data, "astype");
  refused("{'descr': '>f4', 'fortran_order': False, 'shape': (2, 2), }", data, "astype");
  refused("{'descr': '<f4', 'fortran_order': True, 'shape': (2, 2), }", data, "ascontiguousarray");
  refused("{'descr': '<f4', 'fortran_order': False, 'shape': (4,), }", data, "reshape");
  refused("{'descr': '<f4', 'fortran_order': False, 'shape': (), }", "0000", "reshape");
  refused("{'descr': '<f4', 'fortran_order': False, 'shape': (2, 3), }", data, "length");
  refused("{'descr': '<f4', 'fortran_order': False, 'shape': (9223372036854775808, 2), }", data, "length");
  refused("{'descr': '<f4', 'fortran_order': False, 'shape': (-2, -2), }", data, "header");
  refused("{'descr': [('a', '<f4')], 'fortran_order': False, 'shape': (2, 2), }", data, "header");
  refused("{'descr': '<f4', 'fortran_order': False, }", data, "shape");
  refused("", data, "header");
}
