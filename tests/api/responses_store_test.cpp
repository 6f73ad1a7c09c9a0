// Stored responses: found, replaced, and dropped when there is no more room.
#include "api/responses_store.h"

#include <gtest/gtest.h>

#include <thread>
#include <vector>

namespace heed {
namespace {

TEST(ResponseStore, what_is_added_is_found_until_it_is_removed) {
  ResponseStore store;
  store.add("a", {.object = "{}", .items = "[]", .complete = true, .running = nullptr});
  ASSERT_NE(store.find("a"), nullptr);
  EXPECT_EQ(store.find("a")->object, "{}");
  EXPECT_TRUE(store.find("a")->complete);
  EXPECT_EQ(store.find("b"), nullptr);
  EXPECT_TRUE(store.remove("a"));
  EXPECT_FALSE(store.remove("a"));
  EXPECT_EQ(store.find("a"), nullptr);
}

TEST(ResponseStore, what_was_removed_is_not_brought_back_by_its_end) {
  ResponseStore store;
  store.add("a", {.object = "begun"});
  store.replace("a", {.object = "ended"});
  EXPECT_EQ(store.find("a")->object, "ended");
  store.remove("a");
  store.replace("a", {.object = "ended"});
  EXPECT_EQ(store.find("a"), nullptr);
}

TEST(ResponseStore, the_oldest_make_room_by_number) {
  ResponseStore store({.max_responses = 2});
  for (const char* id : {"a", "b", "c"}) store.add(id, {.object = id});
  EXPECT_EQ(store.find("a"), nullptr);
  EXPECT_NE(store.find("b"), nullptr);
  EXPECT_NE(store.find("c"), nullptr);
}

TEST(ResponseStore, the_oldest_make_room_by_bytes) {
  ResponseStore store({.max_bytes = 10'000});
  store.add("a", {.items = std::string(4000, 'x')});
  store.add("b", {.items = std::string(4000, 'x')});
  EXPECT_NE(store.find("a"), nullptr);
  store.replace("b", {.items = std::string(8000, 'x')});
  EXPECT_EQ(store.find("a"), nullptr);
  EXPECT_NE(store.find("b"), nullptr);
  store.add("c", {.items = std::string(4000, 'x')});
  EXPECT_EQ(store.find("b"), nullptr);
  EXPECT_NE(store.find("c"), nullptr);
}

TEST(ResponseStore, what_is_larger_than_all_room_is_not_kept) {
  ResponseStore store({.max_bytes = 10'000});
  store.add("small", {.object = "{}"});
  store.add("large", {.items = std::string(20'000, 'x')});
  EXPECT_EQ(store.find("large"), nullptr);
  EXPECT_NE(store.find("small"), nullptr) << "and costs nobody else's place";
  store.replace("small", {.items = std::string(20'000, 'x')});
  EXPECT_EQ(store.find("small"), nullptr);
}

TEST(ResponseStore, many_threads_use_one) {
  ResponseStore store({.max_responses = 50});
  std::vector<std::thread> threads;
  for (int t = 0; t < 4; ++t) {
    threads.emplace_back([&store, t] {
      for (int i = 0; i < 500; ++i) {
        const std::string id = std::to_string(t) + "/" + std::to_string(i);
        store.add(id, {.object = "begun"});
        store.replace(id, {.object = id});
        const auto found = store.find(id);
        EXPECT_TRUE(!found || found->object == id);
        if (i % 3 == 0) store.remove(id);
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  store.add("last", {.object = "{}"});
  EXPECT_NE(store.find("last"), nullptr);
}

}  // namespace
}  // namespace heed
