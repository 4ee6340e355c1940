#include "moekit/checkpoint.hpp"

#include <algorithm>
#include <bit>
#include <set>

#include "csv/message.hpp"
#include "layer/tensor_names.hpp"
#include "moekit/error.hpp"

namespace moekit {

namespace {

std::string shape_text(const TensorInfo& t) {
  std::string text = "[";
  for (std::size_t i = 0; i < t.shape.size(); ++i) text += (i ? ", " : "") + std::to_string(t.shape[i]);
  return text + "]";
}

bool is_floating(const TensorInfo& t) {
  return t.dtype == "F32" || t.dtype == "BF16" || t.dtype == "F16" || t.dtype == "F64";
}

/// A weight that is no number would show in the results alone, as if the input were at fault.
void check_finite(const Safetensors& file, const TensorInfo& t, const float* values, std::size_t count) {
  // One more carries an exponent of ones, that of NaN and infinity, into the sign.
  constexpr std::uint32_t kExponent = 0x7f800000u, kOne = 0x00800000u;
  std::uint32_t carried = 0;
  for (std::size_t i = 0; i < count; ++i)
    carried |= (std::bit_cast<std::uint32_t>(values[i]) & kExponent) + kOne;
  if (carried >> 31)
    throw Error(Errc::data, file.files()[t.file] + ": tensor '" + csv::shown(t.name) +
                                "' has a weight that is NaN, infinite or too large for float32; take another "
                                "copy, or export the weights again");
}

}  // namespace

/// Looks for the tensors of one layer and fills it in.
class CheckpointLayer::Finder {
 public:
  Finder(CheckpointLayer& to, std::size_t layer, const TensorNames& names)
      : to_(to), file_(to.file_), layer_(layer), names_(names) {}

  void find() {
    find_gate();
    if (names_.experts.empty()) {
      find_known();
    } else {
      find_patterns();
    }
    find_unused();
  }

 private:
  [[noreturn]] void refuse(const std::string& what) const {
    throw Error(Errc::model_format, file_.path() + ": " + what);
  }
  [[noreturn]] void misfit(const TensorInfo& t, const std::string& wanted) const {
    refuse("tensor '" + csv::shown(t.name) + "' has shape " + shape_text(t) + "; " + wanted + " is needed");
  }
  const TensorInfo& need(const std::string& name) const {
    const TensorInfo* t = file_.find(name);
    if (!t) refuse("there is no tensor '" + csv::shown(name) + "'; moekit layer inspect lists them");
    if (!is_floating(*t))
      refuse("tensor '" + csv::shown(name) + "' is " + csv::shown(t->dtype) +
             "; weights must be F32, BF16, F16 or F64");
    return *t;
  }

  void find_gate() {
    std::string name;
    if (!names_.gate.empty()) {
      name = layer::filled(names_.gate, layer_, 0);
    } else {
      for (const std::string& prefix : layer::known_prefixes(layer_))
        if (name.empty() && file_.find(prefix + "gate.weight")) {
          name = prefix + "gate.weight";
          prefix_ = prefix;
        }
      if (name.empty()) no_gate();
    }
    const TensorInfo& gate = need(name);
    if (gate.shape.size() != 2 || gate.shape[0] == 0 || gate.shape[1] == 0) misfit(gate, "[experts, inputs]");
    to_.gate_ = &gate;
    to_.shape_.experts = gate.shape[0];
    to_.shape_.inputs = gate.shape[1];
  }

  [[noreturn]] void no_gate() const {
    std::string known;
    for (const std::size_t l : layers_of(file_)) known += (known.empty() ? "" : ", ") + std::to_string(l);
    refuse("no gate of layer " + std::to_string(layer_) + " under the known names; " +
           (known.empty() ? std::string("name it with --gate-tensor and --expert-tensor")
                          : "layers in the file: " + known));
  }

  void find_known() {
    for (const layer::Scheme& scheme : layer::known_schemes()) {
      const std::string first = layer::filled(prefix_ + scheme.w1, layer_, 0);
      const std::string third = scheme.w3 ? layer::filled(prefix_ + scheme.w3, layer_, 0) : "";
      if (!file_.find(first) || (scheme.w3 && *scheme.w3 && !file_.find(third))) continue;
      if (scheme.fused) return fused(prefix_ + scheme.w1, prefix_ + scheme.w2);
      return patterns(prefix_ + scheme.w1, scheme.w3 ? prefix_ + scheme.w3 : "", prefix_ + scheme.w2);
    }
    refuse("the gate '" + csv::shown(to_.gate_->name) +
           "' has no experts under the known names; name them with --expert-tensor");
  }

  void find_patterns() {
    const std::vector<std::string>& p = names_.experts;
    if (p.size() > 3)
      throw Error(Errc::usage, "an expert has at most three matrices, but " + std::to_string(p.size()) +
                                   " patterns are given");
    if (p.size() > 1) return patterns(p.front(), p.size() == 3 ? p[1] : "", p.back());
    if (p[0].find("{matrix}") == std::string::npos) return patterns("", "", p[0]);
    const auto of = [&](const std::string& matrix) {
      std::string text = p[0];
      for (std::size_t at; (at = text.find("{matrix}")) != std::string::npos;) text.replace(at, 8, matrix);
      return text;
    };
    const auto given = [&](const std::string& pattern) {
      return file_.find(layer::filled(pattern, layer_, 0)) ? pattern : std::string();
    };
    patterns(given(of("w1")), given(of("w3")), of("w2"));
  }

  /// Empty patterns: the matrix does not exist.
  void patterns(const std::string& w1, const std::string& w3, const std::string& w2) {
    LayerShape& shape = to_.shape_;
    if (w1.empty() && !w3.empty()) refuse("there is a w3 but no w1; give three patterns");
    shape.kind = w1.empty() ? ExpertKind::linear : w3.empty() ? ExpertKind::mlp : ExpertKind::glu;
    to_.layout_ = w1.empty() ? w2 : w1 + (w3.empty() ? "" : ", " + w3) + ", " + w2;
    to_.experts_.resize(experts_or_fewer(w2));
    for (std::size_t e = 0; e < shape.experts; ++e) {
      Expert& expert = to_.experts_[e];
      if (!w1.empty()) expert.w1 = place(w1, e, shape.hidden, shape.inputs, false);
      if (!w3.empty()) expert.w3 = place(w3, e, shape.hidden, shape.inputs, false);
      expert.w2 = place(w2, e, shape.outputs, shape.last_inner(), !w1.empty());
    }
  }

  /// The gate's number of experts is believed only when the last one is there.
  std::size_t experts_or_fewer(const std::string& pattern) const {
    const std::size_t experts = to_.shape_.experts;
    need(layer::filled(pattern, layer_, experts - 1));
    if (pattern.find("{expert}") != std::string::npos && experts > file_.tensors().size())
      refuse("the gate has " + std::to_string(experts) + " experts, more than the file has tensors");
    return experts;
  }

  /// Where W [out, inner] of an expert is; `out` is found when it is 0. In a stack of two dimensions the last
  /// matrix is transposed, as in Mistral's files.
  Place place(const std::string& pattern, std::size_t expert, std::size_t& out, std::size_t inner,
              bool last) {
    const TensorInfo& t = need(layer::filled(pattern, layer_, expert));
    const std::size_t experts = to_.shape_.experts;
    Place place{&t, 0, false};
    std::size_t rows = 0, columns = 0;
    if (pattern.find("{expert}") != std::string::npos) {
      if (t.shape.size() != 2) misfit(t, "[out, in]");
      rows = t.shape[0], columns = t.shape[1];
    } else if (t.shape.size() == 3 && t.shape[0] == experts) {
      rows = t.shape[1], columns = t.shape[2];
    } else if (t.shape.size() == 2 && t.shape[0] % experts == 0) {
      rows = t.shape[0] / experts, columns = t.shape[1];
      place.transposed = last;
      if (last) std::swap(rows, columns);
    } else {
      misfit(t, "a stack of " + std::to_string(experts) + " experts");
    }
    if (pattern.find("{expert}") == std::string::npos) place.first = expert * rows * columns;
    if (out == 0) out = rows;
    if (rows != out || columns != inner || rows == 0)
      misfit(t, (place.transposed ? "transposed " : "") + ("[" + std::to_string(out)) + ", " +
                    std::to_string(inner) + "] an expert");
    used_.insert(t.name);
    return place;
  }

  void fused(const std::string& gate_up, const std::string& down) {
    LayerShape& shape = to_.shape_;
    const TensorInfo& up = need(gate_up);
    if (up.shape.size() != 3 || up.shape[0] != shape.experts || up.shape[1] % 2 || up.shape[1] == 0 ||
        up.shape[2] != shape.inputs)
      misfit(up, "[" + std::to_string(shape.experts) + ", 2 hidden, " + std::to_string(shape.inputs) + "]");
    shape.kind = ExpertKind::glu;
    shape.hidden = up.shape[1] / 2;
    to_.layout_ = gate_up + ", " + down;
    used_.insert(up.name);
    to_.experts_.resize(shape.experts);
    const std::uint64_t half = shape.hidden * shape.inputs;
    for (std::size_t e = 0; e < shape.experts; ++e) {
      to_.experts_[e].w1 = {&up, 2 * e * half, false};
      to_.experts_[e].w3 = {&up, (2 * e + 1) * half, false};
      to_.experts_[e].w2 = place(down, e, shape.outputs, shape.hidden, false);
    }
  }

  void find_unused() {
    if (prefix_.empty()) return;
    for (const TensorInfo& t : file_.tensors())
      if (t.name.starts_with(prefix_) && !used_.contains(t.name) && t.name != to_.gate_->name)
        to_.unused_.push_back(t.name);
  }

  CheckpointLayer& to_;
  const Safetensors& file_;
  std::size_t layer_;
  const TensorNames& names_;
  std::string prefix_;
  std::set<std::string> used_;
};

CheckpointLayer::CheckpointLayer(const Safetensors& file, std::size_t layer, const TensorNames& names,
                                 const Activation* activation)
    : file_(file) {
  Finder(*this, layer, names).find();
  shape_.activation = activation                       ? *activation
                      : shape_.kind == ExpertKind::mlp ? Activation::relu
                                                       : Activation::silu;
}

const std::string& CheckpointLayer::dtype() const { return experts_.front().w2.tensor->dtype; }

void CheckpointLayer::gate_rows(std::size_t first, std::size_t count, float* out) const {
  file_.read(*gate_, first * shape_.inputs, count * shape_.inputs, out);
  check_finite(file_, *gate_, out, count * shape_.inputs);
}

void CheckpointLayer::expert_rows(std::size_t expert, ExpertMatrix matrix, std::size_t first,
                                  std::size_t count, float* out) const {
  const Expert& e = experts_[expert];
  const bool last = matrix == ExpertMatrix::w2;
  const Place& from = last ? e.w2 : matrix == ExpertMatrix::w1 ? e.w1 : e.w3;
  const std::size_t rows = last ? shape_.outputs : shape_.hidden,
                    inner = last ? shape_.last_inner() : shape_.inputs;
  if (!from.transposed) {
    file_.read(*from.tensor, from.first + first * inner, count * inner, out);
  } else {
    std::vector<float> column(count);
    for (std::size_t i = 0; i < inner; ++i) {
      file_.read(*from.tensor, from.first + i * rows + first, count, column.data());
      for (std::size_t r = 0; r < count; ++r) out[r * inner + i] = column[r];
    }
  }
  check_finite(file_, *from.tensor, out, count * inner);
}

void CheckpointLayer::done(std::size_t expert) const {
  const Expert& e = experts_[expert];
  const std::uint64_t hidden = shape_.hidden * shape_.inputs, last = shape_.outputs * shape_.last_inner();
  if (e.w1.tensor) file_.release(*e.w1.tensor, e.w1.first, hidden);
  if (e.w3.tensor) file_.release(*e.w3.tensor, e.w3.first, hidden);
  file_.release(*e.w2.tensor, e.w2.first, last);
}

std::vector<std::size_t> layers_of(const Safetensors& file) {
  std::set<std::size_t> found;
  std::size_t number = 0;
  for (const TensorInfo& t : file.tensors())
    if (layer::is_known_gate(t.name, number)) found.insert(number);
  return {found.begin(), found.end()};
}

}  // namespace moekit
