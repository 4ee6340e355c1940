#include "layer/safetensors_header.hpp"

#include <nlohmann/json.hpp>

#include "csv/message.hpp"
#include "moekit/error.hpp"

namespace moekit::layer {

namespace {

using nlohmann::json;

/// More dimensions than any layer has; bounds what a hostile header can make us keep.
constexpr std::size_t kMostDimensions = 16;

/// Follows the header as it is parsed: an object of tensors, each an object of three fields.
class HeaderEvents final : public json::json_sax_t {
 public:
  std::vector<TensorInfo> tensors;
  std::string problem;

  bool null() override { return refuse("null where " + expected() + " belongs"); }
  bool boolean(bool) override { return refuse("true or false where " + expected() + " belongs"); }
  bool number_integer(number_integer_t value) override {
    return refuse("the number " + std::to_string(value) + " where " + expected() + " belongs");
  }
  bool number_float(number_float_t, const string_t& text) override {
    return refuse("the number " + csv::shown(text) + " where " + expected() + " belongs");
  }
  bool binary(binary_t&) override { return refuse("binary data"); }

  bool number_unsigned(number_unsigned_t value) override {
    if (place_ != Place::list) return refuse("a number where " + expected() + " belongs");
    if (field_ == "shape") {
      if (tensors.back().shape.size() == kMostDimensions) return refuse("more than 16 dimensions");
      tensors.back().shape.push_back(value);
      return true;
    }
    if (offsets_ == 2) return refuse("more than two data_offsets");
    (offsets_++ == 0 ? tensors.back().begin : tensors.back().end) = value;
    return true;
  }
  bool string(string_t& text) override {
    if (place_ == Place::metadata) return true;
    if (place_ != Place::tensor || field_ != "dtype")
      return refuse("a text where " + expected() + " belongs");
    tensors.back().dtype = text;
    seen_ |= 1;
    return true;
  }
  bool start_object(std::size_t) override {
    if (place_ == Place::outside) {
      place_ = Place::header;
    } else if (place_ == Place::header) {
      place_ = metadata_ ? Place::metadata : Place::tensor;
      seen_ = 0;
    } else {
      return refuse("an object where " + expected() + " belongs");
    }
    return true;
  }
  bool key(string_t& name) override {
    if (place_ == Place::header) {
      metadata_ = name == "__metadata__";
      if (!metadata_) {
        tensors.emplace_back();
        tensors.back().name = name;
      }
    } else if (place_ == Place::tensor) {
      field_ = name;
      const unsigned bit = name == "dtype" ? 1u : name == "shape" ? 2u : name == "data_offsets" ? 4u : 0u;
      if (!bit) return refuse("unknown field '" + csv::shown(name) + "'");
      if (seen_ & bit) return refuse("field '" + name + "' twice");
    }
    return true;
  }
  bool end_object() override {
    if (place_ == Place::tensor && seen_ != 7) return refuse("dtype, shape or data_offsets is lacking");
    place_ = place_ == Place::header ? Place::outside : Place::header;
    return true;
  }
  bool start_array(std::size_t) override {
    if (place_ != Place::tensor || field_ == "dtype")
      return refuse("a list where " + expected() + " belongs");
    place_ = Place::list;
    offsets_ = 0;
    return true;
  }
  bool end_array() override {
    if (field_ == "data_offsets" && offsets_ != 2) return refuse("data_offsets are two numbers");
    seen_ |= field_ == "shape" ? 2u : 4u;
    place_ = Place::tensor;
    return true;
  }
  bool parse_error(std::size_t position, const std::string&, const json::exception&) override {
    problem = "the header is not JSON at byte " + std::to_string(position);
    return false;
  }

 private:
  enum class Place { outside, header, metadata, tensor, list };

  std::string expected() const {
    switch (place_) {
      case Place::outside:
        return "the header's object";
      case Place::header:
        return "a tensor";
      case Place::metadata:
        return "a text of __metadata__";
      case Place::tensor:
        return field_ == "dtype" ? "the dtype" : "a list of whole numbers";
      case Place::list:
        return "a whole number from 0";
    }
    return {};
  }
  bool refuse(const std::string& what) {
    const bool inside = place_ != Place::outside && !metadata_ && !tensors.empty();
    problem = (inside ? "tensor '" + csv::shown(tensors.back().name) + "': " : "header: ") + what;
    return false;
  }

  Place place_ = Place::outside;
  bool metadata_ = false;
  std::string field_;
  unsigned seen_ = 0;
  int offsets_ = 0;
};

}  // namespace

std::vector<TensorInfo> parse_header(std::string_view text, const std::string& path) {
  HeaderEvents events;
  if (!json::sax_parse(text.begin(), text.end(), &events))
    throw Error(Errc::model_format,
                path + ": " + events.problem + "; not a safetensors file, or damaged: take another copy");
  return std::move(events.tensors);
}

}  // namespace moekit::layer
