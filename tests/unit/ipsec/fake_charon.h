// SPDX-License-Identifier: GPL-2.0-or-later
#pragma once

#include <chrono>
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include <boost/asio/io_context.hpp>

#include "ipsec/vici/message.h"

namespace simplon::ipsec {

/// charon's VICI socket with a memory: keeps connections, keys and SAs, answers as charon 5.9.8 does, and lets a test
/// play the peer. Runs on the test's io_context.
class FakeCharon {
 public:
  /// What the peer does with an initiation.
  enum class Peer : std::uint8_t { kAccepts, kRefusesAuth, kRefusesChild, kSilent };

  struct Sa {
    std::uint32_t unique_id = 0;
    std::string name;
    std::string state;
    std::string local;
    std::string remote;
    std::string child;  // name; empty: none
    std::string child_state = "INSTALLED";
    std::uint32_t spi_in = 0;
  };

  FakeCharon(boost::asio::io_context& io, std::string path);
  ~FakeCharon();
  FakeCharon(const FakeCharon&) = delete;
  FakeCharon& operator=(const FakeCharon&) = delete;

  /// As after SIGKILL: connections closed, everything forgotten, nobody listens until `listen`.
  void die();
  void listen();
  /// Only the connections are lost, and nobody listens until `listen`.
  void hang_up();

  /// Every command's name, in order, without list-sas (it is polled). With its `ike` or section name: "initiate paris".
  [[nodiscard]] std::vector<std::string> commands() const;
  void forget_commands();
  [[nodiscard]] std::size_t count(const std::string& command) const;

  /// The peer's acts.
  void peer_terminates(const std::string& name);
  void peer_deletes_child(const std::string& name);
  /// charon gives the IKE_SA up, and waits for the peer's answer.
  void begins_to_delete(const std::string& name);
  std::uint32_t peer_initiates(const std::string& name, const std::string& child);
  void log(std::uint32_t unique_id, const std::string& name, const std::string& line);

  std::map<std::string, Peer> peers;
  std::map<std::string, vici::Section> connections;
  /// Id to key.
  std::map<std::string, std::string> secrets;
  std::map<std::string, std::vector<std::string>> owners;
  std::vector<Sa> sas;
  /// An IKE_SA that is terminated waits for its peer's answer. Told so again, charon destroys it, and tells the peer nothing.
  bool peer_answers_no_deletion = false;
  unsigned destroyed_without_notice = 0;
  /// Commands that are read and never answered.
  std::set<std::string> hangs;
  /// Before each answer.
  std::chrono::milliseconds pace{0};
  /// Called with a command, before it is answered.
  std::function<void(const std::string& command)> on_command;

 private:
  struct Impl;
  std::shared_ptr<Impl> impl_;
};

}  // namespace simplon::ipsec
