// SPDX-License-Identifier: GPL-2.0-or-later
#include "gateway/ipc/src/observer_connection.h"

#include <boost/asio/redirect_error.hpp>
#include <boost/asio/use_awaitable.hpp>
#include <boost/asio/write.hpp>

namespace simplon::ipc {
namespace {

namespace asio = boost::asio;
using boost::system::error_code;

constexpr std::chrono::seconds kHelloWithin{5};

std::vector<std::uint8_t> hello_frame(const std::string& software) {
  Hello hello;
  hello.software = software;
  hello.observer = true;
  return encode_table_message(hello);
}

Error lost(const ObserverConnection& connection, const error_code& error) {
  return make_error(ErrorCode::kUnavailable, "the forwarder at " + connection.path + " is gone: " + error.message(),
                    "is simplon-forwarder running?");
}

}  // namespace

void ObserverConnection::close() {
  error_code ignored;
  socket.close(ignored);
  timer.cancel();
}

asio::awaitable<Result<TableMessage>> read_message(SharedObserver connection, std::chrono::seconds patience) {
  std::vector<std::uint8_t> chunk(65536);
  for (;;) {
    auto envelope = connection->framer.next();
    if (!envelope) co_return Unexpected(envelope.error());
    if (envelope->has_value()) co_return decode_table_message(**envelope);
    connection->timer.expires_after(patience);
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

asio::awaitable<Result<void>> ask_forwarder(SharedObserver connection, std::string software,
                                            std::vector<std::uint8_t> question) {
  error_code error;
  co_await connection->socket.async_connect(asio::local::stream_protocol::endpoint(connection->path),
                                            asio::redirect_error(asio::use_awaitable, error));
  if (error) co_return Unexpected(lost(*connection, error));
  auto frames = hello_frame(software);
  frames.insert(frames.end(), question.begin(), question.end());
  co_await asio::async_write(connection->socket, asio::buffer(frames), asio::redirect_error(asio::use_awaitable, error));
  if (error) co_return Unexpected(lost(*connection, error));
  const auto hello = co_await read_message(connection, kHelloWithin);
  if (!hello) co_return Unexpected(hello.error());
  if (!std::holds_alternative<Hello>(*hello)) co_return fail(ErrorCode::kPeer, "the forwarder did not begin with Hello");
  co_return Result<void>{};
}

}  // namespace simplon::ipc
