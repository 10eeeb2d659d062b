#include <algorithm>
#include <bit>
#include <cstring>

#include "base/in_quotes.h"
#include "format/byte_cursor.h"
#include "format/gguf.h"

namespace ringflash {
namespace {

constexpr uint64_t kMaxKeyBytes = 65535;
constexpr uint64_t kMinAlignment = 8;  // so that every element type may be read in place
constexpr uint64_t kMaxAlignment = 65536;
constexpr uint32_t kMaxDimensions = 4;

// The least that an entry can take: bounds the counts, so that nothing is allocated for entries that are not
// there.
constexpr uint64_t kMinMetadataBytes = 8 + 4 + 1;        // empty key, type, a byte
constexpr uint64_t kMinTensorBytes = 8 + 4 + 8 + 4 + 8;  // empty name, one dimension, type, offset

template <typename T>
Result<GgufArray> read_numbers(ByteCursor& cursor) {
  RF_TRY(const uint64_t count, cursor.count("an array length", sizeof(T)));
  RF_TRY(const auto raw, cursor.take(count * sizeof(T), "array elements"));
  std::vector<T> values(count);
  if (count > 0) std::memcpy(values.data(), raw.data(), raw.size());
  return GgufArray(std::move(values));
}

Result<GgufArray> read_booleans(ByteCursor& cursor) {
  RF_TRY(const uint64_t count, cursor.count("an array length", 1));
  std::vector<bool> values(count);
  for (uint64_t i = 0; i < count; ++i) {
    RF_TRY(values[i], cursor.boolean("array elements"));
  }
  return GgufArray(std::move(values));
}

Result<GgufArray> read_strings(ByteCursor& cursor) {
  RF_TRY(const uint64_t count, cursor.count("an array length", sizeof(uint64_t)));
  std::vector<std::string> values(count);
  for (std::string& value : values) {
    RF_TRY(value, cursor.string("an array's string"));
  }
  return GgufArray(std::move(values));
}

Result<GgufArray> read_array(ByteCursor& cursor) {
  RF_TRY(const auto type, cursor.number<uint32_t>("an array's element type"));
  switch (type) {
    case 4:
      return read_numbers<uint32_t>(cursor);
    case 5:
      return read_numbers<int32_t>(cursor);
    case 6:
      return read_numbers<float>(cursor);
    case 7:
      return read_booleans(cursor);
    case 8:
      return read_strings(cursor);
    default:
      break;  // any number may stand in a file
  }
  return cursor.wrong("an array of u32 (4), i32 (5), f32 (6), bool (7) or string (8)",
                      "element type " + std::to_string(type));
}

template <typename T>
Result<GgufValue> as_value(Result<T> result) {
  if (!result) return result.error();
  return GgufValue(std::move(result).value());
}

Result<GgufValue> read_value(ByteCursor& cursor) {
  RF_TRY(const auto type, cursor.number<uint32_t>("a value type"));
  switch (type) {
    case 0:
      return as_value(cursor.number<uint8_t>("a u8"));
    case 1:
      return as_value(cursor.number<int8_t>("an i8"));
    case 2:
      return as_value(cursor.number<uint16_t>("a u16"));
    case 3:
      return as_value(cursor.number<int16_t>("an i16"));
    case 4:
      return as_value(cursor.number<uint32_t>("a u32"));
    case 5:
      return as_value(cursor.number<int32_t>("an i32"));
    case 6:
      return as_value(cursor.number<float>("an f32"));
    case 7:
      return as_value(cursor.boolean("a bool"));
    case 8:
      return as_value(cursor.string("a string"));
    case 9:
      return as_value(read_array(cursor));
    case 10:
      return as_value(cursor.number<uint64_t>("a u64"));
    case 11:
      return as_value(cursor.number<int64_t>("an i64"));
    case 12:
      return as_value(cursor.number<double>("an f64"));
    default:
      break;  // any number may stand in a file
  }
  return cursor.wrong("a value type from 0 to 12", std::to_string(type));
}

Status read_metadata(ByteCursor& cursor, uint64_t count, std::map<std::string, GgufValue>& metadata) {
  for (uint64_t i = 0; i < count; ++i) {
    RF_TRY(std::string key, cursor.string("a metadata key", kMaxKeyBytes));
    Result<GgufValue> value = read_value(cursor);
    if (!value) return value.error().in("key " + in_quotes(key));
    const auto [place, fresh] = metadata.emplace(std::move(key), std::move(value).value());
    if (!fresh) return cursor.wrong("each key once", in_quotes(place->first) + " again");
  }
  return {};
}

/// What the file says of a tensor, before its data are looked up.
struct TensorInfo {
  std::string name;
  GgufType type;
  std::vector<int64_t> shape;
  uint64_t offset, bytes;
};

Result<GgufType> read_tensor_type(ByteCursor& cursor) {
  RF_TRY(const auto number, cursor.number<uint32_t>("a tensor type"));
  if (const auto type = gguf_type(number)) return *type;
  return cursor.wrong("tensor type " + gguf_type_names(), gguf_foreign_type(number));
}

/// Dimensions stand innermost first in the file.
Result<std::vector<int64_t>> read_shape(ByteCursor& cursor) {
  RF_TRY(const auto count, cursor.number<uint32_t>("a number of dimensions"));
  if (count < 1 || count > kMaxDimensions) return cursor.wrong("1 to 4 dimensions", std::to_string(count));
  std::vector<int64_t> shape(count);
  int64_t elements = 1;
  for (uint32_t i = 0; i < count; ++i) {
    RF_TRY(const auto size, cursor.number<int64_t>("a dimension"));
    if (size <= 0 || __builtin_mul_overflow(elements, size, &elements)) {
      return cursor.wrong("dimensions above 0 with a product below 2^63", std::to_string(size));
    }
    shape[count - 1 - i] = size;
  }
  return shape;
}

Result<TensorInfo> read_tensor_info(ByteCursor& cursor) {
  TensorInfo info;
  RF_TRY(info.name, cursor.string("a tensor name", kGgufMaxTensorName));
  const auto read_rest = [&]() -> Status {
    RF_TRY(info.shape, read_shape(cursor));
    RF_TRY(info.type, read_tensor_type(cursor));
    RF_TRY(info.offset, cursor.number<uint64_t>("a data offset"));
    const auto row = static_cast<uint64_t>(info.shape.back());
    RF_TRY_VOID(gguf_bytes(info.type, row));
    uint64_t elements = 1;
    for (const int64_t size : info.shape) elements *= static_cast<uint64_t>(size);
    RF_TRY(info.bytes, gguf_bytes(info.type, elements));
    return {};
  };
  if (Status status = read_rest(); !status) return status.error().in("tensor " + in_quotes(info.name));
  return info;
}

Result<uint64_t> read_alignment(const std::map<std::string, GgufValue>& metadata) {
  const auto it = metadata.find("general.alignment");
  if (it == metadata.end()) return kGgufAlignment;
  const auto* value = std::get_if<uint32_t>(&it->second);
  if (value != nullptr && std::has_single_bit(*value) && *value >= kMinAlignment && *value <= kMaxAlignment) {
    return uint64_t{*value};
  }
  return Error{"'general.alignment' must be a u32, a power of two from 8 to 65536, found " +
               (value == nullptr ? std::string("another type") : std::to_string(*value))};
}

Status check_no_overlap(std::vector<const TensorInfo*> infos) {
  std::sort(infos.begin(), infos.end(), [](const auto* a, const auto* b) { return a->offset < b->offset; });
  for (size_t i = 1; i < infos.size(); ++i) {
    if (infos[i - 1]->offset + infos[i - 1]->bytes > infos[i]->offset) {
      return Error{"tensor " + in_quotes(infos[i]->name) + ": expected data apart from those of tensor " +
                   in_quotes(infos[i - 1]->name) + ", found both at data offset " +
                   std::to_string(infos[i]->offset)};
    }
  }
  return {};
}

/// Offsets count from the end of the header, rounded up to the alignment.
Status check_place(const TensorInfo& info, uint64_t alignment, uint64_t data_bytes) {
  const std::string place = "tensor " + in_quotes(info.name) + ": expected ";
  if (info.offset % alignment != 0) {
    return Error{place + "an offset that is a multiple of " + std::to_string(alignment) + ", found " +
                 std::to_string(info.offset)};
  }
  if (info.offset <= data_bytes && info.bytes <= data_bytes - info.offset) return {};
  return Error{place + std::to_string(info.bytes) + " bytes at data offset " + std::to_string(info.offset) +
               ", found " + std::to_string(data_bytes) + " bytes of data in the file"};
}

Status place_tensors(std::vector<TensorInfo> infos, std::span<const std::byte> file, uint64_t header_bytes,
                     uint64_t alignment, std::vector<GgufTensor>& tensors) {
  const uint64_t start = (header_bytes + alignment - 1) / alignment * alignment;
  const auto data = start <= file.size() ? file.subspan(start) : std::span<const std::byte>();
  std::vector<const TensorInfo*> order;
  for (const TensorInfo& info : infos) {
    RF_TRY_VOID(check_place(info, alignment, data.size()));
    order.push_back(&info);
  }
  RF_TRY_VOID(check_no_overlap(std::move(order)));
  for (TensorInfo& info : infos) {
    tensors.push_back(
        {std::move(info.name), info.type, std::move(info.shape), data.subspan(info.offset, info.bytes)});
  }
  return {};
}

Status read_all(std::span<const std::byte> bytes, std::map<std::string, GgufValue>& metadata,
                std::vector<GgufTensor>& tensors) {
  ByteCursor cursor(bytes);
  RF_TRY(const auto magic, cursor.number<uint32_t>("GGUF's magic number"));
  if (magic != kGgufMagic) return Error{"byte 0: expected \"GGUF\", found another kind of file"};
  RF_TRY(const auto version, cursor.number<uint32_t>("GGUF's version"));
  if (version != kGgufVersion)
    return Error{"byte 4: expected GGUF version 3, found " + std::to_string(version)};
  RF_TRY(const uint64_t tensor_count, cursor.count("a tensor count", kMinTensorBytes));
  RF_TRY(const uint64_t metadata_count, cursor.count("a metadata count", kMinMetadataBytes));
  RF_TRY_VOID(read_metadata(cursor, metadata_count, metadata));
  RF_TRY(const uint64_t alignment, read_alignment(metadata));

  std::vector<TensorInfo> infos;
  for (uint64_t i = 0; i < tensor_count; ++i) {
    RF_TRY(TensorInfo info, read_tensor_info(cursor));
    infos.push_back(std::move(info));
  }
  return place_tensors(std::move(infos), bytes, cursor.offset(), alignment, tensors);
}

}  // namespace

Result<GgufFile> GgufFile::open(const std::filesystem::path& path) {
  RF_TRY(MappedFile mapped, MappedFile::open(path));
  GgufFile file(std::move(mapped));
  file.path_ = path;
  if (Status status = read_all(file.file_.bytes(), file.metadata_, file.tensors_); !status) {
    return status.error().in(path.string());
  }
  for (size_t i = 0; i < file.tensors_.size(); ++i) {
    if (!file.index_.emplace(file.tensors_[i].name, i).second) {
      return Error{path.string() + ": expected each tensor once, found " + in_quotes(file.tensors_[i].name) +
                   " again"};
    }
  }
  return file;
}

}  // namespace ringflash
