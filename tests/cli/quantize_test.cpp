// `heed quantize`: what it writes opens again, and what goes wrong leaves nothing behind.
#include "formats/safetensors.h"
#include "model/weights.h"
#include "tensor/blocks.h"
#include "tests/cli/running.h"
#include "tests/engine/goldens.h"

namespace heed {
namespace {

namespace fs = std::filesystem;

// A folder that goes with the test.
struct Place {
  Place() : path(temporary("quantize")) {
    fs::remove_all(path);
    fs::create_directories(path);
  }
  ~Place() { fs::remove_all(path); }
  Place(const Place&) = delete;
  Place& operator=(const Place&) = delete;
  std::string operator/(const std::string& name) const { return path + "/" + name; }
  std::string path;
};

std::vector<std::string> files_in(const std::string& folder) {
  std::vector<std::string> names;
  for (const fs::directory_entry& entry : fs::directory_iterator(folder))
    names.push_back(entry.path().filename());
  std::sort(names.begin(), names.end());
  return names;
}

double divergence_from_bard(const std::string& folder) {
  const auto tokens = read_json(kBard + "/val_tokens.json").value()["val_tokens"].get<std::vector<int>>();
  const std::vector<int> text(tokens.begin(), tokens.begin() + 160);
  static const auto bard = logits_of(*load(kBard, {.dtype = "float32"}), text, 120, 1 << 20);
  return mean_divergence(bard, logits_of(*load(folder, {.dtype = "float32"}), text, 120, 1 << 20));
}

struct Asked {
  const char* options;
  const char* blocks;  // what most matrices are in memory
  double divergence;   // from bard, in nats a token, at most: some 1.5 times what was measured
};

TEST(Quantize, what_it_writes_is_opened_and_stays_near_bard) {
  const Place folder;
  for (const Asked& w :
       {Asked{"", "Q4_0", 2.6e-2}, Asked{"--group-size 32", "Q4_0", 1.6e-2},
        Asked{"--format int8", "Q8_0", 3e-4}, Asked{"--format int8 --group-size -1", "Q8_0", 3e-4}}) {
    const std::string out = folder / "out";
    const Ran ran = heed("quantize " + kBard + " " + out + " --force " + w.options);
    ASSERT_EQ(ran.status, 0) << ran.err;
    EXPECT_NE(ran.out.find("42 matrices rounded"), std::string::npos) << ran.out;
    EXPECT_NE(ran.out.find("relative error 0."), std::string::npos) << ran.out;
    const Checkpoint checkpoint = open_checkpoint(out).value();
    EXPECT_EQ(checkpoint.quantised.size(), 42);
    for (const auto& [name, matrix] : checkpoint.quantised)
      EXPECT_EQ(name_of(matrix.blocks), w.blocks) << name;
    const double divergence = divergence_from_bard(out);
    std::printf("bard %s: %sdivergence %.2e\n", w.options, ran.out.c_str(), divergence);
    EXPECT_LE(divergence, w.divergence);
  }
  const Ran said = heed("complete " + (folder / "out") + " 'To be, or' --max-tokens 8 --temperature 0");
  EXPECT_EQ(said.status, 0) << said.err;
  EXPECT_EQ(said.out, heed("complete " + kBard + " 'To be, or' --max-tokens 8 --temperature 0").out);
  EXPECT_NE(
      heed("inspect " + (folder / "out")).out.find("quantised: 42 matrices, packed int8, in memory Q8_0"),
      std::string::npos);
  // Beside the weights and config.json, all that belongs to it is the same.
  EXPECT_EQ(files_in(folder / "out"), files_in(kBard));
  EXPECT_EQ(files_in(folder.path), std::vector<std::string>{"out"});
  EXPECT_EQ(*read_file(folder / "out/tokenizer.json"), *read_file(kBard + "/tokenizer.json"));
}

TEST(Quantize, numbers_are_rounded_to_the_nearest_code_of_their_group) {
  const Place folder;
  ASSERT_EQ(heed("quantize " + kBard + " " + (folder / "out") + " --format int8 --group-size 64").status, 0);
  const Checkpoint ours = open_checkpoint(folder / "out").value();
  const Checkpoint bard = open_checkpoint(kBard).value();
  const std::string name = "model.layers.1.mlp.down_proj.weight";
  Weights weights = load_weights(ours, {}).value();
  for (const TensorNeed& need : needed_tensors(ours.spec, weights)) {
    if (need.name != name) continue;
    const Tensor rounded = need.parts[0].target();
    const Tensor plain = bard.tensor(name, need.shape).value();
    for (int64_t i = 0; i < plain.elements(); i += 64) {
      float largest = 0;
      for (int64_t j = i; j < i + 64; ++j)
        largest = std::max(largest, std::abs(to_float(plain.as<bf16>()[j])));
      for (int64_t j = i; j < i + 64; ++j) {
        const float off = block_element(rounded.dtype, rounded.data, j) - to_float(plain.as<bf16>()[j]);
        ASSERT_LE(std::abs(off), largest / 127 * 0.502F) << j;  // the scale is a bfloat16
      }
    }
    return;
  }
  FAIL() << name << " is not there";
}

// One line that says this; and nothing is there but what was.
void expect_refusal(const Place& folder, const std::string& variables, const std::string& arguments,
                    const std::string& says) {
  const std::vector<std::string> before = files_in(folder.path);
  const Ran ran = heed_with(variables, "quantize " + arguments);
  EXPECT_EQ(ran.status, 1) << arguments;
  EXPECT_NE(ran.err.find(says), std::string::npos) << ran.err;
  EXPECT_EQ(std::count(ran.err.begin(), ran.err.end(), '\n'), 1) << ran.err;
  EXPECT_EQ(files_in(folder.path), before) << arguments;
}

TEST(Quantize, failures_are_one_line_and_leave_nothing_behind) {
  const Place folder;
  const std::string out = folder / "out";
  // A disk that is full after 1 MB, as far as the program can tell.
  expect_refusal(folder, "trap '' XFSZ; ulimit -f 2048;", kBard + " " + out,
                 "model.safetensors: File too large");
  expect_refusal(folder, "", kBard + " " + kHeed + "/out", "Not a directory");
  expect_refusal(folder, "", kBard + " " + (folder / "no/such"), "No such file or directory");
  expect_refusal(folder, "", "/no/such " + out, "/no/such: not a folder");
  expect_refusal(folder, "", golden_folder("gpt_oss_mxfp4") + " " + out + " --group-size 256", "no matrix");
  ASSERT_TRUE(write_file(out, "").ok());
  expect_refusal(folder, "", kBard + " " + out, "is there already; --force replaces it");
  expect_refusal(folder, "", kBard + " " + out + " --force", "is no checkpoint folder");
  fs::remove(out);
  fs::create_directories(out);
  expect_refusal(folder, "", kBard + " " + out + "/ --force", "is no checkpoint folder");
  ASSERT_EQ(heed("quantize " + kBard + " " + (folder / "q")).status, 0);
  expect_refusal(folder, "", (folder / "q") + " " + out + "2", "quantised already (packed int4");
  // Neither the checkpoint that is read nor a folder around it is replaced, by whatever name.
  fs::create_directory_symlink(kBard, folder / "link");
  expect_refusal(folder, "", kBard + " " + (folder / "link") + " --force",
                 "holds the checkpoint that is read");
}

TEST(Quantize, wrong_options_are_told) {
  for (const char* wrong : {"--format q4_k", "--group-size 48", "--group-size 0", "--format"})
    EXPECT_EQ(heed("quantize a b " + std::string(wrong)).status, 2) << wrong;
  EXPECT_EQ(heed("quantize a").status, 2);
  EXPECT_NE(heed("--help").out.find("quantize"), std::string::npos);
}

}  // namespace
}  // namespace heed
