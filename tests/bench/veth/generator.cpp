// SPDX-License-Identifier: GPL-2.0-or-later
//
// The packet generator and sink of the veth benchmark.
//
//     bench-generator run --out g0 --sink g1 --templates FILE --count 1000000 --window 1024
//                         --destination 198.18.1.2[/32] --protocol 17 [--warm 16384]     (no --sink: nothing is counted)
//     bench-generator discard --on u0            XDP_DROP until SIGTERM: the baseline's device under test
//     bench-generator clock                      the clock this core really runs at, and how much of the core we have
//
// `run` makes frames with BPF_PROG_TEST_RUN and BPF_F_TEST_XDP_LIVE_FRAMES: an XDP program that runs on no device writes a
// header from FILE (a frame in hex per line, equal lengths, at least 128 bytes; the lines take turns) and redirects the
// frame to --out. About 50 ns per frame with the veth and the far end's XDP_DROP. A tc program on the ingress of --sink
// counts the frames with the wanted outer destination and protocol, keeps a sample and drops all.
// The window makes it a closed loop: at most so many frames are under way, so the device under test sets the pace and
// loses nothing. The wait is counted apart: `cpu_ns` is what the sending core really worked, its softirqs (which
// receive the frames at the far end) included. Setting up and tearing down the test run (25 ms) is outside the clock.
// The result is one JSON object on stdout.

#include <arpa/inet.h>
#include <net/if.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <csignal>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <ctime>
#include <fstream>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include <linux/if_link.h>

#include <bpf/bpf.h>
#include <bpf/libbpf.h>

#include "tests/bench/veth/traffic_layout.h"

#include "traffic.skel.h"

namespace {

using Options = std::map<std::string, std::string>;
using Frame = std::vector<std::uint8_t>;

[[noreturn]] void die(const std::string& what) {
  std::fprintf(stderr, "bench-generator: %s\n", what.c_str());
  std::exit(1);
}

[[noreturn]] void die_errno(const std::string& what, int error) { die(what + ": " + std::strerror(error)); }

std::string required(const Options& options, const std::string& name) {
  const auto found = options.find(name);
  if (found == options.end()) die(name + " is missing");
  return found->second;
}

std::uint64_t number(const Options& options, const std::string& name, std::uint64_t otherwise) {
  const auto found = options.find(name);
  if (found == options.end()) return otherwise;
  char* end = nullptr;
  const unsigned long long value = std::strtoull(found->second.c_str(), &end, 10);
  if (end == found->second.c_str() || *end != '\0') die(name + " " + found->second + " is not a number");
  return value;
}

unsigned interface_index(const std::string& name) {
  const unsigned index = if_nametoindex(name.c_str());
  if (index == 0) die_errno("interface " + name, errno);
  return index;
}

Frame parse_hex(const std::string& line) {
  Frame frame;
  frame.reserve(line.size() / 2);
  for (std::size_t i = 0; i + 1 < line.size(); i += 2) {
    char* end = nullptr;
    const std::string byte = line.substr(i, 2);
    frame.push_back(static_cast<std::uint8_t>(std::strtoul(byte.c_str(), &end, 16)));
    if (end != byte.c_str() + 2) die("'" + byte + "' in a template is not hex");
  }
  return frame;
}

std::vector<Frame> load_templates(const std::string& path) {
  std::ifstream file(path);
  if (!file) die_errno(path, errno);
  std::vector<Frame> frames;
  std::string line;
  while (std::getline(file, line)) {
    if (!line.empty()) frames.push_back(parse_hex(line));
  }
  if (frames.empty() || frames.size() > TRAFFIC_TEMPLATES || (frames.size() & (frames.size() - 1)) != 0) {
    die(path + ": wanted a power of two up to " + std::to_string(TRAFFIC_TEMPLATES) + " frames");
  }
  for (const Frame& frame : frames) {
    if (frame.size() < TRAFFIC_SHORT_HEADER || frame.size() != frames.front().size()) {
      die(path + ": frames must have equal lengths of at least " + std::to_string(TRAFFIC_SHORT_HEADER) + " bytes");
    }
  }
  return frames;
}

constexpr std::uint32_t kEthernetAddresses = 12;

void print_captures(int map) {
  const char* separator = "";
  std::printf("[");
  for (std::uint32_t slot = 0; slot < TRAFFIC_CAPTURES; ++slot) {
    traffic_capture capture{};
    if (bpf_map_lookup_elem(map, &slot, &capture) != 0 || capture.length == 0) continue;
    std::printf("%s\"", separator);
    for (std::uint32_t i = 0; i < capture.length && i < sizeof(capture.bytes); ++i) {
      if (i == kEthernetAddresses && capture.tag != 0) std::printf("%08x", capture.tag);
      std::printf("%02x", capture.bytes[i]);
    }
    std::printf("\"");
    separator = ", ";
  }
  std::printf("]");
}

/// The clsact qdisc and the counting program on an interface's ingress, as long as the object lives.
class Sink {
 public:
  Sink(unsigned index, int program) : hook_{} {
    hook_.sz = sizeof(hook_);
    hook_.ifindex = static_cast<int>(index);
    hook_.attach_point = BPF_TC_INGRESS;
    const int created = bpf_tc_hook_create(&hook_);
    if (created != 0 && created != -EEXIST) die_errno("clsact on the sink", -created);
    bpf_tc_opts options{};
    options.sz = sizeof(options);
    options.prog_fd = program;
    options.flags = BPF_TC_F_REPLACE;
    options.handle = 1;
    options.priority = 1;
    const int attached = bpf_tc_attach(&hook_, &options);
    if (attached != 0) die_errno("tc program on the sink", -attached);
  }
  ~Sink() {
    hook_.attach_point = static_cast<bpf_tc_attach_point>(BPF_TC_INGRESS | BPF_TC_EGRESS);
    bpf_tc_hook_destroy(&hook_);
  }
  Sink(const Sink&) = delete;
  Sink& operator=(const Sink&) = delete;

 private:
  bpf_tc_hook hook_;
};

/// Until `received` has not grown for 20 ms (at most 2 s): frames that are still on their way arrive.
void settle(const volatile __u64& received, std::uint64_t expected) {
  std::uint64_t last = received;
  int quiet = 0;
  for (int turn = 0; turn < 1000 && quiet < 10 && received < expected; ++turn) {
    usleep(2000);
    quiet = received == last ? quiet + 1 : 0;
    last = received;
  }
}

/// The delay that `share` of the stamped frames did not exceed.
std::uint64_t delay_ns(const traffic& program, double share) {
  std::uint64_t all = 0;
  for (const __u64 count : program.bss->delays) all += count;
  std::uint64_t seen = 0;
  std::uint64_t shorter = 0;
  for (const __u64 count : program.bss->delays) {
    seen += count;
    shorter += TRAFFIC_DELAY_NS;
    if (static_cast<double>(seen) >= share * static_cast<double>(all)) break;
  }
  return shorter;
}

int run(const Options& options) {
  const std::vector<Frame> frames = load_templates(required(options, "--templates"));
  const std::uint64_t count = number(options, "--count", 1'000'000);
  in_addr destination{};
  std::uint32_t mask = 0xffffffff;
  if (options.contains("--sink")) {
    const std::string text = required(options, "--destination");
    const std::size_t slash = text.find('/');
    if (inet_pton(AF_INET, text.substr(0, slash).c_str(), &destination) != 1) die("--destination: IPv4 only");
    const int bits = slash == std::string::npos ? 32 : std::atoi(text.c_str() + slash + 1);
    if (bits < 1 || bits > 32) die("--destination: a prefix has 1 to 32 bits");
    mask = htonl(mask << (32 - bits));
  }

  traffic* program = traffic__open();
  if (program == nullptr) die_errno("opening the BPF program", errno);
  program->rodata->out_ifindex = interface_index(required(options, "--out"));
  program->rodata->template_mask = frames.size() - 1;
  program->rodata->window = number(options, "--window", 0);
  program->rodata->warm_frames = number(options, "--warm", 16384);
  program->rodata->short_frames = frames.front().size() < TRAFFIC_HEADER ? 1 : 0;
  program->rodata->wanted_destination = destination.s_addr & mask;
  program->rodata->wanted_mask = mask;
  program->rodata->wanted_protocol = static_cast<std::uint8_t>(number(options, "--protocol", 17));
  program->rodata->batch = static_cast<std::uint32_t>(number(options, "--batch", TRAFFIC_BATCH));
  program->rodata->gap_ns = number(options, "--gap", 0);
  program->rodata->stamp = number(options, "--stamp", 0) != 0;
  if (program->rodata->batch == 0 || program->rodata->batch > TRAFFIC_BATCH) die("--batch is 1 to 64");
  if (const int error = traffic__load(program); error != 0) die_errno("loading the BPF program", -error);
  for (std::size_t i = 0; i < frames.size(); ++i) {
    std::memcpy(&program->bss->templates[i], frames[i].data(), std::min<std::size_t>(frames[i].size(), TRAFFIC_HEADER));
  }
  std::optional<Sink> sink;
  if (options.contains("--sink")) {
    sink.emplace(interface_index(required(options, "--sink")), bpf_program__fd(program->progs.count));
  }

  xdp_md context{};
  context.data_end = static_cast<std::uint32_t>(frames.front().size());
  bpf_test_run_opts test{};
  test.sz = sizeof(test);
  test.data_in = frames.front().data();
  test.data_size_in = static_cast<std::uint32_t>(frames.front().size());
  test.ctx_in = &context;
  test.ctx_size_in = sizeof(context);
  test.repeat = static_cast<int>(count);
  test.flags = BPF_F_TEST_XDP_LIVE_FRAMES;
  test.batch_size = program->rodata->batch;
  const int error = bpf_prog_test_run_opts(bpf_program__fd(program->progs.generate), &test);
  if (error != 0) die_errno("BPF_PROG_TEST_RUN with live frames", -error);

  const traffic_sent& sent = program->bss->sent;
  const traffic_received& received = program->bss->received;
  if (sink) settle(received.wanted, sent.frames);
  const std::uint64_t wall = sent.last_ns - sent.first_ns;
  std::printf("{\"sent\": %llu, \"received\": %llu, \"received_bytes\": %llu, \"other\": %llu, \"timed_frames\": %llu, "
              "\"wall_ns\": %llu, \"waited_ns\": %llu, \"cpu_ns\": %llu, \"stalls\": %llu, \"frame_bytes\": %zu, "
              "\"captures\": ",
              sent.frames, received.wanted, received.bytes, received.other, sent.last_frame - sent.first_frame,
              static_cast<unsigned long long>(wall), sent.waited_ns,
              static_cast<unsigned long long>(wall - sent.waited_ns), sent.stalls, frames.front().size());
  print_captures(bpf_map__fd(program->maps.captures));
  if (program->rodata->stamp) {
    std::printf(", \"delay_ns\": {\"p50\": %llu, \"p99\": %llu, \"p999\": %llu}",
                static_cast<unsigned long long>(delay_ns(*program, 0.5)), static_cast<unsigned long long>(delay_ns(*program, 0.99)),
                static_cast<unsigned long long>(delay_ns(*program, 0.999)));
  }
  std::printf("}\n");
  return 0;
}

int discard(const Options& options) {
  traffic* program = traffic__open_and_load();
  if (program == nullptr) die_errno("loading the BPF program", errno);
  bpf_link_create_opts link{};
  link.sz = sizeof(link);
  link.flags = XDP_FLAGS_DRV_MODE;
  const std::string interface = required(options, "--on");
  if (bpf_link_create(bpf_program__fd(program->progs.discard), static_cast<int>(interface_index(interface)), BPF_XDP,
                      &link) < 0) {
    die_errno("native XDP on " + interface, errno);
  }
  sigset_t end;
  sigemptyset(&end);
  sigaddset(&end, SIGTERM);
  sigaddset(&end, SIGINT);
  sigprocmask(SIG_BLOCK, &end, nullptr);
  std::puts("ready");
  std::fflush(stdout);
  int signal = 0;
  sigwait(&end, &signal);
  std::printf("{\"frames\": %llu}\n", program->bss->discarded.wanted);
  return 0;
}

double seconds_now() {
  timespec now{};
  clock_gettime(CLOCK_THREAD_CPUTIME_ID, &now);
  return static_cast<double>(now.tv_sec) + static_cast<double>(now.tv_nsec) * 1e-9;
}

// A dependent addition takes one cycle on every CPU of interest: the clock. Four independent ones would take one cycle,
// too, if nobody else used this core's other hardware thread: how much of the core we have. Best of some short runs:
// preemption only makes it longer.
int measure_clock() {
  constexpr int kTurns = 100'000;
  double dependent = 1e9;
  double independent = 1e9;
  for (int run_number = 0; run_number < 4; ++run_number) {
    std::uint64_t a = 1, b = 1, c = 1, d = 1;
    const double start = seconds_now();
    // Unrolled: the loop's jump must not count.
    for (int i = 0; i < kTurns; ++i) asm volatile(".rept 20\n\tadd $1, %0\n\t.endr" : "+r"(a));
    const double middle = seconds_now();
    for (int i = 0; i < kTurns; ++i) {
      asm volatile(".rept 20\n\tadd $1, %0\n\tadd $1, %1\n\tadd $1, %2\n\tadd $1, %3\n\t.endr"
                   : "+r"(a), "+r"(b), "+r"(c), "+r"(d));
    }
    const double end = seconds_now();
    dependent = std::min(dependent, (middle - start) * 1e9 / (20.0 * kTurns));
    independent = std::min(independent, (end - middle) * 1e9 / (80.0 * kTurns));
  }
  std::printf("{\"ns_per_addition\": %.3f, \"additions_per_clock\": %.2f}\n", dependent, dependent / independent);
  return 0;
}

}  // namespace

int main(int argc, char** argv) {
  Options options;
  for (int i = 2; i + 1 < argc; i += 2) options[argv[i]] = argv[i + 1];
  const std::string mode = argc > 1 ? argv[1] : "";
  if (mode == "run") return run(options);
  if (mode == "discard") return discard(options);
  if (mode == "clock") return measure_clock();
  std::fprintf(stderr, "usage: bench-generator run|discard|clock --option value ...\n");
  return 2;
}
