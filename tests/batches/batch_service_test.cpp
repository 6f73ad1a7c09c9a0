#include "batches/batch_service.h"

#include <gtest/gtest.h>

#include <csignal>
#include <map>
#include <random>
#include <set>

#include "tests/batches/batch_server.h"
#include "tests/batches/child_process.h"

namespace heed {
namespace {

std::vector<Json> lines_of(const std::string& text) {
  const TemporaryFolder folder;
  write_bytes(folder.file("lines"), text);
  return read_lines(folder.file("lines"));
}

std::set<std::string> custom_ids(const std::string& text) {
  std::set<std::string> ids;
  for (const Json& line : lines_of(text)) {
    EXPECT_TRUE(ids.insert(line.at("custom_id")).second) << line;
  }
  return ids;
}

TEST(BatchService, a_batch_goes_from_upload_to_results) {
  const TemporaryFolder folder;
  ThreadedHandler model(2);
  BatchServer server(folder.path, model);
  const Json file = server.upload(requests(50), R"(my \"file\".jsonl)").json();
  EXPECT_EQ(file.at("object"), "file");
  EXPECT_EQ(file.at("filename"), "my \"file\".jsonl");
  EXPECT_EQ(file.at("purpose"), "batch");
  EXPECT_EQ(file.at("bytes"), requests(50).size());
  EXPECT_EQ(server.content(file.at("id")), requests(50));

  const Json body = {{"input_file_id", file.at("id")},
                     {"endpoint", "/v1/completions"},
                     {"completion_window", "24h"},
                     {"metadata", {{"who", "me"}}}};
  const Json made = server.call("POST", "/v1/batches", to_text(body)).json();
  EXPECT_EQ(made.at("status"), "validating");
  EXPECT_EQ(made.at("metadata").at("who"), "me");
  EXPECT_EQ(made.at("expires_at").get<int64_t>() - made.at("created_at").get<int64_t>(), 86'400);
  EXPECT_TRUE(made.at("output_file_id").is_null());

  const Json batch = server.wait_status(made.at("id"), "completed");
  EXPECT_EQ(batch.at("status"), "completed");
  EXPECT_EQ(batch.at("request_counts"), (Json{{"total", 50}, {"completed", 50}, {"failed", 0}}));
  EXPECT_TRUE(batch.at("error_file_id").is_null());
  EXPECT_TRUE(batch.at("errors").is_null());
  for (const char* time : {"created_at", "in_progress_at", "finalizing_at", "completed_at"}) {
    EXPECT_GT(batch.at(time).get<int64_t>(), 1'600'000'000) << time;
  }
  const std::string output = server.content(batch.at("output_file_id"));
  EXPECT_EQ(custom_ids(output).size(), 50);
  const auto info = server.get("/v1/files/" + batch.at("output_file_id").get<std::string>()).json();
  EXPECT_EQ(info.at("purpose"), "batch_output");
  EXPECT_EQ(info.at("bytes"), output.size());
  EXPECT_EQ(info.at("filename"), batch.at("id").get<std::string>() + "_output.jsonl");
}

TEST(BatchService, failed_requests_are_in_the_error_file) {
  const TemporaryFolder folder;
  InlineHandler model([](const ApiRequest& request, Responder& responder) {
    responder.reply(request.body.find('1') != std::string::npos ? 400 : 200, "application/json", "{}");
  });
  BatchServer server(folder.path, model);
  const Json batch = server.wait_status(server.created(requests(3)), "completed");
  EXPECT_EQ(batch.at("request_counts"), (Json{{"total", 3}, {"completed", 2}, {"failed", 1}}));
  EXPECT_EQ(custom_ids(server.content(batch.at("error_file_id"))), std::set<std::string>{"r1"});
  EXPECT_EQ(custom_ids(server.content(batch.at("output_file_id"))), (std::set<std::string>{"r0", "r2"}));
}

TEST(BatchService, an_input_with_mistakes_fails_before_anything_runs) {
  const TemporaryFolder folder;
  ThreadedHandler model(1);
  BatchServer server(folder.path, model, {.max_problems = 3, .max_requests = 20});
  const std::string chat = R"({"custom_id":"x","method":"POST","url":"/v1/chat/completions","body":{}})"
                           "\n";
  const Json batch = server.wait_status(
      server.created(requests(2) + "{\n" + chat + request_line("r1", "1") + "[]\n"), "failed");
  EXPECT_EQ(batch.at("errors").at("object"), "list");
  const Json problems = batch.at("errors").at("data");
  ASSERT_EQ(problems.size(), 3);
  EXPECT_EQ(problems[0].at("code"), "invalid_json_line");
  EXPECT_EQ(problems[0].at("line"), 3);
  EXPECT_EQ(problems[1].at("code"), "invalid_url");  // the batch's endpoint is another
  EXPECT_EQ(problems[2].at("code"), "duplicate_custom_id");
  EXPECT_EQ(problems[2].at("param"), "custom_id");
  EXPECT_TRUE(batch.at("output_file_id").is_null());

  const Json empty = server.wait_status(server.created("\n\n"), "failed");
  EXPECT_EQ(empty.at("errors").at("data").at(0).at("code"), "empty_file");
  const Json many = server.wait_status(server.created(requests(21)), "failed");
  EXPECT_EQ(many.at("errors").at("data").at(0).at("code"), "too_many_requests");
  EXPECT_EQ(many.at("errors").at("data").at(0).at("message").get<std::string>().find('/'), std::string::npos);
  EXPECT_EQ(model.accepted(), 0);
}

TEST(BatchService, a_cancelled_batch_keeps_what_is_done_and_names_the_rest) {
  const TemporaryFolder folder;
  ThreadedHandler model(2);
  model.allow(5);
  BatchServer server(folder.path, model, {.concurrency = 4});
  const std::string id = server.created(requests(40));
  model.wait_accepted(9);
  const Reply cancelling = server.call("POST", "/v1/batches/" + id + "/cancel");
  EXPECT_EQ(cancelling.json().at("status"), "cancelling");
  const Json batch = server.wait_status(id, "cancelled");
  EXPECT_EQ(batch.at("request_counts"), (Json{{"total", 40}, {"completed", 5}, {"failed", 35}}));
  auto ids = custom_ids(server.content(batch.at("output_file_id")));
  EXPECT_EQ(ids.size(), 5);
  const std::string errors = server.content(batch.at("error_file_id"));
  EXPECT_EQ(lines_of(errors).at(0).at("error").at("code"), "batch_cancelled");
  ids.merge(custom_ids(errors));
  EXPECT_EQ(ids.size(), 40);
  EXPECT_EQ(model.cancelled(), 4);
  EXPECT_EQ(server.call("POST", "/v1/batches/" + id + "/cancel").status, 409);
}

TEST(BatchService, a_batch_that_waits_can_be_cancelled) {
  const TemporaryFolder folder;
  ThreadedHandler model(1);
  model.allow(0);
  BatchServer server(folder.path, model, {.concurrency = 2});
  const std::string first = server.created(requests(3));
  model.wait_accepted(2);
  const std::string second = server.created(requests(4));
  server.wait_status(second, "in_progress");
  server.call("POST", "/v1/batches/" + second + "/cancel");
  model.allow(-1);
  EXPECT_EQ(server.wait_status(first, "completed").at("request_counts").at("completed"), 3);
  const Json batch = server.wait_status(second, "cancelled");
  EXPECT_EQ(batch.at("request_counts"), (Json{{"total", 4}, {"completed", 0}, {"failed", 4}}));
  EXPECT_TRUE(batch.at("output_file_id").is_null());
}

TEST(BatchService, a_batch_whose_window_is_over_expires_with_what_it_has) {
  const TemporaryFolder folder;
  ThreadedHandler model(2);
  model.allow(3);
  BatchServer server(folder.path, model, {.concurrency = 5, .window_seconds = 1});
  const std::string id = server.created(requests(10));
  const Json batch = server.wait_status(id, "expired");
  const int64_t completed = batch.at("request_counts").at("completed");
  EXPECT_LE(completed, 3);
  EXPECT_EQ(batch.at("request_counts").at("failed"), 10 - completed);
  const auto errors = lines_of(server.content(batch.at("error_file_id")));
  EXPECT_EQ(std::ssize(errors), 10 - completed);
  EXPECT_EQ(errors.at(0).at("error").at("code"), "batch_expired");
}

TEST(BatchService, requests_with_mistakes_are_refused_by_name) {
  const TemporaryFolder folder;
  ThreadedHandler model(1);
  BatchServer server(folder.path, model, {.max_file_bytes = 1000, .max_filename_bytes = 20});
  const std::string file = server.uploaded(requests(1));
  const auto refuse = [&](const Json& changes, const std::string& param) {
    Json body = {{"input_file_id", file}, {"endpoint", "/v1/completions"}, {"completion_window", "24h"}};
    for (const auto& [name, value] : changes.items()) body[name] = value;
    const Reply reply = server.call("POST", "/v1/batches", to_text(body));
    EXPECT_EQ(reply.status, 400) << changes;
    EXPECT_EQ(reply.json().at("error").at("param"), param) << reply.text;
  };
  refuse({{"endpoint", "/v1/batches"}}, "endpoint");
  refuse({{"endpoint", nullptr}}, "endpoint");
  refuse({{"completion_window", "1h"}}, "completion_window");
  refuse({{"input_file_id", "file-00000000000000000000000000000000"}}, "input_file_id");
  refuse({{"input_file_id", "../lock"}}, "input_file_id");
  refuse({{"input_file_id", 7}}, "input_file_id");
  refuse({{"metadata", {{"a", 1}}}}, "metadata");
  refuse({{"metadata", {{"a", std::string(513, 'x')}}}}, "metadata");
  refuse({{"output_expires_after", Json::object()}}, "output_expires_after");
  refuse({{"colour", "red"}}, "colour");
  Json many = Json::object();
  for (int i = 0; i < 17; ++i) many["k" + std::to_string(i)] = "v";
  refuse({{"metadata", many}}, "metadata");
  EXPECT_EQ(server.call("POST", "/v1/batches", "{").status, 400);
  EXPECT_EQ(server.call("POST", "/v1/batches", "{}", "text/plain").status, 415);
  EXPECT_EQ(server.call("POST", "/v1/batches", "{\"x\":\"" + std::string(70'000, 'x') + "\"}").status, 413);

  EXPECT_EQ(server.upload(std::string(1001, 'x')).status, 413);
  EXPECT_EQ(server.upload("x", "in.jsonl", "fine-tune").status, 400);
  EXPECT_EQ(server.upload("x", "").status, 400);
  EXPECT_EQ(server.upload("x", "a\tb").status, 400);
  EXPECT_EQ(server.upload("x", "\xff").status, 400);
  EXPECT_EQ(server.upload("x", std::string(21, 'x')).status, 400);
  EXPECT_EQ(server.call("POST", "/v1/files", "x", "application/json").status, 400);
  for (const char* query :
       {"limit=0", "limit=101", "limit=1x", "after=x", "colour=red", "limit=%4", "limit=1&limit=2"}) {
    EXPECT_EQ(server.get("/v1/batches", query).status, 400) << query;
  }
  EXPECT_EQ(server.get("/v1/batches", std::string(5000, 'x')).status, 400);
  EXPECT_EQ(server.call("PUT", "/v1/files").status, 405);
}

TEST(BatchService, ids_are_names_and_never_paths) {
  const TemporaryFolder folder;
  ThreadedHandler model(1);
  const std::string data = folder.file("data");
  BatchServer server(data, model);
  write_bytes(folder.file("secret"), "secret");
  const std::string file = server.uploaded("x");
  EXPECT_EQ(file.size(), 5 + 32);
  for (const std::string& id :
       {std::string("../../secret"), std::string(".."), std::string("../lock"), data + "/lock",
        file + "/../" + file, file + ".json", file.substr(0, 36), file + "0", "file-" + std::string(32, 'F'),
        std::string(5000, 'a'), std::string("file-\0", 6), std::string("%2e%2e%2flock"),
        "batch_" + file.substr(5)}) {
    // As a route sees it and, past the routes, as the service would.
    EXPECT_EQ(server.get("/v1/files/" + id).status, 404) << id;
    EXPECT_EQ(server.call("DELETE", "/v1/files/" + id).status, 404) << id;
    EXPECT_EQ(std::get<ApiError>(server.service->content(id)).status, 404) << id;
    EXPECT_EQ(std::get<ApiError>(server.service->remove_file(id)).status, 404) << id;
    EXPECT_EQ(std::get<ApiError>(server.service->batch(id)).status, 404) << id;
    EXPECT_EQ(std::get<ApiError>(server.service->cancel_batch(id)).status, 404) << id;
  }
  EXPECT_EQ(read_bytes(folder.file("secret")), "secret");
  EXPECT_EQ(server.content(file), "x");
}

TEST(BatchService, lists_come_in_pages) {
  const TemporaryFolder folder;
  ThreadedHandler model(1);
  BatchServer server(folder.path, model);
  std::vector<std::string> made;
  for (int i = 0; i < 7; ++i) made.push_back(server.uploaded(std::to_string(i)));
  const auto walk = [&](const std::string& path, const std::string& query) {
    std::vector<std::string> ids;
    std::string after;
    for (bool more = true; more;) {
      const Json page = server.get(path, query + after).json();
      for (const Json& item : page.at("data")) ids.push_back(item.at("id"));
      more = page.at("has_more");
      EXPECT_LE(page.at("data").size(), 3);
      EXPECT_EQ(page.at("last_id"), ids.back());
      after = "&after=" + ids.back();
    }
    return ids;
  };
  EXPECT_EQ(walk("/v1/files", "limit=3&order=asc"), made);
  EXPECT_EQ(walk("/v1/files", "purpose=batch&limit=2"), std::vector<std::string>(made.rbegin(), made.rend()));
  EXPECT_EQ(server.get("/v1/files").json().at("data").size(), 7);
  const Json none = server.get("/v1/files", "purpose=batch_output").json();
  EXPECT_EQ(none.at("data").size(), 0);
  EXPECT_EQ(none.at("has_more"), false);
  EXPECT_TRUE(none.at("first_id").is_null());

  std::vector<std::string> batches;
  for (int i = 0; i < 5; ++i) batches.push_back(server.created(requests(1)));
  EXPECT_EQ(walk("/v1/batches", "limit=2"), std::vector<std::string>(batches.rbegin(), batches.rend()));
}

TEST(BatchService, files_in_use_stay_and_others_can_be_deleted) {
  const TemporaryFolder folder;
  ThreadedHandler model(1);
  model.allow(0);
  BatchServer server(folder.path, model);
  const std::string file = server.uploaded(requests(1));
  const std::string id = server.create(file).json().at("id");
  EXPECT_EQ(server.call("DELETE", "/v1/files/" + file).status, 409);
  model.allow(-1);
  server.wait_status(id, "completed");
  const Reply deleted = server.call("DELETE", "/v1/files/" + file);
  EXPECT_EQ(deleted.json(), (Json{{"id", file}, {"object", "file"}, {"deleted", true}}));
  EXPECT_EQ(server.get("/v1/files/" + file + "/content").status, 404);
  EXPECT_EQ(server.call("DELETE", "/v1/files/" + file).status, 404);
  EXPECT_FALSE(std::filesystem::exists(folder.file("files/" + file)));
  EXPECT_EQ(server.batch(id).at("status"), "completed");
}

TEST(BatchService, what_is_kept_is_bounded) {
  const TemporaryFolder folder;
  ThreadedHandler model(1);
  model.allow(0);
  BatchServer server(folder.path, model,
                     {.max_total_bytes = 1000, .max_files = 6, .max_open_batches = 2, .max_batches = 3});
  const std::string file = server.uploaded(requests(1));
  std::vector<std::string> ids;
  for (int i = 0; i < 2; ++i) ids.push_back(server.create(file).json().at("id"));
  EXPECT_EQ(server.create(file).status, 429);
  model.allow(-1);
  for (const std::string& id : ids) server.wait_status(id, "completed");
  for (int i = 0; i < 2; ++i) {
    ids.push_back(server.create(file).json().at("id"));
    server.wait_status(ids.back(), "completed");
  }
  EXPECT_EQ(server.get("/v1/batches/" + ids[0]).status, 404);  // the oldest is forgotten
  EXPECT_EQ(server.batch(ids[1]).at("status"), "completed");
  EXPECT_EQ(server.upload(std::string(1000, 'x')).code(), "storage_full");
  EXPECT_EQ(server.upload("x").status, 200);
  EXPECT_EQ(server.upload("x").status, 507);  // 6 files: 2 uploaded, 4 of results
}

TEST(BatchService, requests_of_batches_can_have_a_low_priority) {
  const TemporaryFolder folder;
  std::string seen;
  InlineHandler model([&](const ApiRequest& request, Responder& responder) {
    seen = request.body;
    responder.reply(200, "application/json", "{}");
  });
  BatchServer server(folder.path, model, {.priority = 1000});
  server.wait_status(server.created(requests(1)), "completed");
  EXPECT_EQ(seen, R"({"priority":1000,"prompt":"0"})");
}

TEST(BatchService, without_a_folder_the_routes_say_so) {
  Api api;
  api.set_state(Api::State::kReady);
  add_batch_routes(api, nullptr);
  for (const auto& [method, path] : std::map<std::string, std::string>{
           {"POST", "/v1/files"}, {"GET", "/v1/batches/x"}, {"DELETE", "/v1/files/x"}}) {
    auto responder = std::make_shared<PromisedReply>();
    api.handle({.method = method, .path = path}, responder);
    const Reply reply = responder->promise.get_future().get();
    EXPECT_EQ(reply.status, 501);
    EXPECT_NE(reply.text.find("--data-dir"), std::string::npos);
  }
}

TEST(BatchService, a_folder_belongs_to_one_server_and_damage_is_named) {
  const TemporaryFolder folder;
  ThreadedHandler model(1);
  std::string id;
  {
    BatchServer server(folder.path, model);
    EXPECT_EQ(BatchService::open(folder.path, model).error().code, ErrorCode::kBusy);
    id = server.created(requests(1));
    server.wait_status(id, "completed");
  }
  const std::string record = folder.file("batches/" + id + ".json");
  const std::string good = read_bytes(record);
  for (const std::string& bad :
       {std::string("{"), std::string("{}"), good + good, "{\"id\":\"batch_" + std::string(32, '0') + "\"}",
        std::string(good).replace(good.find("file-"), 5, "../x-")}) {
    write_bytes(record, bad);
    const auto opened = BatchService::open(folder.path, model);
    ASSERT_FALSE(opened.ok()) << bad;
    EXPECT_NE(opened.error().message.find(id), std::string::npos) << opened.error().message;
  }
  write_bytes(record, good);
  EXPECT_EQ(BatchServer(folder.path, model).batch(id).at("status"), "completed");
}

// --- restarts ---

TEST(BatchService, a_restart_in_each_status_leads_to_the_same_end) {
  const TemporaryFolder folder;
  std::string id;
  {
    ThreadedHandler model(1);
    model.allow(5);
    BatchServer server(folder.file("stopped"), model, {.concurrency = 3});
    id = server.created(requests(20));
    model.wait_accepted(8);
  }  // a batch in progress with 5 results
  const auto restart = [&](const std::string& status, const std::string& expiring, const std::string& end) {
    const std::string copy = folder.file(status + expiring);
    std::filesystem::copy(folder.file("stopped"), copy, std::filesystem::copy_options::recursive);
    const std::string record = copy + "/batches/" + id + ".json";
    Json json = *parse_json(read_bytes(record), "record");
    EXPECT_EQ(json.at("status"), "in_progress");
    json["status"] = status;
    json["expiring"] = expiring == "true";
    write_bytes(record, to_text(json));
    write_bytes(record + ".tmp", "{half");
    ThreadedHandler model(2);
    BatchServer server(copy, model);
    const Json batch = server.wait_status(id, end);
    EXPECT_FALSE(std::filesystem::exists(record + ".tmp"));
    auto ids = custom_ids(server.content(batch.at("output_file_id")));
    if (!batch.at("error_file_id").is_null())
      ids.merge(custom_ids(server.content(batch.at("error_file_id"))));
    return std::pair(batch.at("request_counts"), ids.size());
  };
  const auto all = std::pair(Json{{"total", 20}, {"completed", 20}, {"failed", 0}}, size_t{20});
  const auto some = std::pair(Json{{"total", 20}, {"completed", 5}, {"failed", 15}}, size_t{20});
  EXPECT_EQ(restart("validating", "false", "completed"), all);
  EXPECT_EQ(restart("in_progress", "false", "completed"), all);
  EXPECT_EQ(restart("cancelling", "false", "cancelled"), some);
  EXPECT_EQ(restart("finalizing", "true", "expired"), some);
  EXPECT_EQ(restart("finalizing", "false", "completed").second, 5);  // what there is becomes the files
}

TEST(BatchService, what_a_crash_left_of_uploads_is_removed_and_nothing_else) {
  const TemporaryFolder folder;
  ThreadedHandler model(1);
  std::string file;
  { file = BatchServer(folder.path, model).uploaded("kept"); }
  const std::string torn = "file-" + std::string(32, '0');
  write_bytes(folder.file("files/" + torn), "half of an upl");
  write_bytes(folder.file("files/" + torn + ".json.tmp"), "{");
  write_bytes(folder.file("files/notes.txt"), "somebody's");
  BatchServer server(folder.path, model);
  EXPECT_EQ(server.get("/v1/files").json().at("data").size(), 1);
  EXPECT_EQ(server.content(file), "kept");
  EXPECT_FALSE(std::filesystem::exists(folder.file("files/" + torn)));
  EXPECT_FALSE(std::filesystem::exists(folder.file("files/" + torn + ".json.tmp")));
  EXPECT_EQ(read_bytes(folder.file("files/notes.txt")), "somebody's");
}

TEST(BatchService, a_server_killed_again_and_again_ends_every_batch_with_each_result_once) {
  const auto seed = std::random_device()();
  std::cout << "seed " << seed << "\n";
  std::mt19937 random(seed);
  for (int round = 0; round < 3; ++round) {
    const TemporaryFolder folder;
    std::vector<std::string> ids;
    {
      ThreadedHandler model(1);
      model.allow(0);
      BatchServer server(folder.path, model);
      for (int i = 0; i < 3; ++i) ids.push_back(server.created(requests(60)));
    }
    int kills = 0;
    for (bool done = false; !done;) {
      const int deadly = static_cast<int>(random() % 80);
      const int status = in_child([&] {
        ThreadedHandler model(3, [&](int answered) {
          if (answered == deadly) ::kill(::getpid(), SIGKILL);
        });
        BatchServer server(folder.path, model);
        for (const std::string& id : ids) {
          if (server.batch(id).at("status") != "completed") server.wait_status(id, "completed");
        }
        ::_exit(0);  // while it is running
        return 1;
      });
      ASSERT_TRUE(status == 0 || status == -SIGKILL) << status;
      done = status == 0;
      kills += done ? 0 : 1;
    }
    std::cout << kills << " kills\n";
    ThreadedHandler model(1);
    BatchServer server(folder.path, model);
    for (const std::string& id : ids) {
      const Json batch = server.batch(id);
      EXPECT_EQ(batch.at("request_counts"), (Json{{"total", 60}, {"completed", 60}, {"failed", 0}}));
      EXPECT_EQ(custom_ids(server.content(batch.at("output_file_id"))).size(), 60);
    }
    EXPECT_EQ(server.get("/v1/files").json().at("data").size(), 6);
    EXPECT_EQ(model.accepted(), 0);
  }
}

TEST(BatchService, on_a_full_disk_batches_wait_and_uploads_are_refused) {
  const TemporaryFolder folder;
  const int status = in_child([&] {
    if (!mount_small_disk(folder.path)) return 77;
    ThreadedHandler model(2);
    BatchServer server(folder.path, model, {.retry_seconds = 0.01});
    const std::string input = server.uploaded(requests(300));
    const std::string ballast = folder.file("files/ballast");
    // All but some pages: enough for records, not for the results.
    write_bytes(ballast, std::string(80 << 10, 'x'));
    const std::string id = server.create(input).json().at("id");
    server.wait_log("No space left");
    const Reply refused = server.upload(std::string(100 << 10, 'x'));
    if (refused.status != 507 || refused.code() != "storage_full") return 1;
    if (refused.text.find(folder.path) != std::string::npos) return 2;
    const std::string now = server.batch(id).at("status");
    if (now != "in_progress") return 3;
    if (::mount("none", folder.path.c_str(), "tmpfs", MS_REMOUNT, "size=4m") != 0) return 4;
    const Json batch = server.wait_status(id, "completed");
    if (batch.at("request_counts").at("completed") != 300 || !batch.at("errors").is_null()) return 5;
    if (custom_ids(server.content(batch.at("output_file_id"))).size() != 300) return 6;
    return ::testing::Test::HasFailure() ? 7 : 0;
  });
  if (status == 77) GTEST_SKIP() << "no user name spaces here";
  EXPECT_EQ(status, 0);
}

}  // namespace
}  // namespace heed
