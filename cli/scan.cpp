#include "scan.hpp"

namespace moekit::cli {

void scan_rows(RowReader& reader, const Model& model, const Compute& compute,
               const std::function<void(Scored&)>& work, const std::function<void(Scored&)>& deliver) {
  reader.for_each(compute, [&](BlockData&& rows) {
    auto scored = std::make_shared<Scored>();
    scored->rows = std::move(rows);
    scored->prediction = predict(model, scored->rows.view());
    work(*scored);
    return [&deliver, scored] { deliver(*scored); };
  });
}

void describe(const Diagnoser& diagnoser, std::span<const std::uint32_t> label, Scored& scored) {
  scored.partition = partition_rows(scored.prediction);
  scored.diagnosis = diagnoser.measure(scored.rows.view(), scored.prediction, scored.partition, label);
}

}  // namespace moekit::cli
