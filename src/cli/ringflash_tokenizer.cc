// `ringflash-tokenizer VOCAB_SIZE`: sentences on stdin, one a line, to a sentencepiece model on stdout.
//
// A program of its own because Debian's libsentencepiece exports its own copy of protobuf, which breaks the
// other copy that libtorch brings when both are loaded into one process.
#include <sentencepiece_trainer.h>

#include <cstdio>
#include <iostream>
#include <string>
#include <unordered_map>
#include <vector>

namespace {

/// The lines of stdin, read once: the trainer iterates more than once.
class Lines final : public sentencepiece::SentenceIterator {
 public:
  explicit Lines(const std::vector<std::string>& lines) : lines_(lines) {}
  bool done() const override { return next_ == lines_.size(); }
  void Next() override { ++next_; }
  const std::string& value() const override { return lines_[next_]; }
  sentencepiece::util::Status status() const override { return {}; }

 private:
  const std::vector<std::string>& lines_;
  size_t next_ = 0;
};

std::vector<std::string> read_lines() {
  std::vector<std::string> lines;
  for (std::string line; std::getline(std::cin, line);) lines.push_back(std::move(line));
  return lines;
}

}  // namespace

int main(int argc, char** argv) {
  if (argc != 2) {
    std::fprintf(stderr, "usage: ringflash-tokenizer VOCAB_SIZE <sentences >tokenizer.model\n");
    return 2;
  }
  const std::vector<std::string> lines = read_lines();
  Lines iterator(lines);
  const std::unordered_map<std::string, std::string> settings = {
      {"model_type", "bpe"},
      {"vocab_size", argv[1]},
      {"byte_fallback", "true"},
      {"character_coverage", "1.0"},  // the caller has cut the rare ones out
      {"normalization_rule_name", "identity"},
      {"add_dummy_prefix", "false"},
      {"remove_extra_whitespaces", "false"},
      {"split_digits", "true"},
      {"allow_whitespace_only_pieces", "true"},
      {"max_sentence_length", "8192"},
      {"unk_id", "0"},
      {"bos_id", "1"},
      {"eos_id", "2"},
      {"pad_id", "-1"},
      {"num_threads", "1"},   // it is written to the model, which must not depend on the machine
      {"minloglevel", "2"}};  // errors only; it is chatty on stderr
  std::string model;
  const auto status = sentencepiece::SentencePieceTrainer::Train(settings, &iterator, &model);
  if (!status.ok()) {
    std::fprintf(stderr, "%s", status.ToString().c_str());
    return 1;
  }
  const bool written = std::fwrite(model.data(), 1, model.size(), stdout) == model.size();
  return written && std::fflush(stdout) == 0 ? 0 : 1;
}
