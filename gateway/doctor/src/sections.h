// SPDX-License-Identifier: GPL-2.0-or-later
#pragma once

#include <string>
#include <utility>
#include <vector>

#include "gateway/doctor/checks.h"

// The findings of one subject each; judge() puts them together.

namespace simplon::doctor {

using Findings = std::vector<Finding>;

/// {6, 1}
using KernelVersion = std::pair<int, int>;
/// Of "6.1.0-42-amd64"; {0, 0} if it is no such thing.
[[nodiscard]] KernelVersion kernel_version(const std::string& release);

void judge_kernel(const Facts& facts, Findings& findings);
void judge_nics(const Facts& facts, Findings& findings);
void judge_workers(const Facts& facts, Findings& findings);
void judge_system(const Facts& facts, Findings& findings);
void judge_programs(const Facts& facts, Findings& findings);

// How the facts of one subject each are found.

/// What is above the interfaces, their drivers, queues and features.
void gather_nics(const GatherOptions& options, Facts& facts);
/// Who has the ports of IKE, FRR of the host, and the limits of our own processes.
void gather_processes(Facts& facts);

/// First line, without its end; empty if the file cannot be read.
[[nodiscard]] std::string first_line(const std::string& path);

}  // namespace simplon::doctor
