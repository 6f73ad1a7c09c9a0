#include "cli/images.h"

#include <climits>

#include "base/file.h"
#include "serving/image_tools.h"

namespace heed {

void add_max_soft_tokens(CLI::App& app, int& max_soft_tokens) {
  app.add_option("--max-soft-tokens", max_soft_tokens,
                 "Most tokens that a picture takes: 70, 140, 280, 560 or 1120 (default: as the model says)")
      ->check(CLI::IsMember({70, 140, 280, 560, 1120}));
}

void add_image_file_options(CLI::App& app, ImageFileOptions& options) {
  app.add_option("--image", options.files, "File with a picture (JPEG, PNG, WebP, GIF); may be repeated")
      ->type_name("FILE")
      ->allow_extra_args(false);
  add_max_soft_tokens(app, options.max_soft_tokens);
}

Status apply(const ImageFileOptions& options, ModelSpec& spec) {
  if (options.max_soft_tokens == 0) return {};
  return set_max_soft_tokens(spec, options.max_soft_tokens);
}

void add_image_options(CLI::App& app, ServiceOptions& options) {
  ImageOptions& images = options.images;
  app.add_option(
         "--allowed-media-domains", images.media.domains,
         "Hosts that pictures may be fetched from, separated by commas or repeated; .example.com: any "
         "below (default: none)")
      ->type_name("HOST")
      ->allow_extra_args(false)
      ->delimiter(',');
  app.add_option("--allowed-media-path", images.media.folder,
                 "Folder below which pictures may be named as file: URLs (default: none)")
      ->type_name("DIR");
  app.add_option("--limit-images-per-prompt", images.max_images, "Most pictures that a request may show")
      ->check(CLI::Range(0, 4096))
      ->capture_default_str();
  add_max_soft_tokens(app, options.max_soft_tokens);
  app.add_option("--image-cache-memory", options.engine.image_bytes,
                 "Bytes of pictures kept as the tower has encoded them, and of those it is about to, such as "
                 "256M (default: a few dozen pictures, up to a thirty-second of memory)")
      ->transform(CLI::AsSizeValue(false));
}

Result<ImageList> read_images(const ModelSpec& spec, const std::vector<std::string>& files) {
  if (files.empty()) return ImageList();
  if (!spec.vision) return unsupported(kReadsTextOnly);
  ImageOptions options;
  options.max_images = INT_MAX;
  options.downloads = 1;
  ImageRequest request;
  for (const std::string& file : files) {
    std::string bytes = TRY(read_file(file, options.media.bytes));
    request.sources.push_back({.bytes = std::move(bytes)});
  }
  const ImageTools tools = TRY(image_tools(options));
  ImageLoader loader(spec.vision->prep, options, tools);
  LoadedImages loaded = loader.load_now(std::move(request));
  if (!loaded.failure) return std::move(loaded.images);
  Error error = std::move(loaded.failure->error);
  if (loaded.failure->image >= 0) return std::move(error).within(files[loaded.failure->image]);
  return error;
}

OrderedJson user_message(const std::string& text, int first, int count) {
  OrderedJson content = text;
  if (count > 0) {
    content = OrderedJson::array();
    for (int i = first; i < first + count; ++i) content.push_back({{"type", "image"}, {"image", i}});
    content.push_back({{"type", "text"}, {"text", text}});
  }
  return {{"role", "user"}, {"content", std::move(content)}};
}

PromptMaker::PromptMaker(const TextSide& text, const ModelSpec& spec) : text_(text) {
  if (!spec.vision) return;
  tokens_ = spec.vision->tokens;
  image_text_ = image_text_of(text, *tokens_);
}

Result<ModelPrompt> PromptMaker::of_ids(std::vector<int> ids, const ImageList& images) const {
  ModelPrompt prompt{.tokens = std::move(ids)};
  if (tokens_) {
    prompt.images = TRY(place_images(*tokens_, prompt.tokens, images));
  } else if (!images.empty()) {
    return unsupported(kReadsTextOnly);
  }
  return prompt;
}

Result<ModelPrompt> PromptMaker::of_text(const std::string& text, const ImageList& images) const {
  const std::string all = images.empty() ? text : spaced(image_text_, text);
  std::vector<int> ids = TRY(text_.tokenizer->encode(all));
  return of_ids(std::move(ids), images);
}

Result<ModelPrompt> PromptMaker::of_messages(const OrderedJson& messages, const ImageList& images) const {
  const ShownMessages shown = TRY(show_images(image_text_, messages, images));
  std::string rendered =
      TRY(render_chat(text_, {{"messages", shown.messages}, {"add_generation_prompt", true}}));
  if (!shown.images.empty()) rendered = spaced(image_text_, rendered);
  std::vector<int> ids = TRY(encode_chat(text_, rendered));
  return of_ids(std::move(ids), shown.images);
}

}  // namespace heed
