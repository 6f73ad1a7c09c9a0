// The metadata of a GGUF model as the config.json that it was made of, so that the model files describe both.
#pragma once
#include <functional>
#include <string>
#include <vector>

#include "base/json.h"
#include "base/result.h"
#include "formats/gguf.h"
#include "model/gguf_names.h"

namespace heed {

// A model in one or more files, the first of which holds the metadata.
class GgufModel {
 public:
  static Result<GgufModel> of(const std::vector<Gguf>& files);

  const GgufArchitecture& architecture() const { return *architecture_; }
  const std::string& path() const { return meta_->path(); }
  bool has(const std::string& tensor) const { return find(tensor) != nullptr; }
  const GgufTensor* find(const std::string& tensor) const;
  Result<Tensor> tensor(const std::string& name) const;

  Result<Json> config() const;

  // Of the key "<architecture>.<key>"; keys that are missing are left out or have the fallback.
  std::string full_key(std::string_view key) const {
    return std::string(architecture_->name) + "." + std::string(key);
  }
  bool has_key(std::string_view key) const { return meta_->has(full_key(key)); }
  Result<int64_t> integer(std::string_view key) const { return meta_->integer(full_key(key)); }
  Result<double> number(std::string_view key) const { return meta_->number(full_key(key)); }
  Result<std::string_view> text(std::string_view key) const { return meta_->text(full_key(key)); }
  // One number for each layer: of an array, or of a number that holds for all.
  Result<std::vector<int64_t>> for_layers(std::string_view key) const;
  int64_t layers() const { return layers_; }
  // Of them the last ones, which are heads that guess (multi-token prediction).
  int64_t draft_layers() const { return draft_layers_; }
  const Gguf& meta() const { return *meta_; }

 private:
  const GgufArchitecture* architecture_ = nullptr;
  const std::vector<Gguf>* files_ = nullptr;
  const Gguf* meta_ = nullptr;
  int64_t layers_ = 0, draft_layers_ = 0;
};

}  // namespace heed
