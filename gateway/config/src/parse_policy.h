// SPDX-License-Identifier: GPL-2.0-or-later
#pragma once

#include <string>

#include "gateway/config/policy_model.h"
#include "gateway/config/src/object_reader.h"

namespace simplon::config {

// One value at a time, as in parse_document.cpp.
void read_acl(Findings& findings, const YamlNode& node, const std::string& path, AclConfig& ret);
void read_policy(Findings& findings, const YamlNode& node, const std::string& path, PolicyConfig& ret);
void read_nat_rule(Findings& findings, const YamlNode& node, const std::string& path, NatRuleConfig& ret);

}  // namespace simplon::config
