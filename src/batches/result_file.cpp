#include "batches/result_file.h"

#include <unistd.h>

#include <cerrno>
#include <filesystem>

#include "batches/line_reader.h"

namespace heed {
namespace {

bool begins_like(std::string_view text, std::string_view start) {
  const size_t common = std::min(text.size(), start.size());
  return text.substr(0, common) == start.substr(0, common);
}

// Whether a line may be what a crash left of one of ours. What no line of ours stands before, and is not even
// the beginning of one, is somebody else's file.
bool is_torn(const LineReader::Line& line, std::string_view start) {
  const size_t zero = line.text.find('\0');
  if (line.has_newline && zero == std::string_view::npos) return false;
  const std::string_view rest = line.text.substr(0, zero);
  return begins_like(rest, start) && (line.begin > 0 || !rest.empty());
}

}  // namespace

Result<ResultFile> ResultFile::open(const std::string& path) {
  Descriptor file = TRY(open_locked(path));
  const std::string folder = std::filesystem::path(path).parent_path().string();
  TRY(sync_folder(folder.empty() ? "." : folder));
  return ResultFile(path, std::move(file));
}

Status ResultFile::recover(std::string_view start, int64_t max_line_bytes,
                           const std::function<Status(std::string_view line)>& each) {
  LineReader reader = TRY(LineReader::open(path_, max_line_bytes));
  int64_t number = 0;
  size_ = 0;
  for (;;) {
    const auto line = TRY(reader.next());
    if (!line) return sync();
    const std::string place = path_ + ": line " + std::to_string(++number);
    if (line->too_long) {
      return limit_reached(place + " is longer than " + std::to_string(max_line_bytes) + " bytes");
    }
    if (is_torn(*line, start)) return cut(line->begin);
    if (!line->has_newline || !line->text.starts_with(start)) {
      return invalid(place + " is not a result of a batch; results are only added to a file of results");
    }
    Status taken = each(line->text);
    if (!taken.ok()) return std::move(taken).error().within(place);
    size_ = line->begin + static_cast<int64_t>(line->text.size()) + 1;
  }
}

Status ResultFile::cut(int64_t size) {
  if (::ftruncate(file_.fd(), size) != 0) return system_error(path_, errno);
  size_ = size;
  return sync_file(file_, path_);
}

Status ResultFile::append(std::string line) {
  line += '\n';
  Status written = write_at(file_, path_, size_, line);
  if (!written.ok()) {
    // Should even this fail, the half line is cut by the next recover().
    if (::ftruncate(file_.fd(), size_) != 0) return system_error(path_, errno);
    return written;
  }
  size_ += static_cast<int64_t>(line.size());
  return {};
}

Status ResultFile::sync() {
  if (synced_size_ == size_) return {};
  Status synced = sync_file(file_, path_);
  if (!synced.ok()) {
    if (::ftruncate(file_.fd(), synced_size_) == 0) size_ = synced_size_;
    return synced;
  }
  synced_size_ = size_;
  return {};
}

}  // namespace heed
