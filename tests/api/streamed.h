// Answers by hand, and streams taken apart again; the bundled model as one that calls tools.
#pragma once
#include <gtest/gtest.h>

#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "base/json.h"
#include "serving/service.h"

namespace heed {

inline std::unique_ptr<Service> serve_bard_with_tools() {
  Checkpoint checkpoint = open_checkpoint(std::string(HEED_SOURCE_DIR) + "/models/bard").value();
  ServiceOptions options;
  options.model_name = "bard";
  options.tool_parser = "hermes";
  options.engine.runner.threads = 2;
  return Service::open(std::move(checkpoint), options).value();
}

inline ChatDelta reasoning_delta(std::string text) { return {.message = {.reasoning = std::move(text)}}; }
inline ChatDelta content_delta(std::string text) { return {.message = {.content = std::move(text)}}; }
inline ChatDelta call_delta(int index, std::string name, std::string arguments) {
  return {.message = {.tool_calls = {{index, std::move(name), std::move(arguments)}}}};
}
inline ChatDelta end_delta(EndReason reason, std::string stop_string = "") {
  return {.answer = {.end = reason, .stop_string = std::move(stop_string)}};
}

struct NamedEvent {
  std::string name;
  OrderedJson data;
};

// Server-sent events as the bytes of a stream hold them; anything else in it is a failure.
inline std::vector<NamedEvent> named_events_of(const std::string& stream) {
  std::vector<NamedEvent> events;
  size_t at = 0;
  while (at < stream.size()) {
    const size_t end = stream.find("\n\n", at);
    const std::string lines = stream.substr(at, end - at);
    const size_t line_break = lines.find("\ndata: ");
    if (end == std::string::npos || !lines.starts_with("event: ") || line_break == std::string::npos) {
      ADD_FAILURE() << "not an event: " << lines;
      break;
    }
    Result<OrderedJson> data = parse_ordered_json(lines.substr(line_break + 7), "an event");
    EXPECT_TRUE(data.ok()) << lines;
    if (!data.ok()) break;
    events.push_back({lines.substr(7, line_break - 7), *data});
    at = end + 2;
  }
  return events;
}

inline std::vector<std::string> names_of(const std::vector<NamedEvent>& events) {
  std::vector<std::string> names;
  for (const NamedEvent& event : events) names.push_back(event.name);
  return names;
}

// The message that a client of Anthropic's API puts together.
inline OrderedJson message_from(const std::vector<NamedEvent>& events) {
  OrderedJson message;
  std::vector<std::string> arguments;
  for (const auto& [name, data] : events) {
    EXPECT_EQ(data["type"], name);
    if (name == "message_start") message = data["message"];
    if (name == "content_block_start") {
      EXPECT_EQ(data["index"], message["content"].size());
      message["content"].push_back(data["content_block"]);
      arguments.emplace_back();
    }
    if (name == "content_block_delta") {
      const auto index = data["index"].get<size_t>();
      EXPECT_EQ(index + 1, message["content"].size()) << "only the last block grows";
      for (const auto& piece : data["delta"].items()) {
        if (piece.key() == "type") continue;
        const auto text = piece.value().get<std::string>();
        if (piece.key() == "partial_json") {
          arguments[index] += text;
        } else {
          OrderedJson& field = message["content"][index][piece.key()];
          field = field.get<std::string>() + text;
        }
      }
    }
    if (name == "content_block_stop" && !arguments.back().empty()) {
      Result<OrderedJson> input = parse_ordered_json(arguments.back(), "arguments");
      if (input.ok()) message["content"].back()["input"] = *input;
    }
    if (name == "message_delta") {
      message.update(data["delta"]);
      message["usage"].update(data["usage"]);
    }
  }
  return message;
}

// The output items that a client of OpenAI's Responses API puts together from the pieces alone.
inline OrderedJson output_from(const std::vector<NamedEvent>& events) {
  OrderedJson output = OrderedJson::array();
  for (const auto& [name, data] : events) {
    EXPECT_EQ(data["type"], name);
    if (name == "response.output_item.added") {
      EXPECT_EQ(data["output_index"], output.size());
      output.push_back(data["item"]);
    }
    if (!data.contains("output_index")) continue;
    OrderedJson& item = output[data["output_index"].get<size_t>()];
    EXPECT_EQ(data.value("item_id", item["id"].get<std::string>()), item["id"]);
    if (name == "response.content_part.added") item["content"].push_back(data["part"]);
    if (name == "response.function_call_arguments.delta")
      item["arguments"] = item["arguments"].get<std::string>() + data["delta"].get<std::string>();
    if (name == "response.output_text.delta" || name == "response.reasoning_text.delta") {
      OrderedJson& part = item["content"][data["content_index"].get<size_t>()];
      part["text"] = part["text"].get<std::string>() + data["delta"].get<std::string>();
      if (data.contains("logprobs"))
        for (const OrderedJson& logprob : data["logprobs"]) part["logprobs"].push_back(logprob);
    }
    if (name == "response.output_item.done") item["status"] = data["item"]["status"];
  }
  return output;
}

}  // namespace heed
