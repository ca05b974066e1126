// SPDX-License-Identifier: GPL-2.0-or-later
#include <signal.h>

#include <algorithm>

#include "platform/sys/file.h"
#include "platform/sys/process.h"

namespace simplon::sys {
namespace {

class ProcessSupervisor final : public ServiceSupervisor {
 public:
  explicit ProcessSupervisor(std::string directory) : directory_(std::move(directory)) {}

  Result<void> start(const ServiceSpec& spec) override {
    if (auto ok = check_name(spec.name); !ok) return ok;
    auto alive = running(spec.name);
    if (!alive) return Unexpected(alive.error());
    if (*alive) return {};
    if (auto ok = make_directories(directory_, 0750); !ok) return ok;
    auto process = spawn_detached(spec, file_of(spec.name, ".log"));
    if (!process) return Unexpected(process.error());
    return write_pid_file(file_of(spec.name, ".pid"), *process);
  }

  Result<bool> running(const std::string& name) override {
    auto process = process_of(name);
    if (!process) return Unexpected(process.error());
    return process->has_value() && process_alive(**process);
  }

  Result<void> request_stop(const std::string& name) override {
    auto process = process_of(name);
    if (!process) return Unexpected(process.error());
    return process->has_value() ? signal_process(**process, SIGTERM) : Result<void>{};
  }

  std::string output_of(const std::string& name) const override { return file_of(name, ".log"); }

 private:
  static Result<void> check_name(const std::string& name) {
    const auto allowed = [](char c) {
      return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '-' || c == '_' ||
             c == '.' || c == '@';
    };
    if (name.empty() || name[0] == '.' || !std::all_of(name.begin(), name.end(), allowed)) {
      return fail(ErrorCode::kInvalidConfig, "'" + name + "' cannot be the name of a service");
    }
    return {};
  }

  [[nodiscard]] std::string file_of(const std::string& name, const char* suffix) const {
    return directory_ + "/" + name + suffix;
  }

  Result<std::optional<ProcessId>> process_of(const std::string& name) {
    if (auto ok = check_name(name); !ok) return Unexpected(ok.error());
    return read_pid_file(file_of(name, ".pid"));
  }

  std::string directory_;
};

}  // namespace

std::unique_ptr<ServiceSupervisor> make_process_supervisor(std::string directory) {
  return std::make_unique<ProcessSupervisor>(std::move(directory));
}

}  // namespace simplon::sys
