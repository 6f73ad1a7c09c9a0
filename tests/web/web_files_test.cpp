#include "web/web_files.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <regex>
#include <set>
#include <string>

#include "base/file.h"

namespace heed {
namespace {

using ::testing::HasSubstr;
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
    EXPECT_TRUE(std::regex_match(std::string(file.etag), std::regex("\"[0-9a-f]{16}\""))) << file.etag;
    etags.insert(file.etag);
  }
  EXPECT_EQ(etags.size(), web_files().size());
}

// Scripts and styles within the page would need a weaker policy than the one that is sent.
TEST(WebFiles, obey_the_content_security_policy) {
  const std::string page(find_web_file("/")->bytes);
  EXPECT_FALSE(std::regex_search(page, std::regex("<script(?![^>]* src=)"))) << "a script within the page";
  EXPECT_FALSE(std::regex_search(page, std::regex("<style|<[^>]* (style|on[a-z]+)=")))
      << "a style or handler";
  for (const WebFile& file : web_files()) {
    const std::string text(file.bytes);
    EXPECT_FALSE(std::regex_search(text, std::regex("(src|href|url|import|fetch)[=( \"']+(https?:)?//")))
        << file.path << " fetches from elsewhere";
    EXPECT_THAT(text, Not(HasSubstr("innerHTML"))) << file.path;
    EXPECT_THAT(text, Not(HasSubstr("eval("))) << file.path;
  }
}

TEST(WebFiles, name_only_files_that_there_are) {
  const std::regex reference("(?:href|src|from) ?=?\"(?:\\./)?([a-z_]+\\.(?:js|css|svg))\"");
  int found = 0;
  for (const WebFile& file : web_files()) {
    const std::string text(file.bytes);
    for (std::sregex_iterator match(text.begin(), text.end(), reference), end; match != end;
         ++match, ++found) {
      EXPECT_NE(find_web_file("/" + (*match)[1].str()), nullptr) << (*match)[1] << " in " << file.path;
    }
  }
  EXPECT_GE(found, 8);
}

}  // namespace
}  // namespace heed
