#pragma once
/// moekit: mixtures of local experts on tables.
///
/// Data layout: rows of a file are rows of every matrix. Rows come in blocks (block.hpp) small enough for the
/// cache, and inside a block every quantity (an input, a gate weight, a density) is one contiguous column
/// over the rows, which is what vector instructions and matrix products want; nothing is ever transposed.
///
/// A Source is an array of Blocks. A Model is a Schema and one or more Mixtures: a Gate and a bank of
/// Experts. posterior() says for one block how likely the data are and who is responsible; sum_over() adds up
/// over all blocks whatever a training step needs; fit() repeats: sum, update, report.
#include "moekit/basis.hpp"
#include "moekit/block.hpp"
#include "moekit/checkpoint.hpp"
#include "moekit/compare.hpp"
#include "moekit/conformal.hpp"
#include "moekit/csv.hpp"
#include "moekit/diagnose.hpp"
#include "moekit/error.hpp"
#include "moekit/evaluate.hpp"
#include "moekit/experts.hpp"
#include "moekit/explain.hpp"
#include "moekit/fit.hpp"
#include "moekit/fit_identity.hpp"
#include "moekit/flags.hpp"
#include "moekit/gate.hpp"
#include "moekit/gradient.hpp"
#include "moekit/held_rows.hpp"
#include "moekit/layer.hpp"
#include "moekit/mapped.hpp"
#include "moekit/model.hpp"
#include "moekit/model_io.hpp"
#include "moekit/npy.hpp"
#include "moekit/predict.hpp"
#include "moekit/region_shape.hpp"
#include "moekit/rng.hpp"
#include "moekit/routing.hpp"
#include "moekit/routing_rule.hpp"
#include "moekit/rules.hpp"
#include "moekit/safetensors.hpp"
#include "moekit/schema.hpp"
#include "moekit/simulate.hpp"
#include "moekit/source.hpp"
#include "moekit/standard_errors.hpp"
#include "moekit/sum.hpp"
#include "moekit/targets.hpp"
#include "moekit/version.hpp"
