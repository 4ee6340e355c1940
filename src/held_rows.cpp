#include "moekit/held_rows.hpp"

#include "blockfile/stream_source.hpp"
#include "csv/message.hpp"
#include "moekit/csv.hpp"
#include "moekit/error.hpp"

namespace moekit {

namespace {

RowOptions held_options(bool positive_target) {
  RowOptions options;
  options.positive_target = positive_target;
  options.need_target = true;
  options.skip_rows_without_target = true;
  return options;
}

std::uint64_t bytes_of(const BlockData& block) {
  return sizeof(double) *
             (block.numeric.size() + block.target.size() + block.weight.size() + block.offset.size()) +
         sizeof(std::uint32_t) * block.levels.size();
}

/// As training decides it: before any row is read, by eight bytes a cell.
bool fits(const blocks::BlockRows& stored, const Schema& schema, std::uint64_t memory) {
  const std::uint64_t columns =
      schema.inputs.size() + schema.targets() + !schema.weights.empty() + !schema.offset.empty();
  return stored.stored()->rows() * columns * sizeof(double) <= memory;
}

HeldRows on_file(std::unique_ptr<blocks::BlockRows> stored, const Schema& schema, const RowOptions& options,
                 const Compute& compute) {
  HeldRows held;
  std::vector<std::uint32_t> used;
  {
    const csv::RowFiller filler(*stored, schema, options);
    held.notes = filler.notes;
    csv::for_each_piece(*stored, filler.uses(), compute,
                        [&](const csv::RawRows&, const csv::ParsedRows& rows) -> csv::Deliver {
                          BlockData block;
                          filler.fill(rows, block);
                          return [&used, count = static_cast<std::uint32_t>(block.rows)] {
                            used.push_back(count);
                          };
                        });
  }
  held.rows = std::make_unique<blocks::StreamSource>(std::move(stored), schema, used, options);
  return held;
}

}  // namespace

HeldRows read_held_rows(const std::string& path, const Schema& schema, std::uint64_t memory,
                        const Compute& compute, bool positive_target) {
  const RowOptions options = held_options(positive_target);
  if (memory > 0) {
    if (auto stored = blocks::open_block_rows(path, nullptr, schema.format.missing)) {
      Compute local;  // every rank reads its own
      local.threads = compute.threads;
      if (!fits(*stored, schema, memory)) return on_file(std::move(stored), schema, options, local);
      memory = 0;
    }
  }
  RowReader reader(path, schema, options);
  auto rows = std::make_unique<MemorySource>();
  std::uint64_t kept = 0;
  for (BlockData block; reader.next(block); block = {}) {
    kept += bytes_of(block);
    if (memory > 0 && kept > memory)
      throw Error(Errc::usage, path +
                                   ": the rows do not fit into --memory beside the table; import them once, "
                                   "then give the block file: moekit convert " +
                                   csv::argument(path) + " -o held.mkb");
    rows->push(std::move(block));
  }
  return {std::move(rows), reader.notes()};
}

std::uint64_t bytes_of(const MemorySource& source) {
  std::uint64_t sum = 0;
  for (std::size_t i = 0; i < source.blocks(); ++i) sum += bytes_of(source.data(i));
  return sum;
}

}  // namespace moekit
