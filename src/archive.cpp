#include "moekit/archive.hpp"

#include <algorithm>

#include "moekit/error.hpp"
#include "moekit/rng.hpp"

namespace moekit {

void Archive::require(bool usable) {
  if (!usable) throw Error(Errc::model_format, "damaged checkpoint: its numbers do not fit this fit");
}

std::size_t Archive::counted(std::size_t size, std::size_t each) {
  std::uint64_t count = size;
  part(count);
  if (reading_) require(count <= from_.size() / each);
  return count;
}

void Archive::raw(void* data, std::size_t size) {
  if (size == 0) return;
  if (!reading_) {
    to_.append(static_cast<const char*>(data), size);
    return;
  }
  require(size <= from_.size());
  std::memcpy(data, from_.data(), size);
  from_.remove_prefix(size);
}

void Archive::part(std::string& text) {
  text.resize(counted(text.size(), 1));
  raw(text.data(), text.size());
}

void Archive::part(std::vector<std::string>& texts) {
  texts.resize(counted(texts.size(), sizeof(std::uint64_t)));
  for (std::string& text : texts) part(text);
}

void Archive::part(vec& values) {
  values.set_size(counted(values.n_elem, sizeof(double)));
  raw(values.memptr(), values.n_elem * sizeof(double));
}

void Archive::part(mat& values) {
  std::uint64_t rows = values.n_rows, columns = values.n_cols;
  part(rows);
  part(columns);
  if (reading_) {
    require(columns == 0 || rows <= from_.size() / sizeof(double) / columns);
    values.set_size(rows, columns);
  }
  raw(values.memptr(), values.n_elem * sizeof(double));
}

std::uint64_t hash_bytes(std::uint64_t hash, std::string_view bytes) {
  for (std::size_t at = 0; at < bytes.size(); at += sizeof hash) {
    std::uint64_t word = bytes.size() - at;
    std::memcpy(&word, bytes.data() + at, std::min(sizeof word, bytes.size() - at));
    hash = Rng(hash, word).next();
  }
  return hash;
}

}  // namespace moekit
