#include "eval/needle_text.h"

#include <algorithm>

namespace ringflash {
namespace {

constexpr NeedleTopic kTopics[] = {
    {"colour", {"red",   "blue",  "teal",    "pink",   "gold",  "grey",   "brown",  "black",
                "white", "green", "amber",   "coral",  "ivory", "khaki",  "maroon", "navy",
                "peach", "rust",  "scarlet", "silver", "tan",   "violet", "yellow", "crimson"}},
    {"animal", {"badger", "bear",   "beaver", "bison", "camel", "cat",   "cow",    "deer",
                "dog",    "donkey", "ferret", "goat",  "hare",  "horse", "koala",  "lemur",
                "lion",   "llama",  "moose",  "mouse", "otter", "panda", "rabbit", "tiger"}},
    {"tool", {"anvil",  "chisel", "clamp",  "drill", "fork",   "hammer", "ladder", "lathe",
              "lever",  "mallet", "needle", "plane", "pliers", "pump",   "rake",   "saw",
              "shovel", "sieve",  "spade",  "vice",  "wedge",  "wrench", "broom",  "knife"}},
    {"metal",
     {"barium", "bismuth",  "brass",     "tungsten", "cadmium",   "calcium",   "chromium", "cobalt",
      "copper", "iron",     "lead",      "lithium",  "magnesium", "manganese", "mercury",  "nickel",
      "osmium", "platinum", "potassium", "radium",   "sodium",    "steel",     "titanium", "uranium"}},
    {"bird", {"crow",    "cuckoo", "dove",  "duck",    "eagle",   "falcon", "finch",  "goose",
              "gull",    "hawk",   "heron", "kestrel", "magpie",  "owl",    "parrot", "pelican",
              "penguin", "puffin", "raven", "robin",   "sparrow", "stork",  "swan",   "wren"}},
    {"fruit", {"apple",  "apricot", "banana", "berry",     "cherry", "date",  "fig",    "grape",
               "guava",  "kiwi",    "lemon",  "lime",      "lychee", "mango", "melon",  "nectarine",
               "orange", "papaya",  "pear",   "pineapple", "pomelo", "prune", "quince", "raisin"}},
    {"city", {"Athens", "Berlin", "Boston", "Bremen", "Cairo",  "Cologne", "Dallas", "Delhi",
              "Dublin", "Geneva", "Havana", "Kyoto",  "Lagos",  "Lima",    "Lisbon", "London",
              "Lyon",   "Madrid", "Milan",  "Moscow", "Mumbai", "Nairobi", "Oslo",   "Paris"}},
    {"tree", {"alder", "ash",     "aspen", "beech",      "birch",    "cedar",    "chestnut", "cypress",
              "ebony", "elder",   "elm",   "eucalyptus", "fir",      "hawthorn", "hazel",    "hemlock",
              "holly", "juniper", "larch", "linden",     "mahogany", "maple",    "oak",      "palm"}},
};

constexpr size_t kLongestSentence = 256;

constexpr std::string_view kFiller[] = {
    " The grass is soft.",
    " The sky is wide and the sun shines.",
    " Here we go, there and back again.",
    " A warm wind blows from the sea.",
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
  while (cut > limit - 4 && (static_cast<unsigned char>(text[cut]) & 0xC0) == 0x80)
    --cut;  // within a character
  return cut;
}

}  // namespace

std::span<const NeedleTopic> needle_topics() {
  return kTopics;
}
std::span<const std::string_view> needle_filler() {
  return kFiller;
}

std::string Fact::statement() const {
  return question() + " " + std::string(value) + ".";
}

std::string Fact::question() const {
  return " Remember the " + std::string(key);
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
