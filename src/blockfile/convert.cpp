#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <array>

#include "block_file.hpp"
#include "block_rows.hpp"
#include "csv/header.hpp"
#include "csv/message.hpp"
#include "csv/text_rows.hpp"
#include "moekit/error.hpp"
#include "moekit/model_io.hpp"
#include "writer.hpp"

namespace moekit {

namespace {

using namespace csv;

std::unique_ptr<TextRows> open_text(const std::string& path, CsvFormat format) {
  check_format(format);
  auto text = std::make_unique<TextRows>(path, false);
  if (format.separator == 0) format.separator = find_separator(text->front(), format.decimal);
  text->set_format(format);
  text->read_names();
  return text;
}

std::vector<bool> marked(const TextRows& input, const std::vector<std::string>& names) {
  std::vector<bool> marks(input.names().size(), false);
  for (const std::string& name : names) {
    const auto at = std::find(input.names().begin(), input.names().end(), name);
    if (at == input.names().end())
      refuse(input.file(), 1, "no column '" + shown(name) + "'" + suggestion(name, input.names()));
    marks[static_cast<std::size_t>(at - input.names().begin())] = true;
  }
  return marks;
}

}  // namespace

bool is_block_file(const std::string& path) {
  struct stat info {};
  // Opening a pipe would wait, and reading it would use it up.
  if (path == "-" || ::stat(path.c_str(), &info) != 0 || !S_ISREG(info.st_mode)) return false;
  const int fd = ::open(path.c_str(), O_RDONLY | O_CLOEXEC);
  if (fd < 0) return false;
  std::array<char, blocks::kAnyVersion.size()> start{};
  const ssize_t got = ::pread(fd, start.data(), start.size(), 0);
  ::close(fd);
  return got == static_cast<ssize_t>(start.size()) &&
         std::string_view(start.data(), start.size()) == blocks::kAnyVersion;
}

BlockFileInfo convert_table(const std::string& path, const std::string& output, const ConvertOptions& options,
                            const Compute& compute) {
  if (is_block_file(path))
    throw Error(Errc::usage, path + ": is a block file already; train from it as it is");
  const std::unique_ptr<TextRows> input = open_text(path, options.format);
  const std::vector<bool> drop = marked(*input, options.drop), text = marked(*input, options.text);
  std::vector<std::size_t> columns;
  std::vector<bool> as_text;
  std::vector<CellUse> uses(drop.size(), CellUse::skip);
  for (std::size_t c = 0; c < drop.size(); ++c) {
    if (drop[c]) continue;
    columns.push_back(c);
    as_text.push_back(text[c]);
    uses[c] = CellUse::text;
  }
  if (columns.empty()) throw Error(Errc::usage, "--drop leaves no column to import; keep one");
  BlockFileInfo info;
  write_whole(output, [&](std::ostream& out) {
    blocks::Writer writer(out, *input, columns, as_text);
    std::uint64_t rows = 0;
    for_each_piece(*input, uses, compute, [&](const RawRows& raw, const ParsedRows& parsed) -> Deliver {
      auto cells = std::make_shared<std::vector<blocks::ColumnCells>>(writer.prepare(raw, parsed));
      return [&, cells] {
        writer.add(parsed, *cells);
        rows += parsed.rows;
        if (options.on_rows) options.on_rows(rows);
        if (!out) throw Error(Errc::io, output + ": writing failed");
      };
    });
    if (rows == 0) refuse(input->file(), 1, "a header and no rows; add rows");
    info = writer.finish();
    if (options.on_rows) options.on_rows(rows);
  });
  return info;
}

BlockFileInfo block_file_info(const std::string& path) {
  const blocks::BlockFile file(path);
  BlockFileInfo info{file.rows(), file.bytes(), file.format(), {}};
  for (const auto& column : file.columns()) info.columns.push_back(column.found);
  return info;
}

}  // namespace moekit
