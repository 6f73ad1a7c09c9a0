// Pictures on the command line: files, and prompts that show them.
#pragma once
#include <optional>
#include <string>
#include <vector>

#include "base/json.h"
#include "cli/commands.h"
#include "engine/request.h"
#include "serving/image_loader.h"
#include "serving/image_text.h"
#include "serving/service.h"

namespace heed {

// --image and what goes with it, of commands that run one prompt.
struct ImageFileOptions {
  std::vector<std::string> files;
  int max_soft_tokens = 0;  // 0: as the model says
};
void add_image_file_options(CLI::App& app, ImageFileOptions& options);
void add_max_soft_tokens(CLI::App& app, int& max_soft_tokens);
// To a checkpoint, before it is planned with or loaded.
Status apply(const ImageFileOptions& options, ModelSpec& spec);

// What serving takes: where pictures may come from, how many, how large.
void add_image_options(CLI::App& app, ServiceOptions& options);

// The pictures of files, as the model reads them. An error names the file.
Result<ImageList> read_images(const ModelSpec& spec, const std::vector<std::string>& files);

// A user's message: pictures [first, first + count) of a list, then the text.
OrderedJson user_message(const std::string& text, int first, int count);

struct ModelPrompt {
  std::vector<int> tokens;
  std::vector<RequestImage> images;
};

// Prompts of a model, with pictures in their places.
class PromptMaker {
 public:
  PromptMaker(const TextSide& text, const ModelSpec& spec);  // borrows the first

  Result<ModelPrompt> of_ids(std::vector<int> ids, const ImageList& images) const;
  Result<ModelPrompt> of_text(const std::string& text, const ImageList& images) const;
  // Rendered with a generation prompt; their pictures are those of the list (image_text.h).
  Result<ModelPrompt> of_messages(const OrderedJson& messages, const ImageList& images) const;

 private:
  const TextSide& text_;
  std::optional<ImageTokens> tokens_;  // none: it reads text only
  ImageText image_text_;
};

}  // namespace heed
