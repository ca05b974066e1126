// SPDX-License-Identifier: GPL-2.0-or-later
#pragma once

#include "tests/unit/control/fakes.h"

namespace simplon::control {

/// FRR instances, which outlive the speakers that talk to them.
struct FakeFrr {
  struct Instance {
    std::optional<bgp::SpeakerSpec> spec;
    bgp::Speaker::RoutesChanged deliver;
    bool synchronized = false;
    bool speaking = false;
  };

  std::map<std::string, Instance> instances;
  std::vector<std::string> stopped;
  /// What an attempt to stop answers, by namespace.
  std::map<std::string, Error> stop_answer;
  /// A speaker was made while another one of its instance was there that had not been stopped.
  bool two_of_one = false;
  /// Under way now, and the most there were at once.
  int stopping = 0;
  int most_stopping = 0;
  /// What reconciliations answer, by namespace.
  std::map<std::string, Error> answer;
  bool synchronize_at_once = true;
  /// How often received prefixes were counted.
  int counted = 0;
  /// Speakers made so far.
  int speakers = 0;
  /// State and uptime of neighbors, by name.
  std::map<std::string, std::pair<std::string, std::uint64_t>> neighbors;
};

class FakeSpeaker final : public bgp::Speaker {
 public:
  FakeSpeaker(boost::asio::io_context& io, FakeFrr& frr, std::string netns, RoutesChanged changed)
      : io_(io), frr_(frr), netns_(std::move(netns)) {
    auto& instance = frr_.instances[netns_];
    frr_.two_of_one = frr_.two_of_one || instance.speaking;
    instance.deliver = std::move(changed);
    instance.synchronized = frr_.synchronize_at_once;
    instance.speaking = true;
    ++frr_.speakers;
  }
  ~FakeSpeaker() override {
    if (const auto found = frr_.instances.find(netns_); found != frr_.instances.end()) found->second.speaking = false;
  }

  boost::asio::awaitable<Result<void>> reconcile(bgp::SpeakerSpec wanted) override {
    co_await next_turn(io_);
    if (const auto answer = frr_.answer.find(netns_); answer != frr_.answer.end()) co_return Unexpected(answer->second);
    frr_.instances[netns_].spec = std::move(wanted);
    co_return Result<void>{};
  }
  boost::asio::awaitable<bgp::SpeakerStatus> status(bgp::StatusDetail detail) override {
    if (detail == bgp::StatusDetail::kReceivedPrefixes) ++frr_.counted;
    bgp::SpeakerStatus status;
    status.running = true;
    for (const auto& [name, state] : frr_.neighbors) {
      auto& neighbor = status.neighbors.emplace_back();
      neighbor.name = name;
      neighbor.state = state.first;
      neighbor.uptime_seconds = state.second;
    }
    co_return status;
  }
  boost::asio::awaitable<Result<void>> stop() override {
    frr_.most_stopping = std::max(frr_.most_stopping, ++frr_.stopping);
    co_await next_turn(io_);
    --frr_.stopping;
    if (const auto answer = frr_.stop_answer.find(netns_); answer != frr_.stop_answer.end()) co_return Unexpected(answer->second);
    frr_.stopped.push_back(netns_);
    frr_.instances.erase(netns_);
    co_return Result<void>{};
  }
  bool synchronized() const override {
    const auto found = frr_.instances.find(netns_);
    return found != frr_.instances.end() && found->second.synchronized;
  }

 private:
  boost::asio::io_context& io_;
  FakeFrr& frr_;
  std::string netns_;
};

}  // namespace simplon::control
