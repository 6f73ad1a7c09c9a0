#include <cstdio>

#include "cli/commands.h"
#include "model/quant_writer.h"

namespace heed {
namespace {

struct QuantizeOptions {
  std::string model, out;
  std::string format = "int4";
  int group = 128;
  bool force = false;
};

Status quantize(const QuantizeOptions& o) {
  const Checkpoint checkpoint = TRY(open_checkpoint(o.model));
  const QuantTarget target = {.bits = o.format == "int4" ? 4 : 8, .group = o.group > 0 ? o.group : 0};
  const Narrowed report = TRY(write_quantised(checkpoint, o.out, target, o.force, progress_bar("rounding")));
  std::printf("%s: %s\n", o.out.c_str(), describe(report).c_str());
  return {};
}

}  // namespace

Command add_quantize(CLI::App& app) {
  CLI::App* command = app.add_subcommand(
      "quantize", "Write a checkpoint with its matrices rounded to int4 or int8, in a form that vLLM reads");
  auto o = std::make_shared<QuantizeOptions>();
  command->add_option("MODEL", o->model, "Folder of a plain Hugging Face checkpoint")->required();
  command->add_option("OUT", o->out, "Folder to write: safetensors in the form of compressed-tensors")
      ->required();
  command->add_option("--format", o->format, "int4 or int8")
      ->check(CLI::IsMember({"int4", "int8"}))
      ->capture_default_str();
  const auto group = [](std::string& text) {
    if (text == "-1") return std::string();
    return CLI::IsMember({"32", "64", "128", "256"})(text);
  };
  command
      ->add_option("--group-size", o->group,
                   "Inputs that share a scale: 32, 64, 128 or 256; -1: all of a row")
      ->check(CLI::Validator(group, ""))
      ->capture_default_str();
  command->add_flag("--force", o->force, "Replace OUT if it is a checkpoint");
  return {command, [o] { return quantize(*o); }};
}

}  // namespace heed
