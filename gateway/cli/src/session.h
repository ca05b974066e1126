// SPDX-License-Identifier: GPL-2.0-or-later
#pragma once

#include <functional>
#include <iosfwd>
#include <nlohmann/json_fwd.hpp>
#include <optional>
#include <string>
#include <vector>

#include "gateway/cli/src/api_client.h"
#include "gateway/cli/src/program.h"
#include "gateway/cli/src/render.h"
#include "platform/base/result.h"

namespace simplon::cli {

/// One run of the program: where it asks, and how it says what it was told. Every method that returns `int` has said
/// everything and returns the exit code.
class Session {
 public:
  Session(const Streams& streams, const Terminal& terminal);

  /// Set by the options that every command has.
  std::string socket;
  bool json = false;
  bool yes = false;
  std::string color = "auto";

  /// Output for people; the reply of the API goes there too.
  [[nodiscard]] std::ostream& out() const { return streams_.out; }
  [[nodiscard]] std::ostream& err() const { return streams_.err; }
  [[nodiscard]] Style style() const { return {colored_output()}; }

  /// A reply of simplond. On a terminal, what takes longer than a second is said to take time.
  [[nodiscard]] Result<nlohmann::json> get(const std::string& target) const;
  [[nodiscard]] Result<nlohmann::json> post(const std::string& target, const nlohmann::json& body) const;

  /// A reply in pieces (ApiClient::stream).
  [[nodiscard]] Result<nlohmann::json> stream(const std::string& target, const nlohmann::json& body,
                                              const ApiClient::OnBytes& on_bytes, const std::function<bool()>& stop) const;

  /// Whether `agreed` will ask: not a script, not with --yes or --json.
  [[nodiscard]] bool asks() const { return terminal_.interactive && !yes && !json; }
  /// Somebody sits at a terminal, and is told what takes time.
  [[nodiscard]] bool interactive() const { return terminal_.interactive && !json; }
  /// Replaces the line of progress at a terminal, or, empty, erases it. Nothing elsewhere, and on a dumb one.
  void progress(const std::string& line) const;
  /// Asks "QUESTION [y/N]"; true without asking when `asks()` is false.
  [[nodiscard]] bool agreed(const std::string& question) const;

  int report(const Error& error, int code) const;
  /// Exchange failed, or simplond refused: says so and returns the exit code; otherwise nothing.
  [[nodiscard]] std::optional<int> failed(const Result<nlohmann::json>& reply,
                                          const std::string& verdict = "refused") const;
  int print(const nlohmann::json& reply, const Page& page) const;
  void print_json(const nlohmann::json& reply) const;

  using RenderReply = std::function<Page(const nlohmann::json&, Style)>;
  /// GET and a page.
  int show(const std::string& target, const RenderReply& render) const;
  /// The objects of `reply[key]`, or, with a name, only this one (`kind` is what the error calls it).
  struct Objects {
    const char* target;
    const char* key;
    const char* kind;
  };
  int show_objects(const Objects& objects, const std::string& name, const RenderReply& render) const;
  /// The same; one object has a page of its own, made from the object.
  int show_objects(const Objects& objects, const std::string& name, const RenderReply& render_all,
                   const RenderReply& render_one) const;

 private:
  [[nodiscard]] bool colored_output() const;
  [[nodiscard]] ApiClient client() const;

  Streams streams_;
  Terminal terminal_;
};

}  // namespace simplon::cli
