#pragma once
#include <cstdint>
#include <string>
#include <vector>

#include "moekit/model.hpp"
#include "moekit/rng.hpp"

namespace moekit::train {

/// What starts are drawn from: the rows of a sample as one matrix.
struct StartData {
  mat x;       ///< rows x features of the gate, without the intercept
  mat design;  ///< rows x features of the experts, with the intercept
  mat target;  ///< rows x outputs: standardised target, or centred class indicators
};
StartData start_data(const Mixture& mixture, const Schema& schema, const Source& sample);

/// Kinds of start, in the order in which restarts go through them. Every kind cuts the rows into K regions.
///   tree         greedy axis-parallel cuts of the worst region, with linear fits on both sides
///   k-means      in the inputs (k-means++, Arthur & Vassilvitskii 2007)
///   lines        K regression planes through a few rows each; a row goes to the nearest plane
///   joint        k-means in inputs and target, the target weighed up
///   slices       cuts across a random direction of the inputs
///   residuals    quantiles of the residuals of one linear fit
///   voronoi      cells of K random rows
///   random       every row anywhere
const std::vector<std::string>& start_kinds();

/// The same for a hierarchy. "grown" is no partition: it is Grower's.
const std::vector<std::string>& hierarchy_start_kinds();

/// A region (0 .. K - 1) for each row.
std::vector<std::uint32_t> draw_start(const std::string& kind, const StartData& data, uword experts, Rng rng);

}  // namespace moekit::train
