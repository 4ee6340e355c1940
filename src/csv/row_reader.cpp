#include <algorithm>
#include <limits>

#include "block_packer.hpp"
#include "blockfile/block_rows.hpp"
#include "header.hpp"
#include "message.hpp"
#include "moekit/csv.hpp"
#include "row_filler.hpp"
#include "text_rows.hpp"

namespace moekit {

namespace {

using namespace csv;

/// How many of the columns that the model needs the header holds under this separator.
std::size_t known_columns(RowScanner& scanner, char separator, char decimal, const Schema& schema) {
  scanner.set_format(separator, decimal, MissingTokens{});
  std::size_t place = 0;
  std::vector<TextCell> cells;
  if (!scanner.peek(place, std::numeric_limits<std::size_t>::max(), cells)) return 0;
  return static_cast<std::size_t>(std::count_if(cells.begin(), cells.end(), [&](const TextCell& cell) {
    return schema.find(trim(cell.text)) != nullptr;
  }));
}

/// A file of new rows. Its separator is the model's only if the header agrees.
std::unique_ptr<RowInput> open_new_rows(const std::string& path, const Schema& schema,
                                        const std::optional<CsvFormat>& asked) {
  CsvFormat format = asked.value_or(schema.format);
  check_format(format);
  if (auto stored = blocks::open_block_rows(path, asked ? &*asked : nullptr, format.missing)) return stored;
  auto text = std::make_unique<TextRows>(path, false);
  if (!asked || !asked->separator) {
    RowScanner& scanner = text->front();
    const char model = schema.format.separator == format.decimal ? '\0' : schema.format.separator;
    const char found = find_separator(scanner, format.decimal);
    const std::size_t known = model ? known_columns(scanner, model, format.decimal, schema) : 0;
    const bool other = !model || (known < schema.inputs.size() &&
                                  known_columns(scanner, found, format.decimal, schema) > known);
    format.separator = other ? found : model;
  }
  text->set_format(format);
  text->read_names();
  return text;
}

}  // namespace

class RowReader::Impl {
 public:
  Impl(const std::string& path, const Schema& schema, const RowOptions& options)
      : input(open_new_rows(path, schema, options.format)), filler(*input, schema, options) {}

  void take_notice(const RowFiller::Findings& findings, std::uint64_t rows) {
    rows_read += rows;
    without_target += findings.without_target;
    if (unknown_.unknown_labels == 0) {
      unknown_.first_unknown = findings.first_unknown;
      unknown_.first_unknown_line = findings.first_unknown_line;
    }
    unknown_.unknown_labels += findings.unknown_labels;
  }
  /// Fills whole blocks, also where rows are left out.
  bool next(BlockData& block) {
    if (!parser_) parser_ = input->parser(filler.uses());
    for (;;) {
      taken_ += packer_.add(piece_, taken_);
      if (packer_.full() || (ended_ && packer_.rows() > 0)) {
        packer_.take(block);
        return true;
      }
      if (ended_) return false;
      piece_.rows = taken_ = 0;
      if (input->take(raw_)) {
        const ParsedRows& rows = parser_->parse(raw_);
        piece_.first = raw_.first;
        take_notice(filler.fill(rows, piece_), rows.rows);
      } else {
        ended_ = true;
        finish();
      }
    }
  }
  void finish() {
    if (rows_read == 0) refuse(input->file(), 1, "a header and no rows; add rows");
    if (unknown_.unknown_labels == 0) return;
    filler.notes.push_back((unknown_.unknown_labels == 1
                                ? "1 row has a label that the model does not know ('"
                                : std::to_string(unknown_.unknown_labels) +
                                      " rows have labels that the model does not know (first '") +
                           unknown_.first_unknown + "' in line " +
                           std::to_string(unknown_.first_unknown_line) + "): taken as missing");
  }

  std::unique_ptr<RowInput> input;
  RowFiller filler;
  std::uint64_t rows_read = 0, without_target = 0;

 private:
  RowFiller::Findings unknown_;
  // Of next().
  std::unique_ptr<RowParser> parser_;
  RawRows raw_;
  BlockData piece_;
  uword taken_ = 0;  // rows of the piece
  BlockPacker packer_;
  bool ended_ = false;
};

RowReader::RowReader(const std::string& path, const Schema& schema, const RowOptions& options)
    : impl_(std::make_unique<Impl>(path, schema, options)) {}
RowReader::~RowReader() = default;
RowReader::RowReader(RowReader&&) noexcept = default;

bool RowReader::next(BlockData& block) { return impl_->next(block); }

void RowReader::for_each(const Compute& compute,
                         const std::function<std::function<void()>(BlockData&&)>& work) {
  Impl& own = *impl_;
  for_each_piece(*own.input, own.filler.uses(), compute,
                 [&](const RawRows& raw, const ParsedRows& rows) -> Deliver {
                   BlockData block;
                   block.first = raw.first;
                   const RowFiller::Findings findings = own.filler.fill(rows, block);
                   const std::uint64_t count = rows.rows;
                   Deliver deliver;
                   if (block.rows > 0) deliver = work(std::move(block));
                   return [&own, findings, count, deliver] {
                     own.take_notice(findings, count);
                     if (deliver) deliver();
                   };
                 });
  own.finish();
}

bool RowReader::has_target() const { return impl_->filler.has_target(); }
bool RowReader::has_weights() const { return impl_->filler.has_weights(); }
std::uint64_t RowReader::rows_without_target() const { return impl_->without_target; }
const std::vector<std::string>& RowReader::carried() const { return impl_->filler.carried; }
const std::vector<std::string>& RowReader::notes() const { return impl_->filler.notes; }

}  // namespace moekit
