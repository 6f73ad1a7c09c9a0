#include "cli/settings.h"

#include <cctype>
#include <memory>
#include <string>

namespace heed {
namespace {

// Reads TOML; names without a section belong to the sub-command that was given.
class SettingsFile : public CLI::ConfigTOML {
 public:
  explicit SettingsFile(const CLI::App& app) : app_(app) {}

  std::vector<CLI::ConfigItem> from_config(std::istream& input) const override {
    const std::vector<const CLI::App*> given =
        app_.get_subcommands([](const CLI::App* sub) { return sub->parsed(); });
    std::vector<CLI::ConfigItem> settings;
    for (CLI::ConfigItem& item : CLI::ConfigTOML::from_config(input)) {
      if (item.name == "++" || item.name == "--") continue;  // begin and end of a section
      if (item.parents.empty() && !given.empty()) item.parents = {given.front()->get_name()};
      settings.push_back(std::move(item));
    }
    return settings;
  }

 private:
  const CLI::App& app_;
};

std::string variable_of(const std::string& option) {
  std::string name = "HEED_";
  for (const char c : option) {
    name += c == '-' ? '_' : static_cast<char>(std::toupper(static_cast<unsigned char>(c)));
  }
  return name;
}

}  // namespace

void add_settings(CLI::App& app) {
  app.set_config("--config", "", "TOML file of options: their long names without dashes in front");
  app.config_formatter(std::make_shared<SettingsFile>(app));
  app.allow_config_extras(CLI::config_extras_mode::error);
  for (CLI::App* command : app.get_subcommands([](CLI::App*) { return true; })) {
    command->fallthrough();
    for (CLI::Option* option : command->get_options()) {
      if (!option->get_lnames().empty() && option->get_lnames().front() != "help")
        option->envname(variable_of(option->get_lnames().front()));
    }
  }
}

}  // namespace heed
