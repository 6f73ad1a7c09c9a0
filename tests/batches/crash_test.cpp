// What is left of a job after kill -9, a power failure, a full disk, and what the next run makes of it.
#include <gtest/gtest.h>
#include <sys/mount.h>
#include <sys/resource.h>
#include <sys/wait.h>

#include <csignal>
#include <map>
#include <random>

#include "batches/batch_runner.h"
#include "batches/result_file.h"
#include "tests/batches/child_process.h"
#include "tests/batches/fake_handler.h"

namespace heed {
namespace {

constexpr int64_t kMaxLine = 1 << 20;

BatchJob job_in(const std::string& folder) {
  BatchJob job;
  job.input = folder + "/in.jsonl";
  job.output = folder + "/out.jsonl";
  job.errors = folder + "/errors.jsonl";
  job.concurrency = 8;
  return job;
}

// Good lines, broken ones and one custom_id twice.
std::string mixed_input(int count) {
  std::string lines;
  for (int i = 0; i < count; ++i) {
    lines += i % 10 == 7 ? "{broken\n" : request_line("r" + std::to_string(i), std::to_string(i));
  }
  return lines + request_line("r0", "again");
}

// That every line of mixed_input(count) has one result, and the right one.
void expect_each_once(const BatchJob& job, int count) {
  std::map<std::string, int> done;
  for (const Json& line : read_lines(job.output)) {
    ++done[line.at("custom_id")];
    EXPECT_EQ("r" + line.at("response").at("body").at("echo").at("prompt").get<std::string>(),
              line.at("custom_id"));
  }
  std::map<std::string, int> refused;
  for (const Json& line : read_lines(job.errors)) ++refused[line.at("id")];
  for (int i = 0; i < count; ++i) {
    const bool broken = i % 10 == 7;
    EXPECT_EQ(broken ? refused["batch_line_" + std::to_string(i + 1)] : done["r" + std::to_string(i)], 1)
        << i;
  }
  EXPECT_EQ(refused["batch_line_" + std::to_string(count + 1)], 1);
  EXPECT_EQ(std::ssize(done) + std::ssize(refused), count + 1);
}

TEST(Crash, a_job_killed_again_and_again_has_every_result_once) {
  const auto seed = std::random_device()();
  std::cout << "seed " << seed << "\n";
  std::mt19937 random(seed);
  for (int round = 0; round < 8; ++round) {
    const TemporaryFolder folder;
    const BatchJob job = job_in(folder.path);
    write_bytes(job.input, mixed_input(200));
    int kills = 0;
    for (int status = 1; status != 0;) {
      const int deadly = static_cast<int>(random() % 60);
      status = in_child([&] {
        ThreadedHandler handler(3, [&](int answered) {
          if (answered == deadly) ::kill(::getpid(), SIGKILL);
        });
        return run_batch(job, handler).ok() ? 0 : 1;
      });
      ASSERT_TRUE(status == 0 || status == -SIGKILL) << status;
      kills += status != 0;
      // Some of what was written last may not have reached the disk.
      for (const std::string& path : {job.output, job.errors}) {
        std::string bytes = read_bytes(path);
        if (status == 0 || bytes.empty() || random() % 2 == 0) continue;
        const size_t lost = 1 + random() % std::min<size_t>(bytes.size(), 400);
        if (random() % 2 == 0) {
          bytes.resize(bytes.size() - lost);
        } else {
          const size_t at = std::max<size_t>(1, bytes.size() - lost);
          for (size_t i = at; i < std::min(bytes.size(), at + 64); ++i) bytes[i] = '\0';
        }
        write_bytes(path, bytes);
      }
    }
    EXPECT_GT(kills, 0);
    expect_each_once(job, 200);
  }
}

TEST(Crash, a_job_killed_from_outside_at_any_time_has_every_result_once) {
  const auto seed = std::random_device()();
  std::cout << "seed " << seed << "\n";
  std::mt19937 random(seed);
  const TemporaryFolder folder;
  const BatchJob job = job_in(folder.path);
  write_bytes(job.input, mixed_input(3000));
  int kills = 0;
  for (bool done = false; !done;) {
    const pid_t child = ::fork();
    if (child == 0) {
      ThreadedHandler handler(3);
      ::_exit(run_batch(job, handler).ok() ? 0 : 1);
    }
    const int64_t before = std::filesystem::exists(job.output) ? std::filesystem::file_size(job.output) : 0;
    const auto more = static_cast<int64_t>(random() % 60'000);
    int status = 0;
    std::error_code ignored;
    while (!done &&
           static_cast<int64_t>(std::filesystem::file_size(job.output, ignored) + 1) < before + more) {
      done = ::waitpid(child, &status, WNOHANG) == child;
    }
    if (done) {
      EXPECT_EQ(status, 0);
    } else {
      ::kill(child, SIGKILL);
      ::waitpid(child, &status, 0);
      done = WIFEXITED(status);  // it was faster
      ++kills;
    }
  }
  std::cout << kills << " kills\n";
  expect_each_once(job, 3000);
}

TEST(Crash, what_a_crash_may_leave_is_cut_and_what_it_cannot_is_refused) {
  const TemporaryFolder folder;
  const std::string path = folder.file("results");
  const std::string a = R"({"id":"batch_req_1","custom_id":"a"})"
                        "\n";
  const std::string b = R"({"id":"batch_req_2","custom_id":"b"})"
                        "\n";
  const auto recover = [&](const std::string& bytes) -> Result<std::string> {
    write_bytes(path, bytes);
    ResultFile file = TRY(ResultFile::open(path));
    TRY(file.recover(kResultStart, kMaxLine, [](std::string_view) -> Status { return {}; }));
    return read_bytes(path);
  };
  for (size_t kept = 1; kept < b.size(); ++kept) EXPECT_EQ(*recover(a + b.substr(0, kept)), a);
  for (size_t kept = 1; kept < a.size(); ++kept) EXPECT_EQ(*recover(a.substr(0, kept)), "");
  const std::string zeros(5000, '\0');
  EXPECT_EQ(*recover(a + zeros), a);
  EXPECT_EQ(*recover(a + b.substr(0, 9) + zeros + "\n" + a), a);
  EXPECT_EQ(*recover(a + zeros + "\"}\n" + b), a);
  EXPECT_EQ(*recover(a + b), a + b);
  EXPECT_EQ(*recover(""), "");
  for (const std::string& foreign :
       {std::string("hello"), std::string("hello\n"), a + "hello\n", a + "hello", zeros, zeros + "\n" + a,
        "#!/bin/sh" + zeros, std::string("{\"id\":\"chat\"}\n"), a + "\n", std::string("\n")}) {
    EXPECT_FALSE(recover(foreign).ok()) << foreign.substr(0, 60);
    EXPECT_EQ(read_bytes(path), foreign);
  }
}

TEST(Crash, a_file_of_results_belongs_to_one_run_at_a_time) {
  const TemporaryFolder folder;
  const BatchJob job = job_in(folder.path);
  write_bytes(job.input, mixed_input(3));
  const auto held = ResultFile::open(job.output);
  ASSERT_TRUE(held.ok());
  ThreadedHandler handler(1);
  EXPECT_EQ(run_batch(job, handler).error().code, ErrorCode::kBusy);
}

// Runs a job in a child where files, or the disk, are too small, and what comes of it; 77: cannot be done
// here.
int run_limited(const BatchJob& job, const std::function<bool()>& limit) {
  return in_child([&] {
    if (!limit()) return 77;
    ThreadedHandler handler(2);
    const auto outcome = run_batch(job, handler);
    if (outcome.ok()) return 0;
    return outcome.error().code == ErrorCode::kLimit ? 1 : 2;
  });
}

TEST(Crash, a_write_that_fails_half_way_leaves_whole_lines_and_the_job_can_be_taken_up) {
  const TemporaryFolder folder;
  const BatchJob job = job_in(folder.path);
  write_bytes(job.input, mixed_input(200));
  for (rlim_t bytes = 1000; bytes < 12'000; bytes += 997) {
    const int status = run_limited(job, [&] {
      const rlimit limit{bytes, RLIM_INFINITY};
      return std::signal(SIGXFSZ, SIG_IGN) != SIG_ERR && ::setrlimit(RLIMIT_FSIZE, &limit) == 0;
    });
    EXPECT_EQ(status, 1);
    const std::string output = read_bytes(job.output);
    EXPECT_LE(output.size(), bytes);
    EXPECT_GT(output.size() + 997, bytes - 997);  // it went on from where it was
    EXPECT_EQ(output.back(), '\n');
    EXPECT_GT(read_lines(job.output).size(), 0);
  }
  ThreadedHandler handler(2);
  ASSERT_TRUE(run_batch(job, handler).ok());
  expect_each_once(job, 200);
}

TEST(Crash, a_full_disk_ends_the_job_with_whole_files_and_room_lets_it_finish) {
  const TemporaryFolder folder;
  const std::string disk = folder.file("disk");
  std::filesystem::create_directory(disk);
  BatchJob job = job_in(disk);
  job.input = folder.file("in.jsonl");
  write_bytes(job.input, mixed_input(2000));
  // All in one child: the small disk is gone with its name space.
  const int status = in_child([&] {
    if (!mount_small_disk(disk)) return 77;
    write_bytes(disk + "/ballast", std::string(64 << 10, 'x'));
    ThreadedHandler handler(2);
    const auto full = run_batch(job, handler);
    if (full.ok() || full.error().code != ErrorCode::kLimit) return 1;
    if (full.error().message.find("No space left") == std::string::npos) return 2;
    const auto lines = static_cast<int>(read_lines(job.output).size());
    if (lines == 0 || read_bytes(job.output).back() != '\n') return 3;
    if (run_batch(job, handler).ok()) return 4;  // still full
    if (static_cast<int>(read_lines(job.output).size()) < lines) return 5;
    std::filesystem::remove(disk + "/ballast");
    if (::mount("none", disk.c_str(), "tmpfs", MS_REMOUNT, "size=4m") != 0) return 6;
    if (!run_batch(job, handler).ok()) return 7;
    expect_each_once(job, 2000);
    return ::testing::Test::HasFailure() ? 8 : 0;
  });
  if (status == 77) GTEST_SKIP() << "no user name spaces here";
  EXPECT_EQ(status, 0);
}

TEST(Crash, results_from_dev_full_are_an_error) {
  const TemporaryFolder folder;
  BatchJob job = job_in(folder.path);
  job.output = "/dev/full";
  write_bytes(job.input, mixed_input(2));
  ThreadedHandler handler(1);
  EXPECT_EQ(run_batch(job, handler).error().message, "/dev/full: not a regular file");
}

}  // namespace
}  // namespace heed
