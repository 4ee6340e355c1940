// Interrupted fits that go on: the same bits, wherever they were interrupted.
#include <doctest/doctest.h>

#include <filesystem>
#include <fstream>

#include "cli_helpers.hpp"
#include "fit_helpers.hpp"
#include "moekit/archive.hpp"
#include "moekit/error.hpp"
#include "moekit/fit_checkpoint.hpp"
#include "moekit/model_io.hpp"

using namespace moekit;
using namespace moekit::fit_testing;
using moekit::testing::Workshop;

namespace {

struct Trial {
  std::string name;
  FitOptions options;
  Rows rows;
  int threads = 1;
};

std::vector<Trial> trials() {
  std::vector<Trial> all;
  const auto add = [&](const std::string& name, const Rows& rows, auto&& change) {
    FitOptions o = options(3, -1, 3);
    o.seed = 5;
    o.max_iterations = 40;
    change(o);
    for (const int threads : {1, 2}) all.push_back({name, o, rows, threads});
  };
  const Rows rows = to_rows(piecewise(300, 2, 3, 1)), classes = to_rows(piecewise(200, 2, 2, 1, 3));
  add("softmax", rows, [](FitOptions&) {});
  add("softmax with top-k", rows, [](FitOptions& o) {
    o.experts = 8;
    o.top_k = 2;
  });
  add("several classes", classes, [](FitOptions& o) { o.experts = 2; });
  add("tree", rows, [](FitOptions& o) { o.gate = "tree"; });
  add("gaussian gate", rows, [](FitOptions& o) { o.gate = "gaussian"; });
  add("student-t with noise", rows, [](FitOptions& o) {
    o.family = "student-t";
    o.noise_basis = {BasisKind::Form::linear};
    o.max_iterations = 15;
  });
  add("ensemble", rows, [](FitOptions& o) {
    o.ensemble = 3;
    o.max_iterations = 12;
  });
  add("lbfgs", rows, [](FitOptions& o) {
    o.method = Method::lbfgs;
    o.max_iterations = 60;
  });
  add("lbfgs that EM ends", rows, [](FitOptions& o) {
    o.method = Method::lbfgs;
    o.family = "laplace";
    o.max_iterations = 90;
  });
  add("adam with top-k", rows, [](FitOptions& o) {
    o.method = Method::adam;
    o.hidden = {4};
    o.experts = 4;
    o.top_k = 2;
    o.restarts = 2;
    o.gradient.epochs = 12;
    o.gradient.batch_size = 32;
    o.gradient.noisy = true;
  });
  add("committee", rows, [](FitOptions& o) {
    o.method = Method::adam;
    o.hidden = {4};
    o.experts = 2;
    o.ensemble = 3;
    o.restarts = 1;
    o.gradient.epochs = 8;
    o.gradient.batch_size = 32;
  });
  add("product keys", rows, [](FitOptions& o) {
    o.method = Method::adam;
    o.gate = "product-key";
    o.experts = 64;
    o.restarts = 1;
    o.gradient.epochs = 6;
    o.gradient.batch_size = 32;
  });
  return all;
}

std::string fitted(const Trial& t, FitCheckpoint* checkpoint, const OnIteration& on_iteration = {}) {
  FitOptions o = t.options;
  o.checkpoint = checkpoint;
  return model_text(fit(t.rows.schema, t.rows.source, o, {t.threads, &one_rank()}, on_iteration));
}

/// Fits, with a stop after every `passes` calls of the callback, until the fit comes to its end.
std::string in_pieces(const Trial& t, const std::string& file, int passes, int& pieces) {
  for (pieces = 1;; ++pieces) {
    REQUIRE(pieces < 5000);
    FitCheckpoint checkpoint(file, {0, 5});
    CHECK(checkpoint.load() == (pieces > 1));
    int calls = 0;
    try {
      return fitted(t, &checkpoint,
                    [&](const Iteration&) { return ++calls >= passes ? Next::stop : Next::proceed; });
    } catch (const Halted&) {
    }
  }
}

void damage(const std::string& file, std::size_t at) {
  std::fstream out(file, std::ios::in | std::ios::out | std::ios::binary);
  out.seekg(static_cast<std::streamoff>(at));
  const char old = static_cast<char>(out.get());
  out.seekp(static_cast<std::streamoff>(at));
  out.put(static_cast<char>(old ^ 0x10));
}

}  // namespace

TEST_CASE("a fit that is interrupted again and again ends in the same bits") {
  const Workshop shop;
  for (const Trial& t : trials()) {
    CAPTURE(t.name);
    CAPTURE(t.threads);
    const std::string whole = fitted(t, nullptr);
    const std::string file = shop.file("c");
    int pieces = 0;
    const bool epochs = t.options.method == Method::adam;
    // A piece must hold a whole cycle, and where picks change one can halve both of its steps to the end.
    const int longest = t.options.top_k > 0 ? 31 : 17;
    CHECK(in_pieces(t, file, epochs ? 3 : (t.threads == 1 ? longest : longest + 6), pieces) == whole);
    CHECK(pieces > 1);
    std::filesystem::remove(file);
  }
}

TEST_CASE("a fit that was killed goes on from whatever its file held, at every pass") {
  // A kill leaves the file as it was last written: here after every pass, of which each is kept in turn.
  const Workshop shop;
  for (const char* name :
       {"softmax", "softmax with top-k", "lbfgs", "lbfgs that EM ends", "adam with top-k"}) {
    CAPTURE(name);
    Trial t;
    for (const Trial& other : trials())
      if (other.name == name && other.threads == 1) t = other;
    t.options.restarts = 1;
    t.options.experts = t.options.top_k > 0 && t.options.method == Method::em ? 8 : 3;
    const std::string file = shop.file("c");
    std::vector<std::string> kept;
    std::filesystem::remove(file);
    FitCheckpoint checkpoint(file, {0, 1});
    const std::string whole = fitted(t, &checkpoint, [&](const Iteration&) {
      if (shop.exists("c")) kept.push_back(shop.read("c"));
      return Next::proceed;
    });
    REQUIRE(kept.size() > 10);
    const std::size_t stride = std::max<std::size_t>(1, kept.size() / 25);
    for (std::size_t i = 0; i < kept.size(); i += stride) {
      shop.write("c", kept[i]);
      FitCheckpoint again(file);
      REQUIRE(again.load());
      CHECK(fitted(t, &again) == whole);
    }
  }
}

TEST_CASE("--experts auto goes on too") {
  const Workshop shop;
  Trial t{"auto", options(3, -1, 2), to_rows(piecewise(250, 2, 2, 1)), 2};
  t.options.grow = true;
  t.options.max_iterations = 40;
  int pieces = 0;
  CHECK(in_pieces(t, shop.file("c"), 400, pieces) == fitted(t, nullptr));
  CHECK(pieces > 2);
}

TEST_CASE("finished work is not done again") {
  const Workshop shop;
  const Trial t{"softmax", options(2, -1, 3), to_rows(piecewise(300, 2, 2, 1)), 1};
  int first = 0, second = 0;
  {
    FitCheckpoint checkpoint(shop.file("c"), {0, 1});
    fitted(t, &checkpoint, [&](const Iteration&) { return ++first, Next::proceed; });
    checkpoint.write();
  }
  FitCheckpoint checkpoint(shop.file("c"));
  CHECK(checkpoint.load());
  fitted(t, &checkpoint, [&](const Iteration&) { return ++second, Next::proceed; });
  CHECK(first > 20);
  CHECK(second == 0);
}

TEST_CASE("a checkpoint of another fit is refused, saying what differs") {
  const Workshop shop;
  const std::string file = shop.file("c");
  const Trial t{"softmax", options(2, -1, 3), to_rows(piecewise(300, 2, 2, 1)), 1};
  FitCheckpoint written(file, {0, 1});
  fitted(t, &written);
  const auto refusal = [&](const Trial& other) -> std::string {
    FitCheckpoint checkpoint(file);
    CHECK(checkpoint.load());
    try {
      fitted(other, &checkpoint);
    } catch (const Error& e) {
      CHECK(e.code() == Errc::data);
      return e.what();
    }
    return "";
  };
  CHECK(refusal(t) == "");
  Trial seed = t, experts = t, rows = t, more = t, top = t;
  seed.options.seed = 9;
  CHECK(refusal(seed).find("--seed was 0 and is 9") != std::string::npos);
  experts.options.experts = 3;
  CHECK(refusal(experts).find("--experts was 2 and is 3") != std::string::npos);
  more.options.restarts = 4;
  CHECK(refusal(more).find("--restarts was 3 and is 4") != std::string::npos);
  rows.rows.source.data(0).target[7] += 1e-9;
  CHECK(refusal(rows).find("the hash of the rows") != std::string::npos);
}

TEST_CASE("a damaged checkpoint is refused") {
  const Workshop shop;
  const std::string file = shop.file("c");
  const Trial t{"softmax", options(2, -1, 1), to_rows(piecewise(120, 1, 2, 1)), 1};
  {
    FitCheckpoint written(file, {0, 1});
    fitted(t, &written);
  }
  const std::string good = shop.read("c");
  const auto refused = [&](const std::string& text) {
    shop.write("c", text);
    FitCheckpoint checkpoint(file);
    CHECK_THROWS_AS(checkpoint.load(), Error);
  };
  for (std::size_t at = 0; at < good.size(); at += 1 + good.size() / 23) {
    CAPTURE(at);
    shop.write("c", good);
    damage(file, at);
    FitCheckpoint checkpoint(file);
    CHECK_THROWS_AS(checkpoint.load(), Error);
  }
  refused("");
  refused(good.substr(0, good.size() / 2));
  refused(good + "x");
  refused("moekit-model 1 0 00000000\n");
  FitCheckpoint none(shop.file("absent"));
  CHECK_FALSE(none.load());
}

TEST_CASE("an archive gives back what it was given and trusts nothing") {
  std::vector<double> numbers = {1, -0.0, 3};
  std::vector<std::string> texts = {"a", ""};
  mat matrix(2, 3, arma::fill::randu);
  bool flag = true;
  Archive out;
  out(numbers, texts, matrix, flag);
  const std::string bytes = out.bytes();
  std::vector<double> numbers2;
  std::vector<std::string> texts2;
  mat matrix2;
  bool flag2 = false;
  Archive in(bytes);
  in(numbers2, texts2, matrix2, flag2);
  CHECK(in.left().empty());
  CHECK(same_bits(numbers2, numbers));
  CHECK(texts2 == texts);
  CHECK(arma::approx_equal(matrix, matrix2, "absdiff", 0));
  CHECK(flag2);
  for (std::size_t cut = 0; cut < bytes.size(); ++cut) {
    Archive part(std::string_view(bytes).substr(0, cut));
    CHECK_THROWS_AS(part(numbers2, texts2, matrix2, flag2), Error);
  }
  std::string huge = bytes;
  huge.replace(0, 8, 8, '\xff');
  Archive hostile(huge);
  CHECK_THROWS_AS(hostile(numbers2), Error);
}
