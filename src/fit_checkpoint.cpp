#include "moekit/fit_checkpoint.hpp"

#include <cerrno>
#include <cstdio>
#include <cstring>
#include <fstream>

#include "checksum.hpp"
#include "moekit/archive.hpp"
#include "moekit/error.hpp"
#include "moekit/model_io.hpp"
#include "moekit/version.hpp"

namespace moekit {

namespace {

constexpr std::string_view kMagic = "moekit-checkpoint ";
constexpr int kFormat = 1;
constexpr const char* kRemedy = "; remove it to begin anew";

/// The only first line that a checkpoint with this body can have.
std::string header_of(std::string_view body) { return sealing_line(kMagic, kFormat, body); }

/// All bytes of a file; none if it does not exist or does not begin as a checkpoint does.
std::optional<std::string> read_file(const std::string& path) {
  errno = 0;
  std::ifstream in(path, std::ios::binary);
  if (!in && errno == ENOENT) return std::nullopt;
  if (!in) throw Error(Errc::no_input, path + ": cannot be opened: " + std::strerror(errno));
  std::string text(kMagic.size(), '\0');
  in.read(text.data(), static_cast<std::streamsize>(text.size()));
  if (!in || text != kMagic) throw Error(Errc::model_format, path + ": not a checkpoint of moekit");
  char piece[1 << 16];
  while (in.read(piece, sizeof piece), in.gcount() > 0)
    text.append(piece, static_cast<std::size_t>(in.gcount()));
  if (in.bad()) throw Error(Errc::io, path + ": reading failed");
  return text;
}

}  // namespace

FitCheckpoint::FitCheckpoint(std::string path, Pace pace, const Communicator& comm)
    : path_(std::move(path)), pace_(pace), comm_(comm) {}

std::string FitCheckpoint::text() const {
  Archive body;
  std::string version = kVersion;
  std::vector<std::string> names = names_, values = values_;
  std::uint64_t count = units_.size();
  body(version, names, values, count);
  for (const auto& [unit, entry] : units_) {
    std::uint64_t key = unit;
    Entry copy = entry;
    body(key, copy.finished, copy.bytes);
  }
  return header_of(body.bytes()) + body.bytes();
}

void FitCheckpoint::parse(const std::string& text) {
  const std::size_t line = text.find('\n');
  const std::string_view body =
      std::string_view(text).substr(line == std::string::npos ? text.size() : line + 1);
  if (text.compare(0, text.size() - body.size(), header_of(body)) != 0)
    throw Error(Errc::model_format, "damaged checkpoint: length or checksum is not what the first line says");
  Archive in(body);
  std::string version;
  in(version);
  if (version != kVersion)
    throw Error(Errc::model_format,
                "the checkpoint is of moekit " + version + ", which is not this one, " + kVersion);
  std::uint64_t count = 0;
  in(names_, values_, count);
  Archive::require(names_.size() == values_.size());
  for (; count > 0; --count) {
    std::uint64_t key = 0;
    Entry entry;
    in(key, entry.finished, entry.bytes);
    units_[key] = std::move(entry);
  }
  Archive::require(in.left().empty());
}

bool FitCheckpoint::load() {
  std::string text;
  if (writes()) text = read_file(path_).value_or("");
  comm_.share(text);
  if (text.empty()) return false;
  const std::lock_guard lock(mutex_);
  try {
    parse(text);
  } catch (const Error& e) {
    throw Error(e.code(), path_ + ": " + e.what() + kRemedy);
  }
  return true;
}

void FitCheckpoint::begin(std::vector<std::pair<std::string, std::string>> identity) {
  const std::lock_guard lock(mutex_);
  std::vector<std::string> names, values;
  for (auto& [name, value] : identity) {
    names.push_back(std::move(name));
    values.push_back(std::move(value));
  }
  if (!names_.empty()) {
    if (names != names_)
      throw Error(Errc::data, path_ + ": the checkpoint is of another command; give its own, or remove it");
    for (std::size_t i = 0; i < names.size(); ++i)
      if (values[i] != values_[i])
        throw Error(Errc::data, path_ + ": the checkpoint is of another fit: " + names[i] + " was " +
                                    values_[i] + " and is " + values[i] +
                                    "; give the same data and options, or remove it");
  }
  names_ = std::move(names);
  values_ = std::move(values);
}

std::optional<std::string> FitCheckpoint::find(std::uint64_t unit, bool finished) const {
  const std::lock_guard lock(mutex_);
  const auto at = units_.find(unit);
  if (at == units_.end() || at->second.finished != finished) return std::nullopt;
  return at->second.bytes;
}

void FitCheckpoint::keep(std::uint64_t unit, bool finished, std::string bytes) {
  const std::lock_guard lock(mutex_);
  units_[unit] = {finished, std::move(bytes)};
  if (due_now()) write_now();
}

void FitCheckpoint::count_pass() {
  const std::lock_guard lock(mutex_);
  ++passes_;
}

bool FitCheckpoint::due() const {
  const std::lock_guard lock(mutex_);
  return due_now();
}

bool FitCheckpoint::due_now() const {
  if (pace_.passes > 0) return passes_ >= pace_.passes;
  return std::chrono::steady_clock::now() - written_ >= std::chrono::duration<double>(pace_.seconds);
}

void FitCheckpoint::write() {
  const std::lock_guard lock(mutex_);
  write_now();
}

void FitCheckpoint::write_now() {
  if (!writes()) return;
  const std::string all = text();
  write_whole(path_,
              [&](std::ostream& out) { out.write(all.data(), static_cast<std::streamsize>(all.size())); });
  written_ = std::chrono::steady_clock::now();
  passes_ = 0;
}

}  // namespace moekit
