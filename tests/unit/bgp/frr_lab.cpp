// SPDX-License-Identifier: GPL-2.0-or-later
#include "tests/unit/bgp/frr_lab.h"

#include <signal.h>
#include <unistd.h>

#include <array>
#include <chrono>
#include <cstdio>
#include <fstream>
#include <regex>
#include <sstream>
#include <thread>

#include "platform/sys/netns.h"
#include "tests/unit/bgp/run_awaitable.h"
#include "tests/unit/bgp/specs.h"

namespace simplon::bgp {
namespace {

using namespace std::chrono_literals;

std::string output_of(const std::string& command) {
  std::string text;
  std::FILE* pipe = ::popen((command + " 2>&1").c_str(), "r");
  if (pipe == nullptr) return text;
  std::array<char, 4096> buffer;
  while (const std::size_t got = std::fread(buffer.data(), 1, buffer.size(), pipe)) text.append(buffer.data(), got);
  ::pclose(pipe);
  return text;
}

std::string statics(const std::string& prefixes) {
  std::istringstream words(prefixes);
  std::string text;
  for (std::string prefix; words >> prefix;) text += " route " + prefix + " blackhole;";
  return text;
}

}  // namespace

FrrLab::FrrLab()
    : gateway("bgplab" + std::to_string(::getpid())),
      directory_(std::filesystem::temp_directory_path() / gateway),
      birds_(sys::make_process_supervisor(directory_)) {
  std::filesystem::create_directories(directory_);
  EXPECT_EQ(::geteuid(), 0U) << "this test needs root";
  EXPECT_TRUE(sys::create_netns(gateway));
  EXPECT_TRUE(sys::prepare_domain_netns(gateway));
}

namespace {

bool ended(sys::ServiceSupervisor& services, const std::string& name) {
  if (!services.request_stop(name)) return false;
  const auto deadline = std::chrono::steady_clock::now() + 3s;
  while (services.running(name).value_or(false)) {
    if (std::chrono::steady_clock::now() > deadline) return false;
    std::this_thread::sleep_for(10ms);
  }
  return true;
}

}  // namespace

FrrLab::~FrrLab() {
  if (HasFailure()) {  // what FRR believes, while it is still there
    for (const char* question : {"show zebra client summary", "show ip route", "show ip bgp", "show ip nht", "show bgp summary"}) {
      std::printf("%s\n%s\n", question, output_of("timeout 5 vtysh -N " + gateway + " -c '" + question + "' 2>&1").c_str());
    }
    if (speaker) std::printf("%zu routes reported, synchronized: %d\n", reported.size(), speaker->synchronized() ? 1 : 0);
  }
  if (!speaker) make_speaker();
  if (speaker) {
    const auto stopped = run(io, speaker->stop());
    EXPECT_TRUE(stopped) << stopped.error().message();
  }
  for (const char site : sites_) {
    EXPECT_TRUE(ended(*birds_, std::string("bird-") + site));
    EXPECT_TRUE(sys::delete_netns(netns(site)));
  }
  EXPECT_TRUE(sys::delete_netns(gateway));
  if (HasFailure()) {
    std::printf("logs are kept in %s\n", directory_.c_str());
  } else {
    std::filesystem::remove_all(directory_);
  }
}

void FrrLab::shell(const std::string& command) {
  const std::string output = output_of(command + " && echo done");
  EXPECT_NE(output.find("done"), std::string::npos) << command << "\n" << output;
}

void FrrLab::link(char site, int number) {
  const std::string peer = netns(site);
  ASSERT_TRUE(sys::create_netns(peer));
  sites_.push_back(site);
  const std::string interface = "tun" + std::to_string(number);
  const std::string net = std::to_string(number * 10);
  shell("ip -n " + peer + " link set lo up");
  shell("ip link add " + interface + " netns " + gateway + " type veth peer name eth0 netns " + peer);
  shell("ip -n " + gateway + " addr add 169.254." + net + ".1/30 dev " + interface);
  shell("ip -n " + gateway + " addr add fd00:" + net + "::1/64 dev " + interface + " nodad");
  shell("ip -n " + peer + " addr add 169.254." + net + ".2/30 dev eth0");
  shell("ip -n " + peer + " addr add fd00:" + net + "::2/64 dev eth0 nodad");
  shell("ip -n " + gateway + " link set " + interface + " up");
  shell("ip -n " + peer + " link set eth0 up");
}

void FrrLab::bird(char site, int number, const Site& config) {
  const std::string net = std::to_string(number * 10);
  const std::string ours = config.over_ipv6 ? "fd00:" + net + "::2" : "169.254." + net + ".2";
  const std::string theirs = config.over_ipv6 ? "fd00:" + net + "::1" : "169.254." + net + ".1";
  std::ostringstream text;
  text << "router id 10.255.0." << number << ";\n"
       << "log stderr all;\n"
       << "protocol device { scan time 5; }\n"
       << "protocol bfd { interface \"eth0\" { min rx interval 300 ms; min tx interval 300 ms; multiplier 3; }; }\n"
       << "protocol static s4 { ipv4;" << statics(config.routes4) << " }\n"
       << "protocol static s6 { ipv6;" << statics(config.routes6) << " }\n"
       << "protocol bgp uplink {\n"
       << "  local " << ours << " as " << config.asn << "; neighbor " << theirs << " as " << config.gateway_asn << "; direct;\n"
       << "  hold time 30; connect retry time 2; connect delay time 1; error wait time 1,2;\n"
       << (config.bfd ? "  bfd on;\n" : "")
       << (config.password.empty() ? "" : "  password \"" + config.password + "\";\n")
       << "  ipv4 { " << (config.over_ipv6 ? "extended next hop on; " : "")
       << "import all; export where proto = \"s4\"; };\n"
       << (config.over_ipv6 ? "  ipv6 { import all; export where proto = \"s6\"; };\n" : "") << "}\n";
  const std::string path = directory_ / (std::string("bird-") + site + ".conf");
  std::ofstream(path) << text.str();

  const std::string name = std::string("bird-") + site;
  if (birds_->running(name).value_or(false)) {
    const auto answer = birdc(site, "configure");
    EXPECT_NE(answer.find("Reconfig"), std::string::npos) << answer;
    return;
  }
  const auto started = birds_->start(
      {.name = name, .netns = netns(site), .argv = {"/usr/sbin/bird", "-f", "-c", path, "-s", path + ".ctl"}, .environment = {}});
  ASSERT_TRUE(started) << started.error().message();
}

std::string FrrLab::birdc(char site, const std::string& command) {
  return output_of("birdc -s " + (directory_ / (std::string("bird-") + site + ".conf.ctl")).string() + " " + command);
}

std::chrono::milliseconds FrrLab::session_began(char site) {
  const std::string answer = birdc(site, "show protocols uplink");
  static const std::regex kSince(R"(uplink +BGP +--- +up +(\d\d):(\d\d):(\d\d)\.(\d{3}) +Established)");
  std::smatch part;
  EXPECT_TRUE(std::regex_search(answer, part, kSince)) << answer;
  if (part.empty()) return {};
  return std::chrono::hours(std::stoi(part[1])) + std::chrono::minutes(std::stoi(part[2])) +
         std::chrono::seconds(std::stoi(part[3])) + std::chrono::milliseconds(std::stoi(part[4]));
}

SpeakerSpec FrrLab::spec() {
  SpeakerSpec wanted;
  wanted.netns = gateway;
  wanted.asn = 65515;
  wanted.router_id = address("169.254.10.1");
  wanted.originate = {prefix("10.20.0.0/16"), prefix("10.30.0.0/16")};
  return wanted;
}

NeighborSpec FrrLab::neighbor_of(char site, int number, std::uint32_t asn) {
  const std::string text = "169.254." + std::to_string(number * 10) + ".2";
  const std::string name = std::string("site-") + site;
  auto result = neighbor(name.c_str(), text.c_str(), asn);
  result.import = {rule("10.0.0.0/12", 24)};
  result.export_ = {rule("10.20.0.0/16")};
  return result;
}

void FrrLab::make_speaker(Speaker::Options options) {
  reported.clear();
  withdrawals.clear();
  auto made = Speaker::create(io, gateway, std::move(options), [this](const RouteChanges& changes) {
    for (const auto& route : changes.upserts) reported[route.prefix] = route;
    for (const auto& gone : changes.withdrawals) {
      EXPECT_EQ(reported.erase(gone), 1U) << "withdrawal of an unknown route " << gone.to_string();
      withdrawals.push_back(gone);
    }
  });
  ASSERT_TRUE(made) << made.error().message();
  speaker = *std::move(made);
}

Result<void> FrrLab::reconcile(SpeakerSpec wanted) {
  auto done = run(io, speaker->reconcile(std::move(wanted)));
  EXPECT_TRUE(done) << done.error().message();
  return done;
}

void FrrLab::start_with_two_routes() {
  link('a', 1);
  bird('a', 1, {.routes4 = "10.1.0.0/16 10.2.0.0/16"});
  make_speaker();
  auto wanted = spec();
  wanted.neighbors = {neighbor_of('a', 1, 65001)};
  ASSERT_TRUE(reconcile(wanted));
  ASSERT_TRUE(expect("both routes", [&] { return reported.size() == 2 && speaker->synchronized(); }));
}

void FrrLab::kill_zebra_and_bgpd() {
  const pid_t zebra = pid_of("zebra");
  const pid_t bgpd = pid_of("bgpd");
  ASSERT_EQ(::kill(zebra, SIGKILL), 0);
  ASSERT_EQ(::kill(bgpd, SIGKILL), 0);
  ASSERT_TRUE(expect("other processes", [&] { return pid_of("zebra") != zebra && pid_of("bgpd") != bgpd && status().fpm_connected; }));
}

SpeakerStatus FrrLab::status() { return run(io, speaker->status(StatusDetail::kReceivedPrefixes)); }

NeighborStatus FrrLab::status_of(const std::string& name) {
  for (auto& neighbor : status().neighbors) {
    if (neighbor.name == name) return neighbor;
  }
  return {};
}

pid_t FrrLab::pid_of(const std::string& daemon) const {
  std::ifstream file("/var/run/frr/" + gateway + "/" + daemon + ".pid");
  pid_t pid = 0;
  file >> pid;
  return pid;
}

bool FrrLab::expect(const std::string& what, const std::function<bool()>& condition, std::chrono::seconds within) {
  const auto deadline = std::chrono::steady_clock::now() + within;
  while (!condition()) {
    if (std::chrono::steady_clock::now() >= deadline) {
      ADD_FAILURE() << "not within " << within.count() << " s: " << what;
      return false;
    }
    io.restart();
    io.run_for(50ms);
  }
  return true;
}

bool FrrLab::has_route(const char* text, const std::vector<std::string>& interfaces) const {
  const auto it = reported.find(prefix(text));
  if (it == reported.end()) return false;
  std::vector<std::string> names;
  for (const auto& nexthop : it->second.nexthops) names.push_back(nexthop.interface);
  std::sort(names.begin(), names.end());
  return names == interfaces;
}

}  // namespace simplon::bgp
