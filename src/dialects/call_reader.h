// CallReader: reads the tool calls of one region of an answer, from behind the marker that begins it on.
#pragma once
#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <string_view>

#include "base/json.h"

namespace heed {

// What the readers tell. Text that a reader has taken is kept as long as it is not certain to be a call, and
// becomes content if it turns out to be none.
class CallSink {
 public:
  virtual ~CallSink() = default;
  virtual void begin(const std::string& name) = 0;    // from here on it is a call
  virtual void arguments(std::string_view json) = 0;  // more of the call's arguments
  virtual void end() = 0;                             // the call is whole
  virtual void settle() = 0;                          // all taken so far was syntax of calls
};

enum class Reading {
  kMore,
  kDone,     // this byte ends the region
  kNotMine,  // this byte is not part of the region, which ends before it
};

class CallReader {
 public:
  virtual ~CallReader() = default;
  virtual Reading push(char byte, CallSink& sink) = 0;
  // Behind a whole call: what has been taken since can only be syntax, also if the text ends here.
  virtual bool is_behind_call() const = 0;
};

// The JSON types that a parameter may have, as bits; 0 where the schema says nothing.
enum JsonType : uint8_t {
  kString = 1,
  kNumber = 2,
  kBoolean = 4,
  kNull = 8,
  kArray = 16,
  kObject = 32,
};

// What the request's tools say of names and types.
class ToolTypes {
 public:
  // OpenAI's "tools" array; anything else: nothing is known.
  explicit ToolTypes(const OrderedJson& tools = nullptr);
  // Whether there is such a tool; true where no tools are known.
  bool may_be(const std::string& tool) const { return tools_.empty() || tools_.contains(tool); }
  int types_of(const std::string& tool, const std::string& parameter) const;

 private:
  std::map<std::string, std::map<std::string, int>> tools_;
};

// Of a schema within `root`: `type`, `enum`, `const`, `anyOf`, `oneOf`, `allOf`, and `$ref` into root.
int types_of_schema(const OrderedJson& schema, const OrderedJson& root);

// The JSON of an argument that was written as bare text.
std::string json_of_text(std::string_view text, int types);

inline constexpr size_t kMaxNameBytes = 256;     // of tools and parameters
inline constexpr size_t kMaxHeaderBytes = 1024;  // in front of a call's arguments
inline constexpr size_t kMaxEarlyBytes = 4096;   // of arguments written in front of the name

}  // namespace heed
