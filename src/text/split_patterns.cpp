#include "text/split_patterns.h"

namespace heed {
namespace {

using Pattern = std::string_view;

// Clang-format would tear the patterns apart.
// clang-format off
constexpr Pattern kWords = R"('s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+)";

constexpr Pattern kGpt2[] = {kWords};
constexpr Pattern kDigitsThenWords[] = {R"(\p{N})", kWords};
constexpr Pattern kFalcon[] = {R"([\p{P}\$\+<=>\^~\|`]+)", kWords, R"([0-9][0-9][0-9])"};
constexpr Pattern kDefault[] = {R"([\p{P}\$\+<=>\^~\|]+)", kWords, R"(\p{N}+)", R"([0-9][0-9][0-9])"};

constexpr Pattern kLlama3[] = {
    R"((?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+)"};
constexpr Pattern kQwen2[] = {
    R"((?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+)"};
constexpr Pattern kQwen35[] = {
    R"((?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?[\p{L}\p{M}]+|\p{N}| ?[^\s\p{L}\p{M}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+)"};
constexpr Pattern kSeedCoder[] = {
    R"((?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}\r\n]+|\s*[\r\n]+|\s+(?!\S)|\s+)"};
constexpr Pattern kBailing[] = {
    R"('(?i:[sdmt]|ll|ve|re)|[^\r\n\p{L}\p{N}]?+\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]++[\r\n]*|\s*[\r\n]|\s+(?!\S)|\s+)"};
constexpr Pattern kTekken[] = {
    R"([^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]*[\p{Ll}\p{Lm}\p{Lo}\p{M}]+|)"
    R"([^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]+[\p{Ll}\p{Lm}\p{Lo}\p{M}]*|)"
    R"(\p{N}| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+)"};
constexpr Pattern kGpt4o[] = {
    R"([^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]*[\p{Ll}\p{Lm}\p{Lo}\p{M}]+(?i:'s|'t|'re|'ve|'m|'ll|'d)?|)"
    R"([^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]+[\p{Ll}\p{Lm}\p{Lo}\p{M}]*(?i:'s|'t|'re|'ve|'m|'ll|'d)?|)"
    R"(\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+)"};

constexpr Pattern kDeepseekLlm[] = {
    R"([\r\n])",
    R"(\s?[A-Za-zµÀ-ÖØ-öø-ƺƼ-ƿǄ-ʓʕ-ʯͰ-ͳͶͷͻ-ͽͿΆΈ-ΊΌΎ-ΡΣ-ϵϷ-ҁҊ-ԯԱ-ՖႠ-ჅᎠ-Ᏽᏸ-ᏽᲐ-ᲺᲽ-Ჿᴀ-ᴫᵫ-ᵷᵹ-ᶚḀ-ἕἘ-Ἕἠ-ὅὈ-Ὅὐ-ὗὙὛὝὟ-ώᾀ-ᾴᾶ-ᾼιῂ-ῄῆ-ῌῐ-ΐῖ-Ίῠ-Ῥῲ-ῴῶ-ῼℂℇℊ-ℓℕℙ-ℝℤΩℨK-ℭℯ-ℴℹℼ-ℿⅅ-ⅉⅎↃↄⰀ-ⱻⱾ-ⳤⳫ-ⳮⳲⳳꙀ-ꙭꚀ-ꚛꜢ-ꝯꝱ-ꞇꞋ-ꞎꭰ-ꮿﬀ-ﬆﬓ-ﬗＡ-Ｚａ-ｚ𐐀-𐑏𐒰-𐓓𐓘-𐓻𐲀-𐲲𐳀-𐳲𑢠-𑣟𞤀-𞥃]+)",
    R"(\s?[!-/:-~！-／：-～‘-‟　-。]+)",
    R"(\s+$)",
    R"([一-龥ࠀ-一가-퟿]+)",
    R"(\p{N}+)"};
constexpr Pattern kDeepseekCoder[] = {
    R"([\r\n])", R"(\s?\p{L}+)", R"(\s?\p{P}+)", R"([一-龥ࠀ-一가-퟿]+)", R"(\p{N})"};
constexpr Pattern kDeepseek3[] = {
    R"(\p{N}{1,3})",
    R"([一-龥぀-ゟ゠-ヿ]+)",
    R"([!"#$%&'()*+,\-./:;<=>?@\[\\\]^_`{|}~][A-Za-z]+|[^\r\n\p{L}\p{P}\p{S}]?[\p{L}\p{M}]+| ?[\p{P}\p{S}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+)"};

constexpr Pattern kBloom[] = {R"( ?[^(\s|.,!?…。，、।۔،)]+)"};
constexpr Pattern kViking[] = {R"( ?[^(\s|.,!?…。，、।۔،)]+)", R"(\p{N})"};
// clang-format on

constexpr SplitPatterns kPlainDefault = {kDefault};
constexpr SplitPatterns kPlainGpt2 = {kGpt2};
constexpr SplitPatterns kPlainDigits = {kDigitsThenWords};
constexpr SplitPatterns kPlainFalcon = {kFalcon};
constexpr SplitPatterns kWholeLlama3 = {kLlama3, true, true};
constexpr SplitPatterns kPlainLlama3 = {kLlama3};
constexpr SplitPatterns kPlainQwen2 = {kQwen2};
constexpr SplitPatterns kPlainQwen35 = {kQwen35};
constexpr SplitPatterns kPlainSeedCoder = {kSeedCoder};
constexpr SplitPatterns kPlainBailing = {kBailing};
constexpr SplitPatterns kWholeTekken = {kTekken, true, true};
constexpr SplitPatterns kPlainGpt4o = {kGpt4o};
constexpr SplitPatterns kPlainDeepseekLlm = {kDeepseekLlm};
constexpr SplitPatterns kPlainDeepseekCoder = {kDeepseekCoder};
constexpr SplitPatterns kPlainDeepseek3 = {kDeepseek3};
constexpr SplitPatterns kPlainBloom = {kBloom};
constexpr SplitPatterns kPlainViking = {kViking};

struct Named {
  std::string_view name;
  const SplitPatterns* patterns;
};

constexpr Named kNamed[] = {
    {"default", &kPlainDefault},
    {"gpt-2", &kPlainGpt2},
    {"phi-2", &kPlainGpt2},
    {"mpt", &kPlainGpt2},
    {"olmo", &kPlainGpt2},
    {"jais", &kPlainGpt2},
    {"trillion", &kPlainGpt2},
    {"granite-docling", &kPlainGpt2},
    {"gigachat", &kPlainGpt2},
    {"exaone4", &kPlainGpt2},
    {"a.x-4.0", &kPlainGpt2},
    {"mellum", &kPlainGpt2},
    {"modern-bert", &kPlainGpt2},
    {"starcoder", &kPlainDigits},
    {"refact", &kPlainDigits},
    {"command-r", &kPlainDigits},
    {"smollm", &kPlainDigits},
    {"codeshell", &kPlainDigits},
    {"exaone", &kPlainDigits},
    {"minerva-7b", &kPlainDigits},
    {"falcon", &kPlainFalcon},
    {"llama3", &kWholeLlama3},
    {"llama-v3", &kWholeLlama3},
    {"llama-bpe", &kWholeLlama3},
    {"falcon3", &kWholeLlama3},
    {"falcon-h1", &kWholeLlama3},
    {"pixtral", &kWholeLlama3},
    {"midm-2.0", &kWholeLlama3},
    {"lfm2", &kWholeLlama3},
    {"dbrx", &kPlainLlama3},
    {"smaug-bpe", &kPlainLlama3},
    {"glm4", &kPlainLlama3},
    {"chatglm-bpe", &kPlainLlama3},
    {"qwen2", &kPlainQwen2},
    {"deepseek-r1-qwen", &kPlainQwen2},
    {"stablelm2", &kPlainQwen2},
    {"megrez", &kPlainQwen2},
    {"hunyuan", &kPlainQwen2},
    {"solar-open", &kPlainQwen2},
    {"grok-2", &kPlainQwen2},
    {"kormo", &kPlainQwen2},
    {"qwen35", &kPlainQwen35},
    {"seed-coder", &kPlainSeedCoder},
    {"bailingmoe", &kPlainBailing},
    {"bailingmoe2", &kPlainBailing},
    {"llada-moe", &kPlainBailing},
    {"tekken", &kWholeTekken},
    {"gpt-4o", &kPlainGpt4o},
    {"llama4", &kPlainGpt4o},
    {"kanana2", &kPlainGpt4o},
    {"minimax-m2", &kPlainGpt4o},
    {"deepseek-llm", &kPlainDeepseekLlm},
    {"deepseek-coder", &kPlainDeepseekCoder},
    {"deepseek-v3", &kPlainDeepseek3},
    {"hunyuan-dense", &kPlainDeepseek3},
    {"joyai-llm", &kPlainDeepseek3},
    {"bloom", &kPlainBloom},
    {"poro-chat", &kPlainBloom},
    {"gpt3-finnish", &kPlainBloom},
    {"viking", &kPlainViking},
};

}  // namespace

const SplitPatterns* find_split_patterns(std::string_view name) {
  for (const Named& named : kNamed) {
    if (named.name == name) return named.patterns;
  }
  return nullptr;
}

std::string known_split_patterns() {
  std::string names;
  for (const Named& named : kNamed) names += (names.empty() ? "" : ", ") + std::string(named.name);
  return names;
}

}  // namespace heed
