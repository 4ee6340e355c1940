#include "roles.hpp"

#include <algorithm>
#include <map>

#include "message.hpp"

namespace moekit::csv {

namespace {

class RoleBook {
 public:
  RoleBook(const std::string& file, const std::vector<std::string>& header) : file_(file), header_(header) {}

  std::size_t find(const std::string& name) const {
    const auto it = std::find(header_.begin(), header_.end(), name);
    if (it != header_.end()) return static_cast<std::size_t>(it - header_.begin());
    std::string what = "no column '" + shown(name) + "'";
    what += header_.size() == 1
                ? "; the only column is '" + shown(header_[0]) +
                      "': if that is the whole header, say how it is separated with --separator"
                : suggestion(name, header_);
    refuse(file_, 1, what);
  }

  /// Takes the column for a role; twice in one role is harmless.
  std::size_t take(const std::string& name, const std::string& role) {
    const std::size_t c = find(name);
    const auto [it, fresh] = roles_.emplace(c, role);
    if (!fresh && it->second != role)
      throw Error(Errc::usage, "column '" + shown(name) + "' can't be both " + it->second + " and " + role +
                                   "; leave one of the two options out");
    return c;
  }
  bool taken(std::size_t c) const { return roles_.contains(c); }
  bool taken_as(std::size_t c, const std::string& role) const {
    const auto it = roles_.find(c);
    return it != roles_.end() && it->second == role;
  }

 private:
  const std::string& file_;
  const std::vector<std::string>& header_;
  std::map<std::size_t, std::string> roles_;
};

}  // namespace

Roles assign_roles(const std::string& file, const std::vector<std::string>& header,
                   const ReadOptions& options) {
  RoleBook book(file, header);
  Roles roles;
  if (!options.target.empty()) roles.target = book.take(options.target, "the target");
  for (const std::string& name : options.further_targets) {
    const std::size_t column = book.find(name);
    if (book.taken(column))
      throw Error(Errc::usage, "--target: column '" + shown(name) + "' is there twice; name it once");
    roles.further_targets.push_back(book.take(name, "a target"));
  }
  if (!options.weights.empty()) roles.weights = book.take(options.weights, "the weights");
  if (!options.offset.empty()) roles.offset = book.take(options.offset, "the offset");
  for (const std::string& name : options.drop) book.take(name, "dropped");
  // A column may be an identifier and, say, the group of the folds.
  for (const auto* names : {&options.id, &options.carry})
    for (const std::string& name : *names) roles.carried.push_back(book.take(name, "carried as text"));
  roles.categorical.assign(header.size(), false);
  roles.numeric.assign(header.size(), false);
  for (const std::string& name : options.categorical) roles.categorical[book.find(name)] = true;
  for (const std::string& name : options.numeric) roles.numeric[book.find(name)] = true;
  for (std::size_t c = 0; c < header.size(); ++c) {
    const std::string insisted = roles.categorical[c] ? "categorical" : "numeric";
    if (roles.categorical[c] && roles.numeric[c])
      throw Error(Errc::usage, "column '" + shown(header[c]) + "' can't be both categorical and numeric");
    const bool input_or_target = !book.taken(c) || (c == roles.target && options.further_targets.empty());
    if ((roles.categorical[c] || roles.numeric[c]) && book.taken_as(c, "dropped"))
      throw Error(Errc::usage, "column '" + shown(header[c]) + "' can't be both dropped and " + insisted);
    if (roles.categorical[c] && !input_or_target)
      throw Error(Errc::usage, "column '" + shown(header[c]) + "' is no input, so it can't be categorical");
    if (!book.taken(c)) roles.inputs.push_back(c);
  }
  return roles;
}

}  // namespace moekit::csv
