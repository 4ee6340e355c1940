#include "scan.hpp"

namespace moekit::cli {

void scan_rows(RowReader& reader, const Model& model, const Compute& compute,
               const std::function<void(Scored&)>& work, const std::function<void(Scored&)>& deliver) {
  const int threads = compute.threads > 0 ? compute.threads : available_cores();
  std::vector<Scored> batch(static_cast<std::size_t>(threads) * 4);
  for (bool more = true; more;) {
    std::size_t filled = 0;
    while (filled < batch.size() && (more = reader.next(batch[filled].rows))) ++filled;
    parallel_for(filled, compute, [&](std::size_t i) {
      batch[i].prediction = predict(model, batch[i].rows.view());
      work(batch[i]);
    });
    for (std::size_t i = 0; i < filled; ++i) deliver(batch[i]);
  }
}

}  // namespace moekit::cli
