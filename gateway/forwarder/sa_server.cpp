// SPDX-License-Identifier: GPL-2.0-or-later
#include "gateway/forwarder/sa_server.h"

#include <spdlog/spdlog.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <chrono>
#include <cstring>
#include <deque>
#include <iterator>
#include <list>
#include <optional>

#include <boost/asio/posix/stream_descriptor.hpp>
#include <boost/asio/steady_timer.hpp>

#include "platform/sys/unix_socket.h"

namespace simplon::forwarder {
namespace {

namespace asio = boost::asio;
using boost::system::error_code;
using Descriptor = asio::posix::stream_descriptor;

// Chosen by us. The plugin makes one connection; a few more may be on their way.
constexpr std::size_t kMaxConnections = 8;
// Two events for each of 10,000 SAs; a plugin that does not read that many is replaced by its next connection.
constexpr std::size_t kMaxQueued = 20000;
// Between two attempts to accept a connection when there is no descriptor for it.
constexpr auto kAcceptPause = std::chrono::milliseconds(100);
/// Whom simplon-charon.service runs charon as.
constexpr const char* kCharonUser = "simplon-charon";

bool is_event(const std::vector<std::uint8_t>& message) {
  simplon_sa_header header{};
  std::memcpy(&header, message.data(), std::min(sizeof header, message.size()));
  return header.type >= SIMPLON_SA_EXPIRE;
}

struct Connection {
  Connection(asio::io_context& io, int fd) : descriptor(io, fd) {}
  Descriptor descriptor;
  std::deque<std::vector<std::uint8_t>> outgoing;
  bool writing = false;
  bool greeted = false;
  bool closed = false;
};

class UnixSaServer final : public SaServer {
 public:
  UnixSaServer(asio::io_context& io, int fd, std::string path, Handler handle)
      : io_(io), listener_(io, fd), pause_(io), path_(std::move(path)), handle_(std::move(handle)) {
    accept();
  }

  ~UnixSaServer() override {
    for (const auto& connection : std::list(connections_)) close(connection);
    ::unlink(path_.c_str());
  }

  void send_event(std::vector<std::uint8_t> event) override {
    if (plugin_) {
      send(plugin_, std::move(event));
    } else if (waiting_.size() < kMaxQueued) {
      waiting_.push_back(std::move(event));
    }
  }

  Pending close() override {
    // Requests that are here already are answered: a lost one costs charon a negotiation.
    for (const auto& connection : std::list(connections_)) receive(connection);
    for (const auto& connection : std::list(connections_)) close(connection);
    Pending pending{session_, {std::move_iterator(waiting_.begin()), std::move_iterator(waiting_.end())}};
    waiting_.clear();
    error_code ignored;
    listener_.close(ignored);
    pause_.cancel();
    return pending;
  }

  void resume(Pending pending) override {
    session_ = pending.session;
    for (auto& event : pending.events) waiting_.push_back(std::move(event));
  }

 private:
  using Shared = std::shared_ptr<Connection>;

  void accept() {
    listener_.async_wait(Descriptor::wait_read, [this](const error_code& error) {
      if (error) return;
      for (;;) {
        const int fd = ::accept4(listener_.native_handle(), nullptr, nullptr, SOCK_CLOEXEC | SOCK_NONBLOCK);
        if (fd < 0 && errno == EINTR) continue;
        if (fd < 0 && errno != EAGAIN) return wait_for_descriptors(errno);
        if (fd < 0) break;
        pausing_ = false;
        welcome(fd);
      }
      accept();
    });
  }

  /// The queue of the socket holds the client meanwhile: asked at once, it would be offered again at once, for ever.
  void wait_for_descriptors(int why) {
    if (!pausing_) spdlog::warn("SA: cannot accept a connection on {}: {}", path_, std::strerror(why));
    pausing_ = true;
    pause_.expires_after(kAcceptPause);
    pause_.async_wait([this](const error_code& error) {
      if (!error) accept();
    });
  }

  void welcome(int fd) {
    const auto peer = sys::peer_credentials(fd);
    if (!peer || !sys::is_trusted_user(peer->uid, kCharonUser) || connections_.size() >= kMaxConnections) {
      spdlog::warn("SA: refused a connection on {} from user {}", path_, peer ? std::to_string(peer->uid) : "unknown");
      ::close(fd);
      return;
    }
    auto connection = std::make_shared<Connection>(io_, fd);
    connections_.push_back(connection);
    wait(connection);
  }

  void wait(const Shared& connection) {
    connection->descriptor.async_wait(Descriptor::wait_read, [this, connection](const error_code& error) {
      // Closed: by us, and then `this` may be gone.
      if (error || connection->closed) return;
      receive(connection);
      if (!connection->closed) wait(connection);
    });
  }

  void receive(const Shared& connection) {
    std::array<std::uint8_t, SIMPLON_SA_MAX_MESSAGE> buffer;
    while (!connection->closed) {
      const ssize_t got = ::recv(connection->descriptor.native_handle(), buffer.data(), buffer.size(), MSG_TRUNC);
      if (got < 0 && errno == EINTR) continue;
      if (got < 0 && errno == EAGAIN) break;
      if (got <= 0) {
        close(connection);
        break;
      }
      if (static_cast<std::size_t>(got) > buffer.size()) {
        spdlog::warn("SA: a message of {} bytes", got);
        close(connection);
        break;
      }
      take(connection, {buffer.data(), static_cast<std::size_t>(got)});
    }
    // Keys passed through it.
    ::explicit_bzero(buffer.data(), buffer.size());
  }

  void take(const Shared& connection, std::span<const std::uint8_t> message) {
    auto decoded = ipc::sa::decode_request(message);
    if (!decoded) {
      spdlog::warn("SA: {}", decoded.error().message());
      close(connection);
      return;
    }
    if (const auto* malformed = std::get_if<ipc::sa::Malformed>(&*decoded)) {
      spdlog::warn("SA: refused: {}", malformed->why);
      send(connection, ipc::sa::encode_reply(malformed->sequence, malformed->status, 0));
      return;
    }
    const auto& request = std::get<ipc::sa::Request>(*decoded);
    const auto* hello = std::get_if<ipc::sa::Hello>(&request.body);
    if (hello == nullptr && !connection->greeted) {
      spdlog::warn("SA: a client did not begin with HELLO");
      close(connection);
      return;
    }
    send(connection, handle_(request));
    if (hello != nullptr && !connection->closed) greet(connection, *hello);
  }

  void greet(const Shared& connection, const ipc::sa::Hello& hello) {
    connection->greeted = true;
    if (plugin_ && plugin_ != connection) close(plugin_);
    plugin_ = connection;
    spdlog::info("SA: {} connected", hello.software);
    // Events of another session are about SAs its charon does not know.
    const bool same = std::exchange(session_, hello.session) == hello.session;
    for (auto& event : std::exchange(waiting_, {})) {
      if (!same) break;
      // The connection may end in between: what it has not sent is waiting then, and the rest behind it.
      if (connection->closed) {
        waiting_.push_back(std::move(event));
      } else {
        send(connection, std::move(event));
      }
    }
  }

  void send(const Shared& connection, std::vector<std::uint8_t> message) {
    if (connection->closed) return;
    connection->outgoing.push_back(std::move(message));
    if (connection->outgoing.size() > kMaxQueued) {
      spdlog::warn("SA: the plugin does not read; its connection is closed");
      close(connection);
      return;
    }
    if (!connection->writing) drain(connection);
  }

  void drain(const Shared& connection) {
    connection->writing = false;
    while (!connection->closed && !connection->outgoing.empty()) {
      const auto& message = connection->outgoing.front();
      const ssize_t put = ::send(connection->descriptor.native_handle(), message.data(), message.size(), MSG_NOSIGNAL);
      if (put < 0 && errno == EINTR) continue;
      if (put < 0 && errno == EAGAIN) {
        connection->writing = true;
        connection->descriptor.async_wait(Descriptor::wait_write, [this, connection](const error_code& error) {
          if (!error && !connection->closed) drain(connection);
        });
        return;
      }
      if (put < 0) {
        close(connection);
        return;
      }
      connection->outgoing.pop_front();
    }
  }

  /// By value: it may be `plugin_`, or the last that keeps it.
  void close(Shared connection) {  // NOLINT(performance-unnecessary-value-param)
    if (connection->closed) return;
    connection->closed = true;
    error_code ignored;
    connection->descriptor.close(ignored);
    if (plugin_ == connection) {
      std::erase_if(connection->outgoing, [](const auto& message) { return !is_event(message); });
      waiting_.insert(waiting_.begin(), std::move_iterator(connection->outgoing.begin()),
                      std::move_iterator(connection->outgoing.end()));
      connection->outgoing.clear();
      plugin_.reset();
      spdlog::info("SA: the plugin is gone; forwarding goes on");
    }
    connections_.remove(connection);
  }

  asio::io_context& io_;
  Descriptor listener_;
  asio::steady_timer pause_;
  bool pausing_ = false;
  std::string path_;
  Handler handle_;
  std::list<Shared> connections_;
  Shared plugin_;
  std::uint64_t session_ = 0;
  std::deque<std::vector<std::uint8_t>> waiting_;
};

}  // namespace

Result<std::unique_ptr<SaServer>> SaServer::open(asio::io_context& io, const std::string& socket_path, Handler handle) {
  auto fd = sys::listen_unix(socket_path, SOCK_SEQPACKET, 0660);
  if (!fd) return Unexpected(fd.error());
  return std::unique_ptr<SaServer>(std::make_unique<UnixSaServer>(io, fd->release(), socket_path, std::move(handle)));
}

}  // namespace simplon::forwarder
