// SPDX-License-Identifier: GPL-2.0-or-later
//
// trace: what would become of a packet, or what becomes of the next one. capture: packets into a file.
#include <chrono>
#include <csignal>
#include <cstring>
#include <fstream>
#include <memory>
#include <string_view>

#include "gateway/cli/src/commands.h"
#include "gateway/cli/src/json_view.h"
#include "gateway/cli/src/pcapng_count.h"
#include "gateway/cli/src/table.h"

namespace simplon::cli {
namespace {

using nlohmann::json;

struct Number {
  CLI::Option* option = nullptr;
  std::uint64_t value = 0;
};

struct FlowOptions {
  std::string from, source, destination, host, protocol;
  Number source_port, destination_port, port;
};

struct TraceOptions {
  FlowOptions flow;
  std::string flags, vtep;
  Number size, ttl, tos, wait;
  bool df = false;
  bool from_kernel = false;
  bool live = false;
};

struct CaptureOptions {
  FlowOptions flow;
  CLI::Option* drops = nullptr;
  std::string reason, file;
  Number count, seconds, snaplen;
  bool before_crypto = false;
  bool after_crypto = false;
  bool kernel = false;
};

CLI::Option* add_number(CLI::App* app, const char* name, Number& number, const char* about, const char* type) {
  number.option = app->add_option(name, number.value, about)->type_name(type);
  return number.option;
}

void add_flow(Commands& commands, CLI::App* app, FlowOptions& flow) {
  app->add_option("--src", flow.source, "source address")->type_name("ADDRESS");
  app->add_option("--dst", flow.destination, "destination address")->type_name("ADDRESS");
  commands.words(app->add_option("--proto", flow.protocol, "name or number: tcp, udp, icmp, icmpv6, 47")->type_name("PROTOCOL"),
                 {"tcp", "udp", "icmp", "icmpv6"});
  add_number(app, "--sport", flow.source_port, "source port", "PORT");
  add_number(app, "--dport", flow.destination_port, "destination port", "PORT");
  app->add_option("--host", flow.host, "source or destination, or a network of either")->type_name("ADDRESS");
  add_number(app, "--port", flow.port, "source or destination port", "PORT");
}

/// Members of the request that were given.
class Members {
 public:
  void text(const char* key, const std::string& value) {
    if (!value.empty()) body[key] = value;
  }
  void number(const char* key, const Number& number) {
    if (number.option->count() > 0) body[key] = number.value;
  }
  void flag(const char* key, bool value) {
    if (value) body[key] = true;
  }
  void flow(const FlowOptions& flow) {
    text("from", flow.from);
    text("source", flow.source);
    text("destination", flow.destination);
    text("host", flow.host);
    text("protocol", flow.protocol);
    number("source_port", flow.source_port);
    number("destination_port", flow.destination_port);
    number("port", flow.port);
  }
  /// "?a=1&b=x". Error: kInvalidConfig for what a query cannot carry.
  [[nodiscard]] Result<std::string> query() const {
    static constexpr std::string_view kPlain = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789:.,/_-";
    std::string text;
    for (const auto& [key, value] : body.items()) {
      const std::string word = value.is_boolean() ? "1" : value.is_string() ? value.get<std::string>() : value.dump();
      if (const auto odd = word.find_first_not_of(kPlain); odd != std::string::npos) {
        return fail(ErrorCode::kInvalidConfig,
                    "'" + word + "' has a '" + word[odd] + "', which no name, address or protocol has");
      }
      text += (text.empty() ? "?" : "&") + key + "=" + word;
    }
    return text;
  }

  json body = json::object();
};

int trace(const Session& session, const TraceOptions& options) {
  Members members;
  members.flow(options.flow);
  if (options.live) {
    members.number("seconds", options.wait);
    if (!options.flags.empty() || options.df || options.from_kernel || !options.vtep.empty() || options.size.option->count() > 0) {
      return session.report(make_error(ErrorCode::kInvalidConfig, "a real packet is not described",
                                       "--live takes --src, --dst, --host, --proto, --sport, --dport, --port and --wait"),
                            kExitUsage);
    }
    const auto reply = session.post("/v1/trace/live", members.body);
    if (const auto code = session.failed(reply, "no trace")) return *code;
    return session.print(*reply, render_trace(*reply, session.style()));
  }
  if (!options.flow.host.empty() || options.flow.port.option->count() > 0 || options.wait.option->count() > 0) {
    return session.report(make_error(ErrorCode::kInvalidConfig, "--host, --port and --wait are of --live",
                                     "describe one packet with --src, --dst, --sport and --dport"),
                          kExitUsage);
  }
  members.text("flags", options.flags);
  members.text("vtep", options.vtep);
  members.number("size", options.size);
  members.number("ttl", options.ttl);
  members.number("tos", options.tos);
  members.flag("df", options.df);
  members.flag("from_kernel", options.from_kernel);
  const auto query = members.query();
  if (!query) return session.report(query.error(), kExitUsage);
  const auto reply = session.get("/v1/trace" + *query);
  if (const auto code = session.failed(reply, "no trace")) return *code;
  return session.print(*reply, render_trace(*reply, session.style()));
}

volatile std::sig_atomic_t interrupted = 0;

/// Ctrl-C ends a capture, not the program, so that it can say what it has; the second one ends both.
class Interruptible {
 public:
  Interruptible() {
    struct sigaction action {};
    action.sa_handler = [](int) { interrupted = 1; };
    action.sa_flags = static_cast<int>(SA_RESETHAND);
    ::sigaction(SIGINT, &action, &before_);
  }
  ~Interruptible() { ::sigaction(SIGINT, &before_, nullptr); }
  Interruptible(const Interruptible&) = delete;
  Interruptible& operator=(const Interruptible&) = delete;

 private:
  struct sigaction before_ {};
};

int capture(const Session& session, const CaptureOptions& options) {
  if (session.json) {
    return session.report(make_error(ErrorCode::kInvalidConfig, "a capture is no JSON", "tshark -r FILE -T json makes it"), kExitUsage);
  }
  Members members;
  members.flow(options.flow);
  members.number("count", options.count);
  members.number("seconds", options.seconds);
  members.number("snaplen", options.snaplen);
  members.flag("before_crypto", options.before_crypto);
  members.flag("after_crypto", options.after_crypto);
  members.flag("kernel", options.kernel);
  members.flag("drops", options.drops->count() > 0);
  members.text("reason", options.reason);

  std::ofstream file;
  const bool to_file = options.file != "-";
  // Opened with the first bytes: what is refused leaves no file.
  bool opened = false;
  std::string problem;
  PcapngCount counted;
  interrupted = 0;
  const Interruptible interruptible;
  const auto write = [&](std::string_view bytes) {
    if (to_file && !opened) {
      file.open(options.file, std::ios::binary | std::ios::trunc);
      opened = true;
    }
    std::ostream& out = to_file ? file : session.out();
    out.write(bytes.data(), static_cast<std::streamsize>(bytes.size()));
    out.flush();
    if (!file) problem = "cannot write " + options.file + ": " + std::strerror(errno);
    counted.add(bytes);
    return static_cast<bool>(out);
  };
  using Clock = std::chrono::steady_clock;
  const auto began = Clock::now();
  std::chrono::seconds told{0};
  const auto stop = [&] {
    const auto elapsed = std::chrono::duration_cast<std::chrono::seconds>(Clock::now() - began);
    if (to_file && opened && elapsed > told) {
      told = elapsed;
      session.progress(plural(counted.packets(), "packet") + " captured in " + std::to_string(elapsed.count()) + " s; Ctrl-C ends it");
    }
    return interrupted != 0;
  };
  const auto reply = session.stream("/v1/capture", members.body, write, stop);
  session.progress({});
  if (!problem.empty()) return session.report(make_error(ErrorCode::kUnavailable, problem, ""), kExitFailed);
  if (!session.out()) return kExitFailed;  // run_program says why
  if (const auto code = session.failed(reply, "no capture")) return *code;
  session.err() << plural(counted.packets(), "packet") << " captured, " << format_count(counted.lost()) << " lost"
                << (to_file ? ", in " + options.file : std::string()) << "\n";
  return kExitDone;
}

}  // namespace

void declare_inspect(Commands& commands) {
  Session& session = commands.session();
  const auto tracing = std::make_shared<TraceOptions>();
  CLI::App* trace_app = commands.noun(
      "trace", "what would become of a packet, stage by stage; nothing is sent",
      "simplon trace --from vpc:blue --src 10.1.0.5 --dst 192.168.7.9 --proto tcp --dport 443\n"
      "simplon trace --from tunnel:paris --src 192.168.7.9 --dst 10.1.0.5 --size 1500 --df\n"
      "simplon trace --live --from vpc:blue --dst 192.168.7.9 --proto udp");
  commands.values(trace_app->add_option("--from", tracing->flow.from, "where it comes from: vpc:NAME, tunnel:NAME or circuit:NAME")
                      ->required()
                      ->type_name("PLACE"),
                  Values::kPlaces);
  add_flow(commands, trace_app, tracing->flow);
  commands.words(trace_app->add_option("--flags", tracing->flags, "of TCP, separated by commas")->type_name("FLAGS"),
                 {"syn", "syn,ack", "ack", "fin,ack", "rst"});
  add_number(trace_app, "--size", tracing->size, "IP bytes, header included", "BYTES");
  add_number(trace_app, "--ttl", tracing->ttl, "time to live, or hop limit (64)", "HOPS");
  add_number(trace_app, "--tos", tracing->tos, "type of service, or traffic class: DSCP and ECN", "NUMBER");
  trace_app->add_flag("--df", tracing->df, "do not fragment");
  trace_app->add_option("--vtep", tracing->vtep, "outer source of a VPC's packet; default: that of its endpoint")->type_name("ADDRESS");
  trace_app->add_flag("--from-kernel", tracing->from_kernel, "as our own BGP or ping sends it through the attachment");
  trace_app->add_flag("--live", tracing->live, "wait for the next real packet instead; administrators only");
  add_number(trace_app, "--wait", tracing->wait, "with --live: at most so long (10)", "SECONDS");
  commands.on(trace_app, [&session, tracing] { return trace(session, *tracing); });

  const auto capturing = std::make_shared<CaptureOptions>();
  CLI::App* capture_app = commands.noun(
      "capture", "packets into a pcapng file; administrators only",
      "simplon capture tunnel:paris --host 10.1.0.5 --count 100 -w paris.pcapng\n"
      "simplon capture uplink:eth1 --duration 10 -w wire.pcapng\n"
      "simplon capture --drops no_route --duration 60 -w drops.pcapng");
  commands.values(capture_app->add_option("PLACE", capturing->flow.from, "where: tunnel:NAME, vpc:NAME, circuit:NAME or uplink:NAME"),
                  Values::kCapturePlaces);
  capture_app->add_flag("--before-crypto", capturing->before_crypto,
                        "inner packets: decrypted, or not yet encrypted (the default)");
  capture_app->add_flag("--after-crypto", capturing->after_crypto, "frames on the wire (the default for uplinks)");
  capture_app->add_flag("--kernel", capturing->kernel, "packets from and to our own kernel: BGP, BFD, ping");
  capturing->drops = commands.values(
      capture_app->add_option("--drops", capturing->reason, "dropped packets; only those of a reason, if it is given")
          ->expected(0, 1)
          ->type_name("[REASON]"),
      Values::kDrops);
  commands.values(capture_app->add_option("-w,--write", capturing->file, "the file; - is the standard output")
                      ->required()
                      ->type_name("FILE"),
                  Values::kFiles);
  add_number(capture_app, "--count", capturing->count, "end after so many packets", "PACKETS");
  add_number(capture_app, "--duration", capturing->seconds, "end after so long", "SECONDS");
  add_number(capture_app, "--snaplen", capturing->snaplen, "keep so many bytes of each packet", "BYTES");
  add_flow(commands, capture_app, capturing->flow);
  commands.on(capture_app, [&session, capturing] { return capture(session, *capturing); });
}

}  // namespace simplon::cli
