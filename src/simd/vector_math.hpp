#pragma once
#include <cstddef>

namespace moekit::simd {

/// x[i] = exp(x[i]), to about 1 ulp; 0 for arguments below -300.
void exp_inplace(double* x, std::size_t n);
/// sum_i x[i].
double sum(const double* x, std::size_t n);
/// x[i] *= w[i].
void multiply(double* x, const double* w, std::size_t n);
/// x[i] = ln(x[i]) for positive normal x.
void log_inplace(double* x, std::size_t n);
/// z[i] becomes z[i] / (1 + exp(-z[i])), slope[i] its derivative.
void silu(double* z, double* slope, std::size_t n);
/// out[i] = -0.5 ((y[i] - m[i]) * inverse)^2 + constant.
void gaussian_log_density(const double* y, const double* m, double inverse, double constant, double* out,
                          std::size_t n);
/// out[i] = (x[i] - center) * (1 / scale), held between -most and most; 0 where x[i] is NaN.
void standardise(const double* x, std::size_t n, double center, double scale, double most, double* out);
/// e[i] = r[i] (y[i] - m[i]); weight += sum_i r[i], squares += sum_i r[i] (y[i] - m[i])^2.
void weighted_residuals(const double* y, const double* m, const double* r, std::size_t n, double* e,
                        double& weight, double& squares);
/// Of n numbers: weight = sum_i w[i], mean = sum_i w[i] z[i] / weight, squares = sum_i w[i] (z[i] - mean)^2,
/// in two passes. mean and squares are NaN without weight.
void weighted_moments(const double* z, const double* w, std::size_t n, double& weight, double& mean,
                      double& squares);
/// Row-wise over K columns of length n (column k begins at log_joint + k * n):
/// lse[i] = ln sum_k exp(log_joint[i, k]); responsibility[i, k] = exp(log_joint[i, k] - lse[i]).
void softmax_rows(const double* log_joint, std::size_t n, std::size_t columns, double* responsibility,
                  double* lse);
/// The E step, columns as above: gate holds scores and becomes g = softmax(scores); with f =
/// exp(log_density), responsibility[i, k] = g_k f_k / sum_l g_l f_l and log_likelihood[i] = ln sum_l g_l f_l.
/// The same g, bit for bit, as softmax_rows().
void posterior_rows(double* gate, const double* log_density, std::size_t n, std::size_t columns,
                    double* responsibility, double* log_likelihood);

}  // namespace moekit::simd
