// Where the last tokens of a text have occurred before: the index of suffix decoding (arXiv 2411.04975).
//
// The paper's suffix tree holds every suffix up to its depth, some dozens of nodes a token. Here a token
// costs twelve bytes, as in a Lempel-Ziv compressor: a hash table has where each run of two and of eight
// tokens last ended, and every place has the one before it. Occurrences are then compared token by token, so
// they are exact, and counting how they went on gives the numbers that the tree's nodes would hold.
//
// Memory and the time of a search are bounded: the oldest tokens are overwritten, and no more than so many
// occurrences are looked at, the newest first.
#pragma once
#include <array>
#include <cstdint>
#include <span>
#include <vector>

namespace heed {

class SuffixIndex {
 public:
  // Remembers `capacity` tokens; 2^table_bits places in each table.
  SuffixIndex(int64_t capacity, int table_bits);

  void append(int token);
  // What was appended so far and what comes after are texts of their own.
  void separate() { append(kEnd); }
  // Nothing before this place is found any more.
  void forget_before(int64_t place) { oldest_ = place > oldest_ ? place : oldest_; }
  int64_t end() const { return end_; }  // the place of the next token

  struct Match {
    int64_t next;  // the place behind the occurrence
    int length;    // so many tokens before it are the text's last ones
  };
  // Occurrences of the last tokens of `text`, at least kShortest of them and compared up to `longest`, that
  // something follows; the longest first, and of equal ones the newest.
  void find(std::span<const int> text, int longest, std::vector<Match>& matches) const;
  // The token at a place; kEnd behind the last one of a text, or where it is gone.
  int at(int64_t place) const;

  static constexpr int kEnd = -1;
  static constexpr int kShortest = 2;
  static int64_t bytes(int64_t capacity, int table_bits);

 private:
  static constexpr std::array<int, 2> kRuns = {8, kShortest};  // tokens that are hashed together
  struct Table {
    std::vector<int64_t> last;     // by hash: where such a run last ended; 0: nowhere
    std::vector<int32_t> earlier;  // by place: so far before it ended one with the same hash; 0: none
  };
  // Of the run before `back`, which gives the i-th token from its end.
  template <class Back>
  size_t hash(int run, Back back) const;
  void search(size_t which, std::span<const int> text, int longest, std::vector<Match>& matches) const;
  size_t slot(int64_t place) const { return static_cast<size_t>(place % capacity_); }

  int64_t capacity_;
  int table_bits_;
  int64_t end_ = 0, oldest_ = 0;
  std::vector<int> tokens_;  // by slot
  std::array<Table, kRuns.size()> tables_;
};

}  // namespace heed
