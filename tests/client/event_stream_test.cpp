#include "client/event_stream.h"

#include <gtest/gtest.h>

#include <random>
#include <vector>

namespace heed {
namespace {

// Events as "name|data", of the bytes cut into the given pieces.
std::vector<std::string> events(const std::vector<std::string>& pieces, int64_t limit = 1000) {
  EventStream stream(limit);
  std::vector<std::string> seen;
  for (const std::string& piece : pieces) {
    const Status status = stream.push(piece, [&](const StreamEvent& event) {
      seen.push_back(event.name + "|" + event.data);
      return true;
    });
    if (!status.ok()) seen.push_back("error: " + status.error().message);
  }
  return seen;
}

using Events = std::vector<std::string>;

TEST(EventStream, events_end_at_blank_lines_of_any_kind) {
  EXPECT_EQ(events({"data: a\n\ndata: b\r\n\r\ndata: c\r\r"}), (Events{"|a", "|b", "|c"}));
}

TEST(EventStream, lines_of_data_are_joined_and_one_space_is_dropped) {
  EXPECT_EQ(events({"data: a\ndata:  b\ndata:c\ndata\n\n"}), (Events{"|a\n b\nc\n"}));
}

TEST(EventStream, comments_other_fields_and_events_without_data_are_passed_over) {
  EXPECT_EQ(events({": ping\n\nid: 3\nretry: 5\n\nevent: none\n\nevent: e\ndata: x\n\ndata: y\n\n"}),
            (Events{"e|x", "|y"}));
}

TEST(EventStream, an_unfinished_event_is_not_told) {
  EXPECT_EQ(events({"data: a\n\ndata: b\n"}), (Events{"|a"}));
}

TEST(EventStream, a_byte_order_mark_is_passed_over_at_the_start_only) {
  EXPECT_EQ(events({"\xef\xbb\xbf"
                    "data: a\n\n\xef\xbb\xbf"
                    "data: b\n\n"}),
            (Events{"|a"}));
}

TEST(EventStream, what_comes_out_does_not_depend_on_the_cuts) {
  const std::string text =
      "\xef\xbb\xbf"
      "data: one\r\n\r\n: c\r\rdata: {\"a\":\r\ndata: 1}\r\nevent: x\n\ndata: [DONE]\r\n\r\n";
  const Events whole = events({text});
  EXPECT_EQ(whole, (Events{"|one", "x|{\"a\":\n1}", "|[DONE]"}));
  const unsigned seed = std::random_device{}();
  SCOPED_TRACE("seed " + std::to_string(seed));
  std::mt19937 random(seed);
  std::vector<std::string> single;
  for (const char c : text) single.emplace_back(1, c);
  EXPECT_EQ(events({"\xef", "\xbb\xbf", "data: a\n", "\n"}), (Events{"|a"}));
  EXPECT_EQ(events(single), whole);
  for (int round = 0; round < 200; ++round) {
    std::vector<std::string> pieces;
    for (size_t at = 0; at < text.size();) {
      pieces.push_back(text.substr(at, random() % 12));
      at += pieces.back().size();
    }
    EXPECT_EQ(events(pieces), whole);
  }
}

TEST(EventStream, an_event_beyond_the_limit_is_an_error) {
  const std::string error = "error: an event of the stream is longer than 1000 bytes";
  EXPECT_EQ(events({"data: " + std::string(2000, 'x')}), (Events{error}));
  std::string many;
  for (int i = 0; i < 200; ++i) many += "data: 1234567\n";
  EXPECT_EQ(events({many}), (Events{error}));
}

TEST(EventStream, the_listener_can_stop) {
  EventStream stream;
  int count = 0;
  const std::string text = "data: a\n\ndata: b\n\n";
  EXPECT_TRUE(stream.push(text, [&](const StreamEvent&) { return ++count < 1; }).ok());
  EXPECT_EQ(count, 1);
}

}  // namespace
}  // namespace heed
