#include <doctest/doctest.h>

#include <algorithm>
#include <cmath>
#include <limits>

#include "fit_helpers.hpp"
#include "moekit/rng.hpp"
#include "simd/layer.hpp"
#include "simd/lines.hpp"
#include "simd/neurons.hpp"
#include "simd/products.hpp"
#include "simd/statistics.hpp"
#include "simd/vector_math.hpp"

using namespace moekit;
using namespace moekit::fit_testing;

namespace {

constexpr double kEps = std::numeric_limits<double>::epsilon();
const double kNan = std::numeric_limits<double>::quiet_NaN();

/// Distance in units in the last place of the right value.
double ulps(double got, double right) {
  return std::abs(got - right) / (std::nextafter(std::abs(right), HUGE_VAL) - std::abs(right));
}

std::vector<double> evenly(double low, double high, std::size_t n) {
  std::vector<double> v(n);
  for (std::size_t i = 0; i < n; ++i)
    v[i] = low + (high - low) * static_cast<double>(i) / static_cast<double>(n - 1);
  return v;
}

}  // namespace

TEST_CASE("exp is right to the last digit or so") {
  std::vector<double> x = evenly(-299.9, 709, 20011), y = x;
  simd::exp_inplace(y.data(), y.size());
  double worst = 0;
  for (std::size_t i = 0; i < x.size(); ++i) worst = std::max(worst, ulps(y[i], std::exp(x[i])));
  CHECK(worst <= 2);
  std::vector<double> special = {0.0, -0.0, -300.5, -709, -744, -746, -1e5, -1e308, -HUGE_VAL};
  simd::exp_inplace(special.data(), special.size());
  CHECK(special[0] == 1);
  CHECK(special[1] == 1);
  for (std::size_t i = 2; i < special.size(); ++i) CHECK(special[i] == 0);
}

TEST_CASE("silu and its slope are right, wherever a value stands") {
  std::vector<double> x = evenly(-40, 40, 1003);
  for (const double far : {-1e5, -800.0, -305.0, 0.0, 305.0, 800.0, 1e5}) x.push_back(far);
  std::vector<double> z = x, slope(x.size());
  simd::silu(z.data(), slope.data(), z.size());
  for (std::size_t i = 0; i < x.size(); ++i) {
    const double s = 1 / (1 + std::exp(-x[i]));
    CHECK(std::abs(z[i] - x[i] * s) <= 4 * kEps * std::abs(x[i]) * s + 1e-200);
    CHECK(std::abs(slope[i] - (s + x[i] * s * (1 - s))) <= 8 * kEps);
    double alone = x[i], own = 0;
    simd::silu(&alone, &own, 1);
    CHECK(alone == z[i]);
    CHECK(own == slope[i]);
  }
}

TEST_CASE("ln is right to a few units in the last place") {
  std::vector<double> x = evenly(0.5, 2.0, 5003);
  for (int e = -307; e <= 308; ++e) x.push_back(std::pow(10.0, e) * 1.37);
  std::vector<double> y = x;
  simd::log_inplace(y.data(), y.size());
  double worst = 0;
  // Beside 1, where ln crosses zero, the reduced argument's own rounding counts.
  for (std::size_t i = 0; i < x.size(); ++i)
    worst =
        std::max(worst, std::abs(y[i] - std::log(x[i])) / (kEps * std::max(std::abs(std::log(x[i])), 0.1)));
  CHECK(worst <= 4);
}

TEST_CASE("a value's result does not depend on where it stands") {
  const std::vector<double> x = evenly(-30, 20, 41);
  std::vector<double> all = x;
  simd::exp_inplace(all.data(), all.size());
  for (std::size_t i = 0; i < x.size(); ++i) {
    double alone = x[i];
    simd::exp_inplace(&alone, 1);
    CHECK(alone == all[i]);
  }
  // Rows of a softmax: the same row in tables of any length.
  const uword n = 19, k = 3;
  const mat in = 10 * normal_matrix(n, k, Rng(1, 1));
  mat out(n, k);
  vec lse(n);
  simd::softmax_rows(in.memptr(), n, k, out.memptr(), lse.memptr());
  for (uword i = 0; i < n; ++i) {
    const arma::rowvec row = in.row(i);
    arma::rowvec one(k);
    double one_lse = 0;
    simd::softmax_rows(row.memptr(), 1, k, one.memptr(), &one_lse);
    CHECK(one_lse == lse[i]);
    for (uword j = 0; j < k; ++j) CHECK(one[j] == out(i, j));
  }
}

/// Greatest error of `got` against `right`, in units of n rounding errors of the sum of absolute terms.
double excess(double got, double right, double size, uword n) {
  return std::abs(got - right) / (kEps * static_cast<double>(2 * n + 4) * size + 1e-300);
}

TEST_CASE("thin products equal plain loops at every shape, and add to what is there") {
  for (const uword n : {0, 1, 2, 3, 5, 8, 13, 100, 1024})
    for (const uword p : {1, 2, 3, 4, 5, 7, 8, 9, 17, 33})
      for (const uword k : {0, 1, 2, 3, 4, 5, 8, 11}) {
        if (n > 100 && p > 9) continue;
        const mat x = normal_matrix(n, p, Rng(n, p)), w = normal_matrix(n, k, Rng(n, p, k));
        mat pairs(p * (p + 1) / 2, k, arma::fill::ones), columns(p, k, arma::fill::ones), line(n, k);
        const mat c = normal_matrix(p, k, Rng(p, k));
        simd::add_pair_sums(x.memptr(), n, p, w.memptr(), k, pairs.memptr());
        simd::add_column_sums(x.memptr(), n, p, w.memptr(), k, columns.memptr());
        simd::linear(x.memptr(), n, p, c.memptr(), k, line.memptr());
        double worst = 0;
        for (uword e = 0; e < k; ++e) {
          for (uword a = 0; a < p; ++a) {
            double sum = 1, size = 1;
            for (uword i = 0; i < n; ++i) {
              sum += x(i, a) * w(i, e);
              size += std::abs(x(i, a) * w(i, e));
            }
            worst = std::max(worst, excess(columns(a, e), sum, size, n));
            for (uword b = 0; b <= a; ++b) {
              sum = size = 1;
              for (uword i = 0; i < n; ++i) {
                sum += x(i, a) * x(i, b) * w(i, e);
                size += std::abs(x(i, a) * x(i, b) * w(i, e));
              }
              worst = std::max(worst, excess(pairs(a * (a + 1) / 2 + b, e), sum, size, n));
            }
          }
          for (uword i = 0; i < n; ++i) {
            double sum = 0, size = 0;
            for (uword a = 0; a < p; ++a) {
              sum += x(i, a) * c(a, e);
              size += std::abs(x(i, a) * c(a, e));
            }
            worst = std::max(worst, excess(line(i, e), sum, size, p));
          }
        }
        CAPTURE(n);
        CAPTURE(p);
        CAPTURE(k);
        CHECK(worst <= 1);
      }
}

TEST_CASE("a row's linear predictor and log density do not depend on its place") {
  const uword n = 19, p = 5, k = 3;
  const mat x = normal_matrix(n, p, Rng(2, 1)), c = normal_matrix(p, k, Rng(2, 2));
  const vec y = normal_matrix(n, 1, Rng(2, 3)).col(0);
  mat all(n, k);
  vec density(n);
  simd::linear(x.memptr(), n, p, c.memptr(), k, all.memptr());
  simd::gaussian_log_density(y.memptr(), all.colptr(1), 1.7, -0.3, density.memptr(), n);
  for (uword i = 0; i < n; ++i) {
    const arma::rowvec row = x.row(i);
    arma::rowvec one(k);
    simd::linear(row.memptr(), 1, p, c.memptr(), k, one.memptr());
    CHECK(arma::all(one == all.row(i)));
    double alone = 0;
    simd::gaussian_log_density(&y[i], &one[1], 1.7, -0.3, &alone, 1);
    CHECK(alone == density[i]);
  }
}

TEST_CASE("Gaussian log density equals its formula, also in place") {
  for (const uword n : {1, 3, 8, 13}) {
    const vec y = normal_matrix(n, 1, Rng(n, 3)).col(0);
    vec m = normal_matrix(n, 1, Rng(n, 4)).col(0), out(n);
    simd::gaussian_log_density(y.memptr(), m.memptr(), 2.5, -1.25, out.memptr(), n);
    for (uword i = 0; i < n; ++i) {
      const double z = (y[i] - m[i]) * 2.5, right = -0.5 * z * z - 1.25;
      CHECK(std::abs(out[i] - right) <= 4 * kEps * (0.5 * z * z + 1.25));
    }
    const vec apart = out;
    simd::gaussian_log_density(y.memptr(), m.memptr(), 2.5, -1.25, m.memptr(), n);
    CHECK(arma::all(m == apart));
  }
}

TEST_CASE("softmax of rows equals plain loops") {
  for (const double size : {1.0, 50.0, 1e5, 1e100})
    for (const uword k : {1, 2, 3, 9})
      for (const uword n : {0, 1, 2, 3, 4, 5, 7, 8, 9, 15, 16, 17, 100}) {
        const mat in = size * normal_matrix(n, k, Rng(n, k));
        mat out(n, k);
        vec lse(n);
        simd::softmax_rows(in.memptr(), n, k, out.memptr(), lse.memptr());
        for (uword i = 0; i < n; ++i) {
          const double top = in.row(i).max();
          long double sum = 0;
          for (uword j = 0; j < k; ++j) sum += std::exp(static_cast<long double>(in(i, j) - top));
          const double right = top + static_cast<double>(std::log(sum));
          CHECK(std::abs(lse[i] - right) <= 8 * kEps * std::max(1.0, std::abs(right)));
          double total = 0;
          for (uword j = 0; j < k; ++j) {
            const auto share = static_cast<double>(std::exp(static_cast<long double>(in(i, j) - top)) / sum);
            // Shares below exp(-300) are 0.
            CHECK(std::abs(out(i, j) - share) <= 1e-13 * share + 1e-130);
            total += out(i, j);
          }
          CHECK(std::abs(total - 1) <= 4 * kEps * static_cast<double>(k));
        }
        mat in_place = in;
        vec again(n);
        simd::softmax_rows(in_place.memptr(), n, k, in_place.memptr(), again.memptr());
        CHECK(arma::approx_equal(in_place, out, "absdiff", 0.0));
      }
}

TEST_CASE("softmax of rows takes experts that are impossible") {
  const mat in = {{-HUGE_VAL, 1.0, 2.0}, {-HUGE_VAL, -HUGE_VAL, -HUGE_VAL}};
  mat out(2, 3);
  vec lse(2);
  simd::softmax_rows(in.memptr(), 2, 3, out.memptr(), lse.memptr());
  CHECK(lse[0] == doctest::Approx(2 + std::log(1 + std::exp(-1))).epsilon(1e-14));
  CHECK(out(0, 0) == 0);
  // A target that no expert can reach in float64 (further than 1e154 deviations): no NaN may reach the user.
  CHECK(lse[1] == -HUGE_VAL);
  CHECK(out.row(1).is_finite());
}

TEST_CASE("a row without a target has no likelihood") {
  for (const uword n : {1, 8}) {
    mat in(n, 3, arma::fill::value(kNan)), out(n, 3);
    vec lse(n);
    simd::softmax_rows(in.memptr(), n, 3, out.memptr(), lse.memptr());
    for (const double v : lse) CHECK(std::isnan(v));
  }
}

TEST_CASE("the E step from scores is the softmax of the scores, and of their sums with the densities") {
  for (const uword n : {0, 1, 7, 8, 9, 40})
    for (const uword k : {1, 2, 5}) {
      CAPTURE(n);
      CAPTURE(k);
      mat score = 3 * normal_matrix(n, k, Rng(2, 1)), density = 20 * normal_matrix(n, k, Rng(2, 2));
      if (n > 7) {
        score.row(2) += 500;    // only differences count
        density.row(3) -= 900;  // where every density is 0 in float64
        density.row(4).fill(-arma::datum::inf);
        density(5, 0) = kNan;
      }
      mat gate = score, responsibility(n, k), softmax(n, k), joint(n, k);
      vec likelihood(n), of_scores(n), of_joint(n);
      simd::posterior_rows(gate.memptr(), density.memptr(), n, k, responsibility.memptr(),
                           likelihood.memptr());
      simd::softmax_rows(score.memptr(), n, k, softmax.memptr(), of_scores.memptr());
      const mat sums = score + density;
      simd::softmax_rows(sums.memptr(), n, k, joint.memptr(), of_joint.memptr());
      CHECK(std::equal(gate.begin(), gate.end(), softmax.begin()));
      for (uword i = 0; i < n; ++i) {
        if (!std::isfinite(of_joint[i])) {
          CHECK(!std::isfinite(likelihood[i]));
          continue;
        }
        CHECK(likelihood[i] == doctest::Approx(of_joint[i] - of_scores[i]).epsilon(1e-13));
        for (uword j = 0; j < k; ++j)
          CHECK(responsibility(i, j) == doctest::Approx(joint(i, j)).epsilon(1e-12));
      }
    }
}

TEST_CASE("standardising: the plain formula bit for bit, NaN is 0, far values are held") {
  for (const std::size_t n : {0, 1, 7, 8, 9, 100}) {
    std::vector<double> x = evenly(-3, 50, n + 2), out(n);
    x.resize(n);
    if (n > 5) {
      x[1] = kNan;
      x[2] = 1e300;
      x[n - 1] = -1e300;
    }
    simd::standardise(x.data(), n, 2.5, 0.3, 1e100, out.data());
    for (std::size_t i = 0; i < n; ++i)
      CHECK(out[i] == (std::isnan(x[i]) ? 0.0 : std::clamp((x[i] - 2.5) * (1 / 0.3), -1e100, 1e100)));
  }
}

TEST_CASE("sums and products of vectors") {
  for (const std::size_t n : {0, 1, 8, 16, 29, 40}) {
    const std::vector<double> x = evenly(-1, 4, n + 2), w = evenly(2, 3, n + 2);
    std::vector<double> product = x;
    simd::multiply(product.data(), w.data(), n);
    double sum = 0;
    for (std::size_t i = 0; i < n; ++i) {
      CHECK(product[i] == x[i] * w[i]);
      sum += x[i];
    }
    CHECK(product[n] == x[n]);
    CHECK(simd::sum(x.data(), n) == doctest::Approx(sum).epsilon(1e-14));
  }
}

TEST_CASE("weighted residuals and their sums") {
  for (const std::size_t n : {0, 1, 5, 8, 29}) {
    const std::vector<double> y = evenly(-1, 4, n + 2), m = evenly(2, -3, n + 2), r = evenly(0, 1, n + 2);
    std::vector<double> e(n + 1, 7.0);
    double weight = 10, squares = 20, right_weight = 10, right_squares = 20;
    simd::weighted_residuals(y.data(), m.data(), r.data(), n, e.data(), weight, squares);
    for (std::size_t i = 0; i < n; ++i) {
      CHECK(e[i] == r[i] * (y[i] - m[i]));
      right_weight += r[i];
      right_squares += r[i] * (y[i] - m[i]) * (y[i] - m[i]);
    }
    CHECK(e[n] == 7.0);
    CHECK(weight == doctest::Approx(right_weight).epsilon(1e-14));
    CHECK(squares == doctest::Approx(right_squares).epsilon(1e-14));
  }
}

TEST_CASE("layers and their gradients are plain sums, for every shape") {
  for (const uword outputs : {1, 7, 8, 33, 64})
    for (const uword inputs : {1, 5, 9})
      for (const uword n : {0, 1, 4, 6, 11}) {
        CAPTURE(outputs);
        CAPTURE(inputs);
        CAPTURE(n);
        const mat w = normal_matrix(outputs, inputs, Rng(1, 1)), x = normal_matrix(inputs, n, Rng(1, 2)),
                  slope = normal_matrix(outputs, n, Rng(1, 3)),
                  before = normal_matrix(outputs, inputs, Rng(1, 4));
        const vec bias = normal_matrix(outputs, 1, Rng(1, 5)).col(0);
        mat out(outputs, n), gradient = before;
        simd::layer(w.memptr(), outputs, inputs, bias.memptr(), x.memptr(), n, out.memptr());
        simd::add_outer(slope.memptr(), outputs, n, x.memptr(), inputs, gradient.memptr());
        for (uword o = 0; o < outputs; ++o) {
          for (uword i = 0; i < n; ++i) {
            double sum = bias[o];
            for (uword j = 0; j < inputs; ++j) sum += w(o, j) * x(j, i);
            CHECK(out(o, i) == doctest::Approx(sum).epsilon(1e-12));
          }
          for (uword j = 0; j < inputs; ++j) {
            double sum = before(o, j);
            for (uword i = 0; i < n; ++i) sum += slope(o, i) * x(j, i);
            CHECK(gradient(o, j) == doctest::Approx(sum).epsilon(1e-12));
          }
        }
      }
}

TEST_CASE("sums of neurons, and a layer's gradient in float32, are plain sums") {
  for (const std::size_t n : {0u, 1u, 7u, 16u, 31u, 64u, 200u}) {
    Rng rng(4, n);
    std::vector<float> a(n), b(n), y(n), value(n);
    std::vector<double> wide(n);
    for (std::size_t i = 0; i < n; ++i) {
      a[i] = static_cast<float>(rng.normal()), b[i] = static_cast<float>(rng.normal());
      y[i] = value[i] = static_cast<float>(rng.normal()), wide[i] = rng.normal();
    }
    const std::vector<float> before = y;
    const std::vector<double> wide_before = wide;
    double sum = 0;
    for (std::size_t i = 0; i < n; ++i) sum += static_cast<double>(a[i]) * b[i];
    CHECK(simd::dot(a.data(), b.data(), n) == doctest::Approx(sum).epsilon(1e-5).scale(10));
    simd::add_scaled(a.data(), n, 0.5f, y.data());
    simd::add_scaled(a.data(), n, 0.3, wide.data());
    simd::decay_and_add(0.9f, 2.0f, a.data(), n, value.data());
    for (std::size_t i = 0; i < n; ++i) {
      CHECK(y[i] == doctest::Approx(before[i] + 0.5 * a[i]).epsilon(1e-6));
      CHECK(wide[i] == doctest::Approx(wide_before[i] + 0.3 * a[i]).epsilon(1e-14));
      CHECK(value[i] == doctest::Approx(0.9 * before[i] + 2.0 * a[i]).epsilon(1e-6).scale(10));
    }
    // Columns first .. of b, which has three more rows than are taken.
    const std::size_t rows = 5;
    std::vector<float> left(n * rows), right((n + 3) * rows), out(n * n, 1.0f);
    for (float& v : left) v = static_cast<float>(rng.normal());
    for (float& v : right) v = static_cast<float>(rng.normal());
    simd::add_outer(left.data(), n, rows, right.data() + 3, n + 3, n, out.data());
    for (std::size_t j = 0; j < n; j += 3)
      for (std::size_t o = 0; o < n; ++o) {
        double expected = 1;
        for (std::size_t i = 0; i < rows; ++i)
          expected += static_cast<double>(left[o + i * n]) * right[3 + j + i * (n + 3)];
        CHECK(out[o + j * n] == doctest::Approx(expected).epsilon(1e-5).scale(10));
      }
  }
}

TEST_CASE("a shortlist holds the k largest scores, with ties, and no NaN; ranks are those of sorting") {
  for (const std::size_t n : {64u, 128u, 320u, 1024u})
    for (const std::size_t k : {1u, 5u, 16u, 64u})
      for (const bool ties : {false, true}) {
        Rng rng(n, k);
        std::vector<float> score(n), value(n + 16), sorted;
        for (float& v : score) v = ties ? static_cast<float>(rng.below(5)) : static_cast<float>(rng.normal());
        score[n / 2] = std::numeric_limits<float>::quiet_NaN();
        std::vector<std::uint32_t> index(n + 16), rank(n);
        const std::size_t count = simd::shortlist(score.data(), n, k, value.data(), index.data());
        for (const float v : score)
          if (!std::isnan(v)) sorted.push_back(v);
        std::sort(sorted.begin(), sorted.end(), std::greater<>());
        REQUIRE(count <= n);
        REQUIRE(count >= std::min(k, sorted.size()));
        std::size_t large = 0;
        for (std::size_t i = 0; i < count; ++i) {
          CHECK((i == 0 || index[i] > index[i - 1]));
          CHECK(value[i] == score[index[i]]);
          large += value[i] >= sorted[std::min(k, sorted.size()) - 1];
        }
        CHECK(large >= std::min(k, sorted.size()));
        std::vector<double> own(count + 8), tie(count + 8);
        for (std::size_t i = 0; i < count; ++i) own[i] = value[i], tie[i] = index[i];
        simd::ranks(own.data(), tie.data(), count, rank.data());
        for (std::size_t i = 0; i < count; i += 7) {
          std::size_t before = 0;
          for (std::size_t j = 0; j < count; ++j)
            before += own[j] > own[i] || (own[j] == own[i] && tie[j] < tie[i]);
          CHECK(rank[i] == before);
        }
      }
}

TEST_CASE("extremes and scaled sums are those of plain loops, and pass over what is no number") {
  Rng rng(8, 0);
  for (const std::size_t n : {0u, 1u, 7u, 8u, 63u, 64u, 1001u}) {
    CAPTURE(n);
    std::vector<double> x(n), w(n);
    for (std::size_t i = 0; i < n; ++i) {
      x[i] = i % 5 == 3 ? kNan : 40 + 3 * rng.normal();
      w[i] = rng.uniform();
    }
    double least = HUGE_VAL, most = -HUGE_VAL, low = HUGE_VAL, high = -HUGE_VAL;
    simd::ScaledSums plain, even;
    for (std::size_t i = 0; i < n; ++i) {
      if (std::isnan(x[i])) continue;
      low = std::min(low, x[i]);
      high = std::max(high, x[i]);
      const double z = (x[i] - 38) / 9 - 0.25;
      plain.weight += w[i];
      plain.first += w[i] * z;
      plain.second += w[i] * z * z;
      even.weight += 1;
      even.first += z;
      even.second += z * z;
    }
    simd::extremes(x.data(), n, least, most);
    CHECK(least == low);
    CHECK(most == high);
    const auto same = [&](const simd::ScaledSums& got, const simd::ScaledSums& right) {
      CHECK(got.weight == doctest::Approx(right.weight).epsilon(1e-13));
      CHECK(got.first == doctest::Approx(right.first).epsilon(1e-11));
      CHECK(got.second == doctest::Approx(right.second).epsilon(1e-13));
    };
    same(simd::scaled_sums(x.data(), w.data(), n, 38, 9, 0.25), plain);
    same(simd::scaled_sums(x.data(), nullptr, n, 38, 9, 0.25), even);
  }
}

TEST_CASE("plain lines are those that a plain loop finds") {
  const auto naive = [](const std::string& text, std::size_t most) {
    simd::PlainLines found;
    for (std::size_t begin = 0; found.lines < most;) {
      const std::size_t feed = text.find('\n', begin);
      if (feed == std::string::npos || static_cast<unsigned char>(text[begin]) <= ' ') break;
      if (text.substr(begin, feed - begin).find('"') != std::string::npos) break;
      begin = feed + 1;
      ++found.lines;
      found.bytes = begin;
    }
    return found;
  };
  Rng rng(5, 1);
  std::size_t whole = 0, cut = 0;
  for (int trial = 0; trial < 3000; ++trial) {
    // Mostly plain characters; what ends the plain lines is rare enough for several vectors of them.
    const std::string some = trial % 2 ? "aaaa,,11..\xC3\n\n" : "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa\n";
    const std::string rare = " \t\r\"\n";
    std::string text;
    const std::uint64_t size = rng.below(400);
    for (std::uint64_t i = 0; i < size; ++i) {
      const bool odd = rng.below(150) == 0;
      const std::string& from = odd ? rare : some;
      text += from[rng.below(from.size())];
      if (!odd && text.size() > 1 && text.ends_with("\n\n")) text.back() = 'b';
    }
    const std::size_t most = 1 + rng.below(40);
    const simd::PlainLines right = naive(text, most), got = simd::plain_lines(text.data(), text.size(), most);
    REQUIRE(got.lines == right.lines);
    REQUIRE(got.bytes == right.bytes);
    whole += right.lines == most;
    cut += right.lines > 0 && right.lines < most;
  }
  CHECK(whole > 100);
  CHECK(cut > 100);
}
