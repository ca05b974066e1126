// SPDX-License-Identifier: GPL-2.0-or-later
#include "tests/unit/forwarder/lab.h"

#include <arpa/inet.h>
#include <gtest/gtest.h>
#include <netinet/in.h>
#include <poll.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <cstdio>
#include <cstring>
#include <thread>

#include <boost/asio/co_spawn.hpp>
#include <boost/asio/detached.hpp>

#include "platform/net/ip_address.h"
#include "platform/sys/file.h"
#include "platform/sys/netns.h"
#include "platform/sys/unix_socket.h"
#include "tests/support/terminate_process.h"
#include "tests/unit/ipc/sa_wire.h"

namespace simplon::lab {

using namespace std::chrono_literals;
using Steady = std::chrono::steady_clock;

constexpr auto kPatience = 10s;

Outcome shell(const std::string& command) {
  Outcome outcome;
  FILE* pipe = ::popen(("{ " + command + "; } 2>&1").c_str(), "r");
  if (pipe == nullptr) return {-1, "popen"};
  std::array<char, 4096> chunk;
  while (const std::size_t got = std::fread(chunk.data(), 1, chunk.size(), pipe)) outcome.output.append(chunk.data(), got);
  const int status = ::pclose(pipe);
  outcome.status = WIFEXITED(status) ? WEXITSTATUS(status) : -1;
  return outcome;
}

void must(const std::string& command) {
  const Outcome outcome = shell(command);
  ASSERT_EQ(outcome.status, 0) << command << "\n" << outcome.output;
}

bool eventually(const std::string& command) {
  const auto deadline = Steady::now() + kPatience;
  Outcome outcome;
  do {
    outcome = shell(command);
    if (outcome.status == 0) return true;
  } while (Steady::now() < deadline);
  std::fprintf(stderr, "%s\n%s\n", command.c_str(), outcome.output.c_str());
  return false;
}

Netns::Netns(const std::string& name) : name_("t" + std::to_string(::getpid()) + "-" + name) {
  const auto made = sys::create_netns(name_);
  EXPECT_TRUE(made) << made.error().message();
  ip("link set lo up");
}

Netns::~Netns() { EXPECT_TRUE(sys::delete_netns(name_)); }

void connect(const Netns& left, const std::string& left_name, const Netns& right, const std::string& right_name) {
  must("ip link add " + left_name + " netns " + left.name() + " type veth peer name " + right_name + " netns " + right.name());
  for (const auto& [netns, name] : {std::pair(&left, left_name), std::pair(&right, right_name)}) {
    must(netns->run("ethtool -K " + name + " tx off"));
    netns->ip("link set " + name + " up");
  }
}

NumberedTraffic::NumberedTraffic(const Netns& from, const Netns& to, const std::string& destination) {
  constexpr std::uint16_t kPort = 9999;
  auto sender = sys::open_socket_in_netns(from.name(), AF_INET, SOCK_DGRAM);
  auto receiver = sys::open_socket_in_netns(to.name(), AF_INET, SOCK_DGRAM | SOCK_NONBLOCK);
  EXPECT_TRUE(sender && receiver);
  if (!sender || !receiver) return;
  sender_ = *std::move(sender);
  receiver_ = *std::move(receiver);
  const int buffer = 8 << 20;
  static_cast<void>(::setsockopt(receiver_.get(), SOL_SOCKET, SO_RCVBUFFORCE, &buffer, sizeof buffer));
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_port = htons(kPort);
  EXPECT_EQ(::bind(receiver_.get(), reinterpret_cast<const sockaddr*>(&address), sizeof address), 0);
  EXPECT_EQ(::inet_pton(AF_INET, destination.c_str(), &address.sin_addr), 1);
  EXPECT_EQ(::connect(sender_.get(), reinterpret_cast<const sockaddr*>(&address), sizeof address), 0);
  thread_ = std::thread([this] {
    while (!stop_.load()) {
      const std::uint32_t number = sent_.load();
      if (::send(sender_.get(), &number, sizeof number, 0) == sizeof number) sent_.store(number + 1);
      std::this_thread::sleep_for(1ms);
    }
  });
}

NumberedTraffic::~NumberedTraffic() {
  stop_.store(true);
  if (thread_.joinable()) thread_.join();
}

NumberedTraffic::Report NumberedTraffic::finish() {
  stop_.store(true);
  if (thread_.joinable()) thread_.join();
  Report report;
  report.sent = sent_.load();
  std::vector<bool> seen(report.sent);
  const auto deadline = Steady::now() + kPatience;
  while (report.received < report.sent && Steady::now() < deadline) {
    std::uint32_t number = 0;
    if (::recv(receiver_.get(), &number, sizeof number, 0) != sizeof number) {
      pollfd waiting{receiver_.get(), POLLIN, 0};
      ::poll(&waiting, 1, 100);
    } else if (number < seen.size() && !seen[number]) {
      seen[number] = true;
      ++report.received;
    } else {
      ++report.repeated;
    }
  }
  return report;
}

ForwarderProcess::ForwarderProcess(const Netns& underlay) : netns_(underlay.name()), directory_("/run/" + underlay.name()) {
  EXPECT_TRUE(sys::make_directories(directory_, 0750));
  start();
}

ForwarderProcess::~ForwarderProcess() {
  if (::testing::Test::HasFailure()) std::fprintf(stderr, "--- %s\n%s", netns_.c_str(), log().c_str());
  if (process_) {
    EXPECT_TRUE(test::terminate_process(*process_, 2s));
  }
  client_.reset();
  io_.poll();
  shell("rm -rf " + directory_);
}

void ForwarderProcess::start() {
  sys::ServiceSpec spec;
  spec.name = "simplon-forwarder";
  spec.netns = netns_;
  spec.argv = {SIMPLON_FORWARDER_PROGRAM, "--run-dir", directory_, "--frames", "8192", "--log-level", "debug"};
  auto process = sys::spawn_detached(spec, directory_ + "/log");
  ASSERT_TRUE(process) << process.error().message();
  process_ = *process;
  client_ = ipc::TableClient::create(io_, {directory_ + "/forwarder.sock", "lab", 1, false});
  client_->start();
  await_connection();
}

void ForwarderProcess::await_connection() {
  const auto deadline = Steady::now() + kPatience;
  while (!client_->connected() && Steady::now() < deadline) io_.run_one_for(10ms);
  ASSERT_TRUE(client_->connected()) << log();
}

void ForwarderProcess::stop() {
  ASSERT_TRUE(sys::signal_process(*process_, SIGTERM));
  const auto deadline = Steady::now() + kPatience;
  while (sys::process_alive(*process_) && Steady::now() < deadline) std::this_thread::sleep_for(1ms);
  ASSERT_FALSE(sys::process_alive(*process_)) << "it does not end on SIGTERM";
  process_.reset();
}

std::string ForwarderProcess::log() const { return sys::read_file(directory_ + "/log", 10 << 20).value_or(""); }

template <class T>
T ForwarderProcess::wait(boost::asio::awaitable<T> operation) {
  std::optional<T> result;
  boost::asio::co_spawn(io_, std::move(operation), [&](std::exception_ptr, T value) { result = std::move(value); });
  while (!result) io_.run_one();
  return *std::move(result);
}

void ForwarderProcess::program(const std::vector<ipc::Object>& objects) {
  for (const auto& error : sync(objects)) ADD_FAILURE() << error;
}

std::vector<std::string> ForwarderProcess::sync(const std::vector<ipc::Object>& objects) {
  const Epoch epoch(++epoch_);
  std::vector<ipc::Operation> operations;
  for (const auto& object : objects) operations.push_back(ipc::Operation::upsert(object));
  EXPECT_TRUE(wait(client_->sync_begin(epoch)));
  const auto updated = wait(client_->update(std::move(operations)));
  const auto ended = wait(client_->sync_end(epoch));
  if (!updated || !ended) return {(updated ? ended : updated).error().message()};
  std::vector<std::string> refused;
  for (const auto& error : updated->errors) refused.push_back(error.what);
  return refused;
}

ipc::Stats ForwarderProcess::stats() {
  auto stats = wait(client_->stats());
  if (!stats) {
    ADD_FAILURE() << stats.error().message();
    return {};
  }
  return *std::move(stats);
}

bool ForwarderProcess::reaches(const std::function<bool(const ipc::Stats&)>& condition) {
  const auto deadline = Steady::now() + kPatience;
  do {
    if (condition(stats())) return true;
    std::this_thread::sleep_for(5ms);
  } while (Steady::now() < deadline);
  return false;
}

template <class Body>
simplon_sa_reply Plugin::ask(simplon_sa_type type, const Body& body) {
  const auto message = test::sa_message(static_cast<std::uint16_t>(type), ++sequence_, body);
  EXPECT_EQ(::send(socket_.get(), message.data(), message.size(), MSG_NOSIGNAL), static_cast<ssize_t>(message.size()));
  std::array<std::uint8_t, SIMPLON_SA_MAX_MESSAGE> answer;
  for (;;) {
    pollfd waiting{socket_.get(), POLLIN, 0};
    if (::poll(&waiting, 1, 5000) <= 0) break;
    const ssize_t got = ::recv(socket_.get(), answer.data(), answer.size(), 0);
    simplon_sa_header header{};
    if (got < static_cast<ssize_t>(sizeof header)) break;
    std::memcpy(&header, answer.data(), sizeof header);
    if (header.type == SIMPLON_SA_REPLY && header.sequence == sequence_) {
      simplon_sa_reply reply{};
      std::memcpy(&reply, answer.data() + sizeof header, sizeof reply);
      return reply;
    }
  }
  ADD_FAILURE() << "no reply to SA message " << type;
  return {};
}

Plugin::Plugin(const std::string& socket_path, std::uint64_t session) {
  auto socket = sys::connect_unix(socket_path, SOCK_SEQPACKET, false);
  EXPECT_TRUE(socket) << socket.error().message();
  if (!socket) return;
  socket_ = *std::move(socket);
  simplon_sa_hello hello{};
  hello.session = session;
  std::strcpy(hello.software, "lab");
  instance_ = ask(SIMPLON_SA_HELLO, hello).value;
}

simplon_sa_reply Plugin::add(const simplon_sa_add& body) { return ask(SIMPLON_SA_ADD, body); }
simplon_sa_reply Plugin::remove(const simplon_sa_id& body) { return ask(SIMPLON_SA_DELETE, body); }
simplon_sa_reply Plugin::add_policy(const simplon_sa_policy& body) { return ask(SIMPLON_SA_ADD_POLICY, body); }

SaPair make_sa(const std::string& source, const std::string& destination, std::uint32_t spi, std::uint32_t tunnel,
               bool inbound, bool encap, std::uint8_t key_seed) {
  SaPair pair;
  simplon_sa_add& sa = pair.sa;
  sa.id.destination = test::sa_address(IpAddress::parse(destination).value());
  sa.id.spi = spi;
  sa.id.protocol = 50;
  sa.source = test::sa_address(IpAddress::parse(source).value());
  sa.if_id = tunnel;
  sa.encryption = 20;
  sa.integrity = 1024;
  sa.encryption_key_length = 36;
  for (std::uint8_t i = 0; i < 36; ++i) sa.encryption_key[i] = static_cast<std::uint8_t>(key_seed + i);
  sa.replay_window = 1024;
  sa.mode = 2;
  sa.inbound = inbound;
  sa.esn = 1;
  sa.encap = encap;
  sa.source_port = sa.destination_port = encap ? 4500 : 0;
  sa.source_selectors = sa.destination_selectors = 1;
  sa.source_selector[0] = sa.destination_selector[0] = test::sa_any_ipv4();
  pair.policy.direction = inbound ? SIMPLON_SA_IN : SIMPLON_SA_OUT;
  pair.policy.if_id = tunnel;
  pair.policy.priority = 1;
  pair.policy.spi = spi;
  pair.policy.source = pair.policy.destination = test::sa_any_ipv4();
  return pair;
}

}  // namespace simplon::lab
