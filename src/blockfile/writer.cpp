#include "writer.hpp"

#include <algorithm>
#include <bit>
#include <cmath>
#include <cstring>
#include <limits>

#include "checksum.hpp"
#include "csv/number.hpp"

namespace moekit::blocks {

namespace {

// Texts of a column up to so many are kept once. Numbers that are not spelt plainly are kept as texts only
// while they look like categories.
constexpr std::size_t kMostTexts = 65536, kMostSpellings = 1000;
constexpr double kNaN = std::numeric_limits<double>::quiet_NaN();

template <class T>
void append(std::string& to, const T& value) {
  to.append(reinterpret_cast<const char*>(&value), sizeof value);
}

void append_text(std::string& to, std::string_view text) {
  append(to, static_cast<std::uint32_t>(text.size()));
  to.append(text);
}

void append_texts(std::string& to, const std::vector<std::string>& texts) {
  append(to, static_cast<std::uint32_t>(texts.size()));
  for (const std::string& text : texts) append_text(to, text);
}

}  // namespace

Writer::Writer(std::ostream& out, const csv::RowInput& input, std::vector<std::size_t> columns,
               std::vector<bool> as_text)
    : out_(out), input_(input), columns_(std::move(columns)), states_(columns_.size()) {
  for (std::size_t j = 0; j < columns_.size(); ++j) {
    states_[j].as_text = as_text[j];
    states_[j].found.name = input_.names()[columns_[j]];
  }
  write(std::string(kMagic));
}

void Writer::write(const std::string& bytes) {
  out_.write(bytes.data(), static_cast<std::streamsize>(bytes.size()));
  at_ += bytes.size();
}

/// Whether a cell is a number; the fast way reads beyond the cell, so only where the file's text goes on.
bool Writer::number_of(std::string_view cell, const csv::RawRows& raw, double& value) const {
  const char decimal = input_.format().decimal;
  const char* const begin = cell.data();
  if (!cell.empty() && begin >= raw.text && begin < raw.text + raw.size &&
      csv::parse_number_fast(begin, decimal, value) == begin + cell.size())
    return true;
  return csv::parse_number(cell, decimal, value) == csv::NumberStatus::number;
}

std::vector<ColumnCells> Writer::prepare(const csv::RawRows& raw, const csv::ParsedRows& rows) const {
  std::vector<ColumnCells> all(columns_.size());
  const std::size_t width = columns_.size();
  for (std::size_t j = 0; j < width; ++j) {
    ColumnCells& column = all[j];
    column.texts.resize(rows.rows);
    column.numbers.resize(rows.rows);
    column.missing.assign(rows.rows, 0);
    for (uword i = 0; i < rows.rows; ++i) {
      const std::string_view text = rows.cells[i * width + j].text, trimmed = csv::trim(text);
      column.texts[i] = text;
      double value = kNaN;
      const bool number = number_of(trimmed, raw, value);
      if ((!number || input_.missing().has_numbers()) && input_.missing().match(trimmed)) {
        column.missing[i] = 1;
        value = kNaN;
      } else if (!number) {
        column.all_numbers = false;
        value = kNaN;
      } else if (column.all_plain) {
        column.all_plain = is_plain(text, input_.format().decimal);
      }
      column.numbers[i] = value;
    }
  }
  return all;
}

void Writer::put_chunk(Encoding encoding, const void* data, std::size_t bytes) {
  chunks_.push_back({static_cast<std::uint32_t>(encoding), static_cast<std::uint32_t>(bytes)});
  body_.append(static_cast<const char*>(data), bytes);
  body_.append(padded(bytes) - bytes, '\0');
}

/// False, and the dictionary as before, when it would get too large.
bool Writer::encode_codes(State& state, const ColumnCells& cells, std::size_t most) {
  const std::size_t before = state.dictionary.size();
  std::vector<std::uint32_t> codes(cells.texts.size());
  for (std::size_t i = 0; i < codes.size(); ++i) {
    const auto next = static_cast<std::uint32_t>(state.dictionary.size());
    const auto [at, fresh] = state.codes.emplace(cells.texts[i], next);
    if (fresh) state.dictionary.emplace_back(cells.texts[i]);
    codes[i] = at->second;
    if (state.dictionary.size() <= most) continue;
    for (; state.dictionary.size() > before; state.dictionary.pop_back())
      state.codes.erase(state.dictionary.back());
    return false;
  }
  put_chunk(Encoding::codes, codes.data(), codes.size() * sizeof codes[0]);
  return true;
}

/// False when there are too many texts that mean missing.
bool Writer::encode_numbers(State& state, const ColumnCells& cells) {
  std::vector<double> values = cells.numbers;
  for (std::size_t i = 0; i < values.size(); ++i) {
    if (!cells.missing[i]) continue;
    auto& texts = state.missing_texts;
    const auto at = std::find(texts.begin(), texts.end(), cells.texts[i]);
    const auto which = static_cast<std::size_t>(at - texts.begin());
    if (at == texts.end() && texts.size() == kMostMissingTexts) return false;
    if (at == texts.end()) texts.emplace_back(cells.texts[i]);
    values[i] = std::bit_cast<double>(kMissing + which);
  }
  put_chunk(cells.all_plain ? Encoding::plain : Encoding::numbers, values.data(),
            values.size() * sizeof values[0]);
  if (!cells.all_plain) state.found.spelling_kept = false;
  return true;
}

void Writer::encode_texts(const ColumnCells& cells) {
  std::string bytes;
  for (const std::string_view text : cells.texts) append(bytes, static_cast<std::uint32_t>(text.size()));
  for (const std::string_view text : cells.texts) bytes += text;
  put_chunk(Encoding::texts, bytes.data(), bytes.size());
}

void Writer::encode(State& state, const ColumnCells& cells) {
  if (cells.all_numbers && cells.all_plain && encode_numbers(state, cells)) return;
  if (cells.all_numbers && !state.as_text) {
    if (!state.closed && encode_codes(state, cells, kMostSpellings)) return;
    state.closed = true;
    if (encode_numbers(state, cells)) return;
  }
  if (!encode_codes(state, cells, kMostTexts)) encode_texts(cells);
}

/// Welford's sums.
void Writer::measure(State& state, const ColumnCells& cells) const {
  StoredColumn& found = state.found;
  for (std::size_t i = 0; i < cells.numbers.size(); ++i) {
    found.present += !cells.missing[i];
    const double x = cells.numbers[i];
    if (std::isnan(x)) continue;
    found.min = found.numbers == 0 ? x : std::min(found.min, x);
    found.max = found.numbers == 0 ? x : std::max(found.max, x);
    ++found.numbers;
    const double off = x - found.mean;
    found.mean += off / static_cast<double>(found.numbers);
    state.square += off * (x - found.mean);
  }
}

void Writer::add(const csv::ParsedRows& rows, const std::vector<ColumnCells>& cells) {
  BlockHead head;
  head.rows = static_cast<std::uint32_t>(rows.rows);
  head.columns = static_cast<std::uint32_t>(columns_.size());
  head.line = rows.line[0];
  for (uword i = 0; i < rows.rows; ++i) head.all_lines |= rows.line[i] != head.line + i;
  chunks_.clear();
  body_.clear();
  if (head.all_lines) body_.append(reinterpret_cast<const char*>(rows.line.data()), rows.rows * 8);
  for (std::size_t j = 0; j < states_.size(); ++j) {
    encode(states_[j], cells[j]);
    measure(states_[j], cells[j]);
  }
  std::string block;
  block.reserve(sizeof head + chunks_.size() * sizeof(ChunkHead) + body_.size());
  append(block, head);
  block.append(reinterpret_cast<const char*>(chunks_.data()), chunks_.size() * sizeof(ChunkHead));
  block += body_;
  places_.push_back({at_, block.size(), checksum(block.data(), block.size()), 0});
  write(block);
  rows_ += rows.rows;
}

BlockFileInfo Writer::finish() {
  BlockFileInfo info;
  std::string directory;
  append(directory, rows_);
  append(directory, static_cast<std::uint64_t>(places_.size()));
  append(directory, static_cast<std::uint32_t>(states_.size()));
  append(directory, static_cast<std::uint32_t>(static_cast<unsigned char>(input_.format().separator)));
  append(directory, static_cast<std::uint32_t>(static_cast<unsigned char>(input_.format().decimal)));
  append_texts(directory, input_.format().missing);
  for (State& state : states_) {
    StoredColumn& found = state.found;
    if (found.numbers > 0) found.sd = std::sqrt(state.square / static_cast<double>(found.numbers));
    found.texts = state.dictionary.size();
    append_text(directory, found.name);
    append_texts(directory, state.missing_texts);
    append_texts(directory, state.dictionary);
    append(directory, found.present);
    append(directory, found.numbers);
    for (const double value : {found.mean, found.sd, found.min, found.max}) append(directory, value);
    append(directory, static_cast<std::uint32_t>(found.spelling_kept));
    info.columns.push_back(found);
  }
  directory.append(reinterpret_cast<const char*>(places_.data()), places_.size() * sizeof(BlockPlace));
  Trailer trailer{at_, directory.size(), checksum(directory.data(), directory.size()), 0, {}};
  std::copy(kEndMagic.begin(), kEndMagic.end(), trailer.magic.begin());
  append(directory, trailer);
  write(directory);
  info.rows = rows_;
  info.bytes = at_;
  info.format = input_.format();
  return info;
}

}  // namespace moekit::blocks
