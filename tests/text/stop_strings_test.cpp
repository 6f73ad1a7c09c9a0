#include "text/stop_strings.h"

#include <gtest/gtest.h>

#include <random>

namespace heed {
namespace {

TEST(StopStrings, text_before_the_stop_is_shown_and_nothing_after) {
  StopStrings stops({"END", ""});
  EXPECT_EQ(stops.push("say E"), "say ");
  EXPECT_EQ(stops.push("N"), "");
  EXPECT_EQ(stops.push("E and "), "ENE and ");
  EXPECT_EQ(stops.push("EN"), "");
  EXPECT_EQ(stops.push("D more"), "");
  EXPECT_TRUE(stops.stopped());
  EXPECT_EQ(stops.push("more"), "");
  EXPECT_EQ(stops.finish(), "");
}

TEST(StopStrings, of_several_the_one_that_begins_first_is_named) {
  StopStrings stops({"later", "cab", "ca"});
  EXPECT_EQ(stops.matched(), "");
  EXPECT_EQ(stops.push("a cab later"), "a ");
  EXPECT_EQ(stops.matched(), "cab");
}

TEST(StopStrings, held_back_text_is_shown_when_the_stream_ends) {
  StopStrings stops({"</s>"});
  EXPECT_EQ(stops.push("a </"), "a ");
  EXPECT_EQ(stops.finish(), "</");
  EXPECT_FALSE(stops.stopped());
}

TEST(StopStrings, pieces_of_any_size_show_what_the_whole_text_would) {
  std::mt19937 random(7);
  for (int i = 0; i < 3000; ++i) {
    std::string text;
    for (int n = static_cast<int>(random() % 30); n > 0; --n) text += static_cast<char>('a' + random() % 3);
    const std::vector<std::string> stops = {"abca", "bb", "caab"};
    size_t first = std::string::npos;
    for (const std::string& stop : stops) first = std::min(first, text.find(stop));
    StopStrings stream(stops);
    std::string shown;
    for (size_t at = 0; at < text.size();) {
      const size_t n = 1 + random() % 4;
      shown += stream.push(text.substr(at, n));
      at += n;
    }
    shown += stream.finish();
    // A piece may hold the end of one stop and the whole of an earlier one: the earliest found so far ends
    // the text.
    EXPECT_EQ(stream.stopped(), first != std::string::npos) << text;
    EXPECT_TRUE(text.starts_with(shown)) << text;
    for (const std::string& stop : stops) EXPECT_EQ(shown.find(stop), std::string::npos) << text;
    if (first == std::string::npos) {
      EXPECT_EQ(shown, text);
    }
  }
}

}  // namespace
}  // namespace heed
