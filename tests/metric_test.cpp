#include <doctest/doctest.h>

#include "fit_helpers.hpp"
#include "train/metric.hpp"
#include "train/parameters.hpp"

using namespace moekit;
using namespace moekit::fit_testing;
using namespace moekit::train;

// The variables of L-BFGS against the information of complete data, summed row by row.

namespace {

/// A table with weights, and a mixture at drawn parameters.
struct Made {
  Rows rows;
  Mixture mixture;
};

Made make(uword n, const std::string& family, double ridge) {
  Columns c = piecewise(n, 2, 2, 3);
  c.weight.set_size(n);
  for (uword i = 0; i < n; ++i) c.weight[i] = 0.5 + static_cast<double>(i % 3);
  Made out{to_rows(c), {}};
  Mixture& m = out.mixture;
  m.gate_basis = m.expert_basis = Basis(std::vector<Term>(1));
  FitOptions o = options(3, ridge, 1);
  o.family = family;
  o.max_iterations = 3;
  m = fit(out.rows.schema, out.rows.source, o).members.front();
  return out;
}

/// R, column by column: where a step of 1 along each z goes is R^-1.
mat root_of(const Metric& metric, uword size) {
  mat inverse(size, size);
  for (uword j = 0; j < size; ++j) {
    vec z(size, arma::fill::zeros);
    z[j] = 1;
    inverse.col(j) = metric.step(z.memptr());
  }
  return arma::inv(inverse);
}

/// The information of one block of parameters, from the scores of single rows.
void add_row(const mat& scores, uword i, double weight, mat& to) {
  for (uword a = 0; a < to.n_rows; ++a)
    for (uword b = 0; b < to.n_cols; ++b) to(a, b) += weight * scores(i, a) * scores(i, b);
}

}  // namespace

TEST_CASE("the variables of L-BFGS are those of the information of complete data") {
  for (const char* family : {"gaussian", "laplace", "student-t"})
    for (const double ridge : {0.0, 5.0}) {
      CAPTURE(family);
      CAPTURE(ridge);
      Made made = make(700, family, ridge);
      Mixture& m = made.mixture;
      const uword size = moving_parameters(m).n_elem, gate = gate_parameters(m), k = m.count();
      const uword own = (size - gate) / k;
      std::vector<bool> held(size, false);
      held[gate + 1] = true;
      const Metric metric(m, made.rows.schema, made.rows.source, {}, held);
      const mat root = root_of(metric, size), information = root.t() * root;

      mat wanted(size, size, arma::fill::zeros);
      BlockData buffer;
      Posterior p;
      mat scores;
      const Block block = made.rows.source.read(0, buffer);
      posterior(m, made.rows.schema, block, p);
      for (uword j = 0; j < k; ++j) {
        mat of_gate(gate, gate, arma::fill::zeros), of_expert(own, own, arma::fill::zeros);
        m.gate->scores(p.batch, j, scores);
        for (uword i = 0; i < block.rows; ++i)
          add_row(scores, i, block.weight[i] * p.responsibility(i, j), of_gate);
        m.experts->scores(p.batch, j, scores);
        for (uword i = 0; i < block.rows; ++i)
          add_row(scores, i, block.weight[i] * p.responsibility(i, j), of_expert);
        wanted.submat(0, 0, arma::size(of_gate)) += of_gate;
        wanted.submat(gate + j * own, gate + j * own, arma::size(of_expert)) += of_expert;
      }
      // Every parameter has an information of 1 at least, and slopes that of their prior.
      wanted.diag() += 1;
      std::vector<double> up(size, 0.0), down(size, 0.0);
      const vec here = moving_parameters(m);
      for (uword a = 0; a < size; ++a) {
        vec to = here;
        to[a] += 1e-4;
        set_moving_parameters(m, to);
        std::fill(up.begin(), up.end(), 0.0);
        add_prior_gradient(m, gate, up);
        to[a] -= 2e-4;
        set_moving_parameters(m, to);
        std::fill(down.begin(), down.end(), 0.0);
        add_prior_gradient(m, gate, down);
        wanted(a, a) += (down[a] - up[a]) / 2e-4;
      }
      // What is held has no part in the others.
      for (uword a = 0; a < size; ++a)
        if (a != gate + 1) wanted(a, gate + 1) = wanted(gate + 1, a) = 0;
      const vec units = arma::sqrt(wanted.diag());
      const mat error = (information - wanted) / (units * units.t());
      CHECK(arma::abs(error).max() < 1e-5);

      // Slopes go the other way: what is gained along a step is the same in both.
      const vec z = normal_matrix(size, 1, Rng(4, 1)).col(0), of_x = normal_matrix(size, 1, Rng(4, 2)).col(0);
      vec of_z(size);
      metric.slope(of_x, of_z.memptr());
      CHECK(arma::dot(of_z, z) == doctest::Approx(arma::dot(of_x, metric.step(z.memptr()))).epsilon(1e-9));
    }
}
