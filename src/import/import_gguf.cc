#include "import/import_gguf.h"

#include <algorithm>
#include <cmath>
#include <memory>
#include <optional>
#include <set>
#include <utility>

#include "base/in_quotes.h"
#include "format/dequantize.h"
#include "import/gguf_config.h"

namespace ringflash {
namespace {

using Names = std::vector<std::pair<std::string, std::string>>;

/// What stands for each of our names behind "model.layers.N." in a file, behind "blk.N.".
Names layer_names(const ModelConfig& config) {
  Names names = {{"input_layernorm.weight", "attn_norm.weight"},
                 {"self_attn.q_proj.weight", "attn_q.weight"},
                 {"self_attn.k_proj.weight", "attn_k.weight"},
                 {"self_attn.v_proj.weight", "attn_v.weight"},
                 {"self_attn.o_proj.weight", "attn_output.weight"},
                 {"self_attn.q_proj.bias", "attn_q.bias"},
                 {"self_attn.k_proj.bias", "attn_k.bias"},
                 {"self_attn.v_proj.bias", "attn_v.bias"},
                 {"self_attn.q_norm.weight", "attn_q_norm.weight"},
                 {"self_attn.k_norm.weight", "attn_k_norm.weight"},
                 {"mlp.gate_proj.weight", "ffn_gate.weight"},
                 {"mlp.up_proj.weight", "ffn_up.weight"},
                 {"mlp.down_proj.weight", "ffn_down.weight"}};
  if (config.post_norms) {
    names.emplace_back("post_attention_layernorm.weight", "post_attention_norm.weight");
    names.emplace_back("pre_feedforward_layernorm.weight", "ffn_norm.weight");
    names.emplace_back("post_feedforward_layernorm.weight", "post_ffw_norm.weight");
  } else {
    names.emplace_back("post_attention_layernorm.weight", "ffn_norm.weight");
  }
  return names;
}

/// Our name -> the file's.
std::map<std::string, std::string> tensor_names(const ModelConfig& config) {
  std::map<std::string, std::string> names = {{kEmbeddingTensor, "token_embd.weight"},
                                              {kFinalNormTensor, "output_norm.weight"},
                                              {kHeadTensor, "output.weight"}};
  for (int64_t layer = 0; layer < config.num_hidden_layers; ++layer) {
    for (const auto& [ours, theirs] : layer_names(config)) {
      names[layer_tensor(layer, ours)] = "blk." + std::to_string(layer) + "." + theirs;
    }
  }
  return names;
}

DType exact_type(GgufType type) {
  switch (type) {
    case GgufType::kF16: return DType::kF16;
    case GgufType::kBF16: return DType::kBF16;
    default: return DType::kF32;
  }
}

/// Rows of each head from llama.cpp's order, in which rotated pairs are neighbours, to Hugging Face's, in which they
/// are half a head apart.
std::vector<float> part_pairs(const std::vector<float>& rows, int64_t head_dim, int64_t width) {
  std::vector<float> parted(rows.size());
  const int64_t half = head_dim / 2;
  for (int64_t row = 0; row < std::ssize(rows) / width; ++row) {
    const int64_t head = row / head_dim * head_dim, in_head = row % head_dim;
    const int64_t source = head + in_head % half * 2 + in_head / half;
    std::copy_n(rows.begin() + source * width, width, parted.begin() + row * width);
  }
  return parted;
}

bool is_rotated(const std::string& name) {
  return name.ends_with("q_proj.weight") || name.ends_with("k_proj.weight");
}

/// What the values of a tensor go through between the file and the checkpoint.
struct Change {
  int64_t paired_heads_of = 0;  ///< head_dim where the rows are in llama.cpp's order
  double factor = 1;
};

ImportedTensor make_tensor(const std::shared_ptr<const GgufFile>& file, const TensorSpec& spec,
                           const GgufTensor& tensor, const Change& change) {
  const DType dtype = change.factor == 1 ? exact_type(tensor.type) : DType::kF32;
  return {spec, dtype, [file, &tensor, change, width = spec.shape.back()]() -> Result<std::vector<float>> {
            RF_TRY(std::vector<float> values, read_floats(tensor));
            for (float& value : values) value = static_cast<float>(value * change.factor);
            return change.paired_heads_of > 0 ? part_pairs(values, change.paired_heads_of, width) : std::move(values);
          }};
}

Result<const GgufTensor*> require(const GgufFile& file, const std::string& name, const TensorSpec& spec) {
  const std::string place = file.path().string() + ": tensor " + in_quotes(name);
  const GgufTensor* tensor = file.find(name);
  if (tensor == nullptr) return Error{place + " is missing"};
  if (tensor->shape != spec.shape) {
    return Error{place + ": expected shape " + shape_text(spec.shape) + ", found " + shape_text(tensor->shape)};
  }
  return tensor;
}

}  // namespace

Result<ImportedModel> read_foreign_gguf(const std::filesystem::path& path) {
  RF_TRY(GgufFile opened, GgufFile::open(path));
  const auto file = std::make_shared<const GgufFile>(std::move(opened));
  RF_TRY(const GgufArchitecture architecture, gguf_architecture(*file));
  ImportedModel model{.architecture = architecture.name, .config = {}, .tensors = {}, .stored_types = {}};
  RF_TRY(model.config, foreign_gguf_config(*file, architecture));
  const ModelConfig& c = model.config;
  const std::map<std::string, std::string> names = tensor_names(c);
  std::set<std::string> used = {kRopeFactorsTensor};
  for (const TensorSpec& spec : tensor_inventory(c)) {
    const std::string& name = names.at(spec.name);
    RF_TRY(const GgufTensor* tensor, require(*file, name, spec));
    used.insert(name);
    Change change;
    if (architecture.paired_rope && is_rotated(spec.name)) change.paired_heads_of = c.head_dim;
    const bool scaled = architecture.gemma && spec.name.ends_with("q_norm.weight");
    if (scaled) change.factor = query_gain(c.head_dim, gemma_query_scalar(c));
    model.tensors.push_back(make_tensor(file, spec, *tensor, change));
    ++model.stored_types[to_string(tensor->type)];
  }
  for (const GgufTensor& tensor : file->tensors()) {
    if (used.contains(tensor.name)) continue;
    return Error{path.string() + ": tensor " + in_quotes(tensor.name) + " is not supported in a model of architecture " +
                 architecture.name};
  }
  return model;
}

}  // namespace ringflash
