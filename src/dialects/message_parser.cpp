#include <utility>

#include "base/check.h"
#include "dialects/dialect.h"
#include "dialects/forms.h"
#include "dialects/markers.h"

namespace heed {

// Bytes go one by one through one of three modes, so that no cut can make a difference:
//
//   reasoning ──end marker──► content ──marker of calls──► calls, in a CallReader
//       ▲                      │    ▲                        │
//       └────start marker──────┘    └──end of the region─────┘   what was none comes again as content
struct MessageParser::State final : CallSink {
  enum class Mode { kReasoning, kContent, kCalls };
  enum class Marker { kCalls, kReasoning, kReasoningEnd, kDropped };

  State(const Dialect& dialect, const MessageParserOptions& options)
      : tools(options.tools ? (dialect.tools != nullptr ? dialect.tools : &json_array_form()) : nullptr),
        reasoning(dialect.reasoning),
        types(tools != nullptr && needs_types(*tools) ? options.tool_list : nullptr) {
    std::vector<std::string> markers;
    const auto add = [&](const std::vector<std::string>& texts, Marker kind) {
      for (const std::string& text : texts) markers.push_back(text), kinds.push_back(kind);
    };
    if (tools != nullptr) add(tools->starts, Marker::kCalls);
    if (tools != nullptr) add(tools->dropped, Marker::kDropped);
    if (reasoning != nullptr) {
      add({reasoning->start}, Marker::kReasoning);
      add({reasoning->end}, Marker::kReasoningEnd);
      add(reasoning->dropped, Marker::kDropped);
      reasoning_markers = MarkerScanner({reasoning->end, reasoning->start});
    }
    content_markers = MarkerScanner(std::move(markers));
    if (reasoning != nullptr && options.begins_in_reasoning) begin_reasoning();
  }

  static bool needs_types(const ToolForm& form) { return form.tags || form.literals || form.bare != 0; }

  void feed(char byte) {
    again.push_back(byte);
    while (!again.empty()) {
      const char next = again.back();
      again.pop_back();
      switch (mode) {
        case Mode::kReasoning:
          push_reasoning(next);
          break;
        case Mode::kContent:
          push_content(next);
          break;
        case Mode::kCalls:
          push_calls(next);
          break;
      }
    }
  }

  // ---- reasoning
  void begin_reasoning() {
    mode = Mode::kReasoning;
    label_at = 0;
    in_segment = false;
  }

  void push_reasoning(char byte) {
    if (label_at < reasoning->label.size()) {
      if (byte == reasoning->label[label_at]) {
        ++label_at;
        return;
      }
      const std::string other = reasoning->label.substr(0, std::exchange(label_at, reasoning->label.size()));
      add_reasoning(other);
    }
    std::string text;
    const int marker = reasoning_markers.push(byte, text);
    add_reasoning(text);
    if (marker == 1 && (in_segment || has_reasoned)) add_reasoning(reasoning->start);
    if (marker != 0) return;
    breaks.clear();
    has_reasoned = true;
    mode = Mode::kContent;
  }

  // Line breaks count only between other text.
  void add_reasoning(std::string_view text) {
    for (const char byte : text) {
      if (byte == '\n' || byte == '\r') {
        if (in_segment) breaks += byte;
        continue;
      }
      if (!in_segment && has_reasoned && has_thought) delta.reasoning += '\n';
      in_segment = has_thought = true;
      delta.reasoning += breaks;
      delta.reasoning += byte;
      breaks.clear();
    }
  }

  // ---- content
  void push_content(char byte) {
    const bool may_be_bare = tools != nullptr && tools->bare != 0 && !has_content;
    if (may_be_bare && byte == tools->bare && content_markers.held().empty()) {
      begin_calls(-1);
      again.push_back(byte);
      return;
    }
    std::string text;
    const int marker = content_markers.push(byte, text);
    add_content(text);
    if (marker >= 0) push_marker(marker);
  }

  void push_marker(int index) {
    const std::string& text = content_markers.markers()[static_cast<size_t>(index)];
    switch (kinds[static_cast<size_t>(index)]) {
      case Marker::kCalls:
        return begin_calls(index);
      case Marker::kDropped:
        return;
      case Marker::kReasoning:
        if (reasoning->is_anywhere || (!has_content && !has_reasoned)) return begin_reasoning();
        return add_content(text);
      case Marker::kReasoningEnd:  // whose beginning the model has left out
        if (has_reasoned && !reasoning->is_anywhere) return add_content(text);
        has_reasoned = true;
    }
  }

  void add_content(std::string_view text) {
    for (const char byte : text) {
      if (is_space(byte)) {
        space += byte;
        continue;
      }
      flush_space();
      has_content = true;
      delta.content += byte;
    }
    const bool is_leading = !has_content && has_reasoned;
    if (tools == nullptr && !is_leading) flush_space();
  }

  void flush_space() {
    size_t start = 0;
    if (!has_content && (has_reasoned || num_calls > 0)) {
      while (start < space.size() && (space[start] == '\n' || space[start] == '\r')) ++start;
    }
    delta.content.append(space, start);
    space.clear();
  }

  // ---- calls
  void begin_calls(int marker) {
    mode = Mode::kCalls;
    reader = make_reader(*tools, marker, types);
    taken = marker < 0 ? "" : tools->starts[static_cast<size_t>(marker)];
    not_again = marker < 0 ? 1 : taken.size();
    is_certain = false;
  }

  void push_calls(char byte) {
    is_settled = false;
    const Reading reading = reader->push(byte, *this);
    if (reading == Reading::kNotMine) return end_calls(byte);
    if (is_certain || is_settled) {
      taken.clear();
      not_again = 0;
    } else {
      taken += byte;
    }
    if (reading == Reading::kDone) mode = Mode::kContent;
  }

  // What the reader has taken comes again as content, but for what made it a reader's.
  void end_calls(char byte) {
    mode = Mode::kContent;
    again.push_back(byte);
    const std::string all = std::exchange(taken, {});
    again.insert(again.end(), all.rbegin(),
                 all.rend() - static_cast<int64_t>(std::min(not_again, all.size())));
    add_content(std::string_view(all).substr(0, not_again));
  }

  void begin(const std::string& name) override {
    is_certain = true;
    delta.tool_calls.push_back({num_calls++, name, ""});
  }
  void arguments(std::string_view json) override {
    const int index = num_calls - 1;
    if (delta.tool_calls.empty() || delta.tool_calls.back().index != index)
      delta.tool_calls.push_back({index, "", ""});
    delta.tool_calls.back().arguments += json;
  }
  void end() override {
    is_certain = false;
    is_settled = true;
  }
  void settle() override { is_settled = true; }

  void finish() {
    switch (mode) {
      case Mode::kReasoning:
        if (label_at < reasoning->label.size())
          add_reasoning(reasoning->label.substr(0, std::exchange(label_at, reasoning->label.size())));
        add_reasoning(reasoning_markers.take_held());
        break;
      case Mode::kContent:
        add_content(content_markers.take_held());
        break;
      case Mode::kCalls:
        if (!reader->is_behind_call()) add_content(taken);
        taken.clear();
        break;
    }
    if (num_calls == 0) flush_space();
    space.clear();
    mode = Mode::kContent;
  }

  const ToolForm* tools;
  const ReasoningForm* reasoning;
  ToolTypes types;
  std::vector<Marker> kinds;  // of content_markers
  MarkerScanner content_markers, reasoning_markers;
  Mode mode = Mode::kContent;
  std::string again;  // bytes still to be fed, the next one last
  MessageDelta delta;

  size_t label_at = 0;       // how much of the label has been seen
  bool in_segment = false;   // this stretch of reasoning has text
  bool has_thought = false;  // some stretch has
  bool has_reasoned = false;
  std::string breaks;  // line breaks that count if text follows

  bool has_content = false;  // other than whitespace
  std::string space;         // whitespace that counts if text follows, or no calls come

  std::unique_ptr<CallReader> reader;
  std::string taken;     // by the reader, and not certain to be calls
  size_t not_again = 0;  // of it, that cannot begin calls
  bool is_certain = false;
  bool is_settled = false;
  int num_calls = 0;
};

MessageParser::MessageParser(const Dialect& dialect, const MessageParserOptions& options)
    : state_(std::make_unique<State>(dialect, options)) {}
MessageParser::MessageParser(MessageParser&&) noexcept = default;
MessageParser::~MessageParser() = default;

MessageDelta MessageParser::push(std::string_view text) {
  for (const char byte : text) state_->feed(byte);
  return std::exchange(state_->delta, {});
}

MessageDelta MessageParser::finish() {
  state_->finish();
  return std::exchange(state_->delta, {});
}

bool MessageParser::in_reasoning() const { return state_->mode == State::Mode::kReasoning; }
int MessageParser::num_tool_calls() const { return state_->num_calls; }

}  // namespace heed
