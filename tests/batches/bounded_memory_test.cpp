// The parts that keep memory bounded however long the input.
#include <gtest/gtest.h>

#include <random>

#include "batches/key_set.h"
#include "batches/line_reader.h"
#include "tests/batches/fake_handler.h"

namespace heed {
namespace {

TEST(LineReader, lines_of_any_length_are_the_files_or_told_as_too_long) {
  const auto seed = std::random_device()();
  std::cout << "seed " << seed << "\n";
  std::mt19937 random(seed);
  const TemporaryFolder folder;
  const std::string path = folder.file("lines");
  constexpr size_t kLimit = 1000;
  for (int round = 0; round < 40; ++round) {
    std::vector<std::string> lines;
    std::string bytes;
    for (int i = static_cast<int>(random() % 60); i >= 0; --i) {
      const size_t sizes[] = {0, random() % 50, kLimit - 1 + random() % 3, random() % 700'000};
      lines.emplace_back(sizes[random() % 4], static_cast<char>('a' + random() % 26));
      bytes += lines.back() + "\n";
    }
    const bool has_last_newline = random() % 2 == 0 || lines.back().empty();
    if (!has_last_newline) bytes.pop_back();
    write_bytes(path, bytes);
    auto reader = LineReader::open(path, kLimit);
    ASSERT_TRUE(reader.ok());
    int64_t offset = 0;
    for (size_t i = 0; i < lines.size(); ++i) {
      const auto line = reader->next();
      ASSERT_TRUE(line.ok() && *line);
      EXPECT_EQ((*line)->begin, offset);
      EXPECT_EQ((*line)->too_long, lines[i].size() > kLimit);
      EXPECT_EQ((*line)->text, (*line)->too_long ? "" : lines[i]);
      EXPECT_EQ((*line)->has_newline, has_last_newline || i + 1 < lines.size());
      offset += std::ssize(lines[i]) + 1;
    }
    const auto end = reader->next();
    EXPECT_TRUE(end.ok() && !*end);
  }
}

TEST(LineReader, what_is_no_regular_file_is_an_error) {
  const TemporaryFolder folder;
  EXPECT_EQ(LineReader::open(folder.file("none"), 10).error().code, ErrorCode::kNotFound);
  EXPECT_FALSE(LineReader::open(folder.path, 10).ok());
  EXPECT_FALSE(LineReader::open("/dev/zero", 10).ok());
}

TEST(KeySet, keys_are_new_then_met_or_done_then_met_and_their_number_is_bounded) {
  KeySet keys(5000);
  const auto key = [&](char kind, int i) { return keys.key(kind, std::to_string(i)); };
  for (int i = 0; i < 2000; ++i) EXPECT_TRUE(keys.add_done(key('d', i)));
  for (int i = 0; i < 2000; ++i) EXPECT_TRUE(keys.add_done(key('d', i)));  // no news
  for (int i = 0; i < 3000; ++i) EXPECT_EQ(keys.meet(key('n', i)), KeySet::Met::kNew);
  for (int i = 0; i < 2000; ++i) EXPECT_EQ(keys.meet(key('d', i)), KeySet::Met::kDone);
  for (int i = 0; i < 2000; ++i) EXPECT_EQ(keys.meet(key('d', i)), KeySet::Met::kAgain);
  for (int i = 0; i < 3000; ++i) EXPECT_EQ(keys.meet(key('n', i)), KeySet::Met::kAgain);
  EXPECT_EQ(keys.meet(key('n', 3000)), KeySet::Met::kFull);
  EXPECT_FALSE(keys.add_done(key('d', 2000)));
  EXPECT_TRUE(keys.contains(key('d', 7)));
  EXPECT_FALSE(keys.contains(key('d', 2000)));
}

}  // namespace
}  // namespace heed
