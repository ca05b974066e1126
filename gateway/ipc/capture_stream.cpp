// SPDX-License-Identifier: GPL-2.0-or-later
//
// The connection belongs to the coroutine that waits on it as well, so that this object may go at any time: that closes
// the socket, and whoever waits learns of it.
#include "gateway/ipc/capture_stream.h"

#include <array>
#include <chrono>
#include <optional>
#include <utility>

#include <boost/asio/local/stream_protocol.hpp>
#include <boost/asio/redirect_error.hpp>
#include <boost/asio/steady_timer.hpp>
#include <boost/asio/use_awaitable.hpp>
#include <boost/asio/write.hpp>

#include "gateway/ipc/table_protocol.h"

namespace simplon::ipc {
namespace {

namespace asio = boost::asio;
using Socket = asio::local::stream_protocol::socket;
using boost::system::error_code;

// The forwarder speaks twice a second.
constexpr std::chrono::seconds kPatience{5};

struct Connection {
  Connection(asio::io_context& io, std::string socket_path) : socket(io), timer(io), path(std::move(socket_path)) {}
  Socket socket;
  asio::steady_timer timer;
  std::string path;
  TableFramer framer;
  /// Came with the answer to `open`.
  std::optional<CaptureData> first;

  void close() {
    error_code ignored;
    socket.close(ignored);
    timer.cancel();
  }
};
using Shared = std::shared_ptr<Connection>;

std::vector<std::uint8_t> hello_frame(const std::string& software) {
  Hello hello;
  hello.software = software;
  hello.observer = true;
  return encode_table_message(hello);
}

Error lost(const Connection& connection, const error_code& error) {
  return make_error(ErrorCode::kUnavailable, "the forwarder at " + connection.path + " is gone: " + error.message(),
                    "is simplon-forwarder running?");
}

Result<CaptureData> data_of(Result<TableMessage> message) {
  if (!message) return Unexpected(message.error());
  auto* data = std::get_if<CaptureData>(&*message);
  if (data == nullptr) return fail(ErrorCode::kPeer, "the forwarder answered a capture with another message");
  if (!data->error.empty()) return fail(ErrorCode::kInvalidConfig, data->error, data->hint);
  return std::move(*data);
}

asio::awaitable<Result<TableMessage>> read(Shared connection) {
  std::vector<std::uint8_t> chunk(65536);
  for (;;) {
    auto envelope = connection->framer.next();
    if (!envelope) co_return Unexpected(envelope.error());
    if (envelope->has_value()) co_return decode_table_message(**envelope);
    connection->timer.expires_after(kPatience);
    connection->timer.async_wait([weak = std::weak_ptr(connection)](const error_code& aborted) {
      const auto late = weak.lock();
      if (!aborted && late) late->close();
    });
    error_code error;
    const std::size_t got =
        co_await connection->socket.async_read_some(asio::buffer(chunk), asio::redirect_error(asio::use_awaitable, error));
    connection->timer.cancel();
    if (error) co_return Unexpected(lost(*connection, error));
    connection->framer.append({chunk.data(), got});
  }
}

asio::awaitable<Result<void>> begin(Shared connection, std::string software, CaptureRequest request) {
  error_code error;
  co_await connection->socket.async_connect(asio::local::stream_protocol::endpoint(connection->path),
                                            asio::redirect_error(asio::use_awaitable, error));
  if (error) co_return Unexpected(lost(*connection, error));
  auto frames = hello_frame(software);
  const auto asked = encode_table_message(std::move(request));
  frames.insert(frames.end(), asked.begin(), asked.end());
  co_await asio::async_write(connection->socket, asio::buffer(frames), asio::redirect_error(asio::use_awaitable, error));
  if (error) co_return Unexpected(lost(*connection, error));
  const auto hello = co_await read(connection);
  if (!hello) co_return Unexpected(hello.error());
  if (!std::holds_alternative<Hello>(*hello)) co_return fail(ErrorCode::kPeer, "the forwarder did not begin with Hello");
  auto message = co_await read(connection);
  auto data = data_of(std::move(message));
  if (!data) co_return Unexpected(data.error());
  connection->first = *std::move(data);
  co_return Result<void>{};
}

asio::awaitable<Result<CaptureData>> go_on(Shared connection) {
  if (connection->first) co_return *std::exchange(connection->first, std::nullopt);
  auto message = co_await read(connection);
  co_return data_of(std::move(message));
}

class UnixCaptureStream final : public CaptureStream {
 public:
  UnixCaptureStream(asio::io_context& io, std::string path, std::string software)
      : connection_(std::make_shared<Connection>(io, std::move(path))), software_(std::move(software)) {}
  ~UnixCaptureStream() override { connection_->close(); }

  asio::awaitable<Result<void>> open(CaptureRequest request) override {
    return begin(connection_, software_, std::move(request));
  }
  asio::awaitable<Result<CaptureData>> next() override { return go_on(connection_); }

 private:
  Shared connection_;
  std::string software_;
};

}  // namespace

std::unique_ptr<CaptureStream> CaptureStream::create(asio::io_context& io, std::string socket_path, std::string software) {
  return std::make_unique<UnixCaptureStream>(io, std::move(socket_path), std::move(software));
}

}  // namespace simplon::ipc
