// The child that decodes: what it may do, how it ends, and that nothing of it is left.
#include "media/image_decoder.h"

#include <gtest/gtest.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/wait.h>

#include <chrono>
#include <thread>

#include "media/decode_image.h"
#include "tests/media/misbehave.h"
#include "tests/media/pictures.h"

namespace heed {
namespace {

int64_t num_descriptors() {
  const std::filesystem::directory_iterator files("/proc/self/fd");
  return std::distance(begin(files), end(files));
}

// No child is left, dead or alive, and no descriptor more than before.
class NothingIsLeft {
 public:
  ~NothingIsLeft() {
    EXPECT_EQ(::waitpid(-1, nullptr, WNOHANG), -1);
    EXPECT_EQ(errno, ECHILD);
    EXPECT_EQ(num_descriptors(), before_);
  }

 private:
  int64_t before_ = num_descriptors();
};

double seconds_since(std::chrono::steady_clock::time_point begin) {
  return std::chrono::duration<double>(std::chrono::steady_clock::now() - begin).count();
}

Result<Image> from_odd_child(OddChild kind, std::string_view bytes = "x", double seconds = 5) {
  const ImageDecoder decoder({.limits = {.bytes = kOddChild, .pixels = kind}, .seconds = seconds});
  return decoder.decode(bytes);
}

TEST(ImageDecoder, decodes_as_in_process) {
  const NothingIsLeft nothing;
  const ImageDecoder decoder({});
  for (const char* name : {"progressive.jpg", "cmyk.jpg", "palette8_interlaced.png", "rgba16.png",
                           "lossy_alpha.webp", "animated_offset.webp", "offset.gif", "exif6.jpg"}) {
    const auto image = decoder.decode(picture(name));
    ASSERT_TRUE(image.ok()) << name << ": " << image.error().message;
    const auto expected = decode_image(picture(name), {});
    EXPECT_EQ(image->width, expected->width);
    EXPECT_EQ(image->height, expected->height);
    EXPECT_EQ(image->rgb, expected->rgb) << name;
  }
}

TEST(ImageDecoder, says_of_a_file_what_is_wrong_with_it) {
  const NothingIsLeft nothing;
  const ImageDecoder decoder({.limits = {.bytes = 5000, .pixels = 24 * 18}}),
      narrow({.limits = {.pixels = 24 * 18 - 1}});
  for (const std::string& bytes :
       {std::string("hello"), picture("filters.png").substr(0, 60), std::string()}) {
    EXPECT_EQ(decoder.decode(bytes).error().message, decode_image(bytes, {}).error().message);
    EXPECT_EQ(decoder.decode(bytes).error().code, ErrorCode::kInvalid);
  }
  EXPECT_TRUE(decoder.decode(picture("filters.png")).ok());
  EXPECT_EQ(narrow.decode(picture("filters.png")).error().code, ErrorCode::kLimit);
  EXPECT_EQ(decoder.decode(std::string(5001, 'x')).error().code, ErrorCode::kLimit);
}

TEST(ImageDecoder, may_do_nothing_but_compute) {
  const NothingIsLeft nothing;
  const ImageDecoder decoder({.limits = {.pixels = 1 << 20}});
  for (const auto& [name, deed] : misdeeds()) {
    if (name == "spin" || name.starts_with("swell")) continue;
    const auto image = decoder.decode(misdeed(name));
    ASSERT_FALSE(image.ok()) << name;
    EXPECT_EQ(image.error().code, ErrorCode::kInvalid);
    EXPECT_TRUE(
        image.error().message.starts_with("the picture could not be decoded: the decoder was stopped ("))
        << name << ": " << image.error().message;
#ifndef HEED_SANITIZED  // which have handlers and calls of their own at a crash
    const char* signal = name == "crash" ? "(signal 11)" : "(signal 31)";
    EXPECT_TRUE(image.error().message.ends_with(signal)) << name << ": " << image.error().message;
#endif
  }
  EXPECT_FALSE(std::filesystem::exists("/tmp/heed_was_here"));
}

TEST(ImageDecoder, is_stopped_in_time) {
  const NothingIsLeft nothing;
  const ImageDecoder decoder({.seconds = 0.3});
  const auto begin = std::chrono::steady_clock::now();
  const auto image = decoder.decode(misdeed("spin"));
  ASSERT_FALSE(image.ok());
  EXPECT_EQ(image.error().code, ErrorCode::kLimit);
  EXPECT_LT(seconds_since(begin), 5);
}

#ifndef HEED_SANITIZED
TEST(ImageDecoder, has_memory_for_pictures_within_the_limits_and_no_more) {
  const NothingIsLeft nothing;
  const ImageDecoder decoder({.limits = {.bytes = 1 << 20, .pixels = 1 << 20}});
  for (const char* name : {"swell", "swell at once"}) {
    const auto image = decoder.decode(misdeed(name));
    ASSERT_FALSE(image.ok());
    EXPECT_EQ(image.error().code, ErrorCode::kLimit) << image.error().message;
    EXPECT_NE(image.error().message.find("memory"), std::string::npos) << image.error().message;
  }
}
#endif

TEST(ImageDecoder, is_born_with_nothing) {
  const NothingIsLeft nothing;
  const int left_open = ::open("/dev/null", O_RDONLY);  // without O_CLOEXEC
  ::signal(SIGHUP, SIG_IGN);
  sigset_t usr, before;
  sigemptyset(&usr);
  sigaddset(&usr, SIGUSR1);
  ::pthread_sigmask(SIG_BLOCK, &usr, &before);
  const std::string has = from_odd_child(kList).error().message;
  ::pthread_sigmask(SIG_SETMASK, &before, nullptr);
  ::signal(SIGHUP, SIG_DFL);
  ::close(left_open);
#ifndef HEED_SANITIZED
  EXPECT_EQ(has, "0=socket 1=socket own group");
#else
  EXPECT_EQ(has.find("3="), std::string::npos) << has;
#endif
}

TEST(ImageDecoder, a_child_is_not_trusted) {
  const NothingIsLeft nothing;
  const std::string large(kOddChild, 'x');
  for (const OddChild kind : {kHuge, kNegative, kBadCode, kLongMessage}) {
    EXPECT_NE(from_odd_child(kind).error().message.find("nonsense"), std::string::npos) << kind;
  }
  const auto deaf = from_odd_child(kDeafAndGone, large);
  EXPECT_NE(deaf.error().message.find("stopped (status 0)"), std::string::npos) << deaf.error().message;
  EXPECT_NE(from_odd_child(kLeave).error().message.find("stopped (status 7)"), std::string::npos);
  EXPECT_NE(from_odd_child(kShortPixels).error().message.find("stopped"), std::string::npos);
  EXPECT_EQ(from_odd_child(kControls).error().message, "?[2J?root: ?");
  EXPECT_EQ(from_odd_child(kFlood)->rgb.size(), 3);  // what comes after the picture is nobody's
  for (const OddChild kind : {kSilent, kDeaf}) {
    EXPECT_EQ(from_odd_child(kind, large, 0.2).error().code, ErrorCode::kLimit) << kind;
  }
}

TEST(ImageDecoder, a_program_that_is_no_decoder_is_named) {
  const NothingIsLeft nothing;
  EXPECT_NE(from_odd_child(kNoHello).error().message.find("run_decoder_child()"), std::string::npos);
  for (const char* program : {"/bin/true", "/bin/cat", "/nowhere", "/etc/passwd"}) {
    const ImageDecoder decoder({.program = program, .seconds = 5});
    const auto image = decoder.decode(picture("plain.gif"));
    ASSERT_FALSE(image.ok()) << program;
    EXPECT_FALSE(image.error().message.empty());
  }
}

TEST(ImageDecoder, many_threads_decode_at_once) {
  const NothingIsLeft nothing;
  const ImageDecoder decoder({.limits = {.pixels = 1 << 20}, .children = 3});
  const std::vector<std::string> files = {picture("progressive.jpg"), picture("rgba8.png"), misdeed("crash"),
                                          picture("plain.gif")};
  std::vector<std::thread> threads;
  for (size_t t = 0; t < 8; ++t) {
    threads.emplace_back([&, t] {
      for (size_t i = 0; i < 6; ++i) {
        const std::string& file = files[(t + i) % files.size()];
        const auto image = decoder.decode(file);
        EXPECT_EQ(image.ok(), file != misdeed("crash")) << (image.ok() ? "" : image.error().message);
        if (!image.ok()) continue;
        EXPECT_EQ(image->rgb, decode_image(file, {})->rgb);
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
}

TEST(ImageDecoder, says_that_descriptors_have_run_out) {
  const NothingIsLeft nothing;
  const ImageDecoder decoder({});
  const std::string file = picture("plain.gif");
  rlimit before{};
  ::getrlimit(RLIMIT_NOFILE, &before);
  // The limit is on numbers, not on how many are open: whoever started the tests may have left some open
  // anywhere.
  const int lowest_free = ::dup(2);
  ::close(lowest_free);
  bool decoded = false;
  for (int more = 0; !decoded && more < 100; ++more) {
    const rlimit few{static_cast<rlim_t>(lowest_free + more), before.rlim_max};
    ::setrlimit(RLIMIT_NOFILE, &few);
    const auto image = decoder.decode(file);
    ::setrlimit(RLIMIT_NOFILE, &before);
    decoded = image.ok();
    if (decoded) {
      EXPECT_GT(more, 0);
    } else {
      EXPECT_EQ(image.error().code, ErrorCode::kBusy) << image.error().message;
    }
  }
  EXPECT_TRUE(decoded);
}

TEST(ImageDecoder, works_where_the_standard_descriptors_are_closed) {
  const pid_t child = ::fork();
  if (child == 0) {
    const std::string file = picture("plain.gif");
    for (const int descriptor : {0, 1, 2}) ::close(descriptor);
    const ImageDecoder decoder({});
    ::_exit(decoder.decode(file).ok() ? 0 : 1);
  }
  int status = -1;
  ::waitpid(child, &status, 0);
  EXPECT_EQ(status, 0);
}

// As under systemd with a SystemCallFilter=.
TEST(ImageDecoder, works_where_the_seccomp_call_is_refused) {
  const pid_t child = ::fork();
  if (child == 0) {
    sock_filter code[] = {BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(seccomp_data, nr)),
                          BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_seccomp, 0, 1),
                          BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | EPERM),
                          BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW)};
    const sock_fprog program{4, code};
    ::prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);
    if (::prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program, 0, 0) != 0) ::_exit(2);
    const ImageDecoder decoder({});
    const bool decodes = decoder.decode(picture("plain.gif")).ok();
    const std::string opens = decoder.decode(misdeed("open")).error().message;
    ::_exit(decodes && opens.ends_with("stopped (signal 31)") ? 0 : 1);
  }
  int status = -1;
  ::waitpid(child, &status, 0);
  EXPECT_EQ(status, 0);
}

TEST(ImageDecoder, is_not_started_by_itself) {
  std::vector<std::string> arguments = {"heed", kDecoderArgument};
  std::vector<char*> argv = {arguments[0].data(), arguments[1].data()};
  EXPECT_NE(run_decoder_child(2, argv.data()), 0);             // not with such arguments
  EXPECT_EQ(run_decoder_child(1, argv.data()), std::nullopt);  // and what is no child goes on
}

}  // namespace
}  // namespace heed
