// SPDX-License-Identifier: GPL-2.0-or-later
//
// Services as template units: a service NAME is the unit NAME.service, which the package installed. systemd reads the
// program and its namespace from the unit, so of a ServiceSpec only the name is used here.
//
// Requests are queued as jobs (mode "replace") and not waited for. Each call is one round trip to PID 1 over the system
// bus, about a millisecond, some more when PID 1 asks polkit whether we may; a reload of all units can hold it up, hence
// the limit. After a failed call the connection is made anew, because dbus-daemon may have been restarted.
#include <systemd/sd-bus.h>

#include <cerrno>
#include <cstdlib>
#include <cstring>
#include <string>
#include <string_view>

#include "platform/sys/process.h"

namespace simplon::sys {
namespace {

constexpr std::uint64_t kCallTimeoutMicroseconds = 2'000'000;
constexpr const char* kManager = "org.freedesktop.systemd1";
constexpr const char* kManagerPath = "/org/freedesktop/systemd1";
constexpr const char* kManagerInterface = "org.freedesktop.systemd1.Manager";

struct CloseBus {
  void operator()(sd_bus* bus) const { ::sd_bus_close_unref(bus); }
};
struct FreeMessage {
  void operator()(sd_bus_message* message) const { ::sd_bus_message_unref(message); }
};
using Message = std::unique_ptr<sd_bus_message, FreeMessage>;

struct BusError {
  sd_bus_error value = SD_BUS_ERROR_NULL;
  BusError() = default;
  ~BusError() { ::sd_bus_error_free(&value); }
  BusError(const BusError&) = delete;
  BusError& operator=(const BusError&) = delete;
  [[nodiscard]] bool is(const char* name) const { return ::sd_bus_error_has_name(&value, name) != 0; }
  [[nodiscard]] std::string text(int result) const {
    return value.message != nullptr ? value.message : std::strerror(-result);
  }
};

class SystemdSupervisor final : public ServiceSupervisor {
 public:
  Result<void> start(const ServiceSpec& spec) override {
    BusError error;
    auto reply = ask("StartUnit", spec.name, "replace", error);
    if (reply) return {};
    if (is_refusal(error)) return refused("start", spec.name, error);
    return fail(ErrorCode::kUnavailable, "systemd cannot start " + unit_of(spec.name) + ": " + reply.error().what,
                output_of(spec.name));
  }

  Result<bool> running(const std::string& name) override {
    auto state = active_state(name);
    if (!state) return Unexpected(state.error());
    return *state == "active";
  }

  Result<void> request_stop(const std::string& name) override {
    BusError error;
    auto reply = ask("StopUnit", name, "replace", error);
    if (reply || error.is("org.freedesktop.systemd1.NoSuchUnit")) return {};
    if (is_refusal(error)) return refused("stop", name, error);
    return Unexpected(reply.error());
  }

  std::string output_of(const std::string& name) const override { return "journalctl -u " + unit_of(name); }

 private:
  static std::string unit_of(const std::string& name) { return name + ".service"; }

  /// Not root, and polkit said no or could not be asked.
  static bool is_refusal(const BusError& error) {
    return error.is(SD_BUS_ERROR_ACCESS_DENIED) || error.is(SD_BUS_ERROR_INTERACTIVE_AUTHORIZATION_REQUIRED);
  }

  static Unexpected refused(const std::string& verb, const std::string& name, const BusError& error) {
    return fail(ErrorCode::kUnavailable,
                "systemd does not let simplond " + verb + " " + unit_of(name) + ": " + error.text(EACCES),
                "polkit permits it by /usr/share/polkit-1/rules.d/50-simplon.rules: apt-get install --reinstall polkitd "
                "simplon; journalctl -u polkit");
  }

  Result<sd_bus*> bus() {
    if (bus_ && ::sd_bus_is_open(bus_.get()) > 0) return bus_.get();
    sd_bus* opened = nullptr;
    if (const int result = ::sd_bus_open_system(&opened); result < 0) {
      return fail(ErrorCode::kUnavailable, std::string("cannot reach the system bus: ") + std::strerror(-result),
                  "systemctl status dbus.service; units of routing daemons are started over it");
    }
    bus_.reset(opened);
    ::sd_bus_set_method_call_timeout(opened, kCallTimeoutMicroseconds);
    return opened;
  }

  Result<Message> ask(const char* method, const std::string& name, const char* mode, BusError& error) {
    auto connection = bus();
    if (!connection) return Unexpected(connection.error());
    sd_bus_message* reply = nullptr;
    const int result = ::sd_bus_call_method(*connection, kManager, kManagerPath, kManagerInterface, method, &error.value,
                                            &reply, "ss", unit_of(name).c_str(), mode);
    if (result >= 0) return Message(reply);
    return Unexpected(lost(result, error));
  }

  /// "active", "activating", "inactive", "failed", ...; a unit that is not loaded is "inactive".
  Result<std::string> active_state(const std::string& name) {
    auto connection = bus();
    if (!connection) return Unexpected(connection.error());
    sd_bus_message* got = nullptr;
    BusError error;
    int result = ::sd_bus_call_method(*connection, kManager, kManagerPath, kManagerInterface, "GetUnit", &error.value,
                                      &got, "s", unit_of(name).c_str());
    const Message reply(got);
    if (result < 0) {
      if (error.is("org.freedesktop.systemd1.NoSuchUnit")) return std::string("inactive");
      return Unexpected(lost(result, error));
    }
    const char* path = nullptr;
    char* state = nullptr;
    result = ::sd_bus_message_read(reply.get(), "o", &path);
    if (result >= 0) {
      result = ::sd_bus_get_property_string(*connection, kManager, path, "org.freedesktop.systemd1.Unit", "ActiveState",
                                            &error.value, &state);
    }
    if (result < 0) {
      // Unloaded between the two calls.
      if (error.is("org.freedesktop.DBus.Error.UnknownObject")) return std::string("inactive");
      return Unexpected(lost(result, error));
    }
    std::string value(state);
    ::free(state);
    return value;
  }

  Error lost(int result, const BusError& error) {
    // An answer that says no leaves the connection in order.
    if (!::sd_bus_error_is_set(&error.value) || error.is(SD_BUS_ERROR_NO_REPLY) || error.is(SD_BUS_ERROR_DISCONNECTED)) {
      bus_.reset();
    }
    return make_error(ErrorCode::kUnavailable, error.text(result), {});
  }

  std::unique_ptr<sd_bus, CloseBus> bus_;
};

}  // namespace

std::unique_ptr<ServiceSupervisor> make_systemd_supervisor() { return std::make_unique<SystemdSupervisor>(); }

}  // namespace simplon::sys
