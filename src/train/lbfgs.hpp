#pragma once
#include "moekit/gradient.hpp"
#include "train/em.hpp"

namespace moekit::train {

/// L-BFGS (Liu & Nocedal 1989, by Okazaki's liblbfgs) from the mixture's parameters, one pass over the rows
/// an evaluation. Climbs the log-likelihood (or minus another loss) and the log prior, in stretches, each in
/// variables of its own (metric.hpp); under the evidence the penalties are updated between them, as EM does.
/// Opens with some passes of EM where that climbs the same, and ends with EM where the likelihood has kinks.
/// `options`, `unit` and the result are EM's. What the library remembers of a stretch cannot be saved: an
/// interrupted one goes through its evaluations again, whose values a checkpoint holds.
EmResult run_lbfgs(Mixture& mixture, const Schema& schema, const Source& source, const EmOptions& options,
                   const GradientOptions& gradient, const Compute& compute, const Watch& watch = {},
                   Unit unit = {});

}  // namespace moekit::train
