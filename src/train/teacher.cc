#include "train/teacher.h"

#include "base/hash.h"
#include "format/checkpoint.h"
#include "train/checkpointing.h"
#include "train/torch_headers.h"

namespace ringflash {

Result<CausalLm> load_teacher(const std::filesystem::path& path, int64_t vocab_size) {
  RF_TRY(const std::filesystem::path directory, resolve_checkpoint(path));
  RF_TRY(const ModelConfig config, load_config(directory / "config.json"));
  if (config.vocab_size != vocab_size) {
    return Error{directory.string() + ": a teacher's 'vocab_size' must be the model's, " + std::to_string(vocab_size) +
                 ", found " + std::to_string(config.vocab_size)};
  }
  CausalLm teacher(config, /*seed=*/0);
  RF_TRY_VOID(load_weights(directory, teacher));
  return teacher;
}

uint64_t hash_weights(const CausalLm& model) {
  uint64_t hash = 0;
  for (const auto& [name, value] : parameters_of(model)) {
    const std::string_view bytes(static_cast<const char*>(value.data_ptr()), value.nbytes());
    hash = hash_bytes(bytes, hash_bytes(name, hash));
  }
  return hash;
}

}  // namespace ringflash
