#include "api/web_routes.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "web/web_files.h"

namespace heed {
namespace {

using ::testing::Contains;
using ::testing::HasSubstr;
using ::testing::Pair;

struct Answer : Responder {
  void reply(int code, std::string type, std::string text, HeaderFields more) override {
    status = code;
    content_type = std::move(type);
    body = std::move(text);
    fields = std::move(more);
  }
  void start(int, std::string, HeaderFields) override { ADD_FAILURE(); }
  bool write(std::string) override { return false; }
  void end() override { ADD_FAILURE(); }

  int status = 0;
  std::string content_type, body;
  HeaderFields fields;
};

std::shared_ptr<Answer> get(const std::string& path, std::map<std::string, std::string> headers = {}) {
  Api api;  // still loading
  add_web_routes(api);
  auto answer = std::make_shared<Answer>();
  EXPECT_EQ(api.handle({.method = "GET", .path = path, .headers = std::move(headers)}, answer), nullptr);
  return answer;
}

TEST(WebRoutes, show_the_page_even_while_loading) {
  const auto page = get("/");
  EXPECT_EQ(page->status, 200);
  EXPECT_EQ(page->content_type, "text/html; charset=utf-8");
  EXPECT_THAT(page->body, HasSubstr("<title>Heed</title>"));
  EXPECT_THAT(page->fields, Contains(Pair("Content-Security-Policy", HasSubstr("default-src 'none'"))));
  EXPECT_THAT(page->fields, Contains(Pair("X-Content-Type-Options", "nosniff")));
  EXPECT_EQ(get("/app.js")->content_type, "text/javascript; charset=utf-8");
}

TEST(WebRoutes, spare_what_the_browser_has) {
  const std::string tag(find_web_file("/app.js")->etag);
  for (const std::string& known : {tag, "W/" + tag, "\"other\", " + tag, std::string("*")}) {
    const auto answer = get("/app.js", {{"if-none-match", known}});
    EXPECT_EQ(answer->status, 304) << known;
    EXPECT_EQ(answer->body, "") << known;
    EXPECT_THAT(answer->fields, Contains(Pair("ETag", tag)));
  }
  const auto changed = get("/app.js", {{"if-none-match", "\"0000000000000000\""}});
  EXPECT_EQ(changed->status, 200);
  EXPECT_EQ(changed->body, find_web_file("/app.js")->bytes);
}

}  // namespace
}  // namespace heed
