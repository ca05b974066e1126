// SPDX-License-Identifier: GPL-2.0-or-later
//
// One coroutine talks to the forwarder; everybody else leaves operations in a queue and wakes it.
//
//   connected  -> SyncBegin, Update(everything wanted)                    synchronize()
//   queue      -> Update(batch), one at a time, oldest first               send_next()
//   complete   -> SyncEnd, once, when learned routes are complete          sweep()
//
// The delay of SyncEnd is what makes a restart of the daemon lose no packet. After a restart the configuration is known
// at once but learned routes come back from FRR a little later. Until then the forwarder must keep the routes of the
// previous life; a SyncEnd sent too early would remove them. Updates work as usual in between, deletions included.
//
// A batch without a waiter is open: operations are added to it until it is sent, the latest one of each route counts. A
// batch with a waiter belongs to a transaction and is sent as it is. What waits when a synchronization starts is not
// sent apart, because `wanted` contains it already; only deletions are, since nobody may sweep for a long time.

#include "gateway/control/table_programmer.h"

#include <algorithm>
#include <set>
#include <variant>

#include <spdlog/spdlog.h>
#include <boost/asio/co_spawn.hpp>
#include <boost/asio/detached.hpp>
#include <boost/asio/redirect_error.hpp>
#include <boost/asio/use_awaitable.hpp>

namespace simplon::control {

namespace asio = boost::asio;

namespace {

/// After a failure that was not the loss of the connection.
constexpr std::chrono::milliseconds kRetryDelay{1000};

std::set<std::string> keys_of(const std::vector<ipc::Operation>& operations) {
  std::set<std::string> keys;
  for (const auto& operation : operations) keys.insert(ipc::key_of(operation.object));
  return keys;
}

}  // namespace

struct TableProgrammer::Waiter {
  explicit Waiter(asio::io_context& io) : timer(io, asio::steady_timer::time_point::max()) {}

  void finish(Result<std::vector<Refusal>> outcome) {
    result = std::move(outcome);
    timer.cancel();
  }

  asio::steady_timer timer;
  std::optional<Result<std::vector<Refusal>>> result;
};

void TableProgrammer::Batch::add(ipc::Operation operation) {
  if (const auto* route = std::get_if<ipc::Route>(&operation.object)) {
    auto [entry, inserted] = routes.try_emplace({route->domain, route->prefix}, operations.size());
    if (!inserted) {
      operations[entry->second].reset();
      entry->second = operations.size();
    }
  }
  operations.emplace_back(std::move(operation));
}

std::vector<ipc::Operation> TableProgrammer::Batch::take() {
  std::vector<ipc::Operation> taken;
  taken.reserve(operations.size());
  for (auto& operation : operations) {
    if (operation) taken.push_back(*std::move(operation));
  }
  operations.clear();
  routes.clear();
  return taken;
}

TableProgrammer::TableProgrammer(asio::io_context& io, ipc::TableClient& client, std::uint64_t first_epoch,
                                 std::function<const TableSet&()> wanted, std::function<bool()> may_sweep)
    : io_(io),
      client_(client),
      epoch_(first_epoch),
      wanted_(std::move(wanted)),
      may_sweep_(std::move(may_sweep)),
      wake_(io) {}

TableProgrammer::~TableProgrammer() {
  *alive_ = false;
  client_.on_connected = nullptr;
  client_.on_disconnected = nullptr;
}

void TableProgrammer::start() {
  if (started_) return;
  started_ = true;
  client_.on_connected = [this](std::uint64_t instance) {
    spdlog::info("forwarder connected, instance {:016x}", instance);
    ++connection_;
    connected_ = true;
    synchronized_ = false;
    swept_ = false;
    problem_.clear();
    poke();
  };
  client_.on_disconnected = [this](const Error& why) {
    spdlog::warn("forwarder away: {}", why.message());
    lost(why);
  };
  asio::co_spawn(io_, run(), asio::detached);
  client_.start();
}

void TableProgrammer::lost(const Error& why) {
  connected_ = false;
  synchronized_ = false;
  swept_ = false;
  problem_ = why.what;
  auto queue = std::move(queue_);
  queue_.clear();
  for (auto& batch : queue) {
    if (batch.waiter) batch.waiter->finish(Unexpected(make_error(ErrorCode::kUnavailable, why.what, why.hint)));
  }
  poke();
}

void TableProgrammer::enqueue(std::vector<ipc::Operation> operations) {
  // Without a synchronized connection the next synchronization brings them; except deletions, see above.
  if (operations.empty() || !client_.connected()) return;
  if (queue_.empty() || queue_.back().waiter) queue_.emplace_back();
  for (auto& operation : operations) queue_.back().add(std::move(operation));
  poke();
}

asio::awaitable<Result<std::vector<Refusal>>> TableProgrammer::program(std::vector<ipc::Operation> operations) {
  if (!client_.connected()) {
    co_return fail(ErrorCode::kUnavailable, problem_,
                   "it gets everything as soon as it is back: start simplon-forwarder");
  }
  if (operations.empty() && synchronized_) co_return std::vector<Refusal>{};
  auto waiter = std::make_shared<Waiter>(io_);
  Batch batch;
  batch.waiter = waiter;
  for (auto& operation : operations) batch.add(std::move(operation));
  queue_.push_back(std::move(batch));
  poke();
  boost::system::error_code cancelled;
  while (!waiter->result) co_await waiter->timer.async_wait(asio::redirect_error(asio::use_awaitable, cancelled));
  co_return *std::move(waiter->result);
}

void TableProgrammer::start_over() {
  ++connection_;  // a synchronization under way does not count
  synchronized_ = false;
  swept_ = false;
  refused_.clear();
  poke();
}

void TableProgrammer::retry_refused() {
  // What is on its way may change or remove what was refused: next time it has.
  if (!queue_.empty() || in_flight_) return;
  std::vector<ipc::Operation> again;
  for (const auto& [key, refusal] : refused_) again.push_back(refusal.operation);
  enqueue(std::move(again));
}

void TableProgrammer::poke() {
  woken_ = true;
  wake_.cancel();
}

TableProgrammer::Status TableProgrammer::status() const {
  Status status;
  status.connected = connected_ && client_.connected();
  status.synchronized = status.connected && synchronized_;
  status.swept = status.connected && swept_;
  status.confirmed = client_.acknowledged().value();
  status.wanted = status.confirmed + queue_.size() + (in_flight_ || !status.synchronized ? 1U : 0U);
  for (const auto& batch : queue_) status.waiting_operations += batch.operations.size();
  for (const auto& [key, refusal] : refused_) status.refused[key] = refusal.what;
  if (!status.synchronized) status.problem = problem_;
  return status;
}

asio::awaitable<void> TableProgrammer::pause(std::chrono::milliseconds at_most) {
  const auto alive = alive_;
  if (!woken_) {
    if (at_most.count() == 0) {
      wake_.expires_at(asio::steady_timer::time_point::max());
    } else {
      wake_.expires_after(at_most);
    }
    boost::system::error_code cancelled;
    co_await wake_.async_wait(asio::redirect_error(asio::use_awaitable, cancelled));
    if (!*alive) co_return;
  }
  woken_ = false;
}

asio::awaitable<void> TableProgrammer::run() {
  const auto alive = alive_;
  while (*alive) {
    // The client may know of a connection a moment before it tells us; a synchronization belongs to what it told.
    if (!connected_) {
      co_await pause(std::chrono::milliseconds(0));
    } else if (!synchronized_) {
      co_await synchronize();
      if (*alive && connected_ && !synchronized_) co_await pause(kRetryDelay);
    } else if (!queue_.empty()) {
      co_await send_next();
    } else if (!swept_ && may_sweep_()) {
      co_await sweep();
      if (*alive && connected_ && !swept_) co_await pause(kRetryDelay);
    } else {
      co_await pause(std::chrono::milliseconds(0));
    }
  }
}

asio::awaitable<void> TableProgrammer::synchronize() {
  const auto alive = alive_;
  const auto connection = connection_;
  auto queue = std::move(queue_);
  queue_.clear();
  std::vector<ipc::Operation> operations;
  std::vector<std::pair<std::shared_ptr<Waiter>, std::set<std::string>>> waiters;
  for (auto& batch : queue) {
    auto taken = batch.take();
    if (batch.waiter) waiters.emplace_back(batch.waiter, keys_of(taken));
    for (auto& operation : taken) {
      if (operation.delete_it) operations.push_back(std::move(operation));
    }
  }
  auto wanted = everything(wanted_());
  operations.insert(operations.end(), std::make_move_iterator(wanted.begin()), std::make_move_iterator(wanted.end()));

  in_flight_ = true;
  Result<std::vector<Refusal>> outcome;
  auto begun = co_await client_.sync_begin(Epoch(++epoch_));
  if (!begun) {
    outcome = Unexpected(begun.error());
  } else {
    auto ack = co_await client_.update(operations);
    if (!*alive) co_return;
    if (!ack) {
      outcome = Unexpected(ack.error());
    } else {
      refused_.clear();
      outcome = note(operations, *ack);
    }
  }
  if (!*alive) co_return;
  in_flight_ = false;

  // A connection that was lost and made again meanwhile needs a synchronization of its own.
  if (outcome && connection == connection_) {
    synchronized_ = true;
    spdlog::info("forwarder synchronized: {} objects, {} refused, generation {}", operations.size(), outcome->size(),
                 client_.acknowledged().value());
  } else if (!outcome) {
    problem_ = outcome.error().what;
    spdlog::warn("synchronizing the forwarder failed: {}", outcome.error().message());
  }
  for (auto& [waiter, keys] : waiters) {
    if (!outcome) {
      waiter->finish(Unexpected(make_error(ErrorCode::kUnavailable, outcome.error().what, outcome.error().hint)));
      continue;
    }
    std::vector<Refusal> theirs;
    for (const auto& refusal : *outcome) {
      if (keys.contains(ipc::key_of(refusal.operation.object))) theirs.push_back(refusal);
    }
    waiter->finish(std::move(theirs));
  }
}

asio::awaitable<void> TableProgrammer::send_next() {
  const auto alive = alive_;
  auto batch = std::move(queue_.front());
  queue_.pop_front();
  const auto operations = batch.take();
  if (operations.empty()) {
    if (batch.waiter) batch.waiter->finish(std::vector<Refusal>{});
    co_return;
  }
  in_flight_ = true;
  auto ack = co_await client_.update(operations);
  if (!*alive) co_return;
  in_flight_ = false;
  if (!ack) {
    // Whether it was applied is unknown: start over with everything.
    spdlog::warn("an update of the forwarder failed: {}", ack.error().message());
    synchronized_ = false;
    swept_ = false;
    if (batch.waiter) {
      batch.waiter->finish(Unexpected(make_error(ErrorCode::kUnavailable, ack.error().what, ack.error().hint)));
    }
    co_return;
  }
  auto refusals = note(operations, *ack);
  if (batch.waiter) batch.waiter->finish(std::move(refusals));
}

asio::awaitable<void> TableProgrammer::sweep() {
  const auto alive = alive_;
  const auto connection = connection_;
  in_flight_ = true;
  auto ack = co_await client_.sync_end(Epoch(epoch_));
  if (!*alive) co_return;
  in_flight_ = false;
  if (!ack) {
    spdlog::warn("SyncEnd failed: {}", ack.error().message());
  } else if (!ack->errors.empty()) {
    // Another programmer began a synchronization of its own: begin again.
    spdlog::warn("SyncEnd refused: {}", ack->errors.front().what);
    synchronized_ = false;
  } else if (connection == connection_) {
    swept_ = true;
    spdlog::info("forwarder swept at generation {}", ack->generation.value());
  }
}

std::vector<Refusal> TableProgrammer::note(const std::vector<ipc::Operation>& operations, const ipc::Ack& ack) {
  std::vector<Refusal> refusals;
  if (!refused_.empty()) {
    for (const auto& key : keys_of(operations)) refused_.erase(key);
  }
  for (const auto& error : ack.errors) {
    if (error.index >= operations.size()) continue;
    const auto& operation = operations[error.index];
    auto key = ipc::key_of(operation.object);
    // The forwarder says "KEY: reason" for its own log.
    const bool named = error.what.starts_with(key + ": ");
    refusals.push_back({operation, named ? error.what.substr(key.size() + 2) : error.what});
    spdlog::warn("the forwarder refused {}: {}", key, refusals.back().what);
    refused_.insert_or_assign(std::move(key), refusals.back());
  }
  return refusals;
}

}  // namespace simplon::control
