#include "web/web_files.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <set>
#include <string>

#include "base/file.h"

namespace heed {
namespace {

using ::testing::ContainsRegex;
using ::testing::HasSubstr;
using ::testing::MatchesRegex;
using ::testing::Not;

TEST(WebFiles, hold_the_bytes_of_the_page) {
  for (const WebFile& file : web_files()) {
    const std::string name = file.path == "/" ? "/index.html" : std::string(file.path);
    EXPECT_EQ(file.bytes, read_file(HEED_SOURCE_DIR "/src/web/page" + name).value()) << name;
  }
}

TEST(WebFiles, are_found_by_their_path) {
  ASSERT_NE(find_web_file("/"), nullptr);
  EXPECT_EQ(find_web_file("/")->content_type, "text/html; charset=utf-8");
  ASSERT_NE(find_web_file("/app.js"), nullptr);
  EXPECT_EQ(find_web_file("/app.js")->content_type, "text/javascript; charset=utf-8");
  EXPECT_EQ(find_web_file("/index.html"), nullptr);
  EXPECT_EQ(find_web_file(""), nullptr);
}

TEST(WebFiles, differ_in_their_etags) {
  std::set<std::string_view> etags;
  for (const WebFile& file : web_files()) {
    EXPECT_THAT(std::string(file.etag), MatchesRegex("\"[0-9a-f]{16}\""));
    etags.insert(file.etag);
  }
  EXPECT_EQ(etags.size(), web_files().size());
}

// Scripts and styles within the page would need a weaker policy than the one that is sent.
TEST(WebFiles, obey_the_content_security_policy) {
  const std::string page(find_web_file("/")->bytes);
  EXPECT_THAT(page, Not(ContainsRegex("<script[^>]*>[^<]"))) << "a script within the page";
  EXPECT_THAT(page, Not(ContainsRegex("<style|<[^>]* (style|on[a-z]+)="))) << "a style or handler";
  for (const WebFile& file : web_files()) {
    const std::string text(file.bytes);
    EXPECT_THAT(text, Not(ContainsRegex("(src|href|url|import|fetch)[=( \"']+(https?:)?//"))) << file.path;
    EXPECT_THAT(text, Not(HasSubstr("innerHTML"))) << file.path;
    EXPECT_THAT(text, Not(HasSubstr("eval("))) << file.path;
  }
}

// What stands in quotes, such as "./api.js", and ends like the name of a file.
std::set<std::string> named_files(std::string_view text) {
  std::set<std::string> names;
  for (const std::string_view ending : {".js\"", ".css\"", ".svg\""}) {
    for (size_t at = text.find(ending); at != std::string_view::npos; at = text.find(ending, at + 1)) {
      const size_t quote = text.rfind('"', at);
      std::string name(text.substr(quote + 1, at + ending.size() - quote - 2));
      names.insert(name.starts_with("./") ? name.substr(2) : name);
    }
  }
  return names;
}

TEST(WebFiles, name_only_files_that_there_are) {
  std::set<std::string> all;
  for (const WebFile& file : web_files()) {
    for (const std::string& name : named_files(file.bytes)) {
      EXPECT_NE(find_web_file("/" + name), nullptr) << name << " in " << file.path;
      all.insert(name);
    }
  }
  EXPECT_EQ(all.size() + 1, web_files().size()) << "a file that nothing names";
}

}  // namespace
}  // namespace heed
