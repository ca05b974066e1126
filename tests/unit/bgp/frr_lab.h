// SPDX-License-Identifier: GPL-2.0-or-later
#pragma once

#include <utility>

#include <boost/asio/io_context.hpp>

#include <gtest/gtest.h>

#include <chrono>
#include <filesystem>
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "bgp/speaker.h"
#include "platform/sys/process.h"

namespace simplon::bgp {

/// Our namespace with real FRR under a Speaker, and a router namespace with BIRD for each site.
///
///     site a: BIRD, AS 65001, eth0 .2 ---- 169.254.10.0/30, fd00:10::/64 ---- .1 tun1  gateway: Speaker, FRR, AS 65515
///     site b: BIRD, AS 65002, eth0 .2 ---- 169.254.20.0/30, fd00:20::/64 ---- .1 tun2
///
/// Names carry the pid; everything is removed at the end, also after a failure. Needs root.
class FrrLab : public ::testing::Test {
 protected:
  FrrLab();
  ~FrrLab() override;

  struct Site {
    std::string routes4 = "10.1.0.0/16";  // announced, separated by spaces
    std::string routes6 = {};
    std::uint32_t asn = 65001;
    std::uint32_t gateway_asn = 65515;
    std::string password = {};
    bool bfd = false;
    bool over_ipv6 = false;
  };

  void link(char site, int number);
  /// Starts BIRD of a site, or gives it another configuration (BIRD keeps the session if it can).
  void bird(char site, int number, const Site& config);
  std::string birdc(char site, const std::string& command);
  /// When the session of `site` came up, as BIRD says: it computes the time of day anew for each answer, a millisecond more or less.
  std::chrono::milliseconds session_began(char site);
  /// True if the session of `site` is the one that came up at `began`. None comes back within 100 ms.
  bool is_session_of(char site, std::chrono::milliseconds began) {
    return std::chrono::abs(session_began(site) - began) < std::chrono::milliseconds(100);
  }
  /// `birdc show route PREFIX` as text.
  std::string bird_route(char site, const std::string& prefix) { return birdc(site, "show route " + prefix); }
  void shell(const std::string& command);

  SpeakerSpec spec();
  static NeighborSpec neighbor_of(char site, int number, std::uint32_t asn);

  void make_speaker(Speaker::Options options = {});
  Result<void> reconcile(SpeakerSpec wanted);
  /// A speaker with what site a announces, 10.1.0.0/16 and 10.2.0.0/16, synchronized.
  void start_with_two_routes();
  /// Kills both; returns when others run and zebra is connected.
  void kill_zebra_and_bgpd();
  SpeakerStatus status();
  NeighborStatus status_of(const std::string& name);
  pid_t pid_of(const std::string& daemon) const;
  /// Runs the io_context until `condition` holds; fails the test after `within`.
  bool expect(const std::string& what, const std::function<bool()>& condition,
              std::chrono::seconds within = std::chrono::seconds(20));

  bool has_route(const char* prefix, const std::vector<std::string>& interfaces) const;

  std::string gateway;
  boost::asio::io_context io;
  std::unique_ptr<Speaker> speaker;
  /// What the present speaker reported, applied in order, and how many withdrawals there were.
  std::map<IpPrefix, LearnedRoute> reported;
  std::vector<IpPrefix> withdrawals;

 private:
  [[nodiscard]] std::string netns(char site) const { return gateway + "-" + site; }

  std::filesystem::path directory_;
  std::unique_ptr<sys::ServiceSupervisor> birds_;
  std::vector<char> sites_;
};

}  // namespace simplon::bgp
