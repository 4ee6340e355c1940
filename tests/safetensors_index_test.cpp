// Checkpoints of several safetensors files beside an index, and files that change while they are mapped
// (docs/formats.md).
#include <sys/wait.h>

#include <filesystem>

#include "interrupt.hpp"
#include "layer/mapped_file.hpp"
#include "layer_helpers.hpp"
#include "moekit/checkpoint.hpp"
#include "moekit/error.hpp"
#include "moekit/mapped.hpp"
#include "moekit/npy.hpp"
#include "safetensors_helpers.hpp"

using namespace moekit;
using namespace moekit::testing;

namespace {

/// A folder that goes away with the object.
class Folder {
 public:
  Folder() {
    std::string name = (std::filesystem::temp_directory_path() / "moekit-index-XXXXXX").string();
    if (!::mkdtemp(name.data())) std::abort();
    path_ = name;
  }
  ~Folder() { std::filesystem::remove_all(path_); }
  Folder(const Folder&) = delete;
  Folder& operator=(const Folder&) = delete;

  std::string path(const std::string& name = "") const { return name.empty() ? path_ : path_ + "/" + name; }
  void write(const std::string& name, const std::string& bytes) const {
    std::ofstream(path(name), std::ios::binary) << bytes;
  }
  /// An index that holds this text as its weight_map.
  void index(const std::string& map, const std::string& name = "m.safetensors.index.json") const {
    write(name,
          "{\"metadata\": {\"total_size\": 28, \"more\": [{\"a\": {}}, []]}, \"weight_map\": " + map + "}");
  }

 private:
  std::string path_;
};

constexpr const char* kA = "m-00001-of-00002.safetensors";
constexpr const char* kB = "m-00002-of-00002.safetensors";

/// Two files with the tensors a and c, and b.
void two_files(const Folder& folder) {
  folder.write(kA, safetensors_of({{"c", {2}, {3, 4}}, {"a", {2, 1}, {1, 2}}}));
  folder.write(kB, safetensors_of({{"b", {3}, {5, 6, 7}}, {"not in the index", {1}, {8}}}));
}

std::string map_of(const std::string& a, const std::string& b, const std::string& c) {
  return "{\"a\": \"" + a + "\", \"b\": \"" + b + "\", \"c\": \"" + c + "\"}";
}

std::vector<float> values(const Safetensors& file, const std::string& name) {
  const TensorInfo* t = file.find(name);
  REQUIRE(t);
  std::vector<float> out((t->end - t->begin) / 4);
  file.read(*t, 0, out.size(), out.data());
  file.release(*t, 0, out.size());
  return out;
}

/// The message when the path is refused, else empty.
std::string refusal(const std::string& path, Errc code = Errc::model_format) {
  try {
    const Safetensors read(path);
  } catch (const Error& error) {
    const std::string message = error.what();
    CHECK(error.code() == code);
    CHECK(message.find('\n') == std::string::npos);
    CHECK(message.size() < 500 + path.size());
    return message;
  }
  return {};
}

bool contains(const std::string& text, const std::string& part) {
  return text.find(part) != std::string::npos;
}

}  // namespace

TEST_CASE("an index, or the folder it lies in, gives the tensors of all its files") {
  const Folder folder;
  two_files(folder);
  folder.index(map_of(kA, kB, kA));
  for (const std::string& path : {folder.path("m.safetensors.index.json"), folder.path()}) {
    const Safetensors file(path);
    CHECK(file.path() == path);
    CHECK(file.files() == std::vector<std::string>{folder.path(kA), folder.path(kB)});
    REQUIRE(file.tensors().size() == 3);
    CHECK(file.tensors()[1].name == "b");
    CHECK(file.tensors()[1].file == 1);
    CHECK(values(file, "a") == std::vector<float>{1, 2});
    CHECK(values(file, "b") == std::vector<float>{5, 6, 7});
    CHECK(values(file, "c") == std::vector<float>{3, 4});
    CHECK(file.find("not in the index") == nullptr);
  }
}

TEST_CASE("a folder without an index: its one file, and otherwise a name is asked for") {
  const Folder folder;
  CHECK(contains(refusal(folder.path(), Errc::no_input), "name a file"));
  folder.write("w.safetensors", safetensors_of({{"a", {1}, {1}}}));
  CHECK(values(Safetensors(folder.path()), "a") == std::vector<float>{1});
  folder.write("v.safetensors", safetensors_of({{"a", {1}, {2}}}));
  CHECK(contains(refusal(folder.path(), Errc::no_input), "2 safetensors files but no index"));
  folder.index("{\"a\": \"v.safetensors\"}");
  CHECK(values(Safetensors(folder.path()), "a") == std::vector<float>{2});
  folder.index("{\"a\": \"w.safetensors\"}", "other.safetensors.index.json");
  CHECK(contains(refusal(folder.path(), Errc::no_input), "2 indexes"));
  CHECK(values(Safetensors(folder.path("other.safetensors.index.json")), "a") == std::vector<float>{1});
}

TEST_CASE("a layer whose tensors lie in several files is the layer of one file") {
  const LayerShape shape = {12, 20, 12, 4, ExpertKind::glu, Activation::silu};
  const std::vector<StoredTensor> tensors = mixtral_tensors(random_weights(shape, 3), 5);
  const Folder folder;
  std::string map;
  std::array<std::vector<StoredTensor>, 3> parts;
  for (std::size_t i = 0; i < tensors.size(); ++i) {
    parts[i % 3].push_back(tensors[i]);
    map += (i ? ", \"" : "\"") + tensors[i].name + "\": \"part" + std::to_string(i % 3) + ".safetensors\"";
  }
  for (std::size_t p = 0; p < 3; ++p)
    folder.write("part" + std::to_string(p) + ".safetensors", safetensors_of(parts[p]));
  folder.index("{" + map + "}");
  const TemporaryFile single(".safetensors", safetensors_of(tensors));
  const Safetensors one(single.path()), many(folder.path());
  CHECK(layers_of(many) == std::vector<std::size_t>{5});
  const Layer expected(CheckpointLayer(one, 5), {}), got(CheckpointLayer(many, 5), {});
  const std::vector<float> x = random_rows(9, 12, 1);
  CHECK(run_layer(got, x) == run_layer(expected, x));
}

TEST_CASE("an index is not trusted: files that are lacking, or that lack their tensors") {
  const Folder folder;
  two_files(folder);
  const std::string index = folder.path("m.safetensors.index.json");
  folder.index(map_of(kA, kB, kB));
  CHECK(contains(refusal(index), "'c' is not in"));
  folder.index(map_of(kA, "m-00003-of-00002.safetensors", kA));
  CHECK(contains(refusal(index, Errc::no_input), "m-00003-of-00002.safetensors"));
  std::filesystem::create_directory(folder.path("d.safetensors"));
  folder.index(map_of(kA, "d.safetensors", kA));
  CHECK(contains(refusal(index, Errc::no_input), "no regular file"));
  folder.write("cut.safetensors", safetensors_of({{"b", {3}, {5, 6, 7}}}).substr(0, 70));
  folder.index(map_of(kA, "cut.safetensors", kA));
  CHECK(contains(refusal(index), "cut.safetensors"));
}

TEST_CASE("an index is not trusted: names that lead elsewhere, names twice, values of another kind") {
  const Folder folder;
  two_files(folder);
  std::filesystem::create_directory(folder.path("sub"));
  folder.write("sub/m.safetensors", safetensors_of({{"a", {1}, {1}}}));
  const std::string index = folder.path("m.safetensors.index.json");
  const auto refused = [&](const std::string& map, const std::string& part) {
    CAPTURE(map);
    folder.index(map);
    CHECK(contains(refusal(index), part));
  };
  for (const std::string name : {"sub/m.safetensors", "../m.safetensors", "/etc/passwd", "..", "",
                                 ".safetensors", "..\\\\m.safetensors", "m.safetensors\\u0000",
                                 "m\\u0000.safetensors", "m.bin", "./m-00001-of-00002.safetensors"})
    refused("{\"a\": \"" + name + "\"}", "no name of a .safetensors file");
  refused("{\"a\": \"" + std::string(300, 'x') + ".safetensors\"}", "no name of a .safetensors file");
  refused("{\"a\": \"" + std::string(kA) + "\", \"a\": \"" + kA + "\"}", "stands twice");
  refused("{\"a\": \"" + std::string(kA) + "\"}, \"weight_map\": {\"b\": \"" + kB + "\"}", "stands twice");
  for (const std::string value : {"1", "-1", "1.5", "null", "true", "[\"x\"]", "{\"b\": \"x\"}"}) {
    refused("{\"a\": " + value + "}", "where the name of its file belongs");
    if (value[0] != '{') refused(value, "weight_map is");
  }
  refused("{}", "names no tensor");
  refused("{\"a\": \"" + std::string(kA) + "\"", "not JSON");
}

TEST_CASE("an index cut at any byte, or nested without end, is refused") {
  const Folder folder;
  two_files(folder);
  const std::string index = folder.path("m.safetensors.index.json");
  const std::string whole = "{\"weight_map\": " + map_of(kA, kB, kA) + "}";
  folder.write("m.safetensors.index.json", whole);
  REQUIRE(refusal(index).empty());
  for (std::size_t n = 0; n < whole.size(); ++n) {
    folder.write("m.safetensors.index.json", whole.substr(0, n));
    CHECK(!refusal(index).empty());
  }
  for (const std::string text :
       {"[]", "1", "\"a\"", "{}", "{\"metadata\": {\"weight_map\": {\"a\": \"x\"}}}"}) {
    folder.write("m.safetensors.index.json", text);
    CHECK(!refusal(index).empty());
  }
  folder.write("m.safetensors.index.json", "{\"metadata\": " + std::string(1000000, '['));
  CHECK(contains(refusal(index), "not JSON"));
}

TEST_CASE("a file that is cut short after it was opened is said to be, and not looked at") {
  const TemporaryFile weights(".safetensors",
                              safetensors_of({{"a", {2000}, std::vector<float>(2000, 1.0f)}}));
  const TemporaryFile rows(".npy", npy_of(std::vector<float>(2000, 1.0f), 2));
  const Safetensors file(weights.path());
  const NpyFile x(rows.path());
  std::vector<float> out(2000);
  file.read(file.tensors()[0], 0, 2000, out.data());
  x.read(0, 1000, out.data());
  std::filesystem::resize_file(weights.path(), 100);
  std::filesystem::resize_file(rows.path(), 100);
  for (const auto& read : {std::function<void()>([&] { file.read(file.tensors()[0], 0, 1, out.data()); }),
                           std::function<void()>([&] { x.read(0, 1, out.data()); })}) {
    try {
      read();
      FAIL("read what is gone");
    } catch (const Error& error) {
      CHECK(error.code() == Errc::io);
      CHECK(contains(error.what(), "was cut short to 100 of"));
    }
  }
}

TEST_CASE("mapped files are known by their addresses while they live") {
  const TemporaryFile file(".bin", std::string(10000, 'x'));
  const unsigned char* begin = nullptr;
  {
    const layer::MappedFile mapped(file.path());
    begin = mapped.bytes().data();
    REQUIRE(mapped_file_at(begin + 9999));
    CHECK(mapped_file_at(begin) == file.path());
    CHECK(mapped_file_at(&file) == nullptr);
  }
  CHECK(mapped_file_at(begin) == nullptr);
}

TEST_CASE("looking at what was cut off ends the program with one line and exit code 74") {
  const TemporaryFile file(".bin", std::string(10000, 'x'));
  int ends[2];
  REQUIRE(::pipe(ends) == 0);
  const pid_t child = ::fork();
  if (child == 0) {
    ::dup2(ends[1], STDERR_FILENO);
    cli::install_signal_handlers();
    const layer::MappedFile mapped(file.path());
    std::filesystem::resize_file(file.path(), 0);
    const volatile unsigned char* byte = mapped.bytes().data() + 5000;
    ::_exit(*byte);
  }
  ::close(ends[1]);
  std::string said;
  char piece[512];
  for (ssize_t n; (n = ::read(ends[0], piece, sizeof piece)) > 0;)
    said.append(piece, static_cast<std::size_t>(n));
  ::close(ends[0]);
  int status = 0;
  ::waitpid(child, &status, 0);
  CHECK(WIFEXITED(status));
  CHECK(WEXITSTATUS(status) == 74);
  CHECK(said == "moekit: " + file.path() +
                    ": was cut short or can't be read while it is in use; run again with a file that nobody "
                    "changes\n");
}
