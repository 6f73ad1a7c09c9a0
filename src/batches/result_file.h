// A file of results that only grows by whole lines, and is whole again after a crash at any point.
//
//   │ line\n line\n ... line\n │ {"id":"batch_req_4… │      killed within a write: no line break behind the
//   └────── whole ─────────────┴────── cut ──────────┘      last line
//   │ line\n line\n │ li0000000000…\n line\n │              the machine went down: a zero byte (JSON has
//   none) └─── whole ─────┴────── cut ─────────────┘              is a page that never reached the disk, so
//   it lies
//                                                           behind the last sync(), as does all after it
//
// A write that fails half-way (full disk) is taken back, so that a full disk never leaves half a line.
#pragma once
#include <cstdint>
#include <functional>
#include <string>
#include <string_view>

#include "base/result.h"
#include "batches/descriptor.h"

namespace heed {

class ResultFile {
 public:
  // Opens or creates; kBusy where another process has it open as such a file.
  static Result<ResultFile> open(const std::string& path);

  // Reads every whole line back and cuts what a crash has left behind them. A file that does not look like
  // ours is left as it is, and an error: each line must begin with `start`, and `each` must take it.
  Status recover(std::string_view start, int64_t max_line_bytes,
                 const std::function<Status(std::string_view line)>& each);

  // Adds a line (without its line break). kLimit: no room; the file is as it was.
  Status append(std::string line);
  // On return, what was appended survives a power failure. On an error the file is cut to what did before:
  // after a failed fsync the system takes pages for written that are not.
  Status sync();
  int64_t size() const { return size_; }
  const std::string& path() const { return path_; }

 private:
  ResultFile(std::string path, Descriptor file) : path_(std::move(path)), file_(std::move(file)) {}
  Status cut(int64_t size);

  std::string path_;
  Descriptor file_;
  int64_t size_ = 0;         // of the whole lines
  int64_t synced_size_ = 0;  // of those that survive a power failure
};

}  // namespace heed
