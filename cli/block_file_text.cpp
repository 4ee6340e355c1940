#include "block_file_text.hpp"

#include "text.hpp"

namespace moekit::cli {

namespace {

std::string kind_of(const StoredColumn& column) {
  if (column.present == 0) return "empty";
  if (column.numbers == column.present) return "numbers";
  return column.numbers == 0 ? "texts" : "texts and numbers";
}

}  // namespace

std::string block_file_text(const BlockFileInfo& info, std::size_t most) {
  TextTable table;
  table.column("column");
  table.column("holds");
  table.column("missing", TextTable::Align::right);
  table.column("values");
  std::size_t shown = 0;
  for (const StoredColumn& column : info.columns) {
    if (shown++ == most) break;
    const double missing =
        info.rows > 0 ? 1 - static_cast<double>(column.present) / static_cast<double>(info.rows) : 0;
    std::string values = column.numbers == column.present && column.present > 0
                             ? brief(column.min, 6) + " .. " + brief(column.max, 6)
                         : column.texts > 0 ? counted(column.texts, "text")
                                            : "-";
    table.row({shorten(column.name, 24), kind_of(column), missing > 0 ? percent(missing) : "-", values});
  }
  return table.text() + more_line(info.columns.size(), most, "column");
}

Json block_file_json(const BlockFileInfo& info) {
  Json columns = Json::array();
  for (const StoredColumn& column : info.columns)
    columns.push_back({{"name", column.name},
                       {"holds", kind_of(column)},
                       {"present", column.present},
                       {"numbers", column.numbers},
                       {"mean", json_number(column.mean)},
                       {"sd", json_number(column.sd)},
                       {"min", json_number(column.min)},
                       {"max", json_number(column.max)},
                       {"texts", column.texts},
                       {"spelling_kept", column.spelling_kept}});
  return {{"rows", info.rows}, {"bytes", info.bytes}, {"columns", std::move(columns)}};
}

}  // namespace moekit::cli
