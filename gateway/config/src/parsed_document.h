// SPDX-License-Identifier: GPL-2.0-or-later
#pragma once

#include <string_view>

#include "gateway/config/document.h"
#include "gateway/config/model.h"
#include "gateway/config/src/object_reader.h"
#include "gateway/config/src/yaml_tree.h"

namespace simplon::config {

/// A document as read, with what is needed to judge and to locate later findings.
struct ParsedDocument {
  YamlNode tree;
  GatewayConfig config;
  Findings findings;
};

[[nodiscard]] ParsedDocument parse_to_model(std::string_view yaml);

/// Proposals of a tunnel that names none.
[[nodiscard]] const std::vector<std::string>& default_ike_proposals();
[[nodiscard]] const std::vector<std::string>& default_esp_proposals();

/// "10.1.0.0/16" or "10.1.0.0/16 le 24". Errors: kInvalidConfig.
[[nodiscard]] Result<PrefixRule> parse_prefix_rule(std::string_view text);
[[nodiscard]] std::string format_prefix_rule(const PrefixRule& rule);

}  // namespace simplon::config
