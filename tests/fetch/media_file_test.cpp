#include "fetch/media_file.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/stat.h>
#include <unistd.h>

#include <filesystem>
#include <thread>

#include "base/file.h"
#include "fetch/media_fetcher.h"

namespace heed {
namespace {

namespace fs = std::filesystem;

// A folder with pictures, beside others that are nobody's business.
class MediaFile : public testing::Test {
 protected:
  MediaFile() {
    fs::remove_all(place_);
    fs::create_directories(root_ / "sub");
    write(root_ / "a.png", "A");
    write(root_ / "sub" / "b c.png", "BC");
    write(root_ / "gr\xc3\xbc\xc3\x9f.png", "G");
    write(place_ / "secret", "S");
    write(place_ / "pictures-secret", "S");
    fs::create_symlink("../secret", root_ / "out.png");
    fs::create_symlink(place_ / "secret", root_ / "absolute.png");
    fs::create_symlink("..", root_ / "up");
    fs::create_symlink("/proc/self/root", root_ / "magic");
    fs::create_symlink("loop", root_ / "loop");
    fs::create_symlink("a.png", root_ / "inside.png");
    fs::create_symlink(".", root_ / "sub" / "here");
    EXPECT_EQ(::mkfifo((root_ / "pipe").c_str(), 0600), 0);
  }
  ~MediaFile() override { fs::remove_all(place_); }

  static void write(const fs::path& path, const std::string& bytes) {
    ASSERT_TRUE(write_file(path.string(), bytes).ok());
  }
  Result<std::string> read(const std::string& rest, int64_t max_bytes = 100) const {
    return read_media_file("file://" + root_.string() + rest, root_.string(), max_bytes);
  }
  std::string read_ok(const std::string& rest) const {
    const auto bytes = read(rest);
    return bytes.ok() ? *bytes : bytes.error().message;
  }

  fs::path place_ = fs::temp_directory_path() / ("heed_media_file_" + std::to_string(::getpid()));
  fs::path root_ = place_ / "pictures";
};

TEST_F(MediaFile, is_read_below_the_folder) {
  EXPECT_EQ(read_ok("/a.png"), "A");
  EXPECT_EQ(read_ok("//a.png"), "A");
  EXPECT_EQ(read_ok("/./sub/../a.png"), "A");
  EXPECT_EQ(read_ok("/sub/b%20c.png"), "BC");
  EXPECT_EQ(read_ok("/sub/b c.png"), "BC");
  EXPECT_EQ(read_ok("/gr\xc3\xbc\xc3\x9f.png"), "G");
  EXPECT_EQ(read_ok("/gr%C3%BC%c3%9F.png"), "G");
  EXPECT_EQ(read_ok("/inside.png"), "A");
  EXPECT_EQ(read_ok("/sub/here/here/b c.png"), "BC");
  EXPECT_EQ(*read_media_file("FILE://localhost" + root_.string() + "/a.png", root_.string() + "/", 100), "A");
  EXPECT_EQ(*read_media_file("file://" + root_.string() + "/a.png", "/", 100), "A");
}

TEST_F(MediaFile, is_refused_outside) {
  for (const char* out : {"/../secret", "/sub/../../secret", "/%2e%2e/secret", "/..%2fsecret", "/out.png",
                          "/absolute.png", "/up/secret", "/up/pictures/a.png", "/sub/here/../../../secret",
                          "/magic/etc/passwd", "/loop", "-secret", "/.."}) {
    const auto bytes = read(out);
    ASSERT_FALSE(bytes.ok()) << out;
    EXPECT_EQ(bytes.error().code, ErrorCode::kUnsupported) << out << ": " << bytes.error().message;
  }
  for (const char* out : {"file:///etc/passwd", "file:///", "file:////etc/passwd"}) {
    EXPECT_EQ(read_media_file(out, root_.string(), 100).error().code, ErrorCode::kUnsupported) << out;
  }
  EXPECT_EQ(read_media_file("file:///etc/passwd", "", 100).error().code, ErrorCode::kUnsupported);
}

TEST_F(MediaFile, is_refused_step_by_step_where_the_kernel_does_not_help) {
  const int root = ::open(root_.c_str(), O_PATH | O_DIRECTORY | O_CLOEXEC);
  for (const char* in : {"a.png", "sub/b c.png", "./sub//b c.png"}) {
    const int file = open_beneath_by_steps(root, in);
    EXPECT_GE(file, 0) << in;
    ::close(file);
  }
  for (const char* out :
       {"out.png", "absolute.png", "up/secret", "up/pictures/a.png", "magic/etc/passwd", "loop", "inside.png",
        "sub/here/b c.png", "../secret", "sub/../../secret", "..", "none", "a.png/x"}) {
    EXPECT_LT(open_beneath_by_steps(root, out), 0) << out;
  }
  ::close(root);
}

TEST_F(MediaFile, is_a_regular_file_of_limited_size) {
  write(root_ / "long", std::string(101, 'x'));
  EXPECT_EQ(read("/long").error().code, ErrorCode::kLimit);
  EXPECT_EQ(read("/long", 101)->size(), 101);
  EXPECT_EQ(read("/none").error().code, ErrorCode::kNotFound);
  EXPECT_EQ(read("/a.png/x").error().code, ErrorCode::kNotFound);
  for (const char* odd : {"/pipe", "/sub", "/sub/"}) {
    const auto bytes = read(odd);
    ASSERT_FALSE(bytes.ok()) << odd;
    EXPECT_EQ(bytes.error().code, ErrorCode::kInvalid) << bytes.error().message;
  }
  // Files of the kernel say that they are empty; the limit holds as they are read.
  EXPECT_EQ(read_media_file("file:///proc/cpuinfo", "/proc", 10).error().code, ErrorCode::kLimit);
  EXPECT_GT(read_media_file("file:///proc/cpuinfo", "/proc", 1 << 20)->size(), 10);
}

TEST_F(MediaFile, is_named_in_one_way) {
  for (const char* wrong :
       {"file:", "file:a.png", "file:/a.png", "file://a.png", "file://host/a.png", "file://127.0.0.1/a.png",
        "file:\\\\a.png", "file:///a%00.png", "file:///a%.png", "file:///a\n.png", "file:///a?b",
        "file:///a#b", "file:///a\\..\\b", "file://localhost"}) {
    const auto bytes = read_media_file(wrong, "/", 100);
    ASSERT_FALSE(bytes.ok()) << wrong;
    EXPECT_EQ(bytes.error().code, ErrorCode::kInvalid) << wrong;
  }
  const std::string null("file:///a\0b", 11);
  EXPECT_FALSE(read_media_file(null, "/", 100).ok());
}

TEST_F(MediaFile, no_descriptor_is_left_open) {
  const auto count = [] {
    const fs::directory_iterator files("/proc/self/fd");
    return std::distance(begin(files), end(files));
  };
  const auto before = count();
  for (const char* any : {"/a.png", "/sub", "/pipe", "/none", "/out.png", "/up/secret", "/loop"}) {
    (void)read(any);
  }
  EXPECT_EQ(count(), before);
}

TEST_F(MediaFile, is_reached_through_a_fetcher) {
  const MediaFetcher fetcher({.folder = root_.string()});
  EXPECT_EQ(*fetcher.fetch("file://" + root_.string() + "/a.png"), "A");
  EXPECT_TRUE(check_media_policy({.folder = root_.string()}).ok());
  EXPECT_FALSE(check_media_policy({.folder = root_.string() + "/none"}).ok());
  EXPECT_FALSE(check_media_policy({.folder = root_.string() + "/a.png"}).ok());
}

}  // namespace
}  // namespace heed
