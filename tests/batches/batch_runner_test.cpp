#include "batches/batch_runner.h"

#include <gtest/gtest.h>

#include <map>
#include <set>

#include "tests/batches/fake_handler.h"

namespace heed {
namespace {

BatchJob job_in(const TemporaryFolder& folder) {
  BatchJob job;
  job.input = folder.file("in.jsonl");
  job.output = folder.file("out.jsonl");
  job.errors = folder.file("errors.jsonl");
  return job;
}

BatchOutcome must_run(const BatchJob& job, ApiHandler& handler, const std::stop_token& stop = {}) {
  const auto outcome = run_batch(job, handler, stop);
  CHECK(outcome.ok(), outcome.error().message);
  return *outcome;
}

// That the results are those of requests(count), each once, and what the echo says.
void expect_all_once(const BatchJob& job, int count) {
  std::set<std::string> ids;
  for (const Json& line : read_lines(job.output)) {
    const auto custom_id = line.at("custom_id").get<std::string>();
    EXPECT_TRUE(ids.insert(custom_id).second) << custom_id;
    EXPECT_EQ("r" + line.at("response").at("body").at("echo").at("prompt").get<std::string>(), custom_id);
    EXPECT_EQ(line.at("response").at("status_code"), 200);
    EXPECT_TRUE(line.at("error").is_null());
  }
  EXPECT_EQ(std::ssize(ids), count);
}

TEST(BatchRunner, every_request_gets_one_result_with_bounded_concurrency) {
  const TemporaryFolder folder;
  BatchJob job = job_in(folder);
  job.concurrency = 7;
  write_bytes(job.input, requests(500));
  ThreadedHandler handler(3);
  handler.allow(0);
  std::thread starter([&] {
    handler.wait_accepted(7);
    handler.allow(-1);
  });
  int64_t reports = 0;
  job.on_progress = [&](const BatchCounts&) { ++reports; };
  const BatchOutcome outcome = must_run(job, handler);
  starter.join();
  EXPECT_EQ(outcome.end, BatchEnd::kDone);
  EXPECT_EQ(outcome.counts.total, 500);
  EXPECT_EQ(outcome.counts.completed, 500);
  EXPECT_EQ(reports, 500);
  EXPECT_EQ(handler.most_at_once(), 7);
  expect_all_once(job, 500);
  EXPECT_EQ(read_bytes(job.errors), "");
}

TEST(BatchRunner, a_finished_job_run_again_does_nothing) {
  const TemporaryFolder folder;
  const BatchJob job = job_in(folder);
  write_bytes(job.input, requests(20) + "not json\n" + request_line("r3", "again"));
  ThreadedHandler handler(2);
  must_run(job, handler);
  const std::string output = read_bytes(job.output);
  const std::string errors = read_bytes(job.errors);
  const BatchOutcome again = must_run(job, handler);
  EXPECT_EQ(again.read_back, 22);
  EXPECT_EQ(again.counts.total, 22);
  EXPECT_EQ(again.counts.failed, 2);
  EXPECT_EQ(handler.accepted(), 20);
  EXPECT_EQ(read_bytes(job.output), output);
  EXPECT_EQ(read_bytes(job.errors), errors);
}

TEST(BatchRunner, lines_that_are_no_requests_become_errors_and_the_job_goes_on) {
  const TemporaryFolder folder;
  BatchJob job = job_in(folder);
  job.limits.max_line_bytes = 300;
  const std::string deep = std::string(150, '[') + std::string(140, ']');
  const std::vector<std::pair<std::string, std::string>> bad = {
      {"{\"custom_id\":", "invalid_json_line"},
      {"[]", "invalid_json_line"},
      {deep, "invalid_json_line"},
      {std::string("{\"custom_id\":\"\xff\"}"), "invalid_json_line"},
      {std::string(1000, 'x'), "line_too_long"},
      {R"({"method":"POST","url":"/v1/completions","body":{}})", "missing_required_parameter"},
      {R"({"custom_id":7,"method":"POST","url":"/v1/completions","body":{}})", "invalid_custom_id"},
      {R"({"custom_id":"","method":"POST","url":"/v1/completions","body":{}})", "invalid_custom_id"},
      {R"({"custom_id":"a","method":"GET","url":"/v1/completions","body":{}})", "invalid_method"},
      {R"({"custom_id":"b","method":"POST","url":"/v1/batches","body":{}})", "invalid_url"},
      {R"({"custom_id":"c","method":"POST","url":"/v1/completions","body":[]})", "invalid_body"},
      {R"({"custom_id":"d","method":"POST","url":"/v1/completions","body":{"stream":true}})", "invalid_body"},
      {R"({"custom_id":"e","method":"POST","url":"/v1/completions","body":{},"x":1})", "unknown_parameter"},
      {R"({"custom_id":"r1","method":"POST","url":"/v1/completions","body":{}})", "duplicate_custom_id"},
  };
  std::string input = request_line("r0", "0") + "\n" + request_line("r1", "1") + "  \r\n";
  for (const auto& [line, code] : bad) input += line + "\n";
  input += request_line("r2", "2");
  input.pop_back();  // a last line without a line break is one
  write_bytes(job.input, input);
  ThreadedHandler handler(2);
  const BatchOutcome outcome = must_run(job, handler);
  EXPECT_EQ(outcome.counts.failed, std::ssize(bad));
  expect_all_once(job, 3);
  const std::vector<Json> errors = read_lines(job.errors);
  ASSERT_EQ(errors.size(), bad.size());
  for (size_t i = 0; i < bad.size(); ++i) {
    EXPECT_EQ(errors[i].at("error").at("code"), bad[i].second) << bad[i].first;
    EXPECT_EQ(errors[i].at("id"), "batch_line_" + std::to_string(i + 5));
    EXPECT_TRUE(errors[i].at("response").is_null());
  }
  EXPECT_EQ(errors[9].at("custom_id"), "b");
  EXPECT_TRUE(errors[0].at("custom_id").is_null());
}

TEST(BatchRunner, bodies_pass_byte_for_byte_and_results_stay_one_line) {
  const TemporaryFolder folder;
  const BatchJob job = job_in(folder);
  const std::string body = R"({ "z": 1.0, "a": [1, "}\"," , {"body": 2}], "m" : "é\u00e9" })";
  write_bytes(job.input, R"({"body":{"not":"this"},"url":"/v1/completions","b\u006fdy": )" + body +
                             R"( ,"method":"POST","custom_id":"\"a\"\n"})");
  std::string seen;
  InlineHandler handler([&](const ApiRequest& request, Responder& responder) {
    seen = request.body;
    EXPECT_EQ(request.headers.at("content-type"), "application/json");
    responder.reply(200, "application/json", "{\n \"b\": 1,\r\n \"a\": \"x\\ny\"\n}\n",
                    {{"x-request-id", "q7"}});
  });
  must_run(job, handler);
  EXPECT_EQ(seen, body);
  EXPECT_EQ(read_bytes(job.output),
            R"({"id":"batch_req_1","custom_id":"\"a\"\n","response":{"status_code":200,"request_id":"q7",)"
            "\"body\":{  \"b\": 1,   \"a\": \"x\\ny\" } },\"error\":null}\n");
}

TEST(BatchRunner, a_priority_is_put_into_bodies_that_say_none) {
  const TemporaryFolder folder;
  BatchJob job = job_in(folder);
  job.rules.priority = 1000;
  std::string input;
  for (const char* body : {R"({"a":1})", R"({ })", R"({"priority":3})"}) {
    input += R"({"custom_id":")" + std::to_string(input.size()) +
             R"(","method":"POST","url":"/v1/completions","body":)" + body + "}\n";
  }
  write_bytes(job.input, input);
  std::vector<std::string> seen;
  InlineHandler handler([&](const ApiRequest& request, Responder& responder) {
    seen.push_back(request.body);
    responder.reply(200, "application/json", "{}");
  });
  must_run(job, handler);
  EXPECT_EQ(seen, (std::vector<std::string>{R"({"priority":1000,"a":1})", R"({"priority":1000 })",
                                            R"({"priority":3})"}));
}

TEST(BatchRunner, without_an_error_file_everything_is_in_the_output) {
  const TemporaryFolder folder;
  BatchJob job = job_in(folder);
  job.errors.clear();
  write_bytes(job.input, request_line("a", "1") + "{\n" + request_line("b", "2"));
  InlineHandler handler([](const ApiRequest& request, Responder& responder) {
    const bool bad = request.body.find('2') != std::string::npos;
    responder.reply(bad ? 400 : 200, "text/plain", "no JSON\n");
  });
  const BatchOutcome outcome = must_run(job, handler);
  EXPECT_EQ(outcome.counts.completed, 1);
  EXPECT_EQ(outcome.counts.failed, 2);
  std::map<std::string, Json> lines;
  for (Json& line : read_lines(job.output)) lines[line.at("id")] = line;
  EXPECT_EQ(lines.at("batch_req_1").at("response").at("body"), "no JSON\n");
  EXPECT_EQ(lines.at("batch_line_2").at("error").at("code"), "invalid_json_line");
  EXPECT_EQ(lines.at("batch_req_3").at("response").at("status_code"), 400);
  EXPECT_EQ(must_run(job, handler).read_back, 3);
}

TEST(BatchRunner, answers_that_are_missing_streamed_or_too_long_are_errors_of_their_requests) {
  const TemporaryFolder folder;
  BatchJob job = job_in(folder);
  job.max_result_bytes = 1000;
  write_bytes(job.input, requests(4));
  InlineHandler handler([](const ApiRequest& request, Responder& responder) {
    if (request.body.find('0') != std::string::npos) return;
    if (request.body.find('1') != std::string::npos) {
      responder.start(200, "text/event-stream");
      EXPECT_FALSE(responder.write("data: 1\n\n"));
      return responder.end();
    }
    if (request.body.find('2') != std::string::npos)
      return responder.reply(200, "application/json", "\"" + std::string(1000, 'x') + "\"");
    responder.reply(200, "application/json", "1");
    responder.reply(200, "application/json", "2");  // one too many
  });
  EXPECT_EQ(must_run(job, handler).counts.completed, 1);
  std::map<std::string, Json> errors;
  for (Json& line : read_lines(job.errors)) errors[line.at("custom_id")] = line;
  EXPECT_EQ(errors.at("r0").at("response").at("status_code"), 500);
  EXPECT_EQ(errors.at("r1").at("error").at("code"), "streamed_answer");
  EXPECT_EQ(errors.at("r2").at("error").at("code"), "answer_too_long");
  EXPECT_EQ(read_lines(job.output).at(0).at("response").at("body"), 1);
}

TEST(BatchRunner, a_busy_server_is_asked_again_and_a_stuck_one_ends_the_job_not_its_requests) {
  const TemporaryFolder folder;
  BatchJob job = job_in(folder);
  write_bytes(job.input, requests(30));
  std::map<std::string, int> asked;
  InlineHandler handler([&](const ApiRequest& request, Responder& responder) {
    const int times = ++asked[request.body];
    responder.reply(times == 1 ? 429 : times == 2 ? 503 : 200, "application/json", echo(request));
  });
  EXPECT_EQ(must_run(job, handler).counts.completed, 30);
  expect_all_once(job, 30);

  const TemporaryFolder other;
  BatchJob stuck = job_in(other);
  stuck.busy_seconds = 0;
  write_bytes(stuck.input, requests(30));
  InlineHandler refusing(
      [](const ApiRequest&, Responder& responder) { responder.reply(503, "text/plain", ""); });
  EXPECT_EQ(run_batch(stuck, refusing).error().code, ErrorCode::kBusy);
  EXPECT_EQ(read_bytes(stuck.errors) + read_bytes(stuck.output), "");
}

TEST(BatchRunner, a_stopped_job_cancels_what_is_under_way_and_is_taken_up_again) {
  const TemporaryFolder folder;
  BatchJob job = job_in(folder);
  job.concurrency = 10;
  write_bytes(job.input, requests(100));
  ThreadedHandler handler(3);
  handler.allow(25);
  std::stop_source stop;
  std::thread stopper([&] {
    handler.wait_accepted(35);  // 25 answered and 10 held up
    stop.request_stop();
  });
  const BatchOutcome outcome = must_run(job, handler, stop.get_token());
  stopper.join();
  EXPECT_EQ(outcome.end, BatchEnd::kStopped);
  EXPECT_EQ(outcome.counts.completed, 25);
  EXPECT_EQ(handler.cancelled(), 10);
  EXPECT_EQ(std::ssize(read_lines(job.output)), 25);
  handler.allow(-1);
  EXPECT_EQ(must_run(job, handler).counts.completed, 100);
  expect_all_once(job, 100);
}

TEST(BatchRunner, at_the_deadline_it_ends_and_what_is_left_can_be_refused) {
  const TemporaryFolder folder;
  BatchJob job = job_in(folder);
  write_bytes(job.input, requests(9) + "{\n");
  ThreadedHandler handler(1);
  job.deadline = 1;  // long ago
  EXPECT_EQ(must_run(job, handler).end, BatchEnd::kDeadline);
  EXPECT_EQ(handler.accepted(), 0);
  job.deadline.reset();
  job.refuse = LineError{"batch_expired", "too late", ""};
  const BatchOutcome outcome = must_run(job, handler);
  EXPECT_EQ(outcome.end, BatchEnd::kDone);
  EXPECT_EQ(outcome.counts.failed, 10);
  EXPECT_EQ(handler.accepted(), 0);
  EXPECT_EQ(read_lines(job.errors).at(3).at("error").at("code"), "batch_expired");
  EXPECT_EQ(read_lines(job.errors).at(9).at("error").at("code"), "invalid_json_line");
}

TEST(BatchRunner, limits_end_the_job_by_name) {
  const TemporaryFolder folder;
  BatchJob job = job_in(folder);
  ThreadedHandler handler(1);
  EXPECT_EQ(run_batch(job, handler).error().code, ErrorCode::kNotFound);
  job.limits.max_requests = 5;
  write_bytes(job.input, requests(6));
  const auto outcome = run_batch(job, handler);
  EXPECT_EQ(outcome.error().code, ErrorCode::kLimit);
  EXPECT_NE(outcome.error().message.find("more requests than the 5"), std::string::npos);
}

TEST(BatchRunner, input_is_checked_without_running_it) {
  const TemporaryFolder folder;
  const BatchJob job = job_in(folder);
  write_bytes(job.input, requests(3) + "{\n" + request_line("r1", "1") + "[]\n");
  const auto check = check_batch(job, 2);
  ASSERT_TRUE(check.ok());
  EXPECT_EQ(check->requests, 5);
  ASSERT_EQ(check->problems.size(), 2);
  EXPECT_EQ(check->problems[0].line, 4);
  EXPECT_EQ(check->problems[1].error.code, "duplicate_custom_id");
  EXPECT_FALSE(std::filesystem::exists(job.output));
}

}  // namespace
}  // namespace heed
