// SPDX-License-Identifier: GPL-2.0-or-later
#include "bgp/src/frr_processes.h"

#include <gmock/gmock.h>
#include <unistd.h>

namespace simplon::bgp {
namespace {

using ::testing::ElementsAre;

/// Units as systemd has them: it remembers what it was asked to stop.
class Units final : public sys::ServiceSupervisor {
 public:
  Result<void> start(const sys::ServiceSpec&) override { return {}; }
  Result<bool> running(const std::string&) override { return false; }
  Result<void> request_stop(const std::string& name) override {
    stopped.push_back(name);
    return {};
  }
  std::string output_of(const std::string&) const override { return {}; }
  std::vector<std::string> stopped;
};

TEST(FrrProcesses, AUnitBetweenTwoCrashesIsStoppedToo) {
  const auto units = std::make_shared<Units>();
  const std::string pathspace = "nobody" + std::to_string(::getpid());
  FrrProcesses processes(pathspace, units);
  ASSERT_FALSE(processes.running(FrrDaemon::kBgpd));
  EXPECT_TRUE(processes.request_stop(FrrDaemon::kBgpd));
  EXPECT_THAT(units->stopped, ElementsAre("simplon-bgpd@" + pathspace));
  EXPECT_FALSE(processes.is_left_behind(FrrDaemon::kBgpd));
}

TEST(FrrProcesses, ListenersOfANamespaceAreFoundByTheirPath) {
  // An address, one that listens, and two connections: one that a listener accepted, which has its path, and a client.
  const std::string sockets =
      "Num       RefCount Protocol Flags    Type St Inode Path\n"
      "00000000653ea669: 00000002 00000000 00010000 0001 01 3462860 /var/run/frr/red/zebra.vty\n"
      "00000000653ea66a: 00000003 00000000 00000000 0001 03 3462861 /var/run/frr/red/bgpd.vty\n"
      "00000000653ea66b: 00000003 00000000 00000000 0001 03 3462862\n";
  EXPECT_TRUE(listens_at(sockets, "/var/run/frr/red/zebra.vty"));
  EXPECT_FALSE(listens_at(sockets, "/var/run/frr/red/bgpd.vty"));
  EXPECT_FALSE(listens_at(sockets, "red/zebra.vty"));
  EXPECT_FALSE(listens_at("", "/var/run/frr/red/zebra.vty"));
}

TEST(FrrProcesses, WithoutUnitsThereIsNothingToStop) {
  FrrProcesses processes("nobody" + std::to_string(::getpid()), nullptr);
  EXPECT_TRUE(processes.request_stop(FrrDaemon::kBgpd));
}

}  // namespace
}  // namespace simplon::bgp
