#include "moekit/model_io.hpp"

#include <doctest/doctest.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>
#include <zlib.h>

#include <cstdio>
#include <fstream>
#include <limits>
#include <sstream>
#include <thread>

#include "helpers.hpp"
#include "moekit/error.hpp"
#include "moekit/predict.hpp"

using namespace moekit;
using namespace moekit::testing;

namespace {

Model small_model() {
  Model model = test_regression(1, 2, 2, true);
  model.schema.format.separator = '\t';
  model.schema.id = {"key, \"quoted\""};
  model.schema.inputs[1].levels[0] = std::string("caf\xe9\0\n", 6);  // no UTF-8, and control characters
  model.schema.target.step = 0.1;
  model.members[0].shapes = {{0}, mat(vec{0.25, -0.5}), mat(vec{0.5, 2}), 3.5, 3.25};
  model.conformal = {2, 0.5, {0.25, 0.75}};
  Provenance& p = model.provenance;
  p.version = "0.1.0", p.seed = ~std::uint64_t{0}, p.fingerprint = 0xfedcba9876543210u,
  p.status = "converged";
  p.options = {{"experts", "2"}, {"a", "z"}, {"ridge", "auto"}};
  p.log_likelihood = -1.0 / 3, p.trace = {-2, -1.0 / 7, 5e-324}, p.notes = {"naïve"};
  p.starts.resize(2);
  p.starts[0].kind = "lines", p.starts[0].log_likelihood = -std::numeric_limits<double>::infinity();
  p.starts[0].refused = true, p.starts[0].reason = "a spike";
  p.starts[1].score = 1e300;
  return model;
}

Errc code_of(const std::function<void()>& action, std::string* message = nullptr) {
  try {
    action();
  } catch (const Error& e) {
    if (message) *message = e.what();
    CHECK(std::string(e.what()).find('\n') == std::string::npos);
    return e.code();
  }
  FAIL("no error");
  return Errc::internal;
}

std::string body_of(const std::string& text) { return text.substr(text.find('\n') + 1); }

/// A file with a right header around any body: what a malicious or foreign writer could make.
std::string with_header(const std::string& body) {
  char line[80];
  std::snprintf(line, sizeof line, "moekit-model 1 %zu %08lx\n", body.size(),
                ::crc32_z(0, reinterpret_cast<const Bytef*>(body.data()), body.size()));
  return line + body;
}

std::string replaced(std::string text, const std::string& from, const std::string& to) {
  const std::size_t at = text.find(from);
  REQUIRE(at != std::string::npos);
  return text.replace(at, from.size(), to);
}

std::string read_text(const std::string& path) {
  std::ifstream in(path, std::ios::binary);
  std::ostringstream out;
  out << in.rdbuf();
  return out.str();
}

void write_text(const std::string& path, const std::string& text) {
  std::ofstream(path, std::ios::binary) << text;
}

}  // namespace

TEST_CASE("a model survives its file exactly: the same text, the same predictions to the bit") {
  Folder folder;
  for (const Model& model :
       {small_model(), test_classification(2, 3, 2), test_classification(2, 2, 4), test_regression(3, 1)}) {
    save_model(model, folder.file("m"));
    const Model back = load_model(folder.file("m"));
    CHECK(model_text(back) == model_text(model));
    CHECK(read_text(folder.file("m")) == model_text(model));
    const BlockData rows = test_rows(model, 40);
    const Prediction a = predict(model, rows.view()), b = predict(back, rows.view());
    CHECK(arma::approx_equal(a.log_density, b.log_density, "absdiff", 0));
    CHECK(arma::approx_equal(a.gate, b.gate, "absdiff", 0));
  }
  const Model model = small_model(), back = parse_model(model_text(model), "m");
  CHECK(back.schema.inputs[1].levels == model.schema.inputs[1].levels);
  CHECK(back.schema.format.separator == '\t');
  CHECK(back.schema.format.decimal == '.');
  CHECK(back.provenance.options == model.provenance.options);
  CHECK(back.provenance.seed == model.provenance.seed);
  CHECK(back.provenance.fingerprint == model.provenance.fingerprint);
  CHECK(back.provenance.trace == model.provenance.trace);
  CHECK(std::isnan(back.provenance.starts[0].log_likelihood));
  CHECK(back.provenance.starts[0].refused);
  CHECK(folder.entries() == 1);
}

TEST_CASE("the first line is version, length and checksum of the rest") {
  const std::string text = model_text(small_model());
  CHECK(text == with_header(body_of(text)));
}

TEST_CASE("a file cut at any byte is refused") {
  const std::string text = model_text(small_model());
  for (std::size_t n = 0; n < text.size(); ++n)
    REQUIRE(code_of([&] { parse_model(text.substr(0, n), "m"); }) == Errc::model_format);
  CHECK(code_of([&] { parse_model(text + "\n", "m"); }) == Errc::model_format);
}

TEST_CASE("a file with any byte changed is refused") {
  const std::string text = model_text(small_model());
  for (std::size_t i = 0; i < text.size(); ++i)
    for (const int flip : {1, 0x80, 0x20}) {
      std::string changed = text;
      changed[i] = static_cast<char>(changed[i] ^ flip);
      REQUIRE(code_of([&] { parse_model(changed, "m"); }) == Errc::model_format);
    }
}

TEST_CASE("a newer format is named, foreign files are told apart") {
  const std::string text = model_text(small_model());
  std::string message;
  CHECK(code_of([&] { parse_model(replaced(text, "moekit-model 1", "moekit-model 7"), "m"); }, &message) ==
        Errc::model_format);
  CHECK(message.find("format 7") != std::string::npos);
  CHECK(message.find("newer moekit") != std::string::npos);
  CHECK(code_of([&] { parse_model("a,b\n1,2\n", "m"); }, &message) == Errc::model_format);
  CHECK(message.find("not a moekit model") != std::string::npos);
  CHECK(code_of([&] { parse_model("", "m"); }) == Errc::model_format);
}

TEST_CASE("with a right checksum every field is still checked, and the place named") {
  const std::string body = body_of(model_text(small_model()));
  const auto refused = [&](const std::string& from, const std::string& to, const std::string& named) {
    std::string message;
    CAPTURE(from);
    CHECK(code_of([&] { parse_model(with_header(replaced(body, from, to)), "m"); }, &message) ==
          Errc::model_format);
    CAPTURE(message);
    CHECK(message.find(named) != std::string::npos);
  };
  refused("\"family\": \"gaussian\"", "\"family\": \"gausian\"", "known: gaussian");
  refused("\"family\": \"gaussian\"", "\"family\": \"logistic\"", "task");
  refused("\"gate_family\": \"softmax\"", "\"gate_family\": \"branch\"", "softmax");
  refused("\"column\": 1", "\"column\": 2", "column");
  refused("\"level\": 2", "\"level\": 4", "level");
  refused("\"level\": 2", "\"level\": -1", "level");
  refused("\"index\": 0", "\"index\": 1", "places");
  refused("\"index\": 0", "\"index\": 4294967296", "index");
  refused("\"kind\": \"numeric\"", "\"kind\": \"text\"", "not one of");
  refused("\"kind\": \"intercept\"", "\"kind\": \"numeric\"", "intercept");
  refused("\"task\": \"regression\"", "\"task\": \"classification\"", "labels");
  refused("\"sd\": 2.5", "\"sd\": 0.0", "sd");
  refused("\"sd\": 2.5", "\"sd\": 1e999", "damaged");
  refused("\"sd\": 2.5", "\"sd\": null", "number");
  refused("\"name\": \"x1\"", "\"nome\": \"x1\"", "lacks 'name'");
  refused("\"hex\": \"636", "\"hex\": \"63g", "hexadecimal");
  refused("\"seed\": 18446744073709551615", "\"seed\": -1", "seed");
  refused("\"iterations\": 0", "\"iterations\": 99999999999", "iterations");
  refused("\"scale\": 1.0", "\"scale\": 0.0", "scale");
  refused("\"separator\": 9", "\"separator\": 300", "separator");
  refused("\"members\": [", "\"members\": [], \"others\": [", "members");
  refused("\"experts\": [", "\"experts\": [], \"others\": [", "experts");
  refused("\"coefficients\": [", "\"coefficients\": [1,", "belong");
  refused("\"noise\": [", "\"noise\": [], \"others\": [", "noise");
  refused("\"columns\": [\n     0", "\"columns\": [\n     1", "numeric");
  refused("\"columns\": [\n     0", "\"columns\": [\n     9", "beyond");
  refused("\"sd\": [\n       0.5", "\"sd\": [\n       0.0", "positive");
  refused("\"regions\": [", "\"regions\": [], \"others\": [", "for each expert");
  refused("\"heaviest\": 0.5", "\"heaviest\": 0.0", "share");
  refused("\"scores\": [\n   0.25", "\"scores\": [\n   0.99", "rise");
  refused("\"scores\": [", "\"scores\": [], \"others\": [", "empty");
}

TEST_CASE("bodies that are no model are refused without harm") {
  for (const std::string& body :
       {std::string(""), std::string("[]"), std::string("null"), std::string("{"), std::string("{}"),
        std::string("\"\xff\""), std::string(100'000, '['), std::string("{\"family\":1}")})
    CHECK(code_of([&] { parse_model(with_header(body), "m"); }) == Errc::model_format);
}

TEST_CASE("any change behind a right checksum is refused or leaves a model that can be used") {
  const std::string body = body_of(model_text(small_model()));
  const std::string pool = "0123456789-+.eE\"[]{},:x null";
  Rng rng(1, 2);
  int used = 0;
  for (int round = 0; round < 4000; ++round) {
    std::string changed = body;
    const std::size_t at = rng.below(changed.size());
    const std::string piece(1, pool[rng.below(pool.size())]);
    switch (rng.below(3)) {
      case 0:
        changed.replace(at, 1, piece);
        break;
      case 1:
        changed.insert(at, piece);
        break;
      default:
        changed.erase(at, 1 + rng.below(30));
    }
    try {
      const Model model = parse_model(with_header(changed), "m");
      const BlockData rows = test_rows(model, 3);
      (void)predict(model, rows.view());
      ++used;
    } catch (const Error& e) {
      REQUIRE(e.code() == Errc::model_format);
    }
  }
  CHECK(used > 100);  // a changed digit of a coefficient is a model
}

TEST_CASE("a small file cannot ask for a large allocation") {
  const std::string body = body_of(model_text(test_regression(1, 1)));
  std::string many;
  for (int i = 0; i < 9'000; ++i) many += "{},";
  CHECK(code_of([&] {
          parse_model(with_header(replaced(body, "\"experts\": [", "\"experts\": [" + many)), "m");
        }) == Errc::model_format);
  for (int i = 0; i < 9'000; ++i) many += "{},";
  CHECK(code_of([&] {
          parse_model(with_header(replaced(body, "\"experts\": [", "\"experts\": [" + many)), "m");
        }) == Errc::model_format);
}

TEST_CASE("numbers that are not finite are not saved, and the old file stays") {
  Folder folder;
  Model model = test_regression();
  save_model(model, folder.file("m"));
  const std::string before = read_text(folder.file("m"));
  set_noise(*model.members[0].experts, 0, std::numeric_limits<double>::infinity());
  CHECK(code_of([&] { save_model(model, folder.file("m")); }) == Errc::internal);
  CHECK(read_text(folder.file("m")) == before);
  CHECK(folder.entries() == 1);
}

TEST_CASE("files that cannot be opened") {
  Folder folder;
  CHECK(code_of([&] { load_model(folder.file("none")); }) == Errc::no_input);
  CHECK(code_of([&] { load_model(folder.file("")); }) == Errc::no_input);
  CHECK(code_of([&] { load_model("/dev/zero"); }) == Errc::model_format);
  const Model model = test_regression();
  CHECK(code_of([&] { save_model(model, folder.file("none/m")); }) == Errc::cannot_create);
  CHECK(code_of([&] { save_model(model, folder.file("")); }) == Errc::cannot_create);
  CHECK(code_of([&] { save_model(model, ""); }) == Errc::cannot_create);
  CHECK(code_of([&] { save_model(model, folder.file("none/")); }) == Errc::cannot_create);
}

TEST_CASE("write_whole leaves the old file when the writer fails, and no temporary") {
  Folder folder;
  const std::string path = folder.file("out");
  write_text(path, "old");
  CHECK_THROWS_AS(write_whole(path,
                              [](std::ostream& out) {
                                out << std::string(1 << 20, 'x');
                                throw std::runtime_error("half way");
                              }),
                  std::runtime_error);
  CHECK(read_text(path) == "old");
  CHECK(folder.entries() == 1);
  CHECK(code_of([&] { write_whole(path, [](std::ostream& out) { out.setstate(std::ios::badbit); }); }) ==
        Errc::io);
  CHECK(read_text(path) == "old");
  write_whole(path, [](std::ostream& out) { out << "new " << std::string(200'000, 'y'); });
  CHECK(read_text(path) == "new " + std::string(200'000, 'y'));
  CHECK(folder.entries() == 1);
}

TEST_CASE("a file gets the permissions that the process gives to new files") {
  Folder folder;
  const mode_t mask = ::umask(027);
  write_whole(folder.file("out"), [](std::ostream& out) { out << "x"; });
  ::umask(mask);
  struct stat info {};
  REQUIRE(::stat(folder.file("out").c_str(), &info) == 0);
  CHECK((info.st_mode & 0777) == 0640);
}

TEST_CASE("through a symbolic link the file behind it is replaced") {
  Folder folder;
  write_text(folder.file("real"), "old");
  std::filesystem::create_symlink("real", folder.file("link"));
  write_whole(folder.file("link"), [](std::ostream& out) { out << "new"; });
  CHECK(std::filesystem::is_symlink(folder.file("link")));
  CHECK(read_text(folder.file("real")) == "new");
}

TEST_CASE("devices and pipes are written directly") {
  write_whole("/dev/null", [](std::ostream& out) { out << std::string(1 << 20, 'x'); });
  CHECK(code_of([] { write_whole("/dev/full", [](std::ostream& out) { out << "x"; }); }) == Errc::io);
  Folder folder;
  const std::string path = folder.file("pipe");
  REQUIRE(::mkfifo(path.c_str(), 0600) == 0);
  std::string received;
  std::thread reader([&] { received = read_text(path); });
  write_whole(path, [](std::ostream& out) { out << "through"; });
  reader.join();
  CHECK(received == "through");
  CHECK(folder.entries() == 1);
  // /dev/fd/N is the open file itself, wherever it stands.
  const int fd = ::open(folder.file("open").c_str(), O_RDWR | O_CREAT, 0600);
  REQUIRE(::write(fd, "head ", 5) == 5);
  write_whole("/dev/fd/" + std::to_string(fd), [](std::ostream& out) { out << "tail"; });
  ::close(fd);
  CHECK(read_text(folder.file("open")) == "head tail");
}
