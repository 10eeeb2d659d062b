#include "eval/needle_text.h"

#include <algorithm>

namespace ringflash {
namespace {

constexpr std::string_view kKeys[] = {
    "anchor", "apron",   "arrow",  "basket", "bell",   "blanket", "boat",   "book",   "bottle", "bowl",   "pot",
    "brick",  "bridge",  "broom",  "brush",  "bucket", "button",  "cable",  "candle", "cap",    "card",   "chain",
    "chair",  "clock",   "coat",   "coin",   "comb",   "cradle",  "cup",    "curtain", "desk",  "door",   "drum",
    "engine", "fence",   "flag",   "flute",  "fork",   "gate",    "glass",  "glove",  "guitar", "hammer", "harp",
    "hat",    "helmet",  "hook",   "pan",    "kettle", "key",     "kite",   "knife",  "ladder", "lamp",   "lantern",
    "lens",   "letter",  "lock",   "magnet", "map",    "mask",    "mirror", "nail",   "needle", "net",    "oven"};

constexpr std::string_view kValues[] = {
    "badger", "bear",   "beaver",  "bee",    "bison",  "camel",   "cat",    "cow",     "crab",    "crane",  "crow",
    "deer",   "dog",    "dolphin", "donkey", "dove",   "duck",    "eagle",  "eel",     "falcon",  "ferret", "finch",
    "wombat",    "frog",   "gecko",   "goat",   "goose",  "hare",    "hawk",   "heron",   "horse",   "hyena",  "stoat",
    "stork",  "wolf",   "koala",   "lemur",  "lion",   "toad",    "llama",  "lobster", "weasel",    "magpie", "mole",
    "moose",  "mouse",  "mule",    "newt",   "otter",  "owl",     "panda",  "parrot",  "pelican", "pig",    "wren",  
    "puffin", "rabbit", "raven",   "robin",  "salmon", "seal",    "shark",  "sheep",   "snail",   "swan",   "tiger"};

constexpr size_t kLongestSentence = 256;

constexpr std::string_view kFiller[] = {
    " The grass is green.",
    " The sky is blue and the sun shines.",
    " Here we go, there and back again.",
    " A soft wind blows from the sea.",
    " People walk along the river all day.",
    " Nobody is in a hurry.",
    " Small clouds pass over the hills.",
    " In the evening it grows quiet.",
    " The stars come out one by one.",
    " Then the night is over and a new day begins.",
};

bool is_space(char c) {
  return c == ' ' || c == '\t' || c == '\n' || c == '\r';
}

/// Bytes of the first sentence.
size_t sentence_size(std::string_view text) {
  const size_t limit = std::min(text.size(), kLongestSentence);
  for (size_t i = 0; i < limit; ++i) {
    const bool stop = text[i] == '.' || text[i] == '!' || text[i] == '?';
    if (text[i] == '\n' || (stop && (i + 1 == text.size() || is_space(text[i + 1])))) return i + 1;
  }
  if (limit == text.size()) return limit;
  if (const size_t space = text.substr(0, limit).rfind(' '); space != text.npos && space > 0) return space;
  size_t cut = limit;
  while (cut > limit - 4 && (static_cast<unsigned char>(text[cut]) & 0xC0) == 0x80) --cut;  // within a character
  return cut;
}

}  // namespace

std::span<const std::string_view> needle_keys() {
  return kKeys;
}
std::span<const std::string_view> needle_values() {
  return kValues;
}
std::span<const std::string_view> needle_filler() {
  return kFiller;
}

std::string Fact::statement() const {
  return question() + " " + std::string(value) + ".";
}

std::string Fact::question() const {
  return " The code of " + std::string(key) + " is";
}

std::vector<std::string_view> split_sentences(std::string_view text) {
  std::vector<std::string_view> sentences;
  while (!text.empty()) {
    sentences.push_back(text.substr(0, sentence_size(text)));
    text.remove_prefix(sentences.back().size());
  }
  return sentences;
}

}  // namespace ringflash
