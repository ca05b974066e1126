// SPDX-License-Identifier: GPL-2.0-or-later
//
// Kernels before Linux 6.8 count the stack of a BPF program in steps of 32 bytes, newer ones in steps of 16: a program that this
// kernel takes may be one that Debian 12's own refuses, and then the worker forwards what the XDP tier could. Here they are
// counted the old way. Needs root.
#include <bpf/libbpf.h>
#include <gtest/gtest.h>
#include <linux/bpf.h>

#include <algorithm>
#include <map>
#include <memory>
#include <sstream>
#include <string>
#include <vector>

#include "uplink.skel.h"

namespace simplon::xdp {
namespace {

constexpr int kStep = 32;
constexpr int kMost = 512;

/// The functions of a program, by their first instruction.
struct Function {
  int stack = 0;             // bytes, rounded up
  std::vector<std::size_t> calls;  // first instructions
};
using Program = std::map<std::size_t, Function>;

Program functions_of(const struct bpf_program* program) {
  const struct bpf_insn* instructions = bpf_program__insns(program);
  const std::size_t count = bpf_program__insn_cnt(program);
  Program functions{{0, {}}};
  const auto callee = [&](std::size_t at) { return at + 1 + static_cast<std::size_t>(instructions[at].imm); };
  const auto calls = [&](std::size_t at) {
    return instructions[at].code == (BPF_JMP | BPF_CALL) && instructions[at].src_reg == BPF_PSEUDO_CALL;
  };
  for (std::size_t at = 0; at < count; ++at) {
    if (calls(at)) functions[callee(at)];
  }
  for (std::size_t at = 0; at < count; ++at) {
    if (calls(at)) std::prev(functions.upper_bound(at))->second.calls.push_back(callee(at));
  }
  return functions;
}

/// What the verifier says of each function, in their order: "stack depth 160+72+104".
void put_depths(const std::string& log, Program& functions) {
  const std::string words = "stack depth ";
  const std::size_t at = log.find(words);
  ASSERT_NE(at, std::string::npos) << log;
  std::istringstream depths(log.substr(at + words.size()));
  for (auto& [first, function] : functions) {
    int depth = -1;
    depths >> depth;
    ASSERT_GE(depth, 0) << log;
    function.stack = std::max(1, (depth + kStep - 1) / kStep) * kStep;
    if (depths.peek() == '+') depths.get();
  }
  EXPECT_EQ(depths.peek(), '\n') << "another number of functions than was found: " << log;
}

int deepest(const Program& functions, std::size_t first) {
  const Function& function = functions.at(first);
  int below = 0;
  for (const std::size_t callee : function.calls) below = std::max(below, deepest(functions, callee));
  return function.stack + below;
}

TEST(XdpStackLab, TheProgramsStackIsWhatOlderKernelsTake) {
  const std::unique_ptr<struct uplink_bpf, void (*)(struct uplink_bpf*)> skeleton{uplink_bpf__open(), uplink_bpf__destroy};
  ASSERT_NE(skeleton, nullptr);
  skeleton->rodata->flows_in_use = 1;
  struct bpf_program* program = skeleton->progs.simplon_uplink;
  std::string log(1 << 20, '\0');
  bpf_program__set_log_buf(program, log.data(), log.size());
  bpf_program__set_log_level(program, 4);  // figures only
  ASSERT_EQ(uplink_bpf__load(skeleton.get()), 0) << log.c_str();
  Program functions = functions_of(program);
  EXPECT_GT(functions.size(), 4U);
  put_depths(log.c_str(), functions);
  const int bytes = deepest(functions, 0);
  std::cout << bytes << " of " << kMost << " bytes of stack\n";
  EXPECT_LE(bytes, kMost);
}

}  // namespace
}  // namespace simplon::xdp
