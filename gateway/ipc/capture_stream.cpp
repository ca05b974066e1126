// SPDX-License-Identifier: GPL-2.0-or-later
#include "gateway/ipc/capture_stream.h"

#include <chrono>
#include <optional>
#include <utility>
#include <variant>

#include "gateway/ipc/src/observer_connection.h"

namespace simplon::ipc {
namespace {

namespace asio = boost::asio;

// The forwarder speaks twice a second.
constexpr std::chrono::seconds kPatience{5};

Result<CaptureData> data_of(Result<TableMessage> message) {
  if (!message) return Unexpected(message.error());
  auto* data = std::get_if<CaptureData>(&*message);
  if (data == nullptr) return fail(ErrorCode::kPeer, "the forwarder answered a capture with another message");
  if (!data->error.empty()) return fail(ErrorCode::kInvalidConfig, data->error, data->hint);
  return std::move(*data);
}

/// Came with the answer to `open`.
using First = std::shared_ptr<std::optional<CaptureData>>;

asio::awaitable<Result<void>> begin(SharedObserver connection, First first, std::string software, CaptureRequest request) {
  auto question = encode_table_message(std::move(request));
  const auto asked = co_await ask_forwarder(connection, std::move(software), std::move(question));
  if (!asked) co_return Unexpected(asked.error());
  auto message = co_await read_message(connection, kPatience);
  auto data = data_of(std::move(message));
  if (!data) co_return Unexpected(data.error());
  *first = *std::move(data);
  co_return Result<void>{};
}

asio::awaitable<Result<CaptureData>> go_on(SharedObserver connection, First first) {
  if (*first) co_return *std::exchange(*first, std::nullopt);
  auto message = co_await read_message(connection, kPatience);
  co_return data_of(std::move(message));
}

class UnixCaptureStream final : public CaptureStream {
 public:
  UnixCaptureStream(asio::io_context& io, std::string path, std::string software)
      : connection_(std::make_shared<ObserverConnection>(io, std::move(path))), software_(std::move(software)) {}
  ~UnixCaptureStream() override { connection_->close(); }

  asio::awaitable<Result<void>> open(CaptureRequest request) override {
    return begin(connection_, first_, software_, std::move(request));
  }
  asio::awaitable<Result<CaptureData>> next() override { return go_on(connection_, first_); }

 private:
  SharedObserver connection_;
  First first_ = std::make_shared<std::optional<CaptureData>>();
  std::string software_;
};

}  // namespace

std::unique_ptr<CaptureStream> CaptureStream::create(asio::io_context& io, std::string socket_path, std::string software) {
  return std::make_unique<UnixCaptureStream>(io, std::move(socket_path), std::move(software));
}

}  // namespace simplon::ipc
