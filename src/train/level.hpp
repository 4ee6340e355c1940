#pragma once
#include "train/start_run.hpp"

namespace moekit::train {

/// Intercepts of large counts begin at the logarithm of their mean: on the way from a mean of 1 the
/// dispersion would explain what the mean does not yet, and there both would stay.
void begin_at_level(Mixture& mixture, const Schema& schema);

/// Where gradients begin behind a log link, and what any fit should be better than: one expert that looks at
/// no input, of the family of `like`, fitted by EM to the rows of a task (a sample, if they are many).
Mixture constant_expert(const SearchTask& task, const Mixture& like);

/// Adds the intercepts of that expert, of mean and scale, to those of all experts behind a log link: from a
/// mean of 1 a few hundred small steps would not get to one of thousands.
void add_level(Mixture& mixture, const Mixture& constant);

/// A note on a fit on mini-batches that ended worse than that expert, or worse than it began; or empty.
std::string note_of_descent(const Candidate& fitted, const Mixture& constant, const SearchTask& task);

}  // namespace moekit::train
