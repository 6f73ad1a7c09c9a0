#include "text/regex.h"

#define PCRE2_CODE_UNIT_WIDTH 8
#include <pcre2.h>

#include "text/oniguruma.h"
#include "text/unicode.h"

namespace heed {
namespace {

constexpr size_t kMaxPatternBytes = 1 << 16;
constexpr uint32_t kMatchLimit = 20'000'000;
constexpr uint32_t kHeapLimitKib = 256 << 10;  // backtracking memory of the interpreter
constexpr size_t kFirstJitStack = 32 << 10;
constexpr size_t kMaxJitStack = 8 << 20;

// What a search needs beside the pattern; one per thread, made on first use.
struct Workspace {
  pcre2_match_data* match = pcre2_match_data_create(1, nullptr);
  pcre2_match_context* context = pcre2_match_context_create(nullptr);
  pcre2_jit_stack* stack = pcre2_jit_stack_create(kFirstJitStack, kMaxJitStack, nullptr);

  Workspace() {
    if (context == nullptr) return;
    pcre2_set_match_limit(context, kMatchLimit);
    pcre2_set_heap_limit(context, kHeapLimitKib);
    if (stack != nullptr) pcre2_jit_stack_assign(context, nullptr, stack);
  }
  ~Workspace() {
    pcre2_jit_stack_free(stack);
    pcre2_match_context_free(context);
    pcre2_match_data_free(match);
  }
  Workspace(const Workspace&) = delete;
  Workspace& operator=(const Workspace&) = delete;
};

std::string explain(int code) {
  PCRE2_UCHAR text[160];
  pcre2_get_error_message(code, text, sizeof text);
  return reinterpret_cast<const char*>(text);
}

// A pattern may be long, or hold line breaks: errors are one line.
std::string shown_pattern(std::string_view pattern) {
  constexpr size_t kShown = 120;
  std::string shown;
  for (const char c : pattern.substr(0, kShown)) {
    if (static_cast<unsigned char>(c) < 0x20) {
      shown += c == '\n' ? "\\n" : c == '\r' ? "\\r" : "?";
    } else {
      shown += c;
    }
  }
  return "\"" + shown + (pattern.size() > kShown ? "..." : "") + "\"";
}

// `text` with the code points that PCRE2's Unicode is too old for replaced by stand-ins of the same length,
// in `copy`; `text` itself where it has none.
std::string_view with_stand_ins(std::string_view text, std::string& copy) {
  constexpr unsigned char kFirstLead = 0xE0;  // of U+0800 and up
  for (size_t i = 0; i < text.size();) {
    if (static_cast<unsigned char>(text[i]) < kFirstLead) {
      ++i;
      continue;
    }
    const CodePoint c = code_point_at(text, i);
    if (const char32_t stand_in = pcre_stand_in(c.value); stand_in != c.value) {
      if (copy.empty()) copy = text;
      std::string bytes;
      append_utf8(bytes, stand_in);
      copy.replace(i, bytes.size(), bytes);
    }
    i += c.length;
  }
  return copy.empty() ? text : std::string_view(copy);
}

// One search from `start`: the code of PCRE2, with the interpreter where the JIT's stack does not reach.
int search(const pcre2_code* code, std::string_view text, size_t start, Workspace& workspace) {
  const auto* subject = reinterpret_cast<PCRE2_SPTR>(text.data());
  int found =
      pcre2_match(code, subject, text.size(), start, PCRE2_NO_UTF_CHECK, workspace.match, workspace.context);
  if (found == PCRE2_ERROR_JIT_STACKLIMIT) {
    found = pcre2_match(code, subject, text.size(), start, PCRE2_NO_UTF_CHECK | PCRE2_NO_JIT, workspace.match,
                        workspace.context);
  }
  return found;
}

}  // namespace

void Regex::Free::operator()(pcre2_real_code_8* code) const { pcre2_code_free(code); }

Result<Regex> Regex::compile(std::string_view pattern) {
  if (pattern.size() > kMaxPatternBytes) {
    return limit_reached("a regular expression of " + std::to_string(pattern.size()) + " bytes; at most " +
                         std::to_string(kMaxPatternBytes));
  }
  if (!is_valid_utf8(pattern)) return invalid("a regular expression that is not UTF-8");
  Result<std::string> translated = pcre_from_oniguruma(pattern);
  if (!translated.ok()) {
    return std::move(translated).error().within("regular expression " + shown_pattern(pattern));
  }
  pcre2_compile_context* context = pcre2_compile_context_create(nullptr);
  CHECK(context != nullptr);
  pcre2_set_newline(context, PCRE2_NEWLINE_LF);
  pcre2_set_bsr(context, PCRE2_BSR_UNICODE);
  int error = 0;
  size_t offset = 0;
  pcre2_code* code = pcre2_compile(reinterpret_cast<PCRE2_SPTR>(translated->data()), translated->size(),
                                   PCRE2_UTF | PCRE2_UCP | PCRE2_MULTILINE | PCRE2_NEVER_BACKSLASH_C, &error,
                                   &offset, context);
  pcre2_compile_context_free(context);
  if (code == nullptr) return invalid("regular expression " + shown_pattern(pattern) + ": " + explain(error));
  pcre2_jit_compile(code, PCRE2_JIT_COMPLETE);  // where it cannot, the interpreter serves
  return Regex(std::string(pattern), code);
}

Status Regex::find_all(std::string_view text, std::vector<ByteSpan>& matches) const {
  thread_local Workspace workspace;
  if (workspace.match == nullptr || workspace.context == nullptr) return limit_reached("out of memory");
  std::string copy;
  const std::string_view subject = with_stand_ins(text, copy);
  size_t from = 0;
  size_t last_end = std::string_view::npos;
  while (from <= subject.size()) {
    const int found = search(code_.get(), subject, from, workspace);
    if (found == PCRE2_ERROR_NOMATCH) break;
    if (found < 0) {
      return limit_reached("regular expression " + shown_pattern(pattern_) +
                           " gave up on a text: " + explain(found));
    }
    const size_t* bounds = pcre2_get_ovector_pointer(workspace.match);
    const ByteSpan match{bounds[0], bounds[1]};
    if (match.begin > match.end) break;  // \K in a look-ahead
    if (match.begin == match.end && match.end == last_end) {
      from += from < subject.size() ? code_point_at(subject, from).length : 1;
      continue;
    }
    matches.push_back(match);
    from = last_end = match.end;
  }
  return {};
}

}  // namespace heed
