// SPDX-License-Identifier: GPL-2.0-or-later
//
// The supervisor against a real bus with a stand-in for PID 1 on it: the part of org.freedesktop.systemd1 that is used.
#include <gmock/gmock.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <systemd/sd-bus.h>
#include <unistd.h>

#include <atomic>
#include <map>
#include <mutex>
#include <thread>

#include "platform/sys/process.h"

namespace simplon::sys {
namespace {

using namespace std::chrono_literals;
using ::testing::ElementsAre;
using ::testing::HasSubstr;

/// Units are active from StartUnit to StopUnit; those that were never started are not loaded; "masked" is masked, and
/// "forbidden" and "unasked" are what polkit says no to and what it cannot be asked about.
class StandIn {
 public:
  explicit StandIn(const std::string& address) {
    ready_ = ::sd_bus_new(&bus_) >= 0 && ::sd_bus_set_address(bus_, address.c_str()) >= 0 &&
             ::sd_bus_set_bus_client(bus_, 1) >= 0 && ::sd_bus_start(bus_) >= 0 &&
             ::sd_bus_add_object_vtable(bus_, nullptr, "/org/freedesktop/systemd1", "org.freedesktop.systemd1.Manager",
                                        kManager, this) >= 0 &&
             ::sd_bus_add_fallback_vtable(bus_, nullptr, "/org/freedesktop/systemd1/unit", "org.freedesktop.systemd1.Unit",
                                          kUnit, find, this) >= 0 &&
             ::sd_bus_request_name(bus_, "org.freedesktop.systemd1", 0) >= 0;
    thread_ = std::thread([this] {
      while (!ended_) {
        while (::sd_bus_process(bus_, nullptr) > 0) {
        }
        ::sd_bus_wait(bus_, 20'000);
      }
    });
  }
  ~StandIn() {
    ended_ = true;
    thread_.join();
    ::sd_bus_flush_close_unref(bus_);
  }
  [[nodiscard]] bool ready() const { return ready_; }
  std::vector<std::string> requests() {
    const std::lock_guard lock(mutex_);
    return requests_;
  }

 private:
  static StandIn& self(void* data) { return *static_cast<StandIn*>(data); }

  static int change(sd_bus_message* message, void* data, sd_bus_error* error, const char* verb, bool active) {
    const char* unit = nullptr;
    const char* mode = nullptr;
    ::sd_bus_message_read(message, "ss", &unit, &mode);
    const std::string name = unit;
    if (name == "masked.service") return ::sd_bus_error_set(error, "org.freedesktop.systemd1.UnitMasked", "Unit is masked.");
    if (name == "forbidden.service") {
      return ::sd_bus_error_set(error, SD_BUS_ERROR_INTERACTIVE_AUTHORIZATION_REQUIRED, "Interactive authentication required.");
    }
    if (name == "unasked.service") return ::sd_bus_error_set(error, SD_BUS_ERROR_ACCESS_DENIED, "Permission denied");
    const std::lock_guard lock(self(data).mutex_);
    if (!active && !self(data).active_.contains(name)) {
      return ::sd_bus_error_set(error, "org.freedesktop.systemd1.NoSuchUnit", "not loaded");
    }
    self(data).active_[name] = active;
    self(data).requests_.push_back(std::string(verb) + " " + name + " " + mode);
    return ::sd_bus_reply_method_return(message, "o", "/org/freedesktop/systemd1/job/1");
  }
  static int start(sd_bus_message* message, void* data, sd_bus_error* error) {
    return change(message, data, error, "start", true);
  }
  static int stop(sd_bus_message* message, void* data, sd_bus_error* error) {
    return change(message, data, error, "stop", false);
  }
  static int get(sd_bus_message* message, void* data, sd_bus_error* error) {
    const char* unit = nullptr;
    ::sd_bus_message_read(message, "s", &unit);
    const std::lock_guard lock(self(data).mutex_);
    if (!self(data).active_.contains(unit)) {
      return ::sd_bus_error_set(error, "org.freedesktop.systemd1.NoSuchUnit", "not loaded");
    }
    char* path = nullptr;
    ::sd_bus_path_encode("/org/freedesktop/systemd1/unit", unit, &path);
    const int sent = ::sd_bus_reply_method_return(message, "o", path);
    ::free(path);
    return sent;
  }
  static int find(sd_bus*, const char*, const char*, void* data, void** found, sd_bus_error*) {
    *found = data;
    return 1;
  }
  static int active_state(sd_bus*, const char* path, const char*, const char*, sd_bus_message* reply, void* data,
                          sd_bus_error*) {
    char* unit = nullptr;
    ::sd_bus_path_decode(path, "/org/freedesktop/systemd1/unit", &unit);
    const std::lock_guard lock(self(data).mutex_);
    const bool active = unit != nullptr && self(data).active_[unit];
    ::free(unit);
    return ::sd_bus_message_append(reply, "s", active ? "active" : "inactive");
  }

  static const sd_bus_vtable kManager[];
  static const sd_bus_vtable kUnit[];

  sd_bus* bus_ = nullptr;
  bool ready_ = false;
  std::atomic<bool> ended_{false};
  std::mutex mutex_;
  std::map<std::string, bool> active_;
  std::vector<std::string> requests_;
  std::thread thread_;
};

#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wold-style-cast"
const sd_bus_vtable StandIn::kManager[] = {
    SD_BUS_VTABLE_START(0), SD_BUS_METHOD("StartUnit", "ss", "o", StandIn::start, SD_BUS_VTABLE_UNPRIVILEGED),
    SD_BUS_METHOD("StopUnit", "ss", "o", StandIn::stop, SD_BUS_VTABLE_UNPRIVILEGED),
    SD_BUS_METHOD("GetUnit", "s", "o", StandIn::get, SD_BUS_VTABLE_UNPRIVILEGED), SD_BUS_VTABLE_END};
const sd_bus_vtable StandIn::kUnit[] = {SD_BUS_VTABLE_START(0),
                                        SD_BUS_PROPERTY("ActiveState", "s", StandIn::active_state, 0, 0),
                                        SD_BUS_VTABLE_END};
#pragma GCC diagnostic pop

class SystemdSupervisorTest : public ::testing::Test {
 protected:
  void SetUp() override {
    address_ = "unix:path=" + ::testing::TempDir() + "bus-" + std::to_string(::getpid());
    int announced[2];
    ASSERT_EQ(::pipe(announced), 0);
    daemon_ = ::fork();
    if (daemon_ == 0) {
      ::dup2(announced[1], 3);
      ::execl("/usr/bin/dbus-daemon", "dbus-daemon", "--session", "--nofork", "--nopidfile", "--print-address=3",
              ("--address=" + address_).c_str(), nullptr);
      ::_exit(127);
    }
    ::close(announced[1]);
    char byte = 0;
    ASSERT_EQ(::read(announced[0], &byte, 1), 1) << "dbus-daemon did not start: apt-get install dbus";
    ::close(announced[0]);
    ::setenv("DBUS_SYSTEM_BUS_ADDRESS", address_.c_str(), 1);
  }
  void TearDown() override {
    ::unsetenv("DBUS_SYSTEM_BUS_ADDRESS");
    end_bus();
  }
  void end_bus() {
    if (daemon_ <= 0) return;
    ::kill(daemon_, SIGTERM);
    ::waitpid(daemon_, nullptr, 0);
    daemon_ = -1;
  }
  static ServiceSpec unit(const std::string& name) {
    ServiceSpec spec;
    spec.name = name;
    return spec;
  }

  std::string address_;
  pid_t daemon_ = -1;
};

TEST_F(SystemdSupervisorTest, AServiceIsAUnit) {
  StandIn systemd(address_);
  ASSERT_TRUE(systemd.ready());
  const auto supervisor = make_systemd_supervisor();
  EXPECT_FALSE(supervisor->running("simplon-bgpd@red").value()) << "never started: not loaded";
  ASSERT_TRUE(supervisor->start(unit("simplon-bgpd@red")));
  EXPECT_TRUE(supervisor->running("simplon-bgpd@red").value());
  ASSERT_TRUE(supervisor->request_stop("simplon-bgpd@red"));
  EXPECT_FALSE(supervisor->running("simplon-bgpd@red").value());
  EXPECT_TRUE(supervisor->request_stop("never-started")) << "idempotent";
  EXPECT_TRUE(supervisor->request_stop("simplon-bgpd@red")) << "idempotent";
  EXPECT_THAT(systemd.requests(), ElementsAre("start simplon-bgpd@red.service replace", "stop simplon-bgpd@red.service replace",
                                              "stop simplon-bgpd@red.service replace"));
  EXPECT_EQ(supervisor->output_of("simplon-bgpd@red"), "journalctl -u simplon-bgpd@red.service");
}

TEST_F(SystemdSupervisorTest, ARefusalIsPassedOnWithTheUnitsName) {
  StandIn systemd(address_);
  ASSERT_TRUE(systemd.ready());
  const auto supervisor = make_systemd_supervisor();
  const auto started = supervisor->start(unit("masked"));
  ASSERT_FALSE(started);
  EXPECT_EQ(started.error().code, ErrorCode::kUnavailable);
  EXPECT_THAT(started.error().what, AllOf(HasSubstr("masked.service"), HasSubstr("Unit is masked")));
}

TEST_F(SystemdSupervisorTest, ARefusalOfPolkitNamesTheRemedy) {
  StandIn systemd(address_);
  ASSERT_TRUE(systemd.ready());
  const auto supervisor = make_systemd_supervisor();
  for (const std::string name : {"forbidden", "unasked"}) {
    const auto started = supervisor->start(unit(name));
    ASSERT_FALSE(started);
    EXPECT_EQ(started.error().code, ErrorCode::kUnavailable) << "tried again";
    EXPECT_THAT(started.error().what, HasSubstr("does not let simplond start " + name + ".service"));
    EXPECT_THAT(started.error().hint, AllOf(HasSubstr("apt-get install --reinstall polkitd"), HasSubstr("50-simplon.rules")));
    const auto stopped = supervisor->request_stop(name);
    ASSERT_FALSE(stopped);
    EXPECT_THAT(stopped.error().what, HasSubstr("stop " + name + ".service"));
  }
}

TEST_F(SystemdSupervisorTest, WithoutABusEachCallSaysSoAndItComesBackWithTheBus) {
  const auto supervisor = make_systemd_supervisor();
  {
    StandIn systemd(address_);
    ASSERT_TRUE(systemd.ready());
    ASSERT_TRUE(supervisor->start(unit("a")));
  }
  end_bus();
  EXPECT_FALSE(supervisor->running("a")) << "the connection was lost";
  const auto started = supervisor->start(unit("a"));
  ASSERT_FALSE(started);
  EXPECT_EQ(started.error().code, ErrorCode::kUnavailable);
  EXPECT_THAT(started.error().what, HasSubstr("system bus"));
  SetUp();
  StandIn systemd(address_);
  ASSERT_TRUE(systemd.ready());
  EXPECT_TRUE(supervisor->start(unit("a")));
}

}  // namespace
}  // namespace simplon::sys
