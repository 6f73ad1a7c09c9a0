// Pictures in the text of conversations, whatever the chat template knows of them.
#include "serving/image_text.h"

#include <gmock/gmock.h>

#include "tests/serving/fake_images.h"

namespace heed {
namespace {

const ImageTokens kTokens{.placeholder = 460, .image = 460, .begin = 461, .end = 462};

constexpr const char* kStringsOnly =
    "{% for m in messages %}[{{ m['role'] }}] {{ m['content'] | trim }}\n{% endfor %}";

TextSide side_with(const std::string& source) {
  TextSide side = load_text_side(kSeeing).value();
  if (source.empty()) return side;
  side.chat_template = ChatTemplate::parse(source, "test").value();
  return side;
}

OrderedJson json(const std::string& text) { return parse_ordered_json(text, "test").value(); }

ImageList pictures(int count) {
  ImageList all;
  for (int i = 0; i < count; ++i) all.push_back(std::make_shared<ImagePatches>());
  return all;
}

TEST(ImageText, finds_out_what_a_template_shows) {
  const ImageText both = image_text_of(side_with(""), kTokens);
  EXPECT_EQ(both.placeholder, "<|image|>");
  EXPECT_TRUE(both.parts_of_user);
  EXPECT_FALSE(both.parts_of_tool);
  const ImageText none = image_text_of(side_with(kStringsOnly), kTokens);
  EXPECT_FALSE(none.parts_of_user || none.parts_of_tool);
  const ImageText other = image_text_of(side_with("{% for m in messages %}{% for p in m['content'] %}"
                                                  "{% if p['type'] == 'image' %}<picture>{% endif %}"
                                                  "{% endfor %}{% endfor %}"),
                                        kTokens);
  EXPECT_FALSE(other.parts_of_user) << "another model's placeholder";
  TextSide bare = load_text_side(kSeeing).value();
  bare.chat_template.reset();
  EXPECT_FALSE(image_text_of(bare, kTokens).parts_of_user);
  EXPECT_EQ(image_text_of(TextSide(), kTokens).placeholder, "");
}

const std::string kTalk = R"([
    {"role": "system", "content": "Be brief."},
    {"role": "user", "content": [{"type": "text", "text": "This "}, {"type": "image", "image": 2},
                                 {"type": "image", "image": 0}, {"type": "text", "text": "or that?"}]},
    {"role": "assistant", "content": "", "tool_calls": [{"id": "call00000", "type": "function",
                                                         "function": {"name": "look", "arguments": {}}}]},
    {"role": "tool", "tool_call_id": "call00000", "name": "look",
     "content": [{"type": "image", "image": 1}, {"type": "text", "text": "seen"}]},
    {"role": "user", "content": "Well?"}])";

TEST(ImageText, templates_that_know_parts_get_them) {
  const TextSide side = side_with("");
  const ImageList all = pictures(3);
  const ShownMessages shown = show_images(image_text_of(side, kTokens), json(kTalk), all).value();
  EXPECT_EQ(shown.images, (ImageList{all[2], all[0], all[1]}));
  EXPECT_EQ(to_text(shown.messages[1]["content"]),
            R"([{"type":"text","text":"This "},{"type":"image"},{"type":"image"},)"
            R"({"type":"text","text":"or that?"}])");
  EXPECT_EQ(shown.messages[3]["content"], "<|image|>\nseen") << "its template shows tools' strings only";
  EXPECT_EQ(render_chat(side, {{"messages", shown.messages}}).value(),
            "<bos><|turn>system\nBe brief.<turn|>\n<|turn>user\nThis<|image|><|image|>or that?<turn|>\n"
            "<|turn>assistant\n[look]<turn|>\n<|tool_response><|image|>\nseen<tool_response|>"
            "<|turn>user\nWell?<turn|>\n");
}

TEST(ImageText, templates_that_know_strings_get_the_placeholder_in_them) {
  const TextSide side = side_with(kStringsOnly);
  const ShownMessages shown = show_images(image_text_of(side, kTokens), json(kTalk), pictures(3)).value();
  EXPECT_EQ(shown.messages[1]["content"], "This \n<|image|>\n<|image|>\nor that?");
  EXPECT_EQ(shown.images.size(), 3U);
}

TEST(ImageText, parts_that_name_no_picture_are_errors) {
  const ImageText text = image_text_of(side_with(""), kTokens);
  for (const char* part : {R"({"type": "image"})", R"({"type": "image", "image": 1})",
                           R"({"type": "image", "image": -1})", R"({"type": "image", "image": "x"})"}) {
    const OrderedJson messages = json(R"([{"role": "user", "content": [)" + std::string(part) + "]}]");
    EXPECT_EQ(show_images(text, messages, pictures(1)).error().code, ErrorCode::kInvalid) << part;
  }
}

TEST(ImageText, conversations_without_pictures_stay_as_they_are) {
  const OrderedJson messages = json(R"([{"role": "user", "content": [{"type": "text", "text": "a"}, 5, "x"]},
      {"role": "user", "content": "b"}, {"role": "user"}, 7])");
  EXPECT_FALSE(has_images(messages));
  EXPECT_TRUE(has_images(json(kTalk)));
  EXPECT_FALSE(has_images(json("{}")));
  EXPECT_EQ(show_images({}, messages, {}).value().messages, messages);
}

}  // namespace
}  // namespace heed
