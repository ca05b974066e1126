// SPDX-License-Identifier: GPL-2.0-or-later
#pragma once

#include <string>
#include <vector>

namespace CLI {
class App;
}

// Manual pages made from the tables that --help is made from, so that neither can forget what the other says.

namespace simplon {

/// What the tables do not say. In texts a blank line separates paragraphs; a paragraph "TERM\n\tWORDS" is a definition.
struct ManualText {
  struct Section {
    std::string title;
    std::string text;
  };

  int section = 1;
  /// One line, for whatis(1).
  std::string summary;
  std::string version;
  std::string description;
  /// After the options and commands.
  std::vector<Section> sections;
  /// "simplon(1)"
  std::vector<std::string> see_also;
};

/// The page in the language of man(7). Hidden commands and options are left out; lines "  COMMAND" of a command's footer
/// are its examples.
[[nodiscard]] std::string manual_page(const CLI::App& root, const ManualText& text);

/// A hidden `--manual` that prints the page and ends; the build asks for it (platform/manual/CMakeLists.txt). Call it
/// after the other options are declared.
void add_manual_flag(CLI::App& app, ManualText text);

}  // namespace simplon
